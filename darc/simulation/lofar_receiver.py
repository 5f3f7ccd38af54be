"""LOFAR's side of a trigger: receives the UDP packet that freezes the transient buffers."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from darc.errors import DARCError
from darc.simulation.receiver import SocketReceiver

#: the two marks, freeze time (s, ms), tenths of DM, observation or test; big-endian
_PACKET = struct.Struct(">2siHHc")
_MARKS = b"\x99\xa0"
_MAX_DATAGRAM = 65535


class InvalidPacketError(DARCError):
    """A datagram that LOFAR would not take for a trigger."""


@dataclass(frozen=True)
class LOFARPacket:
    """A decoded trigger.

    Attributes:
        freeze_time_s: time at which the buffers are frozen, whole unix seconds.
        freeze_time_ms: milliseconds to add to it, 0 to 999.
        dm: dispersion measure in pc/cm3, to 0.1.
        test: a test, not an observation.

    """

    freeze_time_s: int
    freeze_time_ms: int
    dm: float
    test: bool


def decode(datagram: bytes) -> LOFARPacket:
    """Decode a datagram.

    Raises:
        InvalidPacketError: length, marks, time or flag are not those of a trigger.

    """
    if len(datagram) != _PACKET.size:
        raise InvalidPacketError(f"{len(datagram)} bytes instead of {_PACKET.size}")
    marks, seconds, milliseconds, dm_tenths, flag = _PACKET.unpack(datagram)
    if marks != _MARKS:
        raise InvalidPacketError(f"begins with {marks.hex(' ')} instead of {_MARKS.hex(' ')}")
    if seconds < 0:
        raise InvalidPacketError(f"freeze time {seconds} s is before 1970: signed 32-bit seconds end in 2038")
    if milliseconds > 999:
        raise InvalidPacketError(f"{milliseconds} ms: a full second is carried into the seconds")
    if flag not in (b"T", b"S"):
        raise InvalidPacketError(f"flag {flag!r} is neither T (test) nor S (observation)")
    return LOFARPacket(seconds, milliseconds, dm_tenths / 10, flag == b"T")


@dataclass(frozen=True)
class ReceivedPacket:
    """One datagram: `packet` if it is a trigger, else `error` says why it is none.

    Attributes:
        arrived_at: unix time in s.
        raw: the datagram as it came.

    """

    arrived_at: float
    raw: bytes
    packet: LOFARPacket | None = None
    error: str | None = None


class LOFARReceiver(SocketReceiver[ReceivedPacket]):
    """Receives triggers as LOFAR would; `received` holds every datagram, valid or not."""

    def _bind(self, address: tuple[str, int]) -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(address)
        except OSError:
            udp.close()
            raise
        return udp

    def _serve(self) -> None:
        while self._wait(self._socket):
            datagram = self._socket.recv(_MAX_DATAGRAM)
            arrived_at = self._clock()
            try:
                self._record(ReceivedPacket(arrived_at, datagram, packet=decode(datagram)))
            except InvalidPacketError as error:
                self._record(ReceivedPacket(arrived_at, datagram, error=str(error)))
