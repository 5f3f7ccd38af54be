"""Where each cluster of an observation is on its way to a candidate, and the counts that follow."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from darc.formats.results import NOTHING_CAME, Summary

Item = TypeVar("Item")

#: How often the data of a cluster may be missing although they should be on disk.
LATE_MAX = 3


@dataclass(frozen=True)
class Cluster:
    """A cluster to be extracted.

    Attributes:
        number: counts the clusters of the observation
        dm: DM in pc cm^-3
        snr: S/N
        time_s: arrival time at the top of the band in s from the start of the data
        width: width in samples
        sb: synthesised beam
    """

    number: int
    dm: float
    snr: float
    time_s: float
    width: int
    sb: int

    def __str__(self) -> str:
        return (
            f"cluster {self.number} (DM {self.dm:.2f}, S/N {self.snr:.1f}, {self.time_s:.4f} s, "
            f"width {self.width}, SB {self.sb})"
        )


class Stage(Generic[Item]):
    """Pieces of work that wait, or that are in the hand of a worker, each with a number.

    A worker works on what it was given in that order. What one that died had in hand is given to another; the
    piece that two of them died of is not.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Item]] = []
        self._in_hand: dict[str, dict[int, Item]] = {}
        self._suspects: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._in_hand.values()))

    def add(self, number: int, item: Item, ready_at: float) -> None:
        """Take in a piece of work that can be done from a time on."""
        heapq.heappush(self._waiting, (ready_at, number, item))

    def next_ready_at(self) -> float | None:
        """Return when the next piece can be done; None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def hurry(self, ready_at: float) -> None:
        """Let everything that waits be ready at a time, if it is not before."""
        self._waiting = [(min(at, ready_at), number, item) for at, number, item in self._waiting]
        heapq.heapify(self._waiting)

    def hand_out(self, worker: str, now: float) -> tuple[int, Item] | None:
        """Give a worker the piece that is ready for longest, with its number; None if none is ready."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        _, number, item = heapq.heappop(self._waiting)
        self._in_hand.setdefault(worker, {})[number] = item
        return number, item

    def in_hand(self, worker: str) -> int:
        """Return the number of pieces a worker has not answered for."""
        return len(self._in_hand.get(worker, {}))

    def working_on(self, worker: str) -> int | None:
        """Return the number of the piece a worker is at; None if it has none."""
        return next(iter(self._in_hand.get(worker, {})), None)

    def put_back(self, worker: str, number: int, now: float) -> None:
        """Let a piece wait again that a worker was to be given, but did not take."""
        item = self.done(worker, number)
        if item is not None:
            self.add(number, item, now)

    def done(self, worker: str, number: int) -> Item | None:
        """Take a piece out; None if it is no longer this worker's, since it was taken for dead."""
        return self._in_hand.get(worker, {}).pop(number, None)

    def take_back(self, worker: str, now: float) -> list[Item]:
        """Take back what a worker that died had in hand; return what two of them died of."""
        lost: list[Item] = []
        for order, (number, item) in enumerate(self._in_hand.pop(worker, {}).items()):
            if order == 0 and number in self._suspects:
                lost.append(item)
                continue
            if order == 0:
                self._suspects.add(number)
            self.add(number, item, now)
        return lost

    def drop(self) -> list[Item]:
        """Take out everything that waits and return it."""
        dropped = [item for _, _, item in self._waiting]
        self._waiting.clear()
        return dropped


