"""Server of the command port: a thread per client, none of whom can hold up another."""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from darc.errors import DARCError
from darc.network.authentication import Gate, RefusedError
from darc.network.command_protocol import (
    CHALLENGE,
    ProtocolError,
    Reply,
    Request,
    RequestBuffer,
    encode_reply,
    parse_request,
)
from darc.network.sockets import CONNECTION_ERRORS, explain, receive

# How long after a complete request its newline may follow, in a segment of its own.
_NEWLINE_GRACE_S = 0.02
# How long a client may take to read the last reply and close before its connection is reset.
_LINGER_S = 1.0
# Pause after the system gave us no connection or no thread, for instance for want of file handles.
_ACCEPT_PAUSE_S = 0.5

# Random bytes of a challenge.
_NONCE_BYTES = 16

_INTERNAL_ERROR = Reply("Error", "internal error, see log")

Handler = Callable[[Request], Reply]


class CommandPortError(DARCError):
    """The command port cannot be opened."""


class CommandServer:
    """Listens on the command port and has each request answered by a handler.

    The handler is called from several threads at once. A `DARCError` that it raises is the reply to the
    client; any other exception is a defect, which is logged and closes that connection only.

    Args:
        address: Host and port to listen on; port 0 takes a free one.
        handler: Answers a request.
        gate: Lets requests in or refuses them; None: clients of this host only.
        timeout_s: Longest time a client may take to send a request, from its connecting or from the reply
            before, and to take in a reply.
        max_request_bytes: Longest request.
        max_connections: Open connections. At the limit the oldest one that is not waiting for the handler
            makes room.
        logger: Where connections that went wrong are logged.
    """

    def __init__(
        self,
        address: tuple[str, int],
        handler: Handler,
        *,
        timeout_s: float,
        gate: Gate | None = None,
        max_request_bytes: int = 16384,
        max_connections: int = 64,
        logger: logging.Logger | None = None,
    ) -> None:
        self.address = address
        self._handler = handler
        self._gate = gate or Gate()
        self._timeout_s = timeout_s
        self._max_request_bytes = max_request_bytes
        self._max_connections = max_connections
        self._logger = logger or logging.getLogger(__name__)
        self._closing = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        # of the accepting thread, and of close() once that thread has ended
        self._clients: list[_Client] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Open the port and serve it in the background; `address` then holds the actual port.

        Raises:
            CommandPortError: The port is taken, or the address is not one of this host.
        """
        host, port = self.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server(self.address, family=family)
        except CONNECTION_ERRORS as error:
            raise CommandPortError(
                f"cannot listen on {host}:{port}: {explain(error)}; stop what uses it or configure another"
            ) from error
        self.address = (host, self._listener.getsockname()[1])
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name="command-port", daemon=True
        )
        self._acceptor.start()

    @property
    def alive(self) -> bool:
        """Whether connections are taken."""
        return self._acceptor is not None and self._acceptor.is_alive()

    def close(self) -> None:
        """Free the port and close all connections; requests that are with the handler are still answered.

        A handler that hangs holds this up for `timeout_s` at most.
        """
        self._closing.set()
        if self._listener is None or self._acceptor is None:
            return
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._acceptor.join()
        self._listener.close()
        for client in self._clients:
            client.hang_up()
        self._join(_LINGER_S)
        for client in self._clients:
            client.drop_if_idle()
        self._join(self._timeout_s)
        if self._clients:
            peers = ", ".join(client.peer for client in self._clients)
            self._logger.error("command port: closed while requests were being processed, of %s", peers)

    def _join(self, timeout_s: float) -> None:
        """Wait for the threads of the clients to end, and forget those that did."""
        deadline = time.monotonic() + timeout_s
        others = [client for client in self._clients if client.thread is not threading.current_thread()]
        for client in others:
            client.thread.join(max(0.0, deadline - time.monotonic()))
        self._clients = [client for client in others if client.thread.is_alive()]

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                connection, peer = listener.accept()
                self._admit(connection, peer[0], f"{peer[0]}:{peer[1]}")
            except (OSError, RuntimeError) as error:  # RuntimeError: the system gave us no thread
                if not self._closing.is_set():
                    self._logger.error("command port: a connection could not be taken: %s", error)
                    self._closing.wait(_ACCEPT_PAUSE_S)

    def _admit(self, connection: socket.socket, host: str, peer: str) -> None:
        """Give the connection a thread; of too many, drop the oldest idle one, or else the new one."""
        self._clients = [client for client in self._clients if client.thread.is_alive()]
        connected = [client for client in self._clients if client.connected]
        if len(connected) >= self._max_connections:
            dropped = next((client.peer for client in connected if client.drop_if_idle()), None)
            self._logger.warning(
                "command port: %d connections are the limit: dropped %s", len(connected), dropped or peer
            )
            if dropped is None:
                with connection, suppress(OSError):
                    connection.setblocking(False)
                    connection.send(
                        encode_reply("Error", f"busy: {len(connected)} requests are being processed")
                    )
                return
        client = _Client(connection, host, peer, self._serve)
        client.thread.start()
        self._clients.append(client)

    def _serve(self, client: "_Client") -> None:
        """Answer a client's requests one after another, until the last one."""
        try:
            self._converse(client)
            client.linger()
        except OSError as error:
            self._logger.info("command port: lost %s: %s", client.peer, error)
        finally:
            client.close()
        # also for a client that is gone: its request was accepted
        if client.after is not None:
            client.after()

    def _converse(self, client: "_Client") -> None:
        """Answer requests until the client ends it or has to."""
        buffer = RequestBuffer(self._max_request_bytes)
        try:
            more = True
            while more:
                text, more = self._next_request(client, buffer)
                if not text or not client.begin():
                    return
                reply, stay = self._answer(text, client)
                client.finish(reply)
                more = more and stay and reply.after is None
                client.send(reply, self._timeout_s, newline=more)
        except ProtocolError as error:
            self._logger.info("command port: %s: %s", client.peer, error)
            client.send(Reply("Error", str(error)), self._timeout_s)

    def _next_request(self, client: "_Client", buffer: RequestBuffer) -> tuple[bytes, bool]:
        """Return the text of the next request, empty if there is none, and whether a newline ended it.

        Raises:
            ProtocolError: The request is too long, or not complete in time.
        """
        deadline = time.monotonic() + self._timeout_s
        while (line := buffer.take_line()) is None:
            complete = buffer.complete
            grace = min(deadline, time.monotonic() + _NEWLINE_GRACE_S) if complete else deadline
            try:
                segment = receive(client.connection, grace)
            except TimeoutError:
                if not complete and not buffer.empty:
                    raise ProtocolError(f"the request was not complete after {self._timeout_s:g} s") from None
                segment = b""
            if not segment:
                return buffer.take_rest(), False
            buffer.feed(segment)
        return line, True

    def _answer(self, text: bytes, client: "_Client") -> tuple[Reply, bool]:
        """Return the reply to a request, and whether another one may follow."""
        try:
            request = parse_request(text)
            if request == CHALLENGE:
                client.nonce = secrets.token_hex(_NONCE_BYTES)
                return Reply("Success", {"nonce": client.nonce}), True
            nonce, client.nonce = client.nonce, ""
            self._gate.admit(request, client.host, nonce)
            return self._handler(request), True
        except RefusedError as refusal:
            return Reply("Error", {"error": str(refusal)}), False
        except DARCError as refusal:
            return Reply("Error", str(refusal)), True
        except Exception:
            self._logger.exception(
                "command port: defect in answering %s, which asked %.200r", client.peer, text
            )
            return _INTERNAL_ERROR, False


