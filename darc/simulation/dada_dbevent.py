"""The receiving end of a dump trigger: a stand-in for dada_dbevent, as strict as the real one.

dada_dbevent watches a ring buffer of search data and writes the windows it is told to disk. `RingBuffer`
decides what happens to a message, without sockets or a clock; `DadaDBEvent` serves it on a TCP port.
`python -m darc.simulation.dada_dbevent --help` runs it alone.
"""

from __future__ import annotations

import argparse
import math
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from darc.definitions import ARTS
from darc.errors import DARCError
from darc.simulation.receiver import SocketReceiver

#: page of the ring buffer in ms; all its arithmetic is in whole milliseconds, the resolution of the messages
PAGE_MS = round(ARTS.batch_s * 1000)

_N_EVENTS = re.compile(r"N_EVENTS (\d{1,9})")
_DATE_FORMAT = "%Y-%m-%d-%H:%M:%S"
_DATE = re.compile(r"\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d")
_MILLISECONDS = re.compile(r"\d{3}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_INTEGER = re.compile(r"\d{1,9}")
_FIELDS = {
    "START": _DATE,
    "FRAC of START": _MILLISECONDS,
    "END": _DATE,
    "FRAC of END": _MILLISECONDS,
    "DM": _NUMBER,
    "SNR": _NUMBER,
    "WIDTH": _NUMBER,
    "BEAM": _INTEGER,
}


class MalformedMessageError(DARCError):
    """A message that the real dada_dbevent does not survive."""


@dataclass(frozen=True)
class Event:
    """One event of a message.

    Attributes:
        start_ms: start of the window to dump, in ms from the message's UTC_START.
        end_ms: its end.
        dm: dispersion measure in pc/cm3.
        snr: signal-to-noise ratio.
        width: width in samples.
        beam: synthesised beam.

    """

    start_ms: int
    end_ms: int
    dm: float
    snr: float
    width: float
    beam: int


@dataclass(frozen=True)
class Dump:
    """Whole pages written to disk: from `start_ms` to `end_ms` after UTC_START, for these events."""

    start_ms: int
    end_ms: int
    events: tuple[Event, ...]

    def __str__(self) -> str:
        return f"dumped {self.start_ms / 1000:.3f}-{self.end_ms / 1000:.3f} s for {len(self.events)} event(s)"


@dataclass(frozen=True)
class Dropped:
    """An event of which nothing is written, and why."""

    event: Event
    reason: str

    def __str__(self) -> str:
        return f"dropped the event at {self.event.start_ms / 1000:.3f} s: {self.reason}"


@dataclass(frozen=True)
class Crashed:
    """The message ended the receiver."""

    reason: str

    def __str__(self) -> str:
        return f"crashed: {self.reason}"


Outcome = Dump | Dropped | Crashed


def parse_date(text: str) -> datetime:
    """Read `YYYY-MM-DD-HH:MM:SS` (UTC).

    Raises:
        ValueError: the text is no such date.

    """
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not a date YYYY-MM-DD-HH:MM:SS")
    return datetime.strptime(text, _DATE_FORMAT).replace(tzinfo=UTC)


def parse_message(message: bytes) -> tuple[datetime, list[Event]]:
    """UTC_START and the events of a message.

    Raises:
        MalformedMessageError: any departure from the format, with the line and what is wrong with it.

    """
    try:
        *lines, rest = message.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedMessageError(f"byte {error.start} is not ASCII") from error
    if rest:
        raise MalformedMessageError(f"the last line does not end with a newline: {rest[:80]!r}")
    header = _N_EVENTS.fullmatch(lines[0]) if lines else None
    if header is None:
        raise MalformedMessageError("the first line is not N_EVENTS <n>")
    announced, found = int(header[1]), len(lines) - 2
    if found != announced:
        raise MalformedMessageError(f"{announced} events announced, {max(found, 0)} received")
    try:
        utc_start = parse_date(lines[1])
        return utc_start, [_parse_event(line, utc_start) for line in lines[2:]]
    except ValueError as error:
        raise MalformedMessageError(str(error)) from error


def _parse_event(line: str, utc_start: datetime) -> Event:
    """Parse one event; ValueError if it is malformed."""
    fields = line.split(" ")
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{len(fields)} fields instead of {len(_FIELDS)}: {line[:120]!r}")
    for (name, form), text in zip(_FIELDS.items(), fields, strict=True):
        if not form.fullmatch(text):
            raise ValueError(f"{name} is {text[:80]!r}: {line[:120]!r}")
    start_ms, end_ms = (
        (parse_date(date) - utc_start) // timedelta(milliseconds=1) + int(fraction)
        for date, fraction in (fields[0:2], fields[2:4])
    )
    if end_ms <= start_ms:
        raise ValueError(f"the window does not end after its start: {line[:120]!r}")
    dm, snr, width = map(float, fields[4:7])
    if not (math.isfinite(dm) and math.isfinite(snr) and math.isfinite(width)):
        raise ValueError(f"a number is too large: {line[:120]!r}")
    return Event(start_ms, end_ms, dm, snr, width, beam=int(fields[7]))


def pages(event: Event) -> tuple[int, int]:
    """Start and end in ms of the pages that are dumped for an event.

    The start is rounded down and the end up, except that a start inside the first page of the data is
    rounded up.
    """
    start_ms = event.start_ms // PAGE_MS * PAGE_MS
    if 0 < event.start_ms < PAGE_MS:
        start_ms = PAGE_MS
    return start_ms, -(-event.end_ms // PAGE_MS) * PAGE_MS


class RingBuffer:
    """What dada_dbevent does with a message, as a function of its bytes and the time.

    Args:
        utc_start: UTC_START of the data's header (with a time zone); its whole seconds count.
        observation_start_unix: unix time in s at which the first sample was written; by default that of
            the header.
        history_s: seconds of data that are kept.

    """

    def __init__(
        self,
        utc_start: datetime,
        *,
        observation_start_unix: float | None = None,
        history_s: float = ARTS.ring_buffer_s,
    ) -> None:
        self.utc_start = utc_start.replace(microsecond=0)
        self.crash_reason: str | None = None
        self._start_unix = (
            self.utc_start.timestamp() if observation_start_unix is None else observation_start_unix
        )
        self._history_ms = history_s * 1000
        self._dumped_ms = 0

    @property
    def state(self) -> Literal["running", "crashed"]:
        """Whether it still takes messages."""
        return "running" if self.crash_reason is None else "crashed"

    def complete_at(self, dump: Dump) -> float:
        """Unix time in s at which the last page of a dump has been recorded."""
        return self._start_unix + dump.end_ms / 1000

    def receive(self, message: bytes, now: float) -> list[Outcome]:
        """Decide on a complete message that is read at unix time `now` (s).

        Returns:
            What happens to its events: those dropped, then the dumps in order of time. A malformed
            message, and every message after one, gives a single `Crashed`.

        """
        if self.crash_reason is not None:
            return [Crashed(self.crash_reason)]
        try:
            utc_start, events = parse_message(message)
        except MalformedMessageError as error:
            self.crash_reason = str(error)
            return [Crashed(self.crash_reason)]
        dropped: list[Outcome] = []
        accepted: list[Event] = []
        for event in events:
            reason = self._refusal(utc_start, event, now)
            if reason is None:
                accepted.append(event)
            else:
                dropped.append(Dropped(event, reason))
        dumps = _merge(accepted)
        if dumps:
            self._dumped_ms = dumps[-1].end_ms
        return [*dropped, *dumps]

    def _refusal(self, utc_start: datetime, event: Event, now: float) -> str | None:
        """Why an event is dropped, None if it is not."""
        if utc_start != self.utc_start:
            return f"UTC_START {utc_start:{_DATE_FORMAT}} is not the data's {self.utc_start:{_DATE_FORMAT}}"
        start_ms, end_ms = pages(event)
        oldest_ms = max(0.0, (now - self._start_unix) * 1000 - self._history_ms)
        if start_ms < oldest_ms:
            return f"starts at {start_ms / 1000:.3f} s, data are kept from {oldest_ms / 1000:.3f} s on"
        if start_ms < self._dumped_ms:
            return f"starts before the end of the last dump, {self._dumped_ms / 1000:.3f} s"
        if end_ms <= start_ms:
            return "lies inside the first page, which is not dumped unless the window starts with it"
        return None


def _merge(events: Sequence[Event]) -> list[Dump]:
    """Turn events of one message into dumps in order of time; events whose pages overlap share one."""
    dumps: list[Dump] = []
    for event in sorted(events, key=pages):
        start_ms, end_ms = pages(event)
        if dumps and start_ms < dumps[-1].end_ms:
            last = dumps.pop()
            dumps.append(Dump(last.start_ms, max(last.end_ms, end_ms), (*last.events, event)))
        else:
            dumps.append(Dump(start_ms, end_ms, (event,)))
    return dumps


@dataclass(frozen=True)
class ReceivedMessage:
    """One connection.

    Attributes:
        accepted_at: unix time in s at which the receiver turned to the connection.
        completed_at: unix time in s of the last byte, or of the end of the connection if none came.
        message: the bytes.
        outcomes: what became of its events.

    """

    accepted_at: float
    completed_at: float
    message: bytes
    outcomes: tuple[Outcome, ...]


class DadaDBEvent(SocketReceiver[ReceivedMessage]):
    """Serves a `RingBuffer` on a TCP port, one connection at a time, one message per connection.

    A message ends where the sender closes (or shuts down) its side; a slow sender holds up all others, and
    so does a dump until its data exist. There is no reply: the connection is closed after the dump. A
    malformed message, an empty connection included, ends the receiver: the port is closed.
    """

    def __init__(
        self,
        buffer: RingBuffer,
        *,
        host: str = "localhost",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(host=host, port=port, clock=clock)
        self.buffer = buffer

    def _serve(self) -> None:
        while self.buffer.state == "running" and self._wait(self._socket):
            connection, _ = self._socket.accept()
            with connection:
                accepted_at = self._clock()
                content = self._read(connection)
                if content is not None:
                    self._handle(accepted_at, *content)

    def _read(self, connection: socket.socket) -> tuple[float, bytes] | None:
        """Time of the last byte and all bytes until the sender's end; None if the receiver closes first."""
        message, completed_at = bytearray(), self._clock()
        while self._wait(connection):
            try:
                data = connection.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return completed_at, bytes(message)
            completed_at = self._clock()
            message += data
        return None

    def _handle(self, accepted_at: float, completed_at: float, message: bytes) -> None:
        """Decide on a message and return when the last of its data have been dumped."""
        outcomes = self.buffer.receive(message, self._clock())
        if self.buffer.state == "crashed":
            self._socket.close()
        self._record(ReceivedMessage(accepted_at, completed_at, message, tuple(outcomes)))
        for dump in outcomes:
            if isinstance(dump, Dump):
                self._wait_until(self.buffer.complete_at(dump))

    def _wait_until(self, unix: float) -> None:
        while (remaining_s := unix - self._clock()) > 0 and self._wait(timeout_s=remaining_s):
            pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stand-in until it crashes (exit code 1) or is interrupted; print what becomes of events."""
    parser = argparse.ArgumentParser(prog="python -m darc.simulation.dada_dbevent", description=main.__doc__)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
    parser.add_argument(
        "--utc-start", type=parse_date, required=True, help="UTC_START of the data, YYYY-MM-DD-HH:MM:SS"
    )
    parser.add_argument(
        "--observation-start",
        type=float,
        metavar="UNIX",
        help="time of the first sample (default: UTC_START)",
    )
    parser.add_argument(
        "--history", type=float, default=ARTS.ring_buffer_s, metavar="S", help="seconds of data that are kept"
    )
    options = parser.parse_args(arguments)
    buffer = RingBuffer(
        options.utc_start, observation_start_unix=options.observation_start, history_s=options.history
    )
    try:
        with DadaDBEvent(buffer, host=options.host, port=options.port) as receiver:
            print(f"listening on {receiver.host} port {receiver.port}", flush=True)
            told: list[Outcome] = []
            count = 0
            # by what was told: the buffer may have crashed while this was telling of an earlier message
            while not any(isinstance(outcome, Crashed) for outcome in told):
                receiver.wait_received(count + 1)
                messages = receiver.received[count:]
                count += len(messages)
                told = [outcome for message in messages for outcome in message.outcomes]
                print(*told, sep="\n", flush=True)
    except KeyboardInterrupt:
        return 0
    except DARCError as error:
        print(error, file=sys.stderr)
        return 1
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
