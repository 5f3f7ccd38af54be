"""Rows of several AMBER instances put together to batches, the unit of real-time work.

AMBER processes data in batches (1.024 s). Each of its instances writes the rows of a batch together, to a
file of its own, and nothing at all for a batch in which it finds nothing. What is handed out here does not
depend on how fast the files are read or on which comes first, as long as no pause exceeds the settling time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Batches by which instances may be apart from each other when somebody catches up with them.
CATCH_UP_BATCHES = 3

Reason = Literal["complete", "settled", "interval", "flush"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that are to be processed together.

    Attributes:
        number: AMBER's batch number.
        rows: Shape (n, k), in order of arrival.
        late: The batch, or what was there of it, was handed out before.
        reason: What made it ready: 'complete' (all instances went beyond it), 'settled' (nothing more came),
            'interval' (it waited long enough) or 'flush' (end of the observation).
        first_arrival: Monotonic time in s at which its first row arrived.
        counts: Number of its rows from each instance, None: from unknown sources.

    """

    number: int
    rows: NDArray[np.float64]
    late: bool
    reason: Reason
    first_arrival: float
    counts: Mapping[int | None, int]


@dataclass
class _Waiting:
    """A batch of which rows are there; `last_arrival` is that of a row of this or an earlier batch."""

    late: bool
    first_arrival: float
    last_arrival: float
    blocks: list[NDArray[np.float64]] = field(default_factory=list)
    counts: Counter[int | None] = field(default_factory=Counter)


@dataclass
class _Source:
    """How far an AMBER instance, or the unknown sources together, came.

    `furthest` is the highest batch so far, `current` that of the last row. They differ in a file made by
    concatenation, whose batches go back.
    """

    furthest: float = -inf
    current: float = -inf
    at_end: bool = True


