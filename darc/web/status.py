"""The status page: from what all nodes answered to what an operator asks at night."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darc.formats.node_details import NodeDetails, ObservationDetails, ServiceDetails
from darc.network.sweep import NodeError
from darc.web.pages import WebError, render, url

#: How a node or a service is, as the style sheet calls it: all is well, something is not, nobody knows.
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"

#: Name of the master process of a node among its services, where logs are meant.
MASTER = "darc_master"
#: Colours as style sheets write them.
_COLOUR = re.compile(r"#?\w+|\w+\([\d\s.,%/a-z]*\)")
#: Part of a disk that is free at least, below which it is nearly full.
LEAST_FREE = 0.05
#: Difference of a node's clock to ours in s, beyond the time of asking, that is worth a word.
CLOCK_TOLERANCE_S = 1.0


@dataclass(frozen=True)
class NonsenseError(NodeError):
    """What a node answered makes no sense."""


@dataclass(frozen=True)
class Node:
    """A node, as the configuration has it, and what it answered.

    Attributes:
        name: its name
        role: `master` or `worker`
        beam: compound beam of a worker
        answer: what it tells, or why it does not
        expected: services that it has to run
        last_answer: when it answered last, unix s; None: never so far
        logs: services with a page of their log, among them perhaps `MASTER`
    """

    name: str
    role: str
    beam: int | None
    answer: NodeDetails | NodeError
    expected: tuple[str, ...] = ()
    last_answer: float | None = None
    logs: frozenset[str] = frozenset()

    @property
    def details(self) -> NodeDetails | None:
        """What it tells; None if it does not."""
        return self.answer if isinstance(self.answer, NodeDetails) else None

    @property
    def reason(self) -> str:
        """Why there is nothing to tell."""
        return self.answer.reason if isinstance(self.answer, NodeError) else ""

    @property
    def services(self) -> dict[str, ServiceDetails | None]:
        """Its services; None: nobody knows."""
        return dict(self.details.services) if self.details else dict.fromkeys(self.expected)

    @property
    def level(self) -> str:
        """How it is."""
        if self.details is None:
            return BAD if isinstance(self.answer, NonsenseError) else UNKNOWN
        services = self.details.services.values()
        return GOOD if services and all(each.running for each in services) else BAD

    @property
    def word(self) -> str:
        """How it is, in words."""
        if self.details is None:
            return "nonsense" if isinstance(self.answer, NonsenseError) else "no answer"
        running = sum(each.running for each in self.details.services.values())
        return "all running" if self.level == GOOD else f"{running} of {len(self.details.services)} running"


@dataclass(frozen=True)
class Alarm:
    """Something that needs a look.

    Attributes:
        level: `bad`, `warn` or `unknown`
        text: what
        nodes: where, with what is particular to that node
    """

    level: str
    text: str
    nodes: dict[str, str]


@dataclass(frozen=True)
class Observed:
    """An observation and the nodes that have it in their book."""

    observation: ObservationDetails
    nodes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """What does not change from round to round.

    Attributes:
        interval_s: time between two rounds in s
        names: how services are called on the page
        version: of DARC on this node
        delay_max_s: delay behind real time after which data are gone, in s
        results_url: address of the pages with the results of observations; None: not known
    """

    interval_s: float
    names: Mapping[str, str]
    version: str
    delay_max_s: float
    results_url: str | None = None

    def label(self, service: str) -> str:
        """Return how a service is called on the page."""
        return self.names.get(service, service)


@dataclass(frozen=True)
class Status:
    """The state of the cluster after a round of questions.

    Attributes:
        nodes: all nodes, in the order of the configuration
        asked: when the round began, unix s
        written: when it was over, unix s
        settings: what does not change from round to round
    """

    nodes: Sequence[Node]
    asked: float
    written: float
    settings: Settings

    @property
    def observations(self) -> list[Observed]:
        """The observations of all nodes, those that run first, then in the order of their start."""
        found: dict[str, Observed] = {}
        for node in self.nodes:
            for each in node.details.observations if node.details else ():
                known = found.get(each.task_id)
                if known is None or (known.observation.state != "running" and each.state == "running"):
                    found[each.task_id] = Observed(each, known.nodes if known else [])
                found[each.task_id].nodes.append(node.name)
        return sorted(
            found.values(), key=lambda o: (o.observation.state != "running", o.observation.start or 0)
        )

    @property
    def alarms(self) -> list[Alarm]:
        """What needs a look; the same mishap of several nodes is one alarm."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for node in self.nodes:
            for level, text, note in self._alarms_of(node):
                found.setdefault((level, text), {})[node.name] = note
        order = (BAD, UNKNOWN, "warn")
        alarms = [Alarm(level, text, nodes) for (level, text), nodes in found.items()]
        return sorted(alarms, key=lambda alarm: order.index(alarm.level))

    def _alarms_of(self, node: Node) -> Iterable[tuple[str, str, str]]:
        """Yield level, text, and what is particular to this node."""
        details = node.details
        if details is None:
            yield node.level, node.word.capitalize(), ""
            return
        if not details.services:
            yield BAD, "No services", ""
        for name, service in details.services.items():
            if not service.running:
                yield BAD, f"{self.settings.label(name)} {service.state}", ""
        if details.delay_s is not None and details.delay_s > self.settings.delay_max_s:
            yield BAD, "Too far behind AMBER, data are lost", f"{details.delay_s:.1f} s"
        for label, disk in details.disks.items():
            if disk.free_bytes < LEAST_FREE * disk.total_bytes:
                yield "warn", "Disk nearly full", f"{label}: {size(disk.free_bytes)} free"
        if details.version != self.settings.version:
            yield "warn", f"Another version than {self.settings.version}", details.version or "an old one"
        off_s = self._clock_error(details)
        if abs(off_s) > CLOCK_TOLERANCE_S:
            yield "warn", "Clock differs from that of this node", f"{off_s:+.0f} s"

    def _clock_error(self, details: NodeDetails) -> float:
        """Return the least possible difference of a node's clock, read during the round, to ours in s."""
        if details.time is None:
            return 0.0
        return details.time - min(max(details.time, self.asked), self.written)

    def services(self, nodes: Iterable[Node]) -> list[str]:
        """Return the services of some nodes, in the order in which the nodes have them."""
        return list(dict.fromkeys(name for node in nodes for name in node.services))

    def count(self, level: str) -> int:
        """Return the number of nodes that are so."""
        return sum(node.level == level for node in self.nodes)

    @property
    def groups(self) -> list[tuple[str, list[Node]]]:
        """The nodes by role, with what to call them."""
        roles = (("Master node", "master"), ("Worker nodes", "worker"))
        groups = [(title, [node for node in self.nodes if node.role == role]) for title, role in roles]
        return [(title, nodes) for title, nodes in groups if nodes]


