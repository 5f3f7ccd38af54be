"""Arrival times end to end: from the number of a sample to VOEvent and LOFAR packet."""

from __future__ import annotations

import logging
import queue
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import erfa
import numpy as np

from darc.amber_clustering import AMBERClustering
from darc.definitions import ARTS
from darc.formats import voevent
from darc.formats.amber import format_row
from darc.formats.lofar_packet import unpack
from darc.formats.parset import load_obs_config
from darc.lofar_trigger import LOFARTrigger
from darc.simulation.observation import Observation
from darc.voevent_generator import VOEventGenerator
from validation.result import Check, Section

DM = 565.1
TOP_MHZ = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
CENTRE_MHZ = TOP_MHZ - ARTS.bandwidth_mhz / 2
#: Packets per second of the beamformer, the unit of `startpacket`.
PACKET_HZ = 781250
#: Starts of observations, and their fractions in packets.
STARTS = {
    "an ordinary day": datetime(2019, 5, 18, 23, 51, 12, tzinfo=UTC),
    "midnight and a new year": datetime(2019, 12, 31, 23, 59, 40, tzinfo=UTC),
    "leap second of 2016": datetime(2016, 12, 31, 23, 59, 40, tzinfo=UTC),
    "leap second of 2015": datetime(2015, 6, 30, 23, 59, 40, tzinfo=UTC),
    "29 February 2020": datetime(2020, 2, 28, 23, 59, 40, tzinfo=UTC),
}
FRACTIONS = (0, 1, 390625, 500000, 781249)
#: Batches in which a pulse arrives; the last of them beyond 1000 s, where AMBER prints times to 0.01 s.
BATCHES = (0, 19, 20, 25, 976, 1200)
#: LOFAR's frequency and buffer as configured below.
LOFAR_MHZ, BUFFER_S = 200.0, 5.0


def measure(short: bool) -> Section:
    """Send pulses through the services that make events, and compare the times."""
    logging.disable(logging.CRITICAL)
    errors: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        chain = Events(Path(folder))
        for name, start in STARTS.items():
            for fraction in FRACTIONS[:2] if short else FRACTIONS:
                errors.setdefault(name, []).extend(chain.errors(start, fraction))
    checks = []
    for name, found in errors.items():
        isotime, packet = np.abs(np.array(found)).max(axis=0)
        reference = f"sample number in TAI (erfa), {len(found)} pulses"
        checks += [
            Check(f"ISOTime of the VOEvent, {name}", reference, float(isotime), 1.0, "us"),
            Check(f"freeze time of the LOFAR packet, {name}", reference, float(packet), 0.501, "ms"),
        ]
    text = (
        "A row of AMBER for a known sample goes through the services amber_clustering, voevent_generator "
        "and lofar_trigger. The start is `startpacket / 781250` in unix seconds, with fractions from 0 to "
        "781249; the pulse arrives up to 1230 s later. The reference adds sample number x sampling time and "
        "the delay from the top of the band to its centre in TAI. Unix time and the calendar of these "
        "messages cannot hold a leap second: an arrival within it counts as one in the second after it."
    )
    return Section("Arrival times end to end", text, checks)


class Events:
    """The services that make events."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._site = folder / "config.yaml"
        self._site.write_text(f"""
nodes: {{master: {{name: m}}, workers: {{w: 0}}}}
darc_master: {{state_dir: {folder}/state}}
amber_clustering: {{log_file: {folder}/log, sb_filter: false, galaxy_model: none, galactic_dm_max: 10.0}}
voevent_generator: {{log_file: {folder}/log, voevent_dir: {folder}, server_auth: a-key-for-this}}
lofar_trigger: {{log_file: {folder}/log, server_auth: a-key-for-this, lofar_freq: {LOFAR_MHZ},
  lofar_tbb_buffer_size: {BUFFER_S}, email_settings: {{to: []}}}}
""")
        one: dict[str, Any] = {"config_file": self._site, "node": "m", "control_queue": queue.Queue()}
        self._voevents, self._lofar = (
            VOEventGenerator(queue.Queue(), **one),
            LOFARTrigger(queue.Queue(), **one),
        )

    def errors(self, start: datetime, fraction: int) -> list[tuple[float, float]]:
        """Return the errors of ISOTime (us) and of the freeze time (ms) for each pulse of an observation."""
        packet = int(start.timestamp()) * PACKET_HZ + fraction
        found = []
        for batch in BATCHES:
            sample = batch * ARTS.samples_per_batch + 4321
            item = self._item(start, packet, sample)
            event = voevent.parse(self._voevents._document(item))
            freeze = unpack(self._lofar._new_trigger(item["dm"], item["utc"], item["nu_GHz"]))
            expected = utc_after(start, fraction, sample, delay_s(CENTRE_MHZ))
            isotime_us = (event.arrival_time - expected) / timedelta(microseconds=1)
            unix = expected.timestamp() + delay_s(LOFAR_MHZ) - delay_s(CENTRE_MHZ) + BUFFER_S / 2
            found.append((isotime_us, freeze.freeze_time_ms - unix * 1e3))
        return found

    def _item(self, start: datetime, packet: int, sample: int) -> dict[str, Any]:
        self._number += 1
        observation = Observation("somewhere", start, 1500.0, ninstance=1, direction_deg=(83.6, 22.0))
        files = observation.write(self._folder / str(self._number))
        service = AMBERClustering(queue.Queue(), target_queue=queue.Queue(), config_file=self._site, node="w")
        service.lofar_queue, service.vo_queue = queue.Queue(), queue.Queue()
        service.source_file = files.source_list
        service.start_observation({**load_obs_config(files.workers[0]), "startpacket": packet}, reload=False)
        batch, place = divmod(sample, ARTS.samples_per_batch)
        row = format_row(
            beam=35,
            batch=batch,
            sample=place,
            integration_step=1,
            time_s=sample * ARTS.tsamp_s,
            dm=DM,
            snr=30.0,
        )
        service.process_command({"command": "trigger", "trigger": [row]})
        service.stop_observation()
        service.cleanup()
        item: dict[str, Any] = service.vo_queue.get(block=False)
        return item


def delay_s(freq_mhz: float) -> float:
    """Return the delay of the pulse after the top of the band."""
    return 4148.808 * DM * (freq_mhz**-2 - TOP_MHZ**-2)


def utc_after(start: datetime, fraction: int, sample: int, delay: float) -> datetime:
    """Return the arrival time: TAI runs without steps, and ERFA knows the leap seconds."""
    day = start.replace(hour=0, minute=0, second=0)
    seconds = (start - day).seconds
    jd1, jd2 = erfa.dtf2d(
        "UTC", day.year, day.month, day.day, seconds // 3600, seconds // 60 % 60, seconds % 60
    )
    tai1, tai2 = erfa.utctai(jd1, jd2)
    elapsed_s = fraction / PACKET_HZ + sample * ARTS.tsamp_s + delay
    utc1, utc2 = erfa.taiutc(tai1, tai2 + elapsed_s / 86400)
    year, month, dom, time = erfa.d2dtf("UTC", 9, utc1, utc2)
    hour, minute, second, nanos = (int(time[name]) for name in ("h", "m", "s", "f"))
    moment = datetime(int(year), int(month), int(dom), hour, minute, tzinfo=UTC)
    return moment + timedelta(seconds=second, microseconds=nanos / 1e3)
