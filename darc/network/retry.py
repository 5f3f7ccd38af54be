"""The one retry policy: how often and how long something that can fail for a while is tried again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from darc.errors import DARCError

T = TypeVar("T")


class RetryStoppedError(DARCError):
    """The retries ended because the caller is stopping."""


@dataclass(frozen=True)
class RetryPolicy:
    """Pauses that grow geometrically, from `first_s` by `factor` up to `max_s` seconds.

    Without `attempts` (number of tries, the first included) and `give_up_after_s` (time since the first try
    within which the last one must begin) it goes on forever. `jitter` is the largest relative change of a
    pause, so that many workers do not return to a restarted server all at once.

    Raises:
        ValueError: if a value is out of its range.
    """

    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    attempts: int | None = None
    give_up_after_s: float | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.first_s <= self.max_s and self.factor >= 1 and 0 <= self.jitter < 1):
            raise ValueError(f"{self}: needs 0 <= first_s <= max_s, factor >= 1 and 0 <= jitter < 1")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"{self}: needs at least one attempt")

    def delays(
        self,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> Iterator[float]:
        """Return the pauses in s before each further try, from now until it is time to give up."""
        return self._delays(clock(), clock, uniform)

    def _delays(
        self, start: float, clock: Callable[[], float], uniform: Callable[[float, float], float]
    ) -> Iterator[float]:
        tries, delay = 1, self.first_s
        while self.attempts is None or tries < self.attempts:
            pause = delay * uniform(1 - self.jitter, 1 + self.jitter) if self.jitter else delay
            if self.give_up_after_s is not None and clock() + pause - start > self.give_up_after_s:
                return
            yield pause
            tries += 1
            delay = min(delay * self.factor, self.max_s)


def retry(
    action: Callable[[], T],
    policy: RetryPolicy,
    *,
    on: tuple[type[Exception], ...] = (OSError,),
    stop: threading.Event | None = None,
    sleep: Callable[[float], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    failed: Callable[[Exception, float | None], object] | None = None,
) -> T:
    """Run `action` until it succeeds and return its result.

    Args:
        action: what to do.
        policy: how often, and how long to pause in between.
        on: exceptions that mean "try again"; all others pass through.
        stop: set by another thread to end the retries; a pause ends at once.
        sleep: replaces the pause, called with seconds.
        clock: seconds, for `give_up_after_s`.
        failed: called after each failure with the exception and the pause in s that follows, None after the
            last; the place for a line in the log.

    Raises:
        RetryStoppedError: if `stop` is set before the action succeeded.
        Exception: the last one of the action when the policy gives up.
    """
    stop = stop or threading.Event()
    sleep = sleep or stop.wait
    delays = policy.delays(clock)
    while not stop.is_set():
        try:
            return action()
        except on as error:
            pause = next(delays, None)
            if failed is not None:
                failed(error, pause)
            if pause is None:
                raise
        sleep(pause)
    raise RetryStoppedError("stopped before the action succeeded")
