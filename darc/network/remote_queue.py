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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from darc import metrics
from darc.errors import DARCError
from darc.network import plain_data
from darc.network.item_spool import ItemFile, ItemSpool
from darc.network.ordered_sender import OrderedSender, Waiting
from darc.network.queue_server import Address, QueueServer
from darc.network.retry import RetryPolicy

_NOT_TWICE = "it may have arrived and must not arrive twice"


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

    def answers(self) -> bool:
        """Whether the server answers now: one that lost power or its link has not ended the connection."""
        try:
            return self.alive() and isinstance(_answer(self._connection, self._ident, "empty"), bool)
        except (OSError, EOFError, TypeError, ValueError, DARCError):
            return False

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


@dataclass(eq=False)
class _Item:
    """An item on its way.

    Attributes:
        value: what was put
        place: its file, if it has one
    """

    value: Any
    place: ItemFile | None


class RemoteQueue:
    """Sends items to a queue server from a thread of its own, in order, over restarts of the server.

    With a spool also over restarts of this process: items wait on disk, and those that an earlier process
    left are sent first. What became of each item stands in the log.

    Args:
        server_class: class of the queue server.
        address: its host and port.
        authkey: its key.
        name: what the log calls this queue.
        spool: where items wait; None: in memory only.
        kind: what is sent, for the metrics, which then count what is given up.
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
        spool: ItemSpool | None = None,
        kind: str | None = None,
        retry: RetryPolicy | None = None,
        max_age_s: float = 60.0,
        max_items: int = 1000,
        repeat: bool = True,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        logger: logging.Logger | None = None,
        connect: Callable[..., QueueConnection] = QueueConnection,
    ) -> None:
        self.delivered = self.dropped = 0
        key = authkey.encode() if isinstance(authkey, str) else authkey
        self._connect: Callable[[], QueueConnection] = partial(connect, server_class, address, key, timeout_s)
        self._name, self._spool, self._kind, self._repeat = name, spool, kind, repeat
        self._logger, self._reported = logger or logging.getLogger(__name__), ""
        self._connection: QueueConnection | None = None
        self._counting = threading.Lock()
        self._sender = OrderedSender(
            name,
            self._send,
            self._drop,
            self._leave,
            retry=retry or RetryPolicy(first_s=0.5, max_s=10),
            max_age_s=max_age_s,
            max_items=max_items,
            patient=spool is None,
            begin=self._begin,
            end=self._end,
            clock=clock,
        )
        self._sender.start()

    @property
    def waiting(self) -> int:
        """Number of items that wait, without the one being sent."""
        return self._sender.waiting

    def put(self, item: Any) -> None:
        """Queue an item to be sent; returns at once.

        Raises:
            PlainDataError: if the server would not take it, since it is not plain data.
            ValueError: if the queue is closed.
        """
        value = plain_data.plain_copy(item)
        self._sender.put(
            _Item(value, None if self._spool is None else self._spool.keep(value, durable=False))
        )

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits for at most `timeout` seconds; what is left stays on disk, if it is there."""
        self._sender.close(timeout)

    # --- the thread ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._spool is not None and not self._spool.claim(wait=False):
            threading.Thread(target=self._inherit_later, name=f"{self._name} spool", daemon=True).start()
        else:
            self._inherit()
        self._is_connected()  # so that a wrong key or address shows in the log before the first item comes

    def _inherit_later(self) -> None:
        """Wait for the process that has the spool now, which is about to end."""
        if self._spool is not None and self._spool.claim(wait=True):
            self._inherit()

    def _inherit(self) -> None:
        """Take over what an earlier process has left, apart from what may have arrived and must not twice."""
        if self._spool is None:
            return
        inherited = []
        for kept in self._spool.left_by_others():
            item = _Item(kept.value, kept.file)
            if kept.begun and not self._repeat:
                self._give_up(item, kept.age_s, _NOT_TWICE)
            else:
                inherited.append((item, kept.age_s))
        if inherited:
            self._logger.info("%s: %d items wait from earlier", self._name, len(inherited))
            self._sender.put_first(inherited)

    def _end(self) -> None:
        self._disconnect()
        if self._spool is not None:
            self._spool.release()

    def _send(self, entry: Waiting[_Item]) -> bool:
        """Try to send an item; return whether it is settled, in one way or another."""
        if not self._is_connected() or self._connection is None:
            self._keep_safe(entry)
            return False
        item = entry.item
        if self._spool is not None and item.place is not None and not self._repeat:
            self._spool.mark_begun(item.place, True)
        try:
            self._connection.put(item.value)
        except ItemRefusedError as error:
            self._drop(entry, str(error))
            return True
        except QueueUnavailableError as error:
            self._disconnect()
            self._report(error)
            return self._not_delivered(entry, isinstance(error, DeliveryUnknownError))
        self.delivered += 1
        self._reported = ""
        self._forget(item)
        self._logger.info("%s: delivered after %.3f s: %s", self._name, self._sender.age_s(entry), item.value)
        return True

    def _not_delivered(self, entry: Waiting[_Item], may_have_arrived: bool) -> bool:
        """Return whether an item that the server did not acknowledge is settled thereby."""
        if may_have_arrived and not self._repeat:
            self._drop(entry, _NOT_TWICE)
            return True
        if self._spool is not None and entry.item.place is not None and not self._repeat:
            self._spool.mark_begun(entry.item.place, False)
        self._keep_safe(entry)
        return False

    def _keep_safe(self, entry: Waiting[_Item]) -> None:
        """Have the items that wait outlive a power cut; what is sent at once need not be waited for."""
        if self._spool is not None:
            for item in (entry.item, *self._sender.snapshot()):
                if item.place is not None:
                    self._spool.make_durable(item.place)

    def _is_connected(self) -> bool:
        if self._connection is not None and not self._is_fit(self._connection):
            self._disconnect()
        if self._connection is None:
            try:
                self._connection = self._connect()
            except QueueUnavailableError as error:
                self._report(error)
                return False
            self._logger.info("%s: connected", self._name)
        return True

    def _is_fit(self, connection: QueueConnection) -> bool:
        """Return whether an item may be entrusted to a connection, as far as can be told beforehand."""
        return connection.alive() if self._repeat else connection.answers()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _report(self, error: DARCError) -> None:
        """Log a failure, loudly only when it differs from the last one or something was delivered since."""
        level = logging.DEBUG if self._reported == str(error) else logging.WARNING
        self._logger.log(level, "%s: %s", self._name, error)
        self._reported = str(error)

    # --- what becomes of items -----------------------------------------------------------------------------

    def _drop(self, entry: Waiting[_Item], reason: str) -> None:
        self._give_up(entry.item, self._sender.age_s(entry), reason)

    def _leave(self, entry: Waiting[_Item]) -> None:
        """Say what becomes of an item that waits when this is closed."""
        if entry.item.place is None:
            self._drop(entry, "the queue was closed")
        else:
            self._logger.warning("%s: waits on disk: %s", self._name, entry.item.value)

    def _give_up(self, item: _Item, age_s: float, reason: str) -> None:
        with self._counting:
            self.dropped += 1
        self._forget(item)
        if self._kind is not None:
            metrics.note_trigger(self._kind, metrics.FAILED, time.time())
        self._logger.error("%s: dropped after %.3f s, %s: %s", self._name, age_s, reason, item.value)

    def _forget(self, item: _Item) -> None:
        if self._spool is not None and item.place is not None:
            self._spool.remove(item.place)
