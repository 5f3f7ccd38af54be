"""Processes that do the same step of an observation, as the hub sees them."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol

from darc.network.process_queue import ProcessQueue
from darc.processor_tools.step import Step

#: How many processes of a step may die in an observation before it is given up.
DEATHS_MAX = 10
#: Longest time in s for which a full inbox is waited for.
PATIENCE_S = 1.0
#: Time in s that a process which is told to end gets for it.
ENDING_S = 2.0
#: Time in s without any progress after which a process is taken to be stuck; a piece of work takes seconds.
STUCK_S = 120.0


class Worker(Protocol):
    """A process of a step."""

    name: str

    def alive(self) -> bool:
        """Whether it lives."""

    def send(self, message: Any) -> bool:
        """Give it a message; return False if it does not take it."""

    def unread(self) -> bool:
        """Whether it has not read all that it was given."""

    def kill(self) -> None:
        """Kill it at once."""

    def tell_to_end(self) -> None:
        """Ask it to end after what it has in hand."""

    def wait_and_kill(self) -> None:
        """Wait for its end for a while, then kill it."""


class StepProcess:
    """A step in a process of its own.

    Args:
        step: what it does
        inbox: where it takes its work from; made for this process alone, so that nothing of a predecessor's
            is left in it
    """

    def __init__(self, step: Step, inbox: ProcessQueue) -> None:
        self.name = step.name
        self._step, self._inbox = step, inbox
        step.start()

    @property
    def pid(self) -> int | None:
        """Process ID."""
        return self._step.pid

    def alive(self) -> bool:
        """Whether it lives."""
        return self._step.is_alive()

    def send(self, message: Any) -> bool:
        """Give it a message; return False if it does not take it."""
        try:
            self._inbox.put(message, timeout=PATIENCE_S)
        except queue.Full:
            return False
        return True

    def unread(self) -> bool:
        """Whether it has not read all that it was given."""
        return not self._inbox.empty()

    def kill(self) -> None:
        """Kill it at once."""
        self._step.kill()

    def tell_to_end(self) -> None:
        """Ask it to end after what it has in hand."""
        self._step.terminate()
        with contextlib.suppress(queue.Full):
            self._inbox.put("stop", block=False)  # wakes up one that waits for work

    def wait_and_kill(self) -> None:
        """Wait for its end for a while, then kill it."""
        self._step.join(ENDING_S)
        if self._step.is_alive():
            self._step.kill()
            self._step.join(ENDING_S)
        self._inbox.close()


class Crew:
    """The processes of one step; one that died or that had to be killed is replaced, within limits.

    Args:
        title: what one of them is called
        size: how many there are
        hire: makes and starts one of a name
        deaths_max: how many may die before the step is given up
        stuck_s: time in s without progress after which one is killed

    Attributes:
        workers: processes that live, as far as is known
        out_of_order: why this step cannot be done any more; empty if it can
    """

    def __init__(
        self,
        title: str,
        size: int,
        hire: Callable[[str], Worker],
        deaths_max: int = DEATHS_MAX,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.title, self.size, self.deaths_max, self.stuck_s = title, size, deaths_max, stuck_s
        self.workers: list[Worker] = []
        self.out_of_order = ""
        self._hire = hire
        self._hired = self._deaths = 0
        # what each process is at, and since when
        self._doing: dict[str, tuple[Hashable, float]] = {}
        self._killed: set[str] = set()
        self._logger = logging.getLogger("darc.processor")

    def fill(self) -> None:
        """Start processes until there are as many as there should be."""
        while len(self.workers) < self.size and not self.out_of_order:
            self._hired += 1
            self.workers.append(self._hire(f"{self.title} {self._hired}"))

    def kill_stuck(self, now: float, doing: Callable[[Worker], Hashable | None]) -> None:
        """Kill processes that live but do not get on: stopped, or waiting for a disk that does not answer.

        Args:
            now: time in s on any clock that only goes forward
            doing: returns what a process is at, which is something else as soon as it gets on; None if it
                has nothing to do
        """
        for worker in self.workers:
            task = doing(worker)
            before, since = self._doing.get(worker.name, (None, now))
            if task is None or task != before:
                since = now
            self._doing[worker.name] = task, since
            if now - since >= self.stuck_s:
                self._logger.error("%s did not get on for %.0f s: killed", worker.name, now - since)
                worker.kill()
                self._killed.add(worker.name)

    def replace_dead(self) -> list[str]:
        """Replace processes that died, or were killed, which may take effect later; return their names."""
        dead = [worker for worker in self.workers if worker.name in self._killed or not worker.alive()]
        for worker in dead:
            self.workers.remove(worker)
            self._doing.pop(worker.name, None)
            worker.wait_and_kill()
            if not self.out_of_order:
                self._logger.error("%s died", worker.name)
                self._deaths += 1
                if self._deaths >= self.deaths_max:
                    self.give_up(f"{self._deaths} processes died")
        self.fill()
        return [worker.name for worker in dead]

    def give_up(self, reason: str) -> None:
        """Do without this step."""
        if not self.out_of_order:
            self.out_of_order = f"no {self.title}: {reason}"
            self._logger.error("this observation goes on without %s: %s", self.title, reason)

    def send(self, message: Any) -> bool:
        """Give a message to the first process; return False if it is not taken."""
        return bool(self.workers) and self.workers[0].send(message)


def end_all(crews: Iterable[Crew]) -> None:
    """End all processes of all crews; those that do not end by themselves are killed."""
    workers = [worker for crew in crews for worker in crew.workers]
    for worker in workers:
        worker.tell_to_end()
    for worker in workers:
        worker.wait_and_kill()
    for crew in crews:
        crew.workers.clear()
