"""A worker's side of the queues on the master node: whoever puts an item never waits for the network."""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from darc.errors import DARCError
from darc.network import plain_data
from darc.network.queue_server import Address, QueueServer
from darc.network.retry import RetryPolicy


class QueueUnavailableError(DARCError):
    """The server did not take the item, but may later: it cannot be reached or its queue is full."""


class DeliveryUnknownError(QueueUnavailableError):
    """The connection broke after the item was sent: nobody knows whether the server took it."""


class ItemRefusedError(DARCError):
    """The server will never take this item."""


class QueueConnection:
    """A connection to a queue server of which every step is bounded in time.

    `BaseManager.connect` and its proxies wait for a silent server without end, and unpickle what it says.

    Args:
        server_class: what the queue server is called in messages.
        address: its host and port.
        authkey: its key.
        timeout_s: longest time for a single step in s.

    Raises:
        QueueUnavailableError: if the server cannot be reached or does not accept the key.
    """

    def __init__(
        self, server_class: type[QueueServer], address: Address, authkey: bytes, timeout_s: float
    ) -> None:
        self._where = f"{server_class.__name__} on {address[0]}:{address[1]}"
        self._timeout_s = timeout_s
        with self._unavailable():
            with _connect(address, authkey, timeout_s) as opening:
                self._ident, _ = _answer(opening, None, "create", "get_queue")
            self._connection = _connect(address, authkey, timeout_s)
            _answer(self._connection, None, "accept_connection", "remote queue")

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise QueueUnavailableError(
                f"{self._where} has another key: server_auth has to be the same on all nodes"
            ) from error
        except (OSError, EOFError, AssertionError, ValueError, DARCError) as error:
            raise QueueUnavailableError(f"{self._where} is not available: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        return f"nothing within {self._timeout_s:g} s" if isinstance(error, BlockingIOError) else repr(error)

    def alive(self) -> bool:
        """Whether the server has not ended the connection, as far as this host knows."""
        return not self._connection.poll()

    def put(self, item: Any) -> None:
        """Put an item on the queue of the server.

        Raises:
            QueueUnavailableError: if it was certainly not put.
            DeliveryUnknownError: if it may have been put.
            ItemRefusedError: if the server does not accept it.
        """
        with self._unavailable():
            _send(self._connection, self._ident, "put", item, True, self._timeout_s / 2)
        try:
            kind, value = _receive(self._connection)
        except plain_data.PlainDataError as error:  # an exception of the queue, which can only be queue.Full
            raise QueueUnavailableError(f"the queue of {self._where} is full") from error
        except (OSError, EOFError, ValueError) as error:
            raise DeliveryUnknownError(f"{self._where} has not answered: {self._reason(error)}") from error
        if kind != "#RETURN":
            raise ItemRefusedError(f"{self._where} refused the item: {value}")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _connect(address: Address, authkey: bytes, timeout_s: float) -> Connection:
    with socket.create_connection(address, timeout_s) as sock:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fraction, whole = math.modf(timeout_s)
        timeval = struct.pack("@ll", int(whole), int(fraction * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, timeval)
        connection = Connection(sock.detach())
    answer_challenge(connection, authkey)
    deliver_challenge(connection, authkey)
    return connection


def _send(connection: Connection, ident: str | None, method: str, *arguments: Any) -> None:
    connection.send_bytes(pickle.dumps((ident, method, arguments, {}), protocol=4))


def _receive(connection: Connection) -> tuple[str, Any]:
    kind, value = plain_data.loads(connection.recv_bytes())
    return kind, value


def _answer(connection: Connection, ident: str | None, method: str, *arguments: Any) -> Any:
    """Return the result of a request that opens a connection."""
    _send(connection, ident, method, *arguments)
    kind, value = _receive(connection)
    if kind != "#RETURN":
        raise DARCError(f"it refused {method}: {value}")
    return value


@dataclass(frozen=True)
class _Entry:
    """An item and when it was put."""

    item: Any
    put_at: float


class RemoteQueue:
    """Sends items to a queue server from a thread of its own, in order, over restarts of the server.

    What became of each item stands in the log.

    Args:
        server_class: class of the queue server.
        address: its host and port.
        authkey: its key.
        name: what the log calls this queue.
        retry: pauses between attempts; if it gives up, so are all items that wait.
        max_age_s: items that could not be sent within this time in s are dropped.
        max_items: number of items that may wait; beyond it the oldest are dropped.
        repeat: whether an item of which nobody knows if the server took it is sent again. False for items
            that must not arrive twice.
        timeout_s: longest time for each step of an exchange with the server in s.
        clock: monotonic time in s.
        logger: where to log.
        connect: makes a connection, for tests.

    Attributes:
        delivered: number of items that the server took.
        dropped: number of items that were given up or refused.
    """

    def __init__(
        self,
        server_class: type[QueueServer],
        address: Address,
        authkey: str | bytes,
        *,
        name: str,
        retry: RetryPolicy | None = None,
        max_age_s: float = 60.0,
        max_items: int = 1000,
        repeat: bool = True,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        logger: logging.Logger | None = None,
        connect: Callable[..., QueueConnection] = QueueConnection,
    ) -> None:
        self.delivered = 0
        self.dropped = 0
        key = authkey.encode() if isinstance(authkey, str) else authkey
        self._connect: Callable[[], QueueConnection] = partial(connect, server_class, address, key, timeout_s)
        self._name, self._max_age_s, self._max_items, self._repeat = name, max_age_s, max_items, repeat
        self._retry = retry or RetryPolicy(first_s=0.5, max_s=10)
        self._clock = clock
        self._logger = logger or logging.getLogger(__name__)
        self._connection: QueueConnection | None = None
        self._reported = ""
        self._items: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._closing = self._aborted = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of items that wait, without the one being sent."""
        return len(self._items)

    def put(self, item: Any) -> None:
        """Queue an item to be sent; returns at once.

        Raises:
            PlainDataError: if the server would not take it, since it is not plain data.
            ValueError: if the queue is closed.
        """
        entry = _Entry(plain_data.plain_copy(item), self._clock())
        with self._changed:
            if self._closing:
                raise ValueError(f"{self._name} is closed")
            self._items.append(entry)
            excess = [self._items.popleft() for _ in range(len(self._items) - self._max_items)]
            self._changed.notify_all()
        self._drop(excess, f"more than {self._max_items} wait")

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits for at most `timeout` seconds, then give up the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            self._aborted = True
            left = list(self._items)
            self._items.clear()
            self._changed.notify_all()
        self._drop(left, "the queue was closed")

    def _run(self) -> None:
        self._is_connected()  # so that a wrong key or address shows in the log before the first item comes
        pauses = self._retry.delays(self._clock)
        while (entry := self._next()) is not None:
            if self._send(entry):
                pauses = self._retry.delays(self._clock)
                continue
            pause = next(pauses, None)
            with self._changed:
                self._items.appendleft(entry)
            if pause is None or self._aborted:
                self._drop(self._take_all(), "no further attempts")
                pauses = self._retry.delays(self._clock)
            else:
                self._pause(pause)
        self._disconnect()

    def _next(self) -> _Entry | None:
        """Wait for the next item that is not too old; None when the queue is closed and empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closing)
                if not self._items:
                    return None
                entry = self._items.popleft()
            if self._clock() - entry.put_at <= self._max_age_s:
                return entry
            self._drop([entry], f"older than {self._max_age_s:g} s")

    def _send(self, entry: _Entry) -> bool:
        """Try to send an item; return whether it is settled, in one way or another."""
        if not self._is_connected() or self._connection is None:
            return False
        try:
            self._connection.put(entry.item)
        except ItemRefusedError as error:
            self._drop([entry], str(error))
            return True
        except QueueUnavailableError as error:
            self._disconnect()
            self._report(error)
            if self._repeat or not isinstance(error, DeliveryUnknownError):
                return False
            self._drop([entry], "it may have arrived and must not arrive twice")
            return True
        self.delivered += 1
        self._reported = ""
        age_s = self._clock() - entry.put_at
        self._logger.info("%s: delivered after %.3f s: %s", self._name, age_s, entry.item)
        return True

    def _is_connected(self) -> bool:
        if self._connection is not None and not self._connection.alive():
            self._disconnect()
        if self._connection is None:
            try:
                self._connection = self._connect()
            except QueueUnavailableError as error:
                self._report(error)
                return False
            self._logger.info("%s: connected", self._name)
        return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _report(self, error: DARCError) -> None:
        """Log a failure, loudly only when it differs from the last one or something was delivered since."""
        level = logging.DEBUG if self._reported == str(error) else logging.WARNING
        self._logger.log(level, "%s: %s", self._name, error)
        self._reported = str(error)

    def _pause(self, pause_s: float) -> None:
        """Wait before the next attempt, shortly when the queue is being closed."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, pause_s)
            else:
                self._changed.wait_for(lambda: self._aborted, min(pause_s, self._retry.first_s))

    def _take_all(self) -> list[_Entry]:
        with self._changed:
            taken = list(self._items)
            self._items.clear()
        return taken

    def _drop(self, entries: Iterable[_Entry], reason: str) -> None:
        for entry in entries:
            with self._changed:
                self.dropped += 1
            age_s = self._clock() - entry.put_at
            self._logger.error("%s: dropped after %.3f s, %s: %s", self._name, age_s, reason, entry.item)
