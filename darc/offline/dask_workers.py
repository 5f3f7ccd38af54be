"""Tasks done by the workers of a dask cluster, which share the disks with this machine.

Whatever number of threads a worker has, it does one task at a time. What a task logs comes back with its
result, so that all of it is in one log, in the lines of the right observation.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Any, TypeVar

from distributed import Client, KilledWorker, wait

from darc import logs
from darc.errors import DARCError
from darc.formats.observation_name import observation_names
from darc.offline.plan import Account, Done, Interrupted, OfflineError, Step
from darc.offline.process import steps_of
from darc.offline.work import Work
from darc.offline.workers import LOOK_INTERVAL_S, STUCK_S, ThisProcess

Task = TypeVar("Task")
Result = TypeVar("Result")
#: Records of the log, as dictionaries.
Records = list[dict[str, Any]]

#: Step that hands out tasks itself.
SPREAD = "extract"
#: Tasks per worker that are handed out at once: one to do, one to go on with.
AHEAD = 2

_logger = logging.getLogger("darc.offline")


class DaskWorkers:
    """Does tasks on a cluster; see `darc.offline.workers.Workers`.

    Args:
        client: connected to the scheduler
        stuck_s: time in s after which a worker that does not end a task ends itself
    """

    def __init__(self, client: Client, stuck_s: float = STUCK_S) -> None:
        self.client, self._stuck_s = client, stuck_s
        self._sharing = 0  # calls of `results` that are under way, in several threads
        self._lock = threading.Lock()
        self._number, self._counted_s = 1, -inf

    @property
    def number(self) -> int:
        """Number of tasks that can be done at once, 1 or more; it changes as workers come and go."""
        # not for each task: the scheduler is asked, which shares the cores with the workers of this machine
        if (now_s := time.monotonic()) - self._counted_s > LOOK_INTERVAL_S:
            self._number, self._counted_s = max(1, len(self.client.nthreads())), now_s
        return self._number

    def results(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], check: Callable[[], None]
    ) -> Iterator[tuple[Task, Result | None]]:
        """Do tasks; see `Workers`."""
        rest, futures = iter(tasks), dict[Any, Task]()
        self._share(1)
        try:
            while True:
                check()
                for task in islice(rest, max(0, self._room - len(futures))):
                    futures[self._submit(function, (task,), self._stuck_s)] = task
                if not futures:
                    return
                for future in self._ended(futures):
                    yield futures.pop(future), _result(future)
        finally:
            self._share(-1)
            self.client.cancel(list(futures))

    def _share(self, change: int) -> None:
        with self._lock:
            self._sharing += change

    @property
    def _room(self) -> int:
        """Number of tasks that one call may have handed out: its share, so that they do not pile up."""
        return max(AHEAD, AHEAD * self.number // max(1, self._sharing))

    def call(
        self, function: Callable[..., Result], *arguments: object, check: Callable[[], None]
    ) -> Result | None:
        """Have one thing done by a worker, without limit of time; None: those who tried died of it."""
        future = self._submit(function, arguments, None)
        try:
            while not self._ended([future]):
                check()
            result: Result | None = _result(future)
            return result
        finally:
            self.client.cancel([future])

    def _ended(self, futures: Iterable[Any]) -> list[Any]:
        """Wait a little, and return the tasks that have ended."""
        with self.client.as_current():
            try:
                return list(wait(list(futures), LOOK_INTERVAL_S, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                return []

    def _submit(
        self, function: Callable[..., Any], arguments: tuple[object, ...], stuck_s: float | None
    ) -> Any:
        level = _logger.getEffectiveLevel()
        return self.client.submit(do_task, function, arguments, level, stuck_s, pure=False)


def _result(future: Any) -> Any:
    """Return what a task gave, None if its workers died; log what it logged.

    Raises:
        DARCError: it failed
        Interrupted: the scheduler is gone, or somebody cancelled the task
    """
    try:
        result, error, records = future.result()
    except KilledWorker as killed:
        _logger.error("workers died of a task: %s", killed)
        return None
    except Exception as other:
        # dask raises whatever it met when the scheduler went away: the state of the task says what it means
        if future.cancelled() or future.status == "lost":
            raise Interrupted from other
        raise
    for record in records:
        logging.getLogger(record["name"]).handle(logging.makeLogRecord(record))
    if error is not None:
        raise error
    return result


# --- steps -------------------------------------------------------------------------------------------------


def spread_steps(work: Work, workers: DaskWorkers) -> list[Step]:
    """Return the steps of the work on a beam: each is done by a worker, the extraction by all."""
    return [
        step if step.name == SPREAD else replace(step, run=_Remote(work, step.name, workers))
        for step in steps_of(work, workers)
    ]


class _Remote:
    """A step that a worker does."""

    def __init__(self, work: Work, name: str, workers: DaskWorkers) -> None:
        self._work, self._name, self._workers = work, name, workers

    def __call__(self, account: Account) -> Done:
        told = account.numbers, account.problems, account.failed  # its functions stay here
        done = self._workers.call(do_step, self._work, self._name, told, check=account.check)
        if done is None:
            raise OfflineError("the workers that did it died: see their logs, and the memory that they have")
        return done


# --- in the processes of the workers -----------------------------------------------------------------------

#: A process does one task at a time: what it keeps from one to the next is not for several threads.
_one_at_a_time = threading.Lock()


def do_task(
    function: Callable[..., Any], arguments: tuple[object, ...], level: int, stuck_s: float | None
) -> tuple[Any, DARCError | None, Records]:
    """Do a task; return its result, or why it failed, and what it logged.

    Args:
        function: does it
        arguments: of the function
        level: lowest level that is logged
        stuck_s: time in s after which the process ends itself, for the task to be done by another
    """
    with _one_at_a_time, _Kept(level) as kept:
        timer = None if stuck_s is None else threading.Timer(stuck_s, os._exit, (1,))
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            return function(*arguments), None, kept.records
        except DARCError as error:
            return None, error, kept.records
        finally:
            if timer is not None:
                timer.cancel()


def do_step(work: Work, name: str, told: tuple[dict[str, int], list[str], list[str]]) -> Done:
    """Do a step; return what it tells.

    Raises:
        DARCError: it cannot be done
    """
    numbers, problems, failed = told
    (step,) = (step for step in steps_of(work, ThisProcess()) if step.name == name)
    with logs.observation_of_thread(*observation_names(work.beam.obs_config)):
        return step.run(Account(numbers=numbers, problems=problems, failed=failed))


class _Kept(logging.handlers.QueueHandler):
    """Keeps what is logged meanwhile."""

    def __init__(self, level: int) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.records: Records = []
        self._level, self._logger = level, logging.getLogger("darc")

    def enqueue(self, record: logging.LogRecord) -> None:
        self.records.append(record.__dict__)

    def __enter__(self) -> _Kept:
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(self._level)
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
