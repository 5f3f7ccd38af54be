"""Plots of what was kept, and the results of a beam in their place."""

from __future__ import annotations

import logging
from itertools import compress

from darc.errors import DARCError
from darc.formats import merged
from darc.formats.files import read_bytes, write_complete
from darc.formats.offline_results import (
    NUMBERS,
    OfflineSummary,
    OfflineTrigger,
    build_summary,
    build_triggers,
)
from darc.offline.classify import read_verdicts
from darc.offline.merge import candidate_files
from darc.offline.plan import Account, Done, OfflineError
from darc.offline.work import Work
from darc.processor_tools.galactic import galactic_dm

#: Largest PDF that is copied, in bytes.
_PAGES_BYTES_MAX = 2**30

_logger = logging.getLogger("darc.offline")


def draw_kept(work: Work, account: Account) -> Done:
    """Draw the candidates that were kept to the pages of the beam."""
    from darc.processor_tools.pages import draw_pages  # noqa: PLC0415 (matplotlib: a second)

    account.check()
    kept = list(compress(candidate_files(work), (verdict.keep for verdict in read_verdicts(work))))
    problems = []
    try:
        dm_galactic = galactic_dm(work.beam, work.config.amber_clustering)
    except DARCError as error:
        dm_galactic = None
        _logger.error("the Galactic DM is not known: %s", error)
    sub_beam = "TAB" if work.tied_array else "SB"
    placed = draw_pages(work.pages, kept, work.visualizer, work.beam, dm_galactic, sub_beam)
    problems = [f"{file}: not plotted: {reason}" for file, reason in placed.damaged.items()]
    return Done(problems=problems)


def kept_triggers(work: Work) -> list[OfflineTrigger]:
    """Return the candidates that were kept, in the order of the merged file.

    Raises:
        DARCError: that file, or the verdicts, cannot be read
    """
    verdicts = iter(read_verdicts(work))
    return [
        OfflineTrigger(
            snr=snr,
            dm=dm,
            width_ms=downsampling * tsamp_s * 1e3,
            time_s=time_s,
            probability=verdict.freqtime,
            beam=int(beam),
        )
        for block in merged.read_blocks(work.merged)
        for (snr, dm, downsampling, time_s, tsamp_s), beam, verdict in zip(
            block.params.tolist(), block.beams, verdicts, strict=False
        )
        if verdict.keep
    ]


def gather_results(work: Work, account: Account) -> Done:
    """Write the results of the beam to their place; the summary comes last, and says that all is there.

    Raises:
        OfflineError: a file cannot be written
    """
    pages, triggers, summary = work.results
    if "plot" in account.failed:
        pages.unlink(missing_ok=True)
    else:
        write_complete(pages, read_bytes(work.pages, _PAGES_BYTES_MAX, OfflineError), OfflineError)
    kept = kept_triggers(work) if "classify" not in account.failed else []
    write_complete(triggers, build_triggers(kept, tied_array=work.tied_array), OfflineError)
    numbers = {name: number for name, number in account.numbers.items() if name in NUMBERS}
    content = OfflineSummary(**numbers, problems=tuple(account.problems))
    write_complete(summary, build_summary(content), OfflineError)
    _logger.info("results in %s: %s", summary.parent, content)
    return Done()
