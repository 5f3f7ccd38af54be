"""What every client of a TCP peer needs: reading against a deadline, and errors in plain words."""

import socket
import time

# ValueError: host names that cannot be encoded, as configuration and command lines may hold them.
CONNECTION_ERRORS = (OSError, ValueError)


def receive(connection: socket.socket, deadline: float, max_bytes: int = 65536) -> bytes:
    """Receive what is there, or wait for it until `deadline` (in seconds of `time.monotonic`).

    A peer that sends a byte now and then does not put the deadline off, as it would a socket's own time-out.

    Returns:
        At most `max_bytes` bytes; none if the peer closed the connection.

    Raises:
        TimeoutError: Nothing arrived.
    """
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    connection.settimeout(left_s)
    return connection.recv(max_bytes)


def is_loopback(host: str) -> bool:
    """Whether a host is this one, reached without a network; no name but `localhost` is looked up."""
    for family, loopback in ((socket.AF_INET, b"\x7f"), (socket.AF_INET6, bytes(15) + b"\1")):
        try:
            return socket.inet_pton(family, host).startswith(loopback)
        except (OSError, ValueError):
            continue
    return host == "localhost"


def explain(error: OSError | ValueError) -> str:
    """Say what an error of a connection means and what to look at."""
    match error:
        case socket.gaierror():
            return "unknown host: check its name"
        case ConnectionRefusedError():
            return "nobody listens there: check that it runs, and the port"
        case TimeoutError():
            return "no answer in time: it hangs, is busy or cannot be reached; see its log or allow more time"
        case ConnectionError():
            return "it closed the connection before it had answered: see its log"
        case OSError(strerror=str(reason)):
            return reason
    return str(error)
