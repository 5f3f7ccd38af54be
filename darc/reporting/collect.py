"""From the result files of the beams to a report of each: what is there, and what is wrong with it.

Files come from other nodes and from operators. Whatever one holds costs what it would tell, and nothing more.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from darc.formats.files import read_text
from darc.formats.overview import BeamCoordinates
from darc.formats.results import (
    NOTHING_CAME,
    ResultsError,
    Summary,
    Trigger,
    best_first,
    pages_name,
    parse_summary,
    parse_triggers,
    summary_name,
    triggers_name,
)
from darc.reporting.report import BeamReport, BeamState, Candidate

#: Labels of the steps of the processing in real time, and what a summary calls the numbers after them.
COUNTS = {
    "AMBER triggers": "ncand_raw",
    "clusters": "ncand_post_clustering",
    "extracted": "ncand_post_thresholds",
    "kept": "ncand_post_classifier",
}
#: States of a beam from which nothing more is expected; results of the others may still come.
SETTLED = (BeamState.DONE, BeamState.NO_AMBER, BeamState.GIVEN_UP)

#: Limits in bytes of what is read; a summary has 100, a list of candidates 40 per candidate.
_SUMMARY_MAX, _TRIGGERS_MAX = 2**16, 2**24
#: Where a complete PDF has its end mark, in bytes from the end (PDF 1.7, annex H, note 18).
_PDF_TAIL = 1024


def picture_path(folder: Path, cb: int, row: int) -> Path:
    """Return where the plot of a single candidate is.

    Args:
        folder: the observation's folder of results
        cb: compound beam
        row: row of the candidate in the list of those that were kept, from 0
    """
    return folder / f"CB{cb:02d}_pictures" / f"{row:03d}.png"


def is_there(path: Path) -> bool:
    """Return whether a file is there and can be reached."""
    try:
        return path.is_file()
    except OSError:
        return False


def has_results(folder: Path, cb: int) -> bool:
    """Return whether a beam's summary is there, which is written last."""
    return is_there(folder / summary_name(cb))


def collect_beam(
    folder: Path,
    cb: int,
    node: str,
    *,
    coordinates: BeamCoordinates | None = None,
    absent: BeamState = BeamState.MISSING,
    reason: str = "",
) -> BeamReport:
    """Return the results of a beam.

    Args:
        folder: the observation's folder of results
        cb: compound beam
        node: node that processes it
        coordinates: where the beam looked
        absent: its state if there are no results
        reason: why there are none
    """
    unknown = BeamReport(
        cb=cb, node=node, state=absent, reason=reason, counts=_counts(None), coordinates=coordinates
    )
    if not has_results(folder, cb):
        return unknown
    try:
        summary = _summary(folder, cb)
    except ResultsError as error:
        return replace(unknown, state=BeamState.UNREADABLE, reason=str(error))
    if summary is None:
        return replace(unknown, state=BeamState.GIVEN_UP, reason=f"{summary_name(cb)} is empty")
    if summary == NOTHING_CAME:
        return replace(unknown, state=BeamState.NO_AMBER, reason="not even a header")
    return _processed(replace(unknown, counts=_counts(summary)), folder, summary.ncand_post_classifier)


def _summary(folder: Path, cb: int) -> Summary | None:
    name = summary_name(cb)
    text = read_text(folder / name, _SUMMARY_MAX, ResultsError)
    try:
        return parse_summary(text)
    except ResultsError as error:
        raise ResultsError(f"{name}: {error}") from error


def _counts(summary: Summary | None) -> dict[str, int | None]:
    found = {label: getattr(summary, name, -1) for label, name in COUNTS.items()}
    return {label: None if number < 0 else number for label, number in found.items()}


def _processed(beam: BeamReport, folder: Path, kept: int) -> BeamReport:
    """Return the report of a beam that was processed, with its candidates and its plots."""
    try:
        triggers = _triggers(folder, beam.cb) if kept > 0 else []
    except ResultsError as error:
        return replace(beam, state=BeamState.UNREADABLE, reason=str(error), pages=_pages(folder, beam.cb)[0])
    candidates = [
        Candidate(trigger=trigger, picture=path if is_there(path) else None)
        for row, trigger in enumerate(triggers)
        for path in [picture_path(folder, beam.cb, row)]
    ]
    pages, problem = _pages(folder, beam.cb)
    problems = [problem] if kept > 0 and problem else []
    if len(triggers) != max(kept, 0):
        problems.insert(0, f"{triggers_name(beam.cb)} lists {len(triggers)} of {kept} candidates")
    return replace(
        beam,
        state=BeamState.DONE,
        reason="; ".join(problems),
        candidates=tuple(best_first(candidates)),
        pages=pages,
    )


def _triggers(folder: Path, cb: int) -> list[Trigger]:
    name = triggers_name(cb)
    text = read_text(folder / name, _TRIGGERS_MAX, ResultsError)
    try:
        triggers = parse_triggers(text)
    except ResultsError as error:
        raise ResultsError(f"{name}: {error}") from error
    for trigger in triggers:
        if trigger.cb != cb:
            raise ResultsError(f"{name} has a candidate of CB{trigger.cb:02d}")
    return triggers


def _pages(folder: Path, cb: int) -> tuple[Path | None, str]:
    """Return the PDF of a beam, or None, and what is wrong with it."""
    path = folder / pages_name(cb)
    try:
        with path.open("rb") as stream:
            start = stream.read(5)
            stream.seek(max(0, path.stat().st_size - _PDF_TAIL))
            complete = start == b"%PDF-" and b"%%EOF" in stream.read()
    except FileNotFoundError:
        return None, f"there is no {path.name}"
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror}"
    return (path, "") if complete else (None, f"{path.name} is not a complete PDF")
