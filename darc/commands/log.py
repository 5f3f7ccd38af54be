"""`darc log`: what a service of any node writes, read through the node's command port."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from darc.commands import asking
from darc.commands.catalogue import UsageError
from darc.commands.terminal import printable
from darc.errors import DARCError
from darc.formats.node_details import read_log
from darc.network.command_protocol import Request

#: Time in s between two looks at a log that is followed.
POLL_S = 1.0
#: Name of the master in its own lines.
MASTER = "darc_master"


def run(options: argparse.Namespace, wait: Callable[[float], None] = time.sleep) -> int:
    """Print the last lines of a log, and what is added if that is asked for."""
    if options.lines is not None and options.lines < 1:
        raise UsageError(f"--lines {options.lines}: at least 1")
    if options.name and options.service:
        raise UsageError(f"cannot understand {options.name}: --service {options.service} was given already")
    service = options.name or options.service
    request = Request(command="log", service=None if service == MASTER else service)
    ask = asking.asker(options)

    def read() -> list[str]:
        reply = ask(request)
        if asking.is_refusal(reply):
            raise DARCError(asking.refusal(request, reply))
        return read_log(reply.message)[1]

    lines = read()
    _print(lines[-options.lines :] if options.lines else lines)
    if options.follow:
        _follow(read, lines, wait)
    return 0


def _follow(read: Callable[[], list[str]], seen: Sequence[str], wait: Callable[[float], None]) -> None:
    """Print what is added, until interrupted; a node that does not answer now may be starting again."""
    trouble = ""
    while True:
        wait(POLL_S)
        try:
            lines = read()
        except DARCError as error:
            if not trouble:
                trouble = str(error)
                print(f"darc: {printable(trouble)}; trying again", file=sys.stderr)
            continue
        trouble = ""
        _print(added_lines(seen, lines))
        seen = lines or seen


def added_lines(seen: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    """Return the lines that were added to a log since its last look.

    What both looks have in common is the end of the first and the start of the second; they have nothing in
    common after a rotation, or when more was written than one look shows.

    Args:
        seen: last lines of the log, then
        lines: its last lines now
    """
    for common in range(min(len(seen), len(lines)), 0, -1):
        if seen[-common:] == lines[:common]:
            return lines[common:]
    return lines


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(printable(line))
    sys.stdout.flush()
