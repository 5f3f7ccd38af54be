"""The candidates of all parts in one file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from darc.formats import candidate as candidates
from darc.formats import merged
from darc.offline.extract import TOO_FAINT, candidate_file, read_extracted
from darc.offline.plan import Account, Done
from darc.offline.work import Work

_logger = logging.getLogger("darc.offline")


def candidate_files(work: Work) -> list[Path]:
    """Return the candidates of all parts, in the order in which they are merged: as bright as AMBER saw them.

    Raises:
        OfflineError: what became of the clusters of a part is not known
    """
    return [
        candidate_file(part.candidates, outcome.number)
        for part in work.parts
        for outcome in read_extracted(part)
        if not outcome.reason
    ]


def merge_candidates(work: Work, path: Path, account: Account) -> int:
    """Write all candidates to one file; return their number.

    Raises:
        OfflineError: what became of clusters is not known
        CandidateError: a candidate is damaged
        MergedError: the file cannot be written
    """
    files = candidate_files(work)

    def read() -> Iterator[candidates.Candidate]:
        for number, file in enumerate(files):
            account.check()
            account.report("merge", number, len(files))
            yield candidates.read(file)

    outcomes = [outcome for part in work.parts for outcome in read_extracted(part)]
    skipped = sum(outcome.reason not in ("", TOO_FAINT) for outcome in outcomes)
    settings = work.settings
    shapes = (settings.nfreq_plot, settings.ntime_plot), (settings.ndm, settings.ntime_plot)
    return merged.write(
        path,
        read(),
        shapes,
        keys=settings.keys_data,
        skipped=(settings.key_ntriggers_skipped, skipped),
        tied_array=work.tied_array,
    )


def merge_step(work: Work, account: Account) -> Done:
    """Write all candidates to one file."""
    _logger.info("%d candidates merged to %s", merge_candidates(work, work.merged, account), work.merged)
    return Done()
