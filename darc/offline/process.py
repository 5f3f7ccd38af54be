"""All steps of the work on one compound beam of one observation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from darc import logs
from darc.offline import drift_scan, folding
from darc.offline.amber_files import merge_amber_files
from darc.offline.classify import classify_candidates
from darc.offline.clusters import find_clusters
from darc.offline.extract import extract_clusters
from darc.offline.gather import draw_kept, gather_results
from darc.offline.merge import merge_step
from darc.offline.plan import Account, Done, Step, carry_out
from darc.offline.work import Work
from darc.offline.workers import Processes, Workers


def steps_of(work: Work, workers: Workers) -> list[Step]:
    """Return the steps of the work on a beam, each after those that it needs."""

    def step(
        name: str, run: Callable[[Account], Done], *makes: Path, needs: str = "", after: tuple[str, ...] = ()
    ) -> Step:
        return Step(name, run, work.mark(name), makes, (needs,) if needs else (), after)

    part = work.part()
    extract = partial(extract_clusters, work, part, workers)
    steps = [
        *folding.steps(work),
        *drift_scan.steps(work),
        step("amber", partial(merge_amber_files, work), work.amber),
        step("cluster", partial(find_clusters, work, part), part.clusters, needs="amber"),
        step("extract", extract, part.extracted, part.candidates, needs="cluster"),
        step("merge", partial(merge_step, work), work.merged, work.index, needs="extract"),
        step("classify", partial(classify_candidates, work), work.classified, needs="merge"),
        step("plot", partial(draw_kept, work), work.pages, needs="classify"),
    ]
    before = tuple(one.name for one in steps)
    return [*steps, step("gather", partial(gather_results, work), *work.results[1:], after=before)]


def local_workers(work: Work, number: int | None = None) -> Processes:
    """Return processes of this machine; as many as the configuration says if no number is given."""
    settings, how = work.settings, work.config.log_settings
    set_up = partial(logs.set_up_logging, "offline_processing", settings.log_file, *how)
    return Processes(number or settings.numthread, set_up)


def process(
    work: Work, account: Account, *, again: Collection[str] = (), workers: Workers | None = None
) -> list[str]:
    """Do what is not done yet of the work on a beam; return the names of the steps that were done now.

    Args:
        work: what is to be processed
        account: where is told what became of it
        again: names of steps that are to be done although they are, with all that follow from them
        workers: who extracts; None: as many processes of this machine as the configuration says

    Raises:
        OfflineError: somebody else is at it, there is no step of such a name, or files cannot be written
        Interrupted: the work was ended from outside
    """
    with work.locked():
        return carry_out(steps_of(work, workers or local_workers(work)), account, again)
