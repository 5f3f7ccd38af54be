"""The UDP packet that makes LOFAR freeze its transient buffers.

One datagram of 11 bytes, big-endian: 0x99, 0xA0, freeze time (unix seconds in signed 32 bit, milliseconds in
16 bit), DM in tenths of pc cm^-3 in 16 bit, `T` for a test or `S` for an observation.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from darc.errors import DARCError
from darc.formats.utc import UTCError, from_unix_ms, isot_text, parse_utc, unix_ms

_PACKET = struct.Struct(">cciHHc")
_MARKS = b"\x99", b"\xa0"
_FLAGS = {True: b"T", False: b"S"}
#: What fits into the fields.
_SECONDS_END = 2**31
_DM_MAX = 6553.5


class LofarPacketError(DARCError):
    """A value does not fit the packet, or bytes are not a packet."""


@dataclass(frozen=True)
class LofarPacket:
    """What a packet says.

    Attributes:
        freeze_time_ms: when to freeze the buffers, in unix milliseconds
        dm: dispersion measure in pc cm^-3, a multiple of 0.1
        test: whether this is a test
    """

    freeze_time_ms: int
    dm: float
    test: bool

    def __str__(self) -> str:
        kind = "test" if self.test else "observation"
        when = isot_text(from_unix_ms(self.freeze_time_ms), "milliseconds")
        return f"freeze at {when}, DM {self.dm:.1f}, {kind}"


def freeze_time(arrival_utc: str, delay_s: float, buffer_s: float) -> int:
    """Return when to freeze the buffers, in unix milliseconds: when the pulse is in the middle of them.

    Args:
        arrival_utc: arrival time of the pulse in ISOT format
        delay_s: dispersion delay in s from the frequency of that time down to LOFAR's
        buffer_s: length of LOFAR's buffers in s

    Raises:
        LofarPacketError: the arrival time cannot be read, or a time is negative or not finite
    """
    for name, value in (("dispersion delay", delay_s), ("buffer size", buffer_s)):
        if not (math.isfinite(value) and value >= 0):
            raise LofarPacketError(f"the {name} is {value} s; it has to be finite and not negative")
    try:
        arrival = parse_utc(arrival_utc)
    except UTCError as error:
        raise LofarPacketError(f"arrival time: {error}") from error
    # added in whole microseconds, so that it is rounded once
    microseconds = arrival.microsecond + round((delay_s + buffer_s / 2) * 1e6)
    return unix_ms(arrival.replace(microsecond=0)) + (microseconds + 500) // 1000


def pack(freeze_time_ms: int, dm: float, test: bool) -> bytes:
    """Return the packet.

    Args:
        freeze_time_ms: when to freeze the buffers, in unix milliseconds
        dm: dispersion measure in pc cm^-3, sent in tenths
        test: whether this is a test

    Raises:
        LofarPacketError: a value does not fit
    """
    seconds, milliseconds = divmod(freeze_time_ms, 1000)
    if not 0 <= seconds < _SECONDS_END:
        raise LofarPacketError(
            f"freeze time {seconds} s does not fit the packet: only 1970 to 2038-01-19 does (signed 32 bit)"
        )
    if not 0 <= dm <= _DM_MAX:
        raise LofarPacketError(
            f"DM {dm} does not fit the packet: only 0 to {_DM_MAX} pc/cm3 does (16 bit, tenths)"
        )
    return _PACKET.pack(*_MARKS, seconds, milliseconds, round(dm * 10), _FLAGS[test])


def unpack(data: bytes) -> LofarPacket:
    """Return what a packet says.

    Raises:
        LofarPacketError: the bytes are not a packet
    """
    if len(data) != _PACKET.size:
        raise LofarPacketError(f"a packet has {_PACKET.size} bytes, not {len(data)}")
    first, second, seconds, milliseconds, tenths, flag = _PACKET.unpack(data)
    if (first, second) != _MARKS or flag not in _FLAGS.values() or seconds < 0 or milliseconds >= 1000:
        raise LofarPacketError(f"not a packet that freezes the buffers: {data.hex(' ')}")
    return LofarPacket(seconds * 1000 + milliseconds, tenths / 10, flag == _FLAGS[True])
