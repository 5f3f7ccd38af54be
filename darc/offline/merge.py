"""The candidates of all parts in one file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from darc.formats import candidate as candidates
from darc.formats import merged
from darc.formats.files import shown, write_complete
from darc.offline.extract import TOO_FAINT, candidate_file, read_extracted
from darc.offline.plan import Account, Done, OfflineError, read_json
from darc.offline.work import Work

#: Largest list of files that is read, in bytes.
_INDEX_BYTES_MAX = 2**30

_logger = logging.getLogger("darc.offline")


def merge_step(work: Work, account: Account) -> Done:
    """Write all candidates to one file, where the next steps look for it."""
    number, problems = merge_candidates(work, work.merged, account)
    _logger.info("%d candidates merged to %s", number, work.merged)
    return Done(problems=problems)


def merge_candidates(work: Work, path: Path, account: Account) -> tuple[int, list[str]]:
    """Write all candidates to one file, as bright as AMBER saw them, and list their own files.

    One that is damaged is left out.

    Returns:
        their number, and what is wrong with those that were left out

    Raises:
        OfflineError: what became of clusters is not known
        MergedError: the file cannot be written
    """
    found = [(part, outcome) for part in work.parts for outcome in read_extracted(part)]
    files = [candidate_file(part.candidates, outcome.number) for part, outcome in found if not outcome.reason]
    index: list[str] = []
    problems: list[str] = []

    def read() -> Iterator[candidates.Candidate]:
        for number, file in enumerate(files):
            account.check()
            account.report("merge", number, len(files))
            try:
                candidate = candidates.read(file)
            except candidates.CandidateError as error:
                problems.append(str(error))
                continue
            index.append(str(file.relative_to(work.folder)))
            yield candidate

    settings = work.settings
    shapes = (settings.nfreq_plot, settings.ntime_plot), (settings.ndm, settings.ntime_plot)
    skipped = sum(outcome.reason not in ("", TOO_FAINT) for _, outcome in found)
    number = merged.write(
        path,
        read(),
        shapes,
        keys=settings.keys_data,
        skipped=(settings.key_ntriggers_skipped, skipped),
        tied_array=work.tied_array,
    )
    write_complete(work.index, json.dumps(index) + "\n", OfflineError)
    return number, problems


def candidate_files(work: Work) -> list[Path]:
    """Return the files of the merged candidates, in their order.

    Raises:
        OfflineError: the list is absent or damaged
    """
    content = read_json(work.index, _INDEX_BYTES_MAX)
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise OfflineError(f"{work.index}: damaged: {shown(content)}: remove it to repeat the step")
    return [work.folder / name for name in content]
