"""Asks all nodes at once, so that none of them waits for one that does not answer. As light as the client."""

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from darc.network.command_client import CommandError, send_command
from darc.network.command_protocol import Reply, Request
from darc.network.sockets import CONNECTION_ERRORS, explain

#: Time in s that a node which is just being given up gets to say why it did not answer.
_GRACE_S = 0.5

Address = tuple[str, int]


@dataclass(frozen=True)
class NodeError:
    """Why there is no reply of a node.

    Attributes:
        reason: For people.
    """

    reason: str


def sweep(
    nodes: Mapping[str, Address],
    request: Request | Mapping[str, Request],
    timeout_s: float,
    fallback: Request | None = None,
    key_file: Path | None = None,
) -> dict[str, Reply | NodeError]:
    """Ask all nodes concurrently and return what each answered, in the order of `nodes`.

    It ends within `timeout_s` and half a second, whatever the nodes do. Looking up a name cannot be
    interrupted: a thread that hangs in it is left behind and its result dropped.

    Args:
        nodes: Host and command port of each node by its name.
        request: What all are asked, or what each is asked by its name.
        timeout_s: Longest time for a node's answer, in s.
        fallback: What a node is asked in the same time that answers the request with an error, since it may
            be of a version that does not know it.
        key_file: File of the key that lets us ask other hosts.
    """
    deadline = time.monotonic() + timeout_s
    answers: queue.SimpleQueue[tuple[str, Reply | NodeError]] = queue.SimpleQueue()

    def ask(name: str) -> None:
        wanted = request if isinstance(request, Request) else request[name]
        answers.put((name, _ask(nodes[name], wanted, fallback, deadline, key_file)))

    for name in nodes:
        threading.Thread(target=ask, args=(name,), name=f"sweep-{name}", daemon=True).start()
    found: dict[str, Reply | NodeError] = {}
    while len(found) < len(nodes):
        try:
            name, answer = answers.get(timeout=max(0.0, deadline + _GRACE_S - time.monotonic()))
        except queue.Empty:
            break
        found[name] = answer
    silent = NodeError(f"no answer within {timeout_s:g} s")
    return {name: found.get(name, silent) for name in nodes}


def _ask(
    address: Address, request: Request, fallback: Request | None, deadline: float, key_file: Path | None
) -> Reply | NodeError:
    try:
        reply = send_command(*address, request, _left(deadline), key_file)
        if reply.status == "Error" and fallback is not None:
            reply = send_command(*address, fallback, _left(deadline), key_file)
    except CommandError as error:
        # whoever sweeps knows which node this is about
        cause = error.__cause__
        return NodeError(explain(cause) if isinstance(cause, CONNECTION_ERRORS) else str(error))
    return reply


def _left(deadline: float) -> float:
    # a socket whose time-out is 0 would not wait at all
    return max(0.001, deadline - time.monotonic())
