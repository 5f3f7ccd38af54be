"""Where each cluster of an observation is on its way to a candidate, and the counts that follow."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from darc.formats.results import NOTHING_CAME, Summary


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


@dataclass
class Ledger:
    """The clusters of one observation, kept by one process, so that no count is shared.

    A cluster waits until its data are on disk, is given to an extractor, and then to the classifier. What an
    extractor that died had in hand is given to another one, once: a cluster that two of them died of is
    skipped.

    Attributes:
        rows: rows from AMBER
        header_seen: whether a header came from AMBER
        clusters: clusters so far
        extracted: candidates that were extracted
        classified: candidates that were classified
        kept: files of the candidates above both thresholds
        skipped: why clusters did not become candidates, with numbers
    """

    rows: int = 0
    header_seen: bool = False
    clusters: int = 0
    extracted: int = 0
    classified: int = 0
    kept: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    _waiting: list[tuple[float, int, Cluster]] = field(default_factory=list)
    _in_hand: dict[str, dict[int, Cluster]] = field(default_factory=dict)
    _orphans: set[int] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def next_number(self) -> int:
        """Return the number of the next cluster."""
        return next(self._numbers)

    def add(self, cluster: Cluster, ready_at: float) -> None:
        """Take in a cluster whose data are on disk from a time on."""
        self.clusters += 1
        heapq.heappush(self._waiting, (ready_at, cluster.number, cluster))

    def next_ready_at(self) -> float | None:
        """Return when the next cluster can be extracted; None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def hand_out(self, extractor: str, now: float) -> Cluster | None:
        """Give an extractor the cluster that is ready for longest; None if none is ready."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        cluster = heapq.heappop(self._waiting)[2]
        self._in_hand.setdefault(extractor, {})[cluster.number] = cluster
        return cluster

    def in_hand(self, extractor: str) -> int:
        """Return the number of clusters an extractor has not answered for."""
        return len(self._in_hand.get(extractor, {}))

    def answer(self, extractor: str, number: int, reason: str = "") -> None:
        """Note that an extractor has finished with a cluster.

        Args:
            extractor: name of the extractor
            number: number of the cluster
            reason: why there is no candidate; empty: there is one
        """
        if self._in_hand.get(extractor, {}).pop(number, None) is None:
            return  # it came back from an extractor that was taken for dead
        if reason:
            self.skipped[reason] += 1
        else:
            self.extracted += 1

    def take_back(self, extractor: str, now: float) -> None:
        """Take back what an extractor that died had in hand."""
        for number, cluster in self._in_hand.pop(extractor, {}).items():
            if number in self._orphans:
                self.skipped["two extractors died of it"] += 1
            else:
                self._orphans.add(number)
                heapq.heappush(self._waiting, (now, number, cluster))

    def judge(self, path: Path, keep: bool) -> None:
        """Note what the classifier made of a candidate."""
        self.classified += 1
        if keep:
            self.kept.append(path)

    @property
    def finished(self) -> bool:
        """Whether every cluster was extracted or skipped, and every candidate classified."""
        return not self._waiting and not any(self._in_hand.values()) and self.classified == self.extracted

    def summary(self) -> Summary:
        """Return the numbers of candidates after each step."""
        if not self.header_seen:
            return NOTHING_CAME
        return Summary(self.rows, self.clusters, self.extracted, len(self.kept))