class _Client:
    """A connection, its thread, the challenge it may answer, and whether a request is with the handler."""

    def __init__(
        self, connection: socket.socket, host: str, peer: str, serve: Callable[["_Client"], None]
    ) -> None:
        self.connection = connection
        self.host = host
        self.peer = peer
        self.nonce = ""
        self.thread = threading.Thread(target=serve, args=(self,), name=f"command-port-{peer}", daemon=True)
        self.connected = True
        self.after: Callable[[], object] | None = None
        self._busy = False
        self._lock = threading.Lock()

    def begin(self) -> bool:
        """Note that a request goes to the handler; False if the connection has been dropped."""
        with self._lock:
            self._busy = self.connected
            return self._busy

    def finish(self, reply: Reply) -> None:
        """Note that the handler has answered, and what is to be done once the connection is closed."""
        with self._lock:
            self._busy = False
            self.after = reply.after

    def drop_if_idle(self) -> bool:
        """End the connection unless a request of it is with the handler; tell whether it was ended."""
        with self._lock:
            if not self._busy:
                self._shut(socket.SHUT_RDWR)
            return not self._busy

    def hang_up(self) -> None:
        """Take no further request, but let the reply to this one out."""
        with self._lock:
            self._shut(socket.SHUT_RD)

    def _shut(self, how: int) -> None:
        self.connected = False
        with suppress(OSError):
            self.connection.shutdown(how)

    def send(self, reply: Reply, timeout_s: float, *, newline: bool = False) -> None:
        """Send a reply; `TimeoutError` if the client does not take it in."""
        self.connection.settimeout(timeout_s)
        self.connection.sendall(encode_reply(reply.status, reply.message) + b"\n" * newline)

    def linger(self) -> None:
        """Let the client close first: closing with something unread would destroy the reply on its way."""
        self.connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_S
        with suppress(TimeoutError):
            while receive(self.connection, deadline):
                pass

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self.connected = False
            self.connection.close()