def status_page(status: Status) -> str:
    """Return the status page."""
    settings = status.settings
    return render(
        "status.html",
        root="",
        status=status,
        settings=settings,
        interval_s=settings.interval_s,
        size=size,
        log_url=lambda node, service: url(*log_name(node, service)),
    )


def status_json(status: Status) -> str:
    """Return the content of the status page for programs; times are unix seconds."""
    content = {
        "written": status.written,
        "interval": status.settings.interval_s,
        "version": status.settings.version,
        "observations": [
            dataclasses.asdict(each.observation) | {"nodes": each.nodes} for each in status.observations
        ],
        "alarms": [dataclasses.asdict(alarm) for alarm in status.alarms],
        "nodes": {node.name: _node_json(node) for node in status.nodes},
    }
    return json.dumps(content, indent=1) + "\n"


def _node_json(node: Node) -> dict[str, Any]:
    return {
        "role": node.role,
        "beam": node.beam,
        "state": node.level,
        "reason": node.reason or None,
        "last_answer": node.last_answer,
        "services": {name: service_level(service) for name, service in node.services.items()},
        "details": node.details.as_message() if node.details else None,
    }


def offline_page(interval_s: float, written: float) -> str:
    """Return the page that says that the status website is offline.

    Args:
        interval_s: time after which a browser looks again, in s
        written: unix s
    """
    return render("status_offline.html", root="", interval_s=interval_s, written=written)


def offline_json(written: float) -> str:
    """Return what programs read while the status website is offline."""
    return json.dumps({"written": written, "offline": True}) + "\n"


def log_page(title: str, path: str, lines: Sequence[str], written: float) -> str:
    """Return the page of a log.

    Args:
        title: whose log
        path: the log file
        lines: its last lines
        written: unix s
    """
    return render("status_log.html", root="../", title=title, path=path, lines=lines, written=written)


def colour_sheet(colours: Mapping[str, str]) -> str:
    """Return the style sheet with the colours of the lights.

    Args:
        colours: as style sheets write them, by `good`, `bad` and `unknown`

    Raises:
        WebError: one of them is no colour
    """
    for name, colour in colours.items():
        if not _COLOUR.fullmatch(colour):
            raise WebError(
                f"status_website.colour_{name} = {colour!r}: has to be a colour such as green, #0a0 or "
                "rgb(0, 160, 0)"
            )
    return ":root {{ {} }}\n".format(
        " ".join(f"--light-{name}: {colour};" for name, colour in colours.items())
    )


def service_level(service: ServiceDetails | None) -> str:
    """Return how a service is."""
    return UNKNOWN if service is None else GOOD if service.running else BAD


def log_name(node: str, service: str) -> tuple[str, str]:
    """Return folder and name of the page of a log; a name of a node leads to no other folder."""
    return "logs", f"{node}-{service}.html".replace("%", "%25").replace("/", "%2F")


def size(nbytes: float) -> str:
    """Return a number of bytes with the largest decimal unit that it has."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(nbytes) < 1000 or unit == "TB":
            break
        nbytes /= 1000
    return f"{nbytes:.{0 if nbytes >= 100 or unit == 'B' else 1}f} {unit}"
