"""All steps of the work on one compound beam of one observation."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from darc import logs
from darc.offline.amber_files import merge_amber_files
from darc.offline.classify import classify_candidates
from darc.offline.clusters import find_clusters
from darc.offline.extract import extract_clusters
from darc.offline.gather import draw_kept, gather_results
from darc.offline.merge import merge_step
from darc.offline.plan import Account, Step, carry_out
from darc.offline.work import Work
from darc.offline.workers import Processes, Workers


def steps_of(work: Work, workers: Workers) -> list[Step]:
    """Return the steps of the work on a beam; each has its name, and comes after those that it needs."""
    part = work.part()
    steps = [
        Step("amber", partial(merge_amber_files, work), work.mark("amber"), (work.amber,)),
        Step(
            "cluster", partial(find_clusters, work, part), work.mark("cluster"), (part.clusters,), ("amber",)
        ),
        Step(
            "extract",
            partial(extract_clusters, work, part, workers),
            work.mark("extract"),
            (part.extracted, part.candidates),
            ("cluster",),
        ),
        Step("merge", partial(merge_step, work), work.mark("merge"), (work.merged,), ("extract",)),
        Step(
            "classify",
            partial(classify_candidates, work),
            work.mark("classify"),
            (work.classified,),
            ("merge",),
        ),
        Step("plot", partial(draw_kept, work), work.mark("plot"), (work.pages,), ("classify",)),
    ]
    before = tuple(step.name for step in steps)
    gather = partial(gather_results, work)
    return [*steps, Step("gather", gather, work.mark("gather"), work.results[1:], after=before)]


def local_workers(work: Work, number: int | None = None) -> Processes:
    """Return processes of this machine; as many as the configuration says if no number is given."""
    settings, level = work.settings, work.config.logging.level
    set_up = partial(logs.set_up_logging, "offline_processing", settings.log_file, level)
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
