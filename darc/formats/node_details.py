"""What a node tells of itself: the answer to the commands `details` and `log`, built and read.

Replies of the command port hold neither None nor booleans: what is not known is the text `None`, or missing.
A node of an older version answers `status` only, which is read here as far as it goes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from darc.errors import DARCError

#: What the command port makes of None.
_NONE = "None"
#: Date and time of an observation in the answer to `status`, UTC.
_ISOT = "%Y-%m-%dT%H:%M:%S"
_MAX_TEXT = 200

T = TypeVar("T")


class NodeDetailsError(DARCError):
    """A node answered something that no node answers."""


@dataclass(frozen=True)
class ServiceDetails:
    """A service of a node.

    Attributes:
        state: `running`, `stopped`, `failed` and so on
        since: when it got into this state, unix s; None: not known
        restarts: how often it was restarted after it had died, since the master started
        pid: process ID
        queue: bytes that wait in its queue
    """

    state: str
    since: float | None = None
    restarts: int = 0
    pid: int | None = None
    queue: int | None = None

    @property
    def running(self) -> bool:
        """Whether it does its work."""
        return self.state == "running"


@dataclass(frozen=True)
class ObservationDetails:
    """An observation that a node has in its book; `start` and `end` of the data in unix s."""

    task_id: str
    datetimesource: str
    source: str
    state: str
    start: float | None
    end: float | None


@dataclass(frozen=True)
class LastTrigger:
    """The last trigger of a kind: when it was sent, unix s, and how that went."""

    time: float
    outcome: str


@dataclass(frozen=True)
class Disk:
    """A disk that results are written to."""

    path: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class NodeDetails:
    """Everything that a node tells of itself.

    Attributes:
        node: its name
        role: `master`, `worker` or `unknown`
        beam: compound beam of a worker
        version: of DARC; empty: older than the command `details`
        time: its clock, unix s
        up_since: when its master started, unix s
        services: its services by name
        observations: in the order of their start
        delay_s: time between the end of the newest batch of AMBER and its being processed, in s
        last_triggers: the last trigger of each kind
        disks: by what they are for
        figures: its metrics by name
        sending: whether services that tell other telescopes do so, in words, by service
    """

    node: str
    role: str
    beam: int | None = None
    version: str = ""
    time: float | None = None
    up_since: float | None = None
    services: dict[str, ServiceDetails] = field(default_factory=dict)
    observations: tuple[ObservationDetails, ...] = ()
    delay_s: float | None = None
    last_triggers: dict[str, LastTrigger] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    sending: dict[str, str] = field(default_factory=dict)

    def as_message(self) -> dict[str, Any]:
        """Return the message of the reply to `details`."""
        return dataclasses.asdict(self)


def read_node_details(node: str, message: object) -> NodeDetails:
    """Read the message of a reply to `details`, or of one to `status` for all services.

    Args:
        node: name of the node that was asked, where the reply does not tell it
        message: what it answered

    Raises:
        NodeDetailsError: it is neither
    """
    fields = _mapping(message, "the reply")
    if "services" not in fields:
        return _from_status(node, fields)
    return NodeDetails(
        node=_text(fields, "node"),
        role=_text(fields, "role"),
        beam=_whole(fields, "beam"),
        version=_text(fields, "version"),
        time=_number(fields, "time"),
        up_since=_number(fields, "up_since"),
        services={name: _service(name, each) for name, each in _items(fields, "services")},
        observations=tuple(_observation(each) for each in _sequence(fields, "observations")),
        delay_s=_number(fields, "delay_s"),
        last_triggers={kind: _trigger(kind, each) for kind, each in _items(fields, "last_triggers")},
        sending={name: _text({name: each}, name) for name, each in _items(fields, "sending")},
        disks={label: _disk(label, each) for label, each in _items(fields, "disks")},
        figures={
            name: _needed(_number({name: value}, name), name) for name, value in _items(fields, "figures")
        },
    )


def read_log(message: object) -> tuple[str, list[str]]:
    """Read the message of a reply to `log`; return the path of the log file and its last lines.

    Raises:
        NodeDetailsError: it is none
    """
    fields = _mapping(message, "the reply")
    lines = _sequence(fields, "lines")
    if not all(isinstance(line, str) for line in lines):
        raise NodeDetailsError("lines has something other than text")
    return _text(fields, "path"), lines


def _from_status(node: str, fields: Mapping[str, Any]) -> NodeDetails:
    """Read states of services by name, and observations by task ID."""
    if isinstance(refusal := fields.get("error"), str) and len(fields) == 1:
        raise NodeDetailsError(f"it does not tell the state of its services: {refusal:.500}")
    states = {name: state for name, state in fields.items() if name != "observations"}
    if not all(isinstance(state, str) for state in states.values()) or "error" in states:
        raise NodeDetailsError(f"it does not tell the state of its services: {_excerpt(dict(fields))}")
    return NodeDetails(
        node=node,
        role="unknown",
        services={name: ServiceDetails(state[:_MAX_TEXT]) for name, state in states.items()},
        observations=tuple(_observation(each) for _, each in _items(fields, "observations")),
    )


def _service(name: str, value: object) -> ServiceDetails:
    fields = _mapping(value, name)
    return ServiceDetails(
        state=_text(fields, "state"),
        since=_number(fields, "since"),
        restarts=_whole(fields, "restarts") or 0,
        pid=_whole(fields, "pid"),
        queue=_whole(fields, "queue"),
    )


def _observation(value: object) -> ObservationDetails:
    fields = _mapping(value, "an observation")
    label = _text(fields, "datetimesource")
    return ObservationDetails(
        task_id=_text(fields, "task_id"),
        datetimesource=label,
        source=_text(fields, "source") if "source" in fields else label.partition(".")[2],
        state=_text(fields, "state"),
        start=_time(fields, "start"),
        end=_time(fields, "end"),
    )


def _trigger(kind: str, value: object) -> LastTrigger:
    fields = _mapping(value, kind)
    return LastTrigger(_needed(_number(fields, "time"), f"time of {kind}"), _text(fields, "outcome"))


def _disk(label: str, value: object) -> Disk:
    fields = _mapping(value, label)
    free, total = (_needed(_whole(fields, key), f"{key} of {label}") for key in ("free_bytes", "total_bytes"))
    return Disk(_text(fields, "path"), free, total)


# --- values of a reply -------------------------------------------------------------------------------------


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise NodeDetailsError(f"{what} is no dictionary but {_excerpt(value)}")
    return value


def _items(fields: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    return list(_mapping(fields.get(key, {}), key).items())


def _sequence(fields: Mapping[str, Any], key: str) -> list[Any]:
    value = fields.get(key, [])
    if not isinstance(value, list | tuple):
        raise NodeDetailsError(f"{key} is no list but {_excerpt(value)}")
    return list(value)


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise NodeDetailsError(f"{key} is no text but {_excerpt(value)}")
    return value


def _number(fields: Mapping[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if value is None or value == _NONE:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NodeDetailsError(f"{key} is no number but {_excerpt(value)}")
    return value


def _whole(fields: Mapping[str, Any], key: str) -> int | None:
    value = _number(fields, key)
    if isinstance(value, float):
        raise NodeDetailsError(f"{key} is no whole number but {_excerpt(value)}")
    return value


def _time(fields: Mapping[str, Any], key: str) -> float | None:
    """Return a time in unix s, which `status` tells as a date."""
    try:
        return datetime.strptime(str(fields.get(key)), _ISOT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return _number(fields, key)


def _needed(value: T | None, what: str) -> T:
    if value is None:
        raise NodeDetailsError(f"{what} is missing")
    return value


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
