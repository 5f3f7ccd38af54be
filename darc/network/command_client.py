"""Client of the command port. Light: it is what `darc status` waits for."""

import socket
import time
from contextlib import suppress
from pathlib import Path

from darc.errors import DARCError
from darc.network.command_protocol import (
    CHALLENGE,
    PROVEN_COMMANDS,
    ProtocolError,
    Reply,
    Request,
    encode_request,
    parse_reply,
)
from darc.network.sockets import CONNECTION_ERRORS, explain, is_loopback, receive

#: Longest reply that is taken, in bytes; the last lines of a service's log have some 10 kB.
MAX_REPLY_BYTES = 8 << 20


class CommandError(DARCError):
    """A node did not answer a command, or not understandably."""


def send_command(
    host: str, port: int, request: Request, timeout_s: float, key_file: Path | None = None
) -> Reply:
    """Send one request to the master of a node and return its reply.

    Args:
        host: Name or address of the node.
        port: Its command port.
        request: What is asked.
        timeout_s: Longest time that connecting, or sending and waiting for the whole reply, may take.
        key_file: File of the key that proves to a node which is another host that we may ask. Without one the
            request goes without a proof, which that node may refuse.

    Raises:
        CommandError: No such node, nobody listens, no reply in time, or none that can be understood, or the
            key cannot be used.
    """
    try:
        return _ask((host, port), request, time.monotonic() + timeout_s, key_file)
    except CONNECTION_ERRORS as error:
        raise CommandError(
            f"darc on {host}:{port} did not answer {request.command!r}: {explain(error)}"
        ) from error
    except ProtocolError as error:
        raise CommandError(
            f"{host}:{port} did not answer {request.command!r} as darc does, check the port: {error}"
        ) from error
    except DARCError as error:
        raise CommandError(f"{request.command!r} was not sent to {host}:{port}: {error}") from error


def _ask(address: tuple[str, int], request: Request, deadline: float, key_file: Path | None) -> Reply:
    """Return the reply to a request, which is sent with a proof to another host if there is a key."""
    with _connected(address, deadline) as connection:
        local = is_loopback(connection.getpeername()[0]) and request.command not in PROVEN_COMMANDS
        if key_file is None or local:
            return _exchange(connection, request, deadline)
        from darc.network import authentication  # noqa: PLC0415 (asking this host has to be fast)

        if not authentication.has_key(key_file):
            return _exchange(connection, request, deadline)
        challenge = _exchange(connection, CHALLENGE, deadline)
        if challenge.status == "Success":
            proven = authentication.answer(request, challenge.message, key_file, time.time())
            return _exchange(connection, proven, deadline)
    # a node of an older version, which knows no challenge and may have closed
    with _connected(address, deadline) as connection:
        return _exchange(connection, request, deadline)


def _connected(address: tuple[str, int], deadline: float) -> socket.socket:
    # a socket whose time-out is 0 would not wait at all
    return socket.create_connection(address, max(0.001, deadline - time.monotonic()))


def _exchange(connection: socket.socket, request: Request, deadline: float) -> Reply:
    """Send a request; read what comes back until a newline or the end of the connection."""
    # A server that refuses us may have closed already, with the reason waiting to be read.
    with suppress(ConnectionError):
        connection.sendall(encode_request(request, newline=True))
    segments, size = [], 0
    while segment := receive(connection, deadline):
        segments.append(segment)
        size += len(segment)
        if size > MAX_REPLY_BYTES:
            raise ProtocolError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
        if segment.endswith(b"\n"):
            break
    if not segments:
        raise ConnectionAbortedError("closed without a reply")
    return parse_reply(b"".join(segments))
