"""LOFAR's side of a trigger: receives the UDP packet that freezes the transient buffers.

`SocketReceiver` is what the stand-ins that listen have in common: the thread, the socket, the records.
"""

from __future__ import annotations

import multiprocessing.connection
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from darc.errors import DARCError

Record = TypeVar("Record")

#: the two marks, freeze time (s, ms), tenths of DM, observation or test; big-endian
_PACKET = struct.Struct(">2siHHc")
_MARKS = b"\x99\xa0"
_MAX_DATAGRAM = 65535


class SocketReceiver(ABC, Generic[Record]):
    """A thread that serves one socket for the length of a `with` block and keeps what it received.

    Leaving the block ends the thread, whatever it is waiting for, and frees the port.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        clock: gives the unix time in s.

    """

    def __init__(
        self, *, host: str = "localhost", port: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self.host = host
        self._requested_port = port
        self._clock = clock
        self._records: list[Record] = []
        self._changed = threading.Condition()

    def _bind(self, address: tuple[str, int]) -> socket.socket:
        """Open the socket: TCP, unless a receiver says otherwise."""
        return socket.create_server(address)

    @abstractmethod
    def _serve(self) -> None:
        """Serve the socket until `_wait` says no."""

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            DARCError: the address cannot be listened on.

        """
        try:
            self._socket = self._bind((self.host, self._requested_port))
        except OSError as error:
            where = f"{self.host} port {self._requested_port}"
            raise DARCError(
                f"{type(self).__name__} cannot listen on {where} ({error.strerror}): choose another port"
            ) from error
        self._port: int = self._socket.getsockname()[1]
        self._closing, self._closer = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=type(self).__name__)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closer.close()
        self._thread.join()
        self._closing.close()
        self._socket.close()

    @property
    def port(self) -> int:
        """Port it listens on."""
        return self._port

    @property
    def received(self) -> list[Record]:
        """What came so far, in order of arrival."""
        with self._changed:
            return list(self._records)

    def wait_received(self, count: int, timeout_s: float | None = None) -> bool:
        """Wait until at least `count` records exist; False if they do not within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._records) >= count, timeout_s)

    def _record(self, record: Record) -> None:
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()

    def _wait(self, source: socket.socket | None = None, timeout_s: float | None = None) -> bool:
        """Wait until `source` can be read or the time is over; False if the receiver is being closed."""
        sources = [self._closing] if source is None else [self._closing, source]
        return self._closing not in multiprocessing.connection.wait(sources, timeout_s)


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
