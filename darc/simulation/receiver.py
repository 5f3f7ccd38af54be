"""What the stand-ins that listen have in common: the thread, the socket, the records."""

from __future__ import annotations

import multiprocessing.connection
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from darc.errors import DARCError

Record = TypeVar("Record")


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
