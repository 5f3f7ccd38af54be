"""Queue servers of the master node: the protocol of `multiprocessing.managers`, for plain data only.

Other programs reach a queue as the standard library has it, with a `BaseManager` that registers `get_queue`
and holds the key. The library's own server unpickles whatever it gets, and so runs the code of whoever holds
the key. The server here reads plain data and nothing else, knows no request beyond those that `get_queue` and
the methods of its queue need, and bounds what a client may send, how long it may take and how many there are.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from multiprocessing.managers import BaseManager
from queue import Empty, Full
from typing import Any, NoReturn, Protocol

from darc.errors import DARCError
from darc.network import plain_data
from darc.network.plain_data import PlainDataError
from darc.network.sockets import is_loopback

Address = tuple[str, int]

#: Shortest key of a server that other hosts can reach, in characters.
MIN_AUTHKEY = 8
#: Largest message in bytes; a trigger has about 1000.
MAX_MESSAGE_BYTES = 1 << 16
#: Time in s for a connection to authenticate, for a message from its first byte on, and for a reply.
MESSAGE_TIMEOUT_S = 10.0
#: Connections at a time; each worker keeps one and opens two more for a moment.
MAX_CONNECTIONS = 256
#: Time in s between two looks at whether a client that waits for the queue is still there.
_LOOK_S = 0.5
#: What the one object of a server is called in requests.
_IDENT = "queue"
#: What a client that is gone, breaks off or does not speak the protocol causes in the thread that serves it.
_CLIENT_ERRORS = (OSError, EOFError, AuthenticationError, AssertionError, ValueError)

logger = logging.getLogger(__name__)


class _Queue(Protocol):
    """What can be served: a `queue.Queue`, a `multiprocessing.Queue`, a `ProcessQueue`."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None, /) -> None: ...
    def get(self, block: bool = True, timeout: float | None = None, /) -> Any: ...
    def empty(self) -> bool: ...


def check_authkey(authkey: str | bytes, address: Address) -> bytes:
    """Return the key as bytes, if it is good enough for a server at this address.

    Raises:
        DARCError: if other hosts can reach the address and the key is empty, `pass` or shorter than
            `MIN_AUTHKEY` characters.
    """
    key = authkey.encode() if isinstance(authkey, str) else authkey
    if len(key) < MIN_AUTHKEY and not is_loopback(address[0]):
        raise DARCError(
            f"the key of the queue server on {address[0] or 'all addresses'}:{address[1]} has {len(key)} "
            f"characters: set server_auth to at least {MIN_AUTHKEY} random ones on all nodes, or bind it "
            "to 127.0.0.1"
        )
    return key


def check_item(item: Any) -> Any:
    """Return an item if it is a dictionary, which is all that a queue of triggers takes.

    Raises:
        PlainDataError: if it is something else.
    """
    if not isinstance(item, dict):
        raise PlainDataError(f"an item has to be a dictionary, not {type(item).__name__}")
    return item


