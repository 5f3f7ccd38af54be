"""Hands things on one after another: what cannot be handed on now waits, and goes before what came later."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from darc.network.retry import RetryPolicy

Item = TypeVar("Item")


@dataclass(eq=False)
class Waiting(Generic[Item]):
    """An item that waits.

    Attributes:
        item: what is handed on
        since: when it came, on the sender's clock, in s
    """

    item: Item
    since: float


class OrderedSender(Generic[Item]):
    """Hands items on from a thread of its own, so that nobody waits for whoever takes them.

    Args:
        name: name of the thread
        attempt: tries to hand on an item; returns whether it is settled, in one way or another
        drop: settles an item that is given up, for the reason given
        leave: is told of each item that still waits when this is closed
        retry: pauses between attempts; if it gives up, so are all items that wait
        max_age_s: items that could not be handed on within this time in s are dropped
        max_items: number of items that may wait; beyond it the oldest are dropped
        patient: whether to go on trying while this is being closed; if not, each item is tried once more
        begin: what the thread does first
        end: what it does last
        clock: monotonic time in s
    """

    def __init__(
        self,
        name: str,
        attempt: Callable[[Waiting[Item]], bool],
        drop: Callable[[Waiting[Item], str], None],
        leave: Callable[[Waiting[Item]], None],
        *,
        retry: RetryPolicy,
        max_age_s: float,
        max_items: int = 1000,
        patient: bool = True,
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._attempt, self._drop, self._leave = attempt, drop, leave
        self._patient, self._begin, self._end = patient, begin, end
        self._retry, self._max_age_s, self._max_items, self._clock = retry, max_age_s, max_items, clock
        self._items: deque[Waiting[Item]] = deque()
        self._changed = threading.Condition()
        self._closing = self._aborted = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of items that wait, without the one being handed on."""
        return len(self._items)

    def snapshot(self) -> list[Item]:
        """Return the items that wait, without the one being handed on."""
        with self._changed:
            return [entry.item for entry in self._items]

    def put(self, item: Item) -> None:
        """Have an item handed on; returns at once.

        Raises:
            ValueError: if this is closed.
        """
        with self._changed:
            if self._closing:
                raise ValueError(f"{self.name} is closed")
            self._items.append(Waiting(item, self._clock()))
            excess = [self._items.popleft() for _ in range(len(self._items) - self._max_items)]
            self._changed.notify_all()
        for entry in excess:
            self._drop(entry, f"more than {self._max_items} wait")

    def put_first(self, items: Iterable[tuple[Item, float]]) -> None:
        """Have items handed on before those that wait.

        Args:
            items: the oldest first, each with its age in s
        """
        now = self._clock()
        with self._changed:
            self._items.extendleft(reversed([Waiting(item, now - age_s) for item, age_s in items]))
            self._changed.notify_all()

    def age_s(self, entry: Waiting[Item]) -> float:
        """Return for how long an item has waited, in s."""
        return self._clock() - entry.since

    def close(self, timeout_s: float) -> None:
        """Hand on what waits, for a limited time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            self._aborted = True
            left = self._take_all()
            self._changed.notify_all()
        for entry in left:
            self._leave(entry)

    def _run(self) -> None:
        self._begin()
        pauses = self._retry.delays(self._clock)
        while (entry := self._next()) is not None:
            is_last = self._closing and not self._patient  # else it is tried once more after `close`
            if self._attempt(entry):
                pauses = self._retry.delays(self._clock)
            elif not is_last and self._put_back(entry):
                pauses = self._after_failure(pauses)
            else:
                self._leave(entry)
                break
        self._end()

    def _put_back(self, entry: Waiting[Item]) -> bool:
        """Have an item wait again; return False if it is too late for that."""
        with self._changed:
            if not self._aborted:
                self._items.appendleft(entry)
            return not self._aborted

    def _after_failure(self, pauses: Iterator[float]) -> Iterator[float]:
        """Wait before the next attempt, or give up what waits; return the pauses that may follow."""
        pause_s = next(pauses, None)
        if pause_s is not None:
            self._pause(pause_s)
            return pauses
        with self._changed:
            given_up = self._take_all()
        for entry in given_up:
            self._drop(entry, "no further attempts")
        return self._retry.delays(self._clock)

    def _next(self) -> Waiting[Item] | None:
        """Wait for the next item that is not too old; None when this is closed and empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closing)
                if not self._items:
                    return None
                entry = self._items.popleft()
            if self.age_s(entry) <= self._max_age_s:
                return entry
            self._drop(entry, f"older than {self._max_age_s:g} s")

    def _pause(self, pause_s: float) -> None:
        """Wait before the next attempt, shortly when this is being closed."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, pause_s)
            else:
                self._changed.wait_for(lambda: self._aborted, min(pause_s, self._retry.first_s))

    def _take_all(self) -> list[Waiting[Item]]:
        taken = list(self._items)
        self._items.clear()
        return taken