class BatchAssembler:
    """Collects rows and hands them out batch by batch, as soon as no more of a batch is expected.

    A batch is ready when every instance has delivered a row of a later one ('complete'); or when all
    instances that have delivered anything are at the end of their files and for `settle_s` no row of this or
    an earlier batch came ('settled'), so that batches settle in order; at the latest `interval_s` after its
    first row ('interval'). Rows of a batch that was already handed out make a batch of their own, with `late`
    set, under the same rules.

    Args:
        ninstance: Number of AMBER instances, numbered from 1.
        settle_s: Pause in s after which no more is expected.
        interval_s: Longest time in s that a row waits for others.
        handed_out: Batches that a predecessor has handed out.

    Attributes:
        late_rows: Number of rows that came after their batch was handed out.

    Raises:
        ValueError: There is no instance.

    """

    def __init__(
        self, ninstance: int, settle_s: float, interval_s: float, handed_out: Iterable[int] = ()
    ) -> None:
        if ninstance < 1:
            raise ValueError(f"at least one AMBER instance is needed, not {ninstance}")
        self.late_rows = 0
        self._settle_s = settle_s
        self._interval_s = interval_s
        self._instances = {number: _Source() for number in range(1, ninstance + 1)}
        self._unknown = _Source()
        self._waiting: dict[int, _Waiting] = {}
        self._handed_out = set(handed_out)

    def add(
        self,
        batch: NDArray[np.int64],
        rows: NDArray[np.float64],
        instance: int | None,
        at_end: bool,
        now: float,
    ) -> None:
        """Take in rows that arrived together. They are kept without a copy.

        Args:
            batch: Shape (n,): batch number of each row. n may be 0, where only `at_end` is to be told.
            rows: Shape (n, k).
            instance: AMBER instance that wrote the rows, from 1. None: unknown, such as another program.
            at_end: The file of that instance held nothing more. True where the source is unknown.
            now: Monotonic time in s.

        Raises:
            ValueError: There is no such instance, or not one batch number per row.

        """
        if len(batch) != len(rows):
            raise ValueError(f"{len(batch)} batch numbers for {len(rows)} rows")
        if instance is not None and instance not in self._instances:
            raise ValueError(f"there is no AMBER instance {instance}, only 1 to {len(self._instances)}")
        source = self._unknown if instance is None else self._instances[instance]
        source.at_end = at_end
        if len(batch):
            source.current = int(batch[-1])
            source.furthest = max(source.furthest, int(batch.max()))
            self._store(batch, rows, instance, now)

    def ready(self, now: float) -> list[Batch]:
        """Hand out what is ready at the monotonic time `now`, ordered by batch number."""
        due = [(number, *self._due(number, waiting)) for number, waiting in sorted(self._waiting.items())]
        return [self._hand_out(number, reason) for number, time, reason in due if time <= now]

    def deadline(self) -> float | None:
        """Monotonic time, maybe past, at which a batch becomes ready if no row comes; None when idle."""
        return min((self._due(*item)[0] for item in self._waiting.items()), default=None)

    def passed(self, instances: Iterable[int]) -> list[Batch]:
        """Hand out what some instances have left well behind, ordered by batch number.

        For whoever catches up with what was written long ago: the rows of these instances are read now, and
        those of all others are there. Pauses say nothing then.

        Args:
            instances: Those of which more is to be read; at least one.
        """
        reached = min(self.reached(instance) for instance in instances) - CATCH_UP_BATCHES
        return [self._hand_out(number, "complete") for number in sorted(self._waiting) if number < reached]

    def reached(self, instance: int) -> float:
        """Return the latest batch of an instance so far; minus infinity before its first row."""
        return self._instances[instance].furthest

    def flush(self) -> list[Batch]:
        """Hand out everything, ordered by batch number: the observation is over."""
        return [self._hand_out(number, "flush") for number in sorted(self._waiting)]

    def _store(
        self, batch: NDArray[np.int64], rows: NDArray[np.float64], instance: int | None, now: float
    ) -> None:
        if np.any(batch[1:] < batch[:-1]):
            order = np.argsort(batch, kind="stable")
            batch, rows = batch[order], rows[order]
        starts = np.flatnonzero(batch[1:] != batch[:-1]) + 1
        numbers = batch[np.concatenate(([0], starts))].tolist()
        for number, block in zip(numbers, np.split(rows, starts), strict=True):
            late = number in self._handed_out
            self.late_rows += late * len(block)
            waiting = self._waiting.setdefault(number, _Waiting(late, now, now))
            waiting.blocks.append(block)
            waiting.counts[instance] += len(block)
        for number, waiting in self._waiting.items():
            if number >= numbers[0]:
                waiting.last_arrival = now

    def _due(self, number: int, waiting: _Waiting) -> tuple[float, Reason]:
        """Time at which a batch is ready as things stand, and why."""
        if self._is_complete(number, waiting.late):
            return waiting.first_arrival, "complete"
        interval = waiting.first_arrival + self._interval_s
        settled = waiting.last_arrival + self._settle_s if self._all_at_end() else inf
        return (settled, "settled") if settled <= interval else (interval, "interval")

    def _is_complete(self, number: int, late: bool) -> bool:
        instances = self._instances.values()
        if not late:
            return all(source.furthest > number for source in instances)
        # all were beyond it before: it counts where they, and whoever else writes, are now
        others = [self._unknown] if self._has_delivered(self._unknown) else []
        return all(source.current > number for source in (*instances, *others))

    def _all_at_end(self) -> bool:
        sources = (*self._instances.values(), self._unknown)
        return all(source.at_end for source in sources if self._has_delivered(source))

    @staticmethod
    def _has_delivered(source: _Source) -> bool:
        return source.furthest > -inf

    def _hand_out(self, number: int, reason: Reason) -> Batch:
        waiting = self._waiting.pop(number)
        self._handed_out.add(number)
        rows = waiting.blocks[0] if len(waiting.blocks) == 1 else np.concatenate(waiting.blocks)
        return Batch(number, rows, waiting.late, reason, waiting.first_arrival, waiting.counts)
