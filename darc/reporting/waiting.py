"""Which beams are waited for, whom to ask about them, and when to go on without them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass
class _Clock:
    """The clock of one beam.

    Attributes:
        ask_at: when its node is asked
        silent_since: since when its node does not work on it; None: it does, as far as we know
        problem: what is wrong with the node
        warned: whether somebody was told
    """

    ask_at: float
    silent_since: float | None = None
    problem: str = ""
    warned: bool = False


class Waiting:
    """Beams whose results have not come yet, each with a clock of its own.

    After `max_wait_s` the node of a beam is asked whether it works on it, and from then on every
    `check_interval_s`. One that does is waited for, up to a limit; one that does not is warned about once,
    and given up when that has lasted for `max_wait_s` more.

    Args:
        beams: compound beams
        now: when the wait begins, in s
        max_wait_s: see above
        check_interval_s: see above
        limit_s: longest wait for any beam, whatever its node says

    Attributes:
        given_up: why beams are waited for no more, by beam
    """

    def __init__(
        self,
        beams: Iterable[int],
        now: float,
        *,
        max_wait_s: float,
        check_interval_s: float,
        limit_s: float,
    ) -> None:
        self.given_up: dict[int, str] = {}
        self._max_wait_s = max_wait_s
        self._check_interval_s = check_interval_s
        self._end = now + limit_s
        self._clocks = {cb: _Clock(now + max_wait_s) for cb in beams}

    @property
    def beams(self) -> list[int]:
        """The beams that are waited for."""
        return list(self._clocks)

    def arrived(self, beams: Iterable[int]) -> None:
        """Note that the results of beams are there."""
        for cb in beams:
            self._clocks.pop(cb, None)

    def to_ask(self, now: float) -> list[int]:
        """Return the beams whose nodes are to be asked now."""
        return [cb for cb, clock in self._clocks.items() if now >= clock.ask_at]

    def answered(self, cb: int, problem: str, now: float) -> bool:
        """Note what became of a question, and return whether somebody has to be warned.

        Args:
            cb: compound beam
            problem: why its node does not work on it; empty if it does
            now: the time in s
        """
        clock = self._clocks[cb]
        clock.ask_at = now + self._check_interval_s
        clock.problem = problem
        if not problem:
            clock.silent_since = None
            return False
        if clock.silent_since is None:
            clock.silent_since = now
        warn, clock.warned = not clock.warned, True
        return warn

    def give_up(self, now: float) -> None:
        """Go on without the beams whose time is over."""
        for cb, clock in list(self._clocks.items()):
            silent = clock.silent_since is not None and now >= clock.silent_since + self._max_wait_s
            if silent or now >= self._end:
                self.given_up[cb] = clock.problem or "its node was still working on it"
                del self._clocks[cb]

    def next_look_in(self, now: float) -> float:
        """Return the seconds until there is something to look at."""
        times = [now + self._check_interval_s, self._end, *(clock.ask_at for clock in self._clocks.values())]
        return max(0.0, min(times) - now)


class LateNews:
    """Decides when to tell of results that came late: when no more come, so that one mail has all of them."""

    def __init__(self) -> None:
        self._before = 0

    def look(self, untold: Collection[int], *, last: bool) -> list[int]:
        """Take in a look at the results, and return the beams to tell of now.

        Args:
            untold: beams with results that nobody was told of
            last: whether no more are expected
        """
        more, self._before = len(untold) > self._before, len(untold)
        if more and not last:
            return []
        self._before = 0
        return sorted(untold)
