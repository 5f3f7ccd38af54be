"""What the hub of an observation and its steps tell each other.

Each message travels as `{'command': name, 'content': message}`, the form that every service takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darc.processor_tools.ledger import Cluster


@dataclass(frozen=True)
class Grouped:
    """From the clustering: what came of AMBER's rows since the last such message.

    Attributes:
        rows: number of rows
        header_seen: whether a header came, at any time
        clusters: DM (pc cm^-3), S/N, time (s), width (samples) and SB of each cluster
        finished: nothing more is to come
        worker: name of the clustering
    """

    rows: int
    header_seen: bool
    clusters: tuple[tuple[float, float, float, int, int], ...]
    finished: bool = False
    worker: str = ""


@dataclass(frozen=True)
class Extract:
    """To an extractor.

    Attributes:
        cluster: what to extract
        last_chance: use what data there are, since no more can be expected
    """

    cluster: Cluster
    last_chance: bool


@dataclass(frozen=True)
class Extracted:
    """From an extractor.

    Attributes:
        worker: name of the extractor
        number: of the cluster
        path: file of the candidate; None: there is none
        reason: why there is none
        too_early: the data were not on disk yet
    """

    worker: str
    number: int
    path: Path | None = None
    reason: str = ""
    too_early: bool = False


@dataclass(frozen=True)
class Classify:
    """To the classifier: a candidate."""

    number: int
    path: Path


@dataclass(frozen=True)
class Classified:
    """From the classifier.

    Attributes:
        worker: name of the classifier
        number: of the candidate
        path: its file
        keep: whether both probabilities are above their thresholds
        reason: why there are no probabilities
    """

    worker: str
    number: int
    path: Path
    keep: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Draw:
    """To the visualiser: the candidates to plot."""

    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Drawn:
    """From the visualiser: the pages are there, or not, which it has logged."""

    worker: str


@dataclass(frozen=True)
class Refused:
    """From a step that cannot do its work in this observation, and would not if it were started again."""

    worker: str
    reason: str


def message(content: Any) -> dict[str, Any]:
    """Return a message in the form in which it travels."""
    return {"command": type(content).__name__.lower(), "content": content}
