"""A made-up report of an observation with all beams, candidates and plots: for tests and screenshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from pypdf import PdfWriter

from darc.config import load_config
from darc.definitions import ARTS
from darc.formats import candidate as candidates
from darc.formats.overview import BeamCoordinates, ObservationInfo
from darc.formats.results import Trigger, best_first, pages_name, picture_name
from darc.processor_tools.panels import Observed
from darc.processor_tools.pictures import write_pictures
from darc.reporting.report import BeamReport, BeamState, Candidate, ObservationReport
from darc.science.dispersion import delay_s
from darc.science.pointing import galactic
from darc.simulation.observation import Observation

START = datetime(2026, 11, 21, 22, 14, 36, tzinfo=UTC)
STEPS = ("AMBER", "clustering", "thresholds", "classifier")
_BAND_MHZ = (1219.6, 1519.6)
_DM_GALACTIC = 188.4
#: Candidates: CB, S/N, DM in pc cm^-3, time in s, width in samples, SB, probability.
_FOUND = (
    (23, 38.4, 557.2, 1712.3381, 25, 35, 1.00),
    (17, 14.1, 557.6, 1712.3380, 25, 12, 0.98),
    (24, 11.3, 556.1, 1712.3375, 50, 58, 0.96),
    (23, 10.6, 557.4, 2903.1172, 50, 35, 0.93),
    (5, 22.7, 56.8, 310.2210, 5, 30, 0.99),
    (5, 17.9, 56.7, 711.9027, 5, 30, 0.97),
    (5, 12.4, 56.9, 1498.0113, 5, 30, 0.88),
    (5, 10.2, 56.5, 2261.7340, 10, 31, 0.71),
    (31, 10.9, 1423.0, 88.1205, 250, 3, 0.64),
    (12, 10.1, 284.6, 2750.5512, 100, 66, 0.52),
)
#: Beams without results, and why.
_FAILED = {
    8: (BeamState.NO_AMBER, "AMBER wrote no header: look at its log on the node"),
    20: (BeamState.GIVEN_UP, "an empty summary was found"),
    33: (BeamState.UNREADABLE, "CB33_summary.yaml: a summary needs the numbers ncand_raw, ..."),
    38: (BeamState.MISSING, "arts038 does not answer"),
}


def example_report(folder: Path, source: str = "FRB20121102A", datetimesource: str = "") -> ObservationReport:
    """Return a report whose plots lie in a folder.

    Args:
        folder: for the plots
        source: name of the source, anything
        datetimesource: label; empty: from the start
    """
    observation = Observation("FRB", START, 3600.0, direction_deg=(82.9946, 33.1479))
    info = ObservationInfo(
        task_id=observation.task_id,
        datetimesource=datetimesource or f"{START:%Y-%m-%d-%H:%M:%S}.FRB20121102A",
        source=source,
        start=START,
        duration_s=3600.0,
        telescopes=tuple(f"RT{dish}" for dish in "23456789"),
        frame="J2000",
        dm_galactic=_DM_GALACTIC,
        centre_mhz=1369.6,
        bandwidth_mhz=300.0,
    )
    beams = tuple(_beam(cb, observation, folder, info) for cb in range(ARTS.ncompound_beam))
    return ObservationReport(info=info, beams=beams, written=START + timedelta(seconds=3741))


def _beam(cb: int, observation: Observation, folder: Path, info: ObservationInfo) -> BeamReport:
    state, reason = _FAILED.get(cb, (BeamState.DONE, ""))
    found = _candidates(cb, folder, info)
    counts: dict[str, int | None] = dict.fromkeys(STEPS)
    if state is BeamState.DONE:
        raw = 1200 + cb * 7919 % 30011
        counts = dict(zip(STEPS, (raw, raw // 31, raw // 250 + len(found), len(found)), strict=True))
    return BeamReport(
        cb=cb,
        node=f"arts{cb:03d}",
        state=state,
        reason=reason,
        counts=counts,
        candidates=found,
        coordinates=_coordinates(cb, observation),
        pages=_pages(folder / pages_name(cb)) if found else None,
        late=cb == 12,
    )


def _coordinates(cb: int, observation: Observation) -> BeamCoordinates:
    ra_deg, dec_deg = observation.phase_centre_deg(cb)
    gl_deg, gb_deg = galactic(SkyCoord(ra_deg, dec_deg, unit="deg"))
    return BeamCoordinates(cb=cb, ra_deg=ra_deg, dec_deg=dec_deg, gl_deg=float(gl_deg), gb_deg=float(gb_deg))


def _candidates(cb: int, folder: Path, info: ObservationInfo) -> tuple[Candidate, ...]:
    triggers = best_first(
        Trigger(cb=cb, snr=snr, dm=dm, time_s=time_s, downsamp=width, sb=sb, probability=p)
        for beam, snr, dm, time_s, width, sb, p in _FOUND
        if beam == cb
    )
    files = [candidates.write(folder / "data", _burst(trigger)) for trigger in triggers]
    if files:
        observed = Observed(info.datetimesource, cb, info.source, _BAND_MHZ, info.dm_galactic)
        write_pictures(folder, files, load_config().processor.visualizer, observed)
    return tuple(
        Candidate(trigger=trigger, picture=folder / picture_name(cb, row))
        for row, trigger in enumerate(triggers)
    )


def _burst(trigger: Trigger) -> candidates.Candidate:
    """Return a pulse in noise, and the bow tie that it makes in the DM-time plane."""
    random = np.random.default_rng(trigger.cb)
    freq_mhz = np.linspace(*_BAND_MHZ, 2 * 64 + 1)[1::2]
    data = random.normal(size=(64, 64))
    data[:, 32] += trigger.snr / 8 * (1 + 0.6 * np.sin(freq_mhz / 25))
    dms = np.linspace(trigger.dm - 10, trigger.dm + 10, 64)
    bin_s = trigger.downsamp * ARTS.tsamp_s
    residual_s = delay_s(dms[:, np.newaxis] - trigger.dm, freq_mhz, _BAND_MHZ[1])
    samples = (np.arange(64) + np.rint(residual_s / bin_s).astype(int)[..., np.newaxis]) % 64
    dm_time = data[np.arange(64)[:, np.newaxis], samples].sum(axis=1)
    return candidates.Candidate(
        data_freq_time=data.astype(np.float32),
        data_dm_time=dm_time.astype(np.float32),
        dms=dms,
        tsamp_s=ARTS.tsamp_s,
        sb=trigger.sb,
        dm=trigger.dm,
        snr=trigger.snr,
        toa_s=trigger.time_s,
        downsamp=trigger.downsamp,
        dm_amber=trigger.dm,
        snr_amber=trigger.snr,
        toa_amber_s=trigger.time_s,
        downsamp_amber=trigger.downsamp,
        prob_freqtime=trigger.probability,
    )


def _pages(path: Path) -> Path:
    with PdfWriter() as writer:
        writer.add_blank_page(595, 842)
        writer.write(path)
    return path
