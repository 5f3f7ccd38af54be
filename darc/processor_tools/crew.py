"""Processes that do the same step of an observation, as the hub sees them."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from darc.network.process_queue import ProcessQueue
from darc.processor_tools.step import Step

#: How many processes of a step may die in an observation before it is given up.
DEATHS_MAX = 10
#: Longest time in s for which a full inbox is waited for.
PATIENCE_S = 1.0
#: Time in s that a process which is told to end gets for it.
ENDING_S = 2.0


class Worker(Protocol):
    """A process of a step."""

    name: str

    def alive(self) -> bool:
        """Whether it lives."""

    def send(self, message: Any) -> bool:
        """Give it a message; return False if it does not take it."""

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
    """The processes of one step; one that died is replaced, within limits.

    Args:
        title: what one of them is called
        size: how many there are
        hire: makes and starts one of a name
        deaths_max: how many may die before the step is given up

    Attributes:
        workers: processes that live, as far as is known
        out_of_order: why this step cannot be done any more; empty if it can
    """

    def __init__(
        self, title: str, size: int, hire: Callable[[str], Worker], deaths_max: int = DEATHS_MAX
    ) -> None:
        self.title, self.size, self.deaths_max = title, size, deaths_max
        self.workers: list[Worker] = []
        self.out_of_order = ""
        self._hire = hire
        self._hired = self._deaths = 0
        self._logger = logging.getLogger("darc.processor")

    def fill(self) -> None:
        """Start processes until there are as many as there should be."""
        while len(self.workers) < self.size and not self.out_of_order:
            self._hired += 1
            self.workers.append(self._hire(f"{self.title} {self._hired}"))

    def replace_dead(self) -> list[str]:
        """Replace processes that died; return their names."""
        dead = [worker for worker in self.workers if not worker.alive()]
        for worker in dead:
            self.workers.remove(worker)
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
