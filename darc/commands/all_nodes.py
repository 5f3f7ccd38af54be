"""A command for all nodes of the configuration at once, a line for each."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from darc.commands.asking import is_refusal, print_json, refusal, settings_of, timeout_of
from darc.commands.catalogue import UsageError
from darc.commands.terminal import Cell, style_of, table
from darc.errors import DARCError
from darc.network.command_protocol import Reply, Request
from darc.network.sweep import NodeError, sweep

_COLOURS = {"Success": "green", "Warning": "yellow", "Error": "red"}


def run(options: argparse.Namespace, request: Request) -> int:
    """Have all nodes carry out a request; print how it went and return the exit code."""
    replies = ask_all(options, request)
    if options.json:
        print_json({name: as_json(reply) for name, reply in replies.items()})
    else:
        print_table(request, replies)
    return exit_code(replies)


def print_table(request: Request, replies: dict[str, Reply | NodeError]) -> None:
    """Print how a request went, a line per node."""
    rows = [(name, *_result(request, reply)) for name, reply in replies.items()]
    print(*table(("NODE", "RESULT", "ANSWER"), rows, style_of(sys.stdout)), sep="\n")


def ask_all(
    options: argparse.Namespace, request: Request, fallback: Request | None = None
) -> dict[str, Reply | NodeError]:
    """Ask all nodes; one that refuses the request is asked the other one.

    Raises:
        DARCError: the command line names one node, or the configuration none
    """
    if options.host or options.port:
        raise UsageError("--all-nodes asks where the configuration says: leave out --host and --port")
    settings, timeout_s = settings_of(options), timeout_of(options)
    if not settings.nodes:
        where = settings.path or "the packaged configuration: name the site's with --site-config FILE"
        raise DARCError(f"no nodes in {where}")
    left_out = set((getattr(options, "without", None) or "").split(",")) - {""}
    if unknown := left_out - set(settings.nodes):
        raise UsageError(f"--without {', '.join(sorted(unknown))}: no such node in the configuration")
    nodes = {name: (n.address, n.port) for name, n in settings.nodes.items() if name not in left_out}
    return sweep(nodes, request, timeout_s or settings.timeout_s, fallback, settings.key_file)


def exit_code(replies: dict[str, Reply | NodeError]) -> int:
    """Return 1 if any node failed."""
    return int(bool(failures(replies)))


def failures(replies: dict[str, Reply | NodeError]) -> dict[str, Reply | NodeError]:
    """Return the nodes that failed, with what they said."""
    return {
        name: reply
        for name, reply in replies.items()
        if isinstance(reply, NodeError) or reply.status == "Error"
    }


def as_json(reply: Reply | NodeError) -> Any:
    """Return what is printed for a node as JSON: its answer, or the error in the same form."""
    return {"error": reply.reason} if isinstance(reply, NodeError) else reply.message


def _result(request: Request, reply: Reply | NodeError) -> tuple[Cell, str]:
    if isinstance(reply, NodeError):
        return Cell("no answer", "red"), reply.reason
    answer = refusal(request, reply) if is_refusal(reply) else in_a_line(reply.message)
    return Cell(reply.status, _COLOURS[reply.status]), answer


def in_a_line(message: Any) -> str:
    """Return an answer on one line."""
    if isinstance(message, dict):
        return ", ".join(
            f"{name}: ({in_a_line(value)})" if isinstance(value, dict) else f"{name}: {value}"
            for name, value in message.items()
        )
    return str(message)