class _Client:
    """A connection to the server, with the time at which it is cut if what is under way has not ended."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        for level, option, value in _KEEPALIVE:
            sock.setsockopt(level, option, value)
        self.peer = peer
        self.deadline: float | None = time.monotonic() + MESSAGE_TIMEOUT_S
        self.connection = Connection(os.dup(sock.fileno()))
        self._sock = sock

    @contextlib.contextmanager
    def message(self) -> Iterator[None]:
        """Bound the time of the exchange inside."""
        self.deadline = time.monotonic() + MESSAGE_TIMEOUT_S
        yield
        self.deadline = None

    def receive(self) -> Any:
        """Return the next message, or raise `PlainDataError`; the one after it can be read all the same."""
        (size,) = struct.unpack("!i", self._read(4))  # framing of multiprocessing.connection.Connection
        if size == -1:
            (size,) = struct.unpack("!Q", self._read(8))
        if 0 <= size <= MAX_MESSAGE_BYTES:
            return plain_data.loads(self._read(size))
        for start in range(0, size, MAX_MESSAGE_BYTES):
            self._read(min(size - start, MAX_MESSAGE_BYTES))
        raise PlainDataError(f"message of {size} bytes, more than {MAX_MESSAGE_BYTES}")

    def _read(self, size: int) -> bytes:
        data = self._sock.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise EOFError
        return data

    def gone(self) -> bool:
        """Whether it ended the connection, while it should wait for a reply."""
        return self.connection.poll()

    def cut(self) -> None:
        """End the connection; a thread that reads or writes there goes on with an error."""
        self.deadline = None
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.connection.close()
        self._sock.close()


#: A peer that vanished without a word is found after about a minute, also while nothing is sent.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


class PlainQueueServer:
    """Serves a queue to whoever holds the key; see `serve_queue`.

    Attributes:
        address: where it listens, with the port that the system chose if it was to.
        refused: number of messages that were refused.
    """

    def __init__(
        self,
        queue: _Queue,
        address: Address,
        authkey: str | bytes,
        *,
        name: str = "QueueServer",
        validate: Callable[[Any], Any] = check_item,
    ) -> None:
        self.refused = 0
        self._authkey = check_authkey(authkey, address)
        self._queue, self._name, self._validate = queue, name, validate
        self._methods: dict[str, Callable[..., Any]] = {
            "put": self._put,
            "put_nowait": lambda client, item: self._put(client, item, False),
            "get": self._get,
            "get_nowait": lambda client: self._get(client, False),
            "empty": lambda client: queue.empty(),
        }
        self._stopped = threading.Event()
        self._clients: dict[_Client, threading.Thread] = {}
        self._listener = socket.create_server(address, backlog=64)
        self.address: Address = self._listener.getsockname()
        self._thread = threading.Thread(target=self.serve_forever, name=name, daemon=True)

    def start(self) -> None:
        """Serve in a thread of this process until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving, cut all connections and free the port."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()

    def serve_forever(self) -> None:
        """Accept connections, each served by a thread of its own, and cut those that take too long."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while not self._stopped.is_set():
            if poll.poll(1000 if self._clients else None) and not self._stopped.is_set():
                self._accept()
            now = time.monotonic()
            for client in list(self._clients):
                if client.deadline is not None and client.deadline < now:
                    logger.warning("%s: client %s is too slow, cut off", self._name, client.peer)
                    client.cut()
        clients = dict(self._clients)
        for client in clients:
            client.cut()
        for thread in clients.values():
            thread.join(2 * _LOOK_S)

    def _accept(self) -> None:
        try:
            sock, (host, port) = self._listener.accept()
            if len(self._clients) >= MAX_CONNECTIONS:
                logger.warning("%s: client %s refused, too many are connected", self._name, host)
                sock.close()
                return
            client = _Client(sock, f"{host}:{port}")
        except OSError as error:  # no descriptors left, or the client is gone already
            logger.warning("%s: connection not accepted: %s", self._name, error)
            self._stopped.wait(_LOOK_S)
            return
        thread = threading.Thread(target=self._serve, args=(client,), name=client.peer, daemon=True)
        self._clients[client] = thread
        thread.start()

    def _serve(self, client: _Client) -> None:
        try:
            deliver_challenge(client.connection, self._authkey)
            answer_challenge(client.connection, self._authkey)
            if self._greet(client):
                self._serve_requests(client)
        except AuthenticationError:
            logger.warning("%s: client %s has not our key, refused", self._name, client.peer)
        except _CLIENT_ERRORS as error:
            logger.debug("%s: connection with %s ended: %r", self._name, client.peer, error)
        finally:
            del self._clients[client]
            client.close()

    def _greet(self, client: _Client) -> bool:
        """Answer the one request that opens a connection; return whether calls of the queue follow."""
        try:
            match client.receive():
                case (_, "create", ("get_queue",), _):
                    client.connection.send(("#RETURN", (_IDENT, tuple(self._methods))))
                case (_, "dummy" | "incref" | "decref" | "accept_connection" as request, _, _):
                    client.connection.send(("#RETURN", None))
                    return bool(request == "accept_connection")
                case _:
                    raise PlainDataError("only get_queue is served here")
        except PlainDataError as error:
            client.connection.send(self._refuse(client, error))
        return False

    def _serve_requests(self, client: _Client) -> None:
        """Answer calls of the queue until the client, which may be idle for months, ends the connection."""
        client.deadline = None
        while True:
            client.connection.poll(None)
            with client.message():
                try:
                    request = client.receive()
                except PlainDataError as error:
                    client.connection.send(self._refuse(client, error))
                    continue
            reply = self._call(client, request)  # takes as long as the client is willing to wait
            with client.message():
                client.connection.send(reply)

    def _call(self, client: _Client, request: Any) -> tuple[str, Any]:
        """Return the reply to one call of a method of the queue."""
        try:
            match request:
                case (str(ident), str(name), tuple(args), dict(kwds)) if ident == _IDENT:
                    return "#RETURN", self._bind(name, client, args, kwds)()
                case _:
                    raise PlainDataError("this is no call of the queue")
        except (Full, Empty) as error:
            return "#ERROR", error
        except (DARCError, ValueError) as error:
            return self._refuse(client, error)

    def _bind(
        self, name: str, client: _Client, args: tuple[Any, ...], kwds: dict[str, Any]
    ) -> Callable[[], Any]:
        """Return the call of a method, its arguments checked."""
        if name not in self._methods:
            raise PlainDataError(f"the queue has no method {name:.100}")
        method = self._methods[name]
        try:
            bound = inspect.signature(method).bind(client, *args, **kwds)
        except TypeError as error:
            raise PlainDataError(f"{name}: {error}") from error
        if not isinstance(bound.arguments.get("timeout"), float | int | None):
            raise PlainDataError(f"{name}: timeout has to be a number of seconds or None")
        return lambda: method(*bound.args, **bound.kwargs)

    def _put(self, client: _Client, item: Any, block: bool = True, timeout: float | None = None) -> None:
        accepted = self._validate(item)
        self._wait_for(client, lambda wait_s: self._queue.put(accepted, True, wait_s), block, timeout)

    def _get(self, client: _Client, block: bool = True, timeout: float | None = None) -> Any:
        return self._wait_for(client, lambda wait_s: self._queue.get(True, wait_s), block, timeout)

    def _wait_for(
        self, client: _Client, action: Callable[[float], Any], block: bool, timeout: float | None
    ) -> Any:
        """Wait for the queue in short steps, since a client that is gone must not get (nor hold) anything."""
        deadline = time.monotonic() + (0 if not block else math.inf if timeout is None else timeout)
        while True:
            left_s = max(deadline - time.monotonic(), 0)
            try:
                return action(min(left_s, _LOOK_S))
            except (Full, Empty):
                if left_s <= _LOOK_S or self._stopped.is_set() or client.gone():
                    raise

    def _refuse(self, client: _Client, error: Exception) -> tuple[str, str]:
        self.refused += 1
        reason = plain_data.shown(str(error), size=500)
        logger.error("%s: message from %s refused: %s", self._name, client.peer, reason)
        return "#TRACEBACK", f"refused: {reason}\n"


class QueueServer(BaseManager):
    """Base of the documented queue servers, to be used like any `BaseManager` with the method `get_queue`.

    It serves plain data only, and in a thread of the process that owns the queue (`serve_queue`), never in a
    process of its own, as `start` of a `BaseManager` would have it.
    """

    def __init__(
        self,
        address: Address | None = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
    ) -> None:
        super().__init__(address, authkey, serializer, ctx)

    def get_server(self) -> Any:
        """Return a server of the queue that the callable registered for `get_queue` returns.

        Raises:
            DARCError: if none is registered, or the key is too weak for the address.
        """
        make_queue = self._registry["get_queue"][0]  # type: ignore[attr-defined]
        if make_queue is None or not isinstance(self.address, tuple):
            raise DARCError(f"{type(self).__name__} needs host and port, and a callable behind get_queue")
        authkey = bytes(self._authkey)  # type: ignore[attr-defined]
        return PlainQueueServer(make_queue(), self.address, authkey, name=type(self).__name__)

    def start(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a `DARCError`: the server would run in a process of its own."""
        raise DARCError(f"{type(self).__name__} serves from its service's own process: use serve_queue")


QueueServer.register("get_queue")


def serve_queue(
    server_class: type[QueueServer],
    address: Address,
    authkey: str | bytes,
    queue: _Queue,
    *,
    validate: Callable[[Any], Any] = check_item,
) -> PlainQueueServer:
    """Serve a queue in a thread of this process; the caller closes what is returned.

    Args:
        server_class: class whose name the log shows.
        address: host and port to listen on; port 0 lets the system choose.
        authkey: key that clients have to hold.
        queue: where the items go.
        validate: returns the item to put for the one received, or raises a `DARCError` or `ValueError` that
            tells the client why it is refused.

    Raises:
        DARCError: if the key is too weak for the address.
        OSError: if the address is in use or not ours.
    """
    server = PlainQueueServer(queue, address, authkey, name=server_class.__name__, validate=validate)
    server.start()
    logger.info("%s: serving on %s:%d", server_class.__name__, *server.address)
    return server
