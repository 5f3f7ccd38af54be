"""All that listens around a cluster: dada_dbevent of each node, LOFAR, the VOEvent broker, a mail server."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from darc.definitions import ARTS, Instrument
from darc.formats import voevent
from darc.science.dispersion import delay_s
from darc.simulation.broker import CometBroker
from darc.simulation.cluster import free_ports
from darc.simulation.dada_dbevent import (
    DadaDBEvent,
    Dropped,
    Event,
    MalformedMessageError,
    ReceivedMessage,
    RingBuffer,
    parse_message,
)
from darc.simulation.lofar_receiver import LOFARReceiver
from darc.simulation.mail_sink import MailSink
from darc.simulation.outcome import Sighting

#: Names of the receivers in tables.
LOFAR, VOEVENT = "LOFAR", "VOEvent"
#: Frequency in MHz and length in s of LOFAR's buffer, as the cluster of the demo has them configured.
LOFAR_FREQ_MHZ, LOFAR_BUFFER_S = 200.0, 5.0
#: Time in s from the start of a dumped window to its trigger.
WINDOW_BEFORE_S = 2.048


def event_ports(beams: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return free ports for the dada_dbevent of each compound beam, for Stokes I and IQUV."""
    ports = free_ports(2 * len(beams))
    return {beam: (ports[2 * i], ports[2 * i + 1]) for i, beam in enumerate(beams)}


def iquv(beam: int) -> str:
    """Return the name of the IQUV receiver of a compound beam."""
    return f"IQUV CB{beam:02d}"


class Receivers:
    """The receivers, which listen while in a `with` block; those of each node's data once there are any.

    Args:
        folder: for documents, mails and logs
        speed: seconds of data per second
        instrument: gives the band

    Attributes:
        start_unix: start of the data in unix seconds
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: float = 1.0,
        instrument: Instrument = ARTS,
    ) -> None:
        self.folder = folder
        self.start_unix = math.nan
        self.speed = speed
        self._instrument = instrument
        self.dada: dict[tuple[int, str], DadaDBEvent] = {}
        self.lofar = LOFARReceiver()
        self.mail = MailSink(folder / "mail")
        self.broker = CometBroker(folder / "broker")
        self._stack = ExitStack()

    def _data_clock(self) -> float:
        """Return the time that the data have reached, which runs faster in a fast replay."""
        return self.start_unix + (time.time() - self.start_unix) * self.speed

    def _wall_clock(self, data_unix: float) -> float:
        return self.start_unix + (data_unix - self.start_unix) / self.speed

    def __enter__(self) -> Self:
        """Listen; the ports of LOFAR, mail server and broker are known from now on."""
        with ExitStack() as stack:
            for receiver in (self.lofar, self.mail, self.broker):
                stack.enter_context(receiver)
            self._stack = stack.pop_all()
        return self

    def record(self, ports: Mapping[int, tuple[int, int]], utc_start: datetime, start_unix: float) -> None:
        """Have data recorded: dada_dbevent listens on every node.

        Args:
            ports: its ports for Stokes I and IQUV by compound beam
            utc_start: start of the data in whole seconds, as their headers carry it
            start_unix: start of the data in unix seconds
        """
        self.start_unix = start_unix
        for beam, pair in ports.items():
            for stokes, port in zip(("I", "IQUV"), pair, strict=True):
                buffer = RingBuffer(utc_start, observation_start_unix=start_unix)
                server = DadaDBEvent(buffer, port=port, clock=self._data_clock)
                self.dada[beam, stokes] = self._stack.enter_context(server)

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def settings(self) -> dict[str, Any]:
        """Return what the nodes' configuration has to say to reach the receivers, as often as they like."""
        unlimited = {"min_spacing": 0.0, "max_per_hour": None}
        return {
            "mail": {"host": "127.0.0.1", "port": self.mail.port, "sender": "darc@localhost"},
            "lofar_trigger": {
                "lofar_host": "127.0.0.1",
                "lofar_port": self.lofar.port,
                "lofar_freq": LOFAR_FREQ_MHZ,
                "lofar_tbb_buffer_size": LOFAR_BUFFER_S,
                "email_settings": {"to": ["astronomer@localhost"]},
                **unlimited,
            },
            "voevent_generator": {
                "broker_host": "127.0.0.1",
                "broker_port": self.broker.port,
                **unlimited,
            },
        }

    def sightings(self) -> list[Sighting]:
        """Return everything that was received, as bursts."""
        return [*self._dumps(), *self._freezes(), *self._documents()]

    def problems(self) -> list[str]:
        """Return what no receiver could make use of."""
        found = [
            f"dada_dbevent of CB{beam:02d}, Stokes {stokes}: {server.buffer.crash_reason}"
            for (beam, stokes), server in self.dada.items()
            if server.buffer.crash_reason
        ]
        found += [
            f"dada_dbevent of CB{beam:02d}, Stokes {stokes}: {outcome}"
            for (beam, stokes), server in self.dada.items()
            for record in server.received
            for outcome in record.outcomes
            if isinstance(outcome, Dropped)
        ]
        return found + [f"LOFAR: {packet.error}" for packet in self.lofar.received if packet.error]

    def _dumps(self) -> list[Sighting]:
        found = []
        for (beam, stokes), server in self.dada.items():
            name = iquv(beam) if stokes == "IQUV" else f"I CB{beam:02d}"
            for record in server.received:
                for event in _events(record):
                    time_s = event.start_ms / 1e3 + WINDOW_BEFORE_S
                    found.append(
                        Sighting(name, time_s, event.dm, self._wall_clock(record.completed_at), event.snr)
                    )
        return found

    def _freezes(self) -> list[Sighting]:
        top_mhz = self._instrument.top_freq_mhz(self._instrument.min_freq_mhz)
        found = []
        for received in self.lofar.received:
            if received.packet is not None:
                freeze = received.packet.freeze_time_s + received.packet.freeze_time_ms / 1e3
                delay = float(delay_s(received.packet.dm, LOFAR_FREQ_MHZ, top_mhz))
                time_s = freeze - LOFAR_BUFFER_S / 2 - delay - self.start_unix
                found.append(Sighting(LOFAR, time_s, received.packet.dm, received.arrived_at))
        return found

    def _documents(self) -> list[Sighting]:
        centre_mhz = self._instrument.centre_freq_mhz(self._instrument.min_freq_mhz)
        top_mhz = self._instrument.top_freq_mhz(self._instrument.min_freq_mhz)
        found = []
        for received in self.broker.received:
            event = voevent.parse(received.content)
            arrival = event.arrival_time.timestamp()
            time_s = arrival - float(delay_s(event.dm, centre_mhz, top_mhz)) - self.start_unix
            found.append(Sighting(VOEVENT, time_s, event.dm, received.arrived_at, event.snr))
        return found


def _events(record: ReceivedMessage) -> list[Event]:
    try:
        return parse_message(record.message)[1]
    except MalformedMessageError:
        return []  # `problems` tells
