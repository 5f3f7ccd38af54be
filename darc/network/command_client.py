"""Client of the command port. Light: it is what `darc status` waits for."""

import socket
import time
from contextlib import suppress

from darc.errors import DARCError
from darc.network.command_protocol import ProtocolError, Reply, Request, encode_request, parse_reply
from darc.network.sockets import CONNECTION_ERRORS, explain, receive


class CommandError(DARCError):
    """A node did not answer a command, or not understandably."""


def send_command(host: str, port: int, request: Request, timeout_s: float) -> Reply:
    """Send one request to the master of a node and return its reply, which may be of any length.

    Args:
        host: Name or address of the node.
        port: Its command port.
        request: What is asked.
        timeout_s: Longest time that connecting, or sending and waiting for the whole reply, may take.

    Raises:
        CommandError: No such node, nobody listens, no reply in time, or none that can be understood.
    """
    try:
        return parse_reply(_exchange(host, port, encode_request(request, newline=True), timeout_s))
    except CONNECTION_ERRORS as error:
        raise CommandError(
            f"darc on {host}:{port} did not answer {request.command!r}: {explain(error)}"
        ) from error
    except ProtocolError as error:
        raise CommandError(
            f"{host}:{port} did not answer {request.command!r} as darc does, check the port: {error}"
        ) from error


def _exchange(host: str, port: int, request: bytes, timeout_s: float) -> bytes:
    """Send the request; return what comes back until a newline or the end of the connection."""
    with socket.create_connection((host, port), timeout_s) as connection:
        deadline = time.monotonic() + timeout_s
        # A server that refuses us may have closed already, with the reason waiting to be read.
        with suppress(ConnectionError):
            connection.sendall(request)
        segments = []
        while segment := receive(connection, deadline):
            segments.append(segment)
            if segment.endswith(b"\n"):
                break
        if not segments:
            raise ConnectionAbortedError("closed without a reply")
        return b"".join(segments)
