"""Processes that do many tasks of one kind; one that dies costs the repetition of its task, and no more."""

from __future__ import annotations

import collections
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Time in s after which a process that does not answer is killed: a task takes seconds.
STUCK_S = 300.0
#: Longest time in s until it is seen that the work is to end.
LOOK_INTERVAL_S = 0.5
#: Deaths of processes that a task may cost.
DEATHS_MAX = 2
#: What processes would otherwise each import.
_PRELOADED = ["darc.offline.extract"]

_logger = logging.getLogger("darc.offline")


class Workers(Protocol):
    """Whoever does tasks: this process, others of this machine, or those of a cluster."""

    def results(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], check: Callable[[], None]
    ) -> Iterator[tuple[Task, Result | None]]:
        """Do tasks, and give each with its result as soon as it is there, in any order.

        Args:
            function: does one; of a module, so that other processes find it
            tasks: taken one after the other, when somebody is free to do it
            check: called often; the work ends with the exception that it raises

        Yields:
            a task and its result; None: it could not be done, since those who tried died of it
        """


class ThisProcess:
    """Does tasks one after the other."""

    def results(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], check: Callable[[], None]
    ) -> Iterator[tuple[Task, Result | None]]:
        """Do tasks; see `Workers`."""
        for task in tasks:
            check()
            yield task, function(task)


class Processes:
    """Does tasks in processes of this machine.

    Args:
        number: how many
        set_up: what each does first, such as to open its log; of a module, so that it is found there
        stuck_s: time in s after which one that does not answer is killed
        clock: monotonic time in s
    """

    def __init__(
        self,
        number: int,
        set_up: Callable[[], object] = dict,
        stuck_s: float = STUCK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number, self.set_up, self.stuck_s, self._clock = number, set_up, stuck_s, clock

    def results(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], check: Callable[[], None]
    ) -> Iterator[tuple[Task, Result | None]]:
        """Do tasks; see `Workers`. The processes live as long as this iterator."""
        new, again = map(_Attempt, tasks), collections.deque[_Attempt[Task]]()
        hands: list[_Hand[Task]] = []
        try:
            while True:
                check()
                self._hand_out(function, hands, new, again)
                if not any(hand.attempt for hand in hands):
                    return
                for hand, attempt in self._heard_of(hands):
                    try:
                        result = hand.take()
                    except (EOFError, OSError):
                        hands.remove(hand)
                        hand.end()
                        attempt.deaths += 1
                        _logger.error("a worker died, the %d. time of the same task", attempt.deaths)
                        if attempt.deaths < DEATHS_MAX:
                            again.append(attempt)
                        else:
                            yield attempt.task, None
                    else:
                        yield attempt.task, result
        finally:
            for hand in hands:
                hand.end()

    def _hand_out(
        self,
        function: Callable[[Task], Result],
        hands: list[_Hand[Task]],
        new: Iterator[_Attempt[Task]],
        again: collections.deque[_Attempt[Task]],
    ) -> None:
        """Give a task to everybody who is free."""
        free = [hand for hand in hands if hand.attempt is None]
        while free or len(hands) < self.number:
            attempt = again.popleft() if again else next(new, None)
            if attempt is None:
                return
            if not free:
                free.append(_Hand(function, self.set_up))
                hands += free
            free.pop().give(attempt, self._clock())

    def _heard_of(self, hands: list[_Hand[Task]]) -> list[tuple[_Hand[Task], _Attempt[Task]]]:
        """Wait for answers and deaths; kill who does not answer at all."""
        busy = {hand.connection: (hand, hand.attempt) for hand in hands if hand.attempt}
        ready = multiprocessing.connection.wait(list(busy), LOOK_INTERVAL_S)
        for hand, _ in busy.values():
            if self._clock() - hand.since > self.stuck_s:
                _logger.error("a worker did not answer for %.0f s: killed", self.stuck_s)
                hand.process.kill()
                hand.since = self._clock()
        return [busy[connection] for connection in ready if isinstance(connection, Connection)]


@dataclass(eq=False)
class _Attempt(Generic[Task]):
    """A task, and how many processes died of it."""

    task: Task
    deaths: int = 0


class _Hand(Generic[Task]):
    """A process, and what it is at since when."""

    def __init__(self, function: Callable[[Task], Any], set_up: Callable[[], object]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self.connection, theirs = context.Pipe()
        with theirs:
            self.process = context.Process(target=_work, args=(theirs, function, set_up), daemon=True)
            self.process.start()
        self.attempt: _Attempt[Task] | None = None
        self.since = 0.0

    def give(self, attempt: _Attempt[Task], now: float) -> None:
        self.attempt, self.since = attempt, now
        with contextlib.suppress(OSError):  # it died; that is seen where its answer is taken
            self.connection.send(attempt.task)

    def take(self) -> Any:
        result = self.connection.recv()
        self.attempt = None
        return result

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()


def _work(connection: Connection, function: Callable[[Any], Any], set_up: Callable[[], object]) -> None:
    """Do tasks until there are no more, or nobody is there to give them: the top of a process."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to all; it is the parent that decides what ends
    try:
        set_up()
        while True:
            connection.send(function(connection.recv()))
    except (EOFError, ConnectionError):
        return
    except Exception:
        _logger.exception("a worker ends because of a defect")
        sys.exit(1)
