"""Messages to dada_dbevent, which writes windows of the ring buffer to disk.

    N_EVENTS <n>
    <UTC_START>
    <START> <FRAC> <END> <FRAC> <DM> <SNR> <WIDTH> <BEAM>        n times

Every line ends with a newline. Times are `YYYY-MM-DD-HH:MM:SS` with the milliseconds, three digits, in a
field of their own. UTC_START is that of the data's headers; dada_dbevent compares its whole second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from darc.errors import DARCError
from darc.formats.utc import UTCError, from_unix_ms, header_text, parse_utc, unix_ms

#: Time in s before the trigger that a window includes: two pages of the ring buffer. dada_dbevent rounds a
#: start down to whole pages, but one inside its first page up.
WINDOW_BEFORE_S = 2.048

#: Beams have at most nine digits, which 32 bits hold.
_BEAMS = 10**9

_TIME = r"(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d)"
_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)"
_EVENT = re.compile(
    rf"{_TIME} (\d{{3}}) {_TIME} (\d{{3}}) {_NUMBER} {_NUMBER} {_NUMBER} (\d{{1,9}})", re.ASCII
)
_HEAD = re.compile(rf"N_EVENTS ([1-9]\d{{0,5}})\n{_TIME}\n", re.ASCII)


class DadaEventError(DARCError, ValueError):
    """An event or a message that dada_dbevent would not survive, or could not serve."""


@dataclass(frozen=True)
class DadaEvent:
    """One window to write to disk.

    Attributes:
        start_s: start of the window in s from the whole second UTC_START; sent to the millisecond
        end_s: its end
        dm: dispersion measure in pc cm^-3
        snr: signal-to-noise ratio
        width: width in samples
        beam: SB index

    Raises:
        DadaEventError: a value is negative or not finite, or the window ends before it starts
    """

    start_s: float
    end_s: float
    dm: float
    snr: float
    width: float
    beam: int

    def __post_init__(self) -> None:
        for name in ("start_s", "end_s", "dm", "snr", "width", "beam"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise DadaEventError(f"{name} of an event is {value}; it has to be finite and not negative")
        if _milliseconds(self.end_s) <= _milliseconds(self.start_s):
            raise DadaEventError(f"an event cannot start at {self.start_s} s and end at {self.end_s} s")
        if self.beam != int(self.beam) or self.beam >= _BEAMS:
            raise DadaEventError(f"beam of an event is {self.beam:g}; it has to be a whole number below 1e9")


def event_window(
    time_s: float,
    dm: float,
    *,
    obs_duration_s: float | None,
    min_window_s: float,
    delay_end_s: float,
    extra_s: float = WINDOW_BEFORE_S,
) -> tuple[float, float]:
    """Return start and end of the window around a trigger, in s from the start of the observation.

    The window is max(min_window_s, DM / 1000 s) + delay_end_s + extra_s long and begins extra_s before the
    trigger, but within the observation.

    Args:
        time_s: time of the trigger in s from the start of the observation
        dm: dispersion measure in pc cm^-3
        obs_duration_s: length of the observation in s; None if it is not known
        min_window_s: shortest window in s
        delay_end_s: time in s added after it
        extra_s: time in s before the trigger

    Raises:
        DadaEventError: the whole window lies outside the observation
    """
    start_s = max(time_s - extra_s, 0.0)
    end_s = start_s + max(min_window_s, dm / 1000) + delay_end_s + extra_s
    if obs_duration_s is not None:
        end_s = min(end_s, obs_duration_s)
    if not (math.isfinite(time_s) and time_s >= 0 and start_s < end_s):
        raise DadaEventError(f"a trigger at {time_s} s lies outside the observation of {obs_duration_s} s")
    return start_s, end_s


def build_message(utc_start: str, events: Sequence[DadaEvent]) -> bytes:
    """Return the message for events of one observation.

    Args:
        utc_start: start of the data as their headers carry it, `YYYY-MM-DD-HH:MM:SS`
        events: at least one

    Raises:
        DadaEventError: there is no event, or a time that cannot be written
    """
    if not events:
        raise DadaEventError("a message needs at least one event")
    try:
        start = parse_utc(utc_start)
        if start.microsecond:
            raise DadaEventError(f"UTC_START {utc_start} is not a whole second")
        lines = [_event_line(unix_ms(start), event) for event in events]
    except UTCError as error:
        raise DadaEventError(str(error)) from error
    return "\n".join([f"N_EVENTS {len(events)}", header_text(start), *lines, ""]).encode("ascii")


def _event_line(utc_start_ms: int, event: DadaEvent) -> str:
    times = []
    for seconds in (event.start_s, event.end_s):
        unix = utc_start_ms + _milliseconds(seconds)
        times.append(f"{header_text(from_unix_ms(unix))} {unix % 1000:03d}")
    numbers = [f"{float(value):.10g}" for value in (event.dm, event.snr, event.width)]
    return " ".join([*times, *numbers, str(int(event.beam))])


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def parse_message(data: bytes) -> tuple[str, list[DadaEvent]]:
    """Return UTC_START and the events of a message.

    Raises:
        DadaEventError: the message deviates in any way from the form that `build_message` writes
    """
    text = data.decode("ascii", "replace")
    head = _HEAD.match(text)
    if not head:
        raise DadaEventError(f"a message has to begin with N_EVENTS and UTC_START, not {text[:80]!r}")
    lines = text[head.end() :].split("\n")
    if lines.pop() != "" or len(lines) != int(head[1]):
        raise DadaEventError(f"{head[1]} complete lines were announced, {len(lines)} came")
    try:
        start_ms = unix_ms(parse_utc(head[2]))
        return head[2], [_parse_event(line, start_ms) for line in lines]
    except UTCError as error:
        raise DadaEventError(str(error)) from error


def _parse_event(line: str, utc_start_ms: int) -> DadaEvent:
    fields = _EVENT.fullmatch(line)
    if not fields:
        raise DadaEventError(f"not an event: {line[:120]!r}")
    start, start_ms, end, end_ms, dm, snr, width, beam = fields.groups()
    start_s, end_s = (
        (unix_ms(parse_utc(whole)) + int(milliseconds) - utc_start_ms) / 1000
        for whole, milliseconds in ((start, start_ms), (end, end_ms))
    )
    return DadaEvent(start_s, end_s, float(dm), float(snr), float(width), int(beam))