@dataclass
class Ledger:
    """The clusters of one observation, kept by one process, so that no count is shared.

    A cluster waits until its data are on disk, is given to an extractor, and what that makes of it to the
    classifier.

    Attributes:
        rows: rows from AMBER that the clustering has read
        header_seen: whether a header came from AMBER
        clusters: clusters so far
        extracted: candidates that were extracted
        kept: files of the candidates above both thresholds
        skipped: why clusters did not become candidates, with numbers
        unjudged: why candidates were not classified, with numbers
        extraction: clusters that are not extracted yet
        classification: candidates that are not classified yet
    """

    rows: int = 0
    header_seen: bool = False
    clusters: int = 0
    extracted: int = 0
    kept: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    extraction: Stage[Cluster] = field(default_factory=Stage)
    classification: Stage[Path] = field(default_factory=Stage)
    _rows_of: Counter[str] = field(default_factory=Counter)
    _found: Counter[tuple[float, ...]] = field(default_factory=Counter)
    _found_by: dict[str, Counter[tuple[float, ...]]] = field(default_factory=dict)
    _late: Counter[int] = field(default_factory=Counter)
    _numbered: int = 0

    def count_rows(self, worker: str, number: int) -> None:
        """Count rows that a clustering has read; one that replaces another one reads all of them again."""
        self._rows_of[worker] += number
        self.rows = max(self.rows, self._rows_of[worker])

    def rows_of(self, worker: str) -> int:
        """Return how many rows a clustering has read."""
        return self._rows_of[worker]

    def is_new(self, worker: str, found: tuple[float, ...]) -> bool:
        """Return whether a clustering tells of a cluster that none before it has told of."""
        of_worker = self._found_by.setdefault(worker, Counter())
        of_worker[found] += 1
        if of_worker[found] <= self._found[found]:
            return False
        self._found[found] += 1
        return True

    def next_number(self) -> int:
        """Return the number of the next cluster."""
        self._numbered += 1
        return self._numbered - 1

    def add(self, cluster: Cluster, ready_at: float) -> None:
        """Take in a cluster whose data are on disk from a time on."""
        self.clusters += 1
        self.extraction.add(cluster.number, cluster, ready_at)

    def refuse(self, reason: str) -> None:
        """Take in a cluster that cannot be extracted."""
        self.clusters += 1
        self.skipped[reason] += 1

    def extracted_to(self, worker: str, number: int, path: Path, now: float) -> None:
        """Note that an extractor made a candidate of a cluster."""
        if self.extraction.done(worker, number) is not None:
            self.extracted += 1
            self.classification.add(number, path, now)

    def skip(self, worker: str, number: int, reason: str) -> None:
        """Note that an extractor could not make a candidate of a cluster."""
        if self.extraction.done(worker, number) is not None:
            self.skipped[reason] += 1

    def too_early(self, worker: str, number: int, ready_at: float, reason: str) -> bool:
        """Note that data were not on disk yet, and return whether the cluster waits for them once more."""
        cluster = self.extraction.done(worker, number)
        if cluster is None:
            return False
        self._late[number] += 1
        if self._late[number] >= LATE_MAX:
            self.skipped[reason] += 1
            return False
        self.extraction.add(number, cluster, ready_at)
        return True

    def judge(self, worker: str, number: int, keep: bool, reason: str = "") -> None:
        """Note what the classifier made of a candidate, or why it made nothing of it."""
        path = self.classification.done(worker, number)
        if path is None:
            return
        if reason:
            self.unjudged[reason] += 1
        elif keep and path not in self.kept:
            self.kept.append(path)

    def take_back(self, worker: str, now: float) -> None:
        """Take back what a process that died had in hand."""
        self.skipped.update(_reasons("two extractors died of it", self.extraction.take_back(worker, now)))
        lost = self.classification.take_back(worker, now)
        self.unjudged.update(_reasons("two classifiers died of it", lost))

    def give_up_extraction(self, reason: str) -> None:
        """Skip what waits to be extracted: nobody can do it."""
        self.skipped.update(_reasons(reason, self.extraction.drop()))

    def give_up_classification(self, reason: str) -> None:
        """Leave what waits to be classified without probabilities: nobody can do it."""
        self.unjudged.update(_reasons(reason, self.classification.drop()))

    @property
    def finished(self) -> bool:
        """Whether every cluster was extracted or skipped, and every candidate classified or not."""
        return not self.extraction and not self.classification

    def summary(self) -> Summary:
        """Return the numbers of candidates after each step."""
        if not self.header_seen:
            return NOTHING_CAME
        return Summary(self.rows, self.clusters, self.extracted, len(self.kept))


def _reasons(reason: str, items: Iterable[object]) -> dict[str, int]:
    number = sum(1 for _ in items)
    return {reason: number} if number else {}
