"""Many beams of many observations, processed by the workers of a dask cluster."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import dask
from distributed import Client, LocalCluster

from darc import logs
from darc.errors import DARCError
from darc.formats.observation_name import observation_names
from darc.offline.dask_workers import DaskWorkers, spread_steps
from darc.offline.plan import Account, OfflineError, carry_out
from darc.offline.work import Work
from darc.offline.workers import DEATHS_MAX, LOOK_INTERVAL_S

#: Memory that a local worker may use; one that uses more is ended, and its task is repeated.
MEMORY = "2 GiB"
#: Beams that are worked on at once beyond the number of tasks that can be: some wait for their last tasks.
BEAMS_AHEAD = 2
#: Most of them: each takes a thread here.
BEAMS_MAX = 200
#: Longest wait for the scheduler in s.
CONNECT_S = 30

#: Environment of workers on this machine: without MALLOC_TRIM_THRESHOLD_, which dask would set. With it, the
#: memory of each array is new from the kernel, and the work takes a third more time.
_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), 1)
#: Settings of dask for them. It looks at itself less often than by default: that takes time of their cores.
_LOCAL = {
    "distributed.scheduler.allowed-failures": DEATHS_MAX - 1,
    "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
}

_logger = logging.getLogger("darc.offline")


@dataclass(frozen=True)
class Outcome:
    """What became of the work on a beam.

    Attributes:
        work: the beam
        account: what its steps told
        done: names of the steps that were done now
        error: why it could not be worked on; empty if it could
    """

    work: Work
    account: Account
    done: tuple[str, ...] = ()
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether all of it was done, and nothing was wrong."""
        return not self.error and not self.account.problems


@contextmanager
def connected(scheduler: str | None, number: int) -> Iterator[Client]:
    """Connect to a cluster; without one, start workers on this machine and end them afterwards.

    Args:
        scheduler: address of the scheduler, such as `tcp://10.0.0.1:8786`; None: workers on this machine
        number: how many, then

    Raises:
        OfflineError: there is no scheduler at the address
    """
    # to our log what we should know
    chatter = logging.getLogger("distributed")
    chatter.handlers.clear()
    chatter.propagate = True
    chatter.setLevel(logging.WARNING)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise OfflineError(f"no dask scheduler answers at {scheduler}: {error}") from error
        with client:
            yield client
        return
    with _without_interrupts(), dask.config.set(_LOCAL):
        cluster = LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            processes=True,
            memory_limit=MEMORY,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Have processes that are started meanwhile ignore Ctrl-C: it goes to all, and is for this one alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def process_all(
    works: Sequence[Work], client: Client, took: Callable[[Outcome], None], *, again: Collection[str] = ()
) -> None:
    """Do what is not done yet of the work on beams, several at a time, those that come first first.

    The results are those of `darc.offline.process.process`, beam after beam.

    Args:
        works: the beams
        client: connected to the cluster
        took: called with each beam whose work has ended
        again: names of steps that are to be done although they are, with all that follow from them

    Raises:
        OfflineError: there is no step of such a name
        Interrupted: the scheduler is gone
    """
    workers, stopping = DaskWorkers(client), threading.Event()

    def process(work: Work) -> Outcome:
        account = Account(cancelled=stopping.is_set)
        try:
            with logs.observation_of_thread(*observation_names(work.beam.obs_config)), work.locked():
                done = carry_out(spread_steps(work, workers), account, again)
        except DARCError as error:
            _logger.error("beam %d: not processed: %s", work.beam.beam, error)
            return Outcome(work, account, error=str(error))
        return Outcome(work, account, tuple(done))

    rest, running = iter(works), set[Future[Outcome]]()
    with ThreadPoolExecutor(BEAMS_MAX, "beam") as pool:
        try:
            while True:
                room = min(BEAMS_MAX, workers.number + BEAMS_AHEAD) - len(running)
                running |= {pool.submit(process, work) for work in islice(rest, max(0, room))}
                if not running:
                    return
                ended, running = wait(running, LOOK_INTERVAL_S, FIRST_COMPLETED)
                for future in ended:
                    took(future.result())
        finally:
            stopping.set()
