"""`darc status`: a node in a table, or the cluster with a line per node."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from darc import __version__
from darc.commands import asking, node
from darc.commands.terminal import Cell, Style, printable, style_of, table
from darc.formats.node_details import (
    NodeDetails,
    NodeDetailsError,
    ObservationDetails,
    ServiceDetails,
    read_node_details,
)
from darc.network.command_protocol import Reply, Request

DETAILS = Request(command="details")
#: What nodes of a version without `details` know.
STATES = Request(command="status", service="all")

_COLOURS = {
    "running": "green",
    **dict.fromkeys(("starting", "stopping", "restarting", "waiting"), "yellow"),
    **dict.fromkeys(("stopped", "failed"), "red"),
}
#: Part of a disk that is free below which it shows in red.
_LITTLE_SPACE = 0.1


def run(options: argparse.Namespace) -> int:
    """Print the state of a service as the node tells it, of a whole node, or of all nodes."""
    if options.service is not None:
        return node.run(options)
    if options.all_nodes:
        return _all_nodes(options)
    ask, request = asking.asker(options), DETAILS
    reply = ask(request)
    if reply.status == "Error":
        request = STATES
        reply = ask(request)
    if options.json or asking.is_refusal(reply):
        return asking.show(request, Reply(reply.status, with_null(reply.message)), options.json)
    name = options.host or options.node or "this node"
    print(node_text(read_node_details(name, reply.message), style_of(sys.stdout)))
    return 1 if reply.status == "Error" else 0


def _all_nodes(options: argparse.Namespace) -> int:
    from darc.commands import all_nodes  # noqa: PLC0415 (threads are needed by few commands)

    replies = all_nodes.ask_all(options, DETAILS, fallback=STATES)
    code = all_nodes.exit_code(replies)
    if options.json:
        asking.print_json({name: with_null(all_nodes.as_json(reply)) for name, reply in replies.items()})
        return code
    answers: dict[str, NodeDetails | str] = {}
    for name, reply in replies.items():
        try:
            answers[name] = (
                read_node_details(name, reply.message) if isinstance(reply, Reply) else reply.reason
            )
        except NodeDetailsError as error:
            answers[name], code = str(error), 1
    print(cluster_text(answers, style_of(sys.stdout)))
    return code


def with_null(value: Any) -> Any:
    """Return an answer with null where the command port, which has no null, sends the text `None`."""
    if isinstance(value, dict):
        return {key: with_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_null(item) for item in value]
    return None if value == "None" else value


# --- a node ------------------------------------------------------------------------------------------------


def node_text(details: NodeDetails, style: Style = Style(), version: str = __version__) -> str:  # noqa: B008
    """Return what a node tells of itself, for people.

    Args:
        details: what it tells; of an older version the states only
        style: colours or none
        version: of this command, named where the node has another one
    """
    parts = [
        [style.paint(printable(_headline(details, version)), "bold")],
        _services(details, style),
        _observations(details, style),
        table(("", ""), list(_facts(details)), style),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _headline(details: NodeDetails, version: str) -> str:
    if not details.version:
        return f"{details.node}: an older version of DARC, which tells the states only"
    beam = "" if details.beam is None else f", beam {details.beam:02d}"
    other = "" if details.version == version else f" (this command: {version})"
    since = ""
    if details.up_since is not None:
        age = "" if details.time is None else f" ({duration(details.time - details.up_since)})"
        since = f", since {date(details.up_since)} UTC{age}"
    return f"{details.node}: {details.role}{beam}, DARC {details.version}{other}{since}"


def _services(details: NodeDetails, style: Style) -> list[str]:
    if not details.services:
        return ["services  none"]
    rows = [
        (
            name,
            Cell(service.state, _colour(service.state)),
            date(service.since),
            Cell(str(service.restarts), "yellow" if service.restarts else "") if details.version else "",
            "" if service.queue is None else size(service.queue),
            "" if service.pid is None else str(service.pid),
        )
        for name, service in details.services.items()
    ]
    return table(("SERVICE", "STATE", "SINCE (UTC)", "RESTARTS", "QUEUE", "PID"), rows, style)


def _observations(details: NodeDetails, style: Style) -> list[str]:
    if not details.observations:
        return ["observations  none"]
    rows = [
        (each.task_id, Cell(each.state, _colour(each.state)), date(each.start), date(each.end), each.source)
        for each in details.observations
    ]
    return table(("OBSERVATION", "STATE", "START (UTC)", "END (UTC)", "SOURCE"), rows, style)


def _facts(details: NodeDetails) -> Iterator[tuple[str, Cell]]:
    if details.delay_s is not None:
        yield "delay", Cell(f"{details.delay_s:.2f} s behind AMBER")
    for service, what in details.sending.items():
        yield service.partition("_")[0], Cell(f"sending is {what}")
    for kind, trigger in details.last_triggers.items():
        yield f"last {kind}", Cell(f"{date(trigger.time)}  {trigger.outcome}")
    for label, disk in details.disks.items():
        colour = "red" if disk.free_bytes < _LITTLE_SPACE * disk.total_bytes else ""
        free = f"{size(disk.free_bytes)} of {size(disk.total_bytes)} free"
        yield f"disk {label}", Cell(f"{free}  {disk.path}", colour)


# --- the cluster -------------------------------------------------------------------------------------------


def cluster_text(answers: Mapping[str, NodeDetails | str], style: Style = Style()) -> str:  # noqa: B008
    """Return a table with a line per node, and a line on the versions where they differ.

    Args:
        answers: by name of the node what it tells, or why it tells nothing
        style: colours or none
    """
    versions = Counter(_version(each) for each in answers.values() if isinstance(each, NodeDetails))
    usual = versions.most_common(1)[0][0] if versions else ""
    rows = [
        _node_row(name, each, usual)
        if isinstance(each, NodeDetails)
        else (name, "", "", Cell("no answer", "red"), "", "", each)
        for name, each in answers.items()
    ]
    lines = table(("NODE", "BEAM", "VERSION", "SERVICES", "OBSERVATION", "DELAY", "NOTES"), rows, style)
    if len(versions) > 1:
        counts = ", ".join(f"{version} on {number}" for version, number in versions.most_common())
        lines.append(style.paint(printable(f"versions differ: {counts}"), "yellow"))
    return "\n".join(lines)


def _node_row(name: str, details: NodeDetails, usual: str) -> tuple[Cell | str, ...]:
    running = sum(service.running for service in details.services.values())
    number = len(details.services)
    others = [f"{each} {s.state}" for each, s in details.services.items() if not s.running]
    restarted = [f"{each} restarted {s.restarts} times" for each, s in details.services.items() if s.restarts]
    version = _version(details)
    return (
        name,
        "" if details.beam is None else f"{details.beam:02d}",
        Cell(version, "" if version == usual else "yellow"),
        Cell(f"{running}/{number} running", "green" if running == number else _worst(details.services)),
        _observation(details.observations),
        "" if details.delay_s is None else f"{details.delay_s:.2f} s",
        ", ".join([*others, *restarted]),
    )


def _observation(observations: tuple[ObservationDetails, ...]) -> str:
    """Return the observation that runs and until when, else the next one."""
    for state, word, time in (("running", "until", "end"), ("waiting", "from", "start")):
        for each in observations:
            if each.state == state:
                return f"{each.task_id} {word} {date(getattr(each, time))[11:]}"
    return ""


def _version(details: NodeDetails) -> str:
    return details.version or "older"


def _worst(services: Mapping[str, ServiceDetails]) -> str:
    colours = {_colour(service.state) for service in services.values()}
    return "red" if "red" in colours else "yellow"


def _colour(state: str) -> str:
    return _COLOURS.get(state, "dim")


# --- figures -----------------------------------------------------------------------------------------------


def date(unix: float | None) -> str:
    """Return a time in unix s as date and time in UTC; empty if it is not known."""
    try:
        return "" if unix is None else datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def duration(seconds: float) -> str:
    """Return a time in s in the two largest units that it has."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or parts:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def size(number: int) -> str:
    """Return a number of bytes with three digits and its unit."""
    value, units = float(number), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}" if value < 1000 else f"{value:.0f} {units[0]}"
