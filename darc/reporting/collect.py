"""From the result files of the beams to a report of each: what is there, and what is wrong with it.

Files come from other nodes and from operators. Whatever one holds costs what it would tell, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from darc.formats.files import read_text
from darc.formats.overview import BeamCoordinates
from darc.formats.results import (
    NOTHING_CAME,
    ResultsError,
    Trigger,
    best_first,
    pages_name,
    parse_summary,
    parse_triggers,
    picture_name,
    summary_name,
    triggers_name,
)
from darc.reporting.report import BeamReport, BeamState, Candidate

#: Labels of the steps of the processing in real time, and what a summary calls the numbers after them; the
#: last one is the number of candidates that were kept.
COUNTS = {
    "AMBER triggers": "ncand_raw",
    "clusters": "ncand_post_clustering",
    "extracted": "ncand_post_thresholds",
    "kept": "ncand_post_classifier",
}
#: States of a beam from which nothing more is expected; results of the others may still come.
SETTLED = (BeamState.DONE, BeamState.NO_AMBER, BeamState.GIVEN_UP)

_Result = TypeVar("_Result")

#: Limits in bytes of what is read; a summary has 100, a list of candidates 40 per candidate.
_SUMMARY_MAX, _TRIGGERS_MAX = 2**16, 2**24
#: Where a complete PDF has its end mark, in bytes from the end (PDF 1.7, annex H, note 18).
_PDF_TAIL = 1024


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a summary tells.

    Attributes:
        numbers: number of candidates after each step, in the order of the labels; -1: not known
        problems: what went wrong, a line each
        nothing_came: nothing came from AMBER
    """

    numbers: tuple[int, ...]
    problems: tuple[str, ...] = ()
    nothing_came: bool = False


@dataclass(frozen=True, kw_only=True)
class ResultFiles:
    """How a kind of processing writes its results.

    Attributes:
        labels: of the steps, in order; the last one is after which candidates were kept
        summary: reads a summary; None: it is empty
        triggers: reads the list of the candidates of a beam
        pages: name of a beam's file of plots
    """

    labels: tuple[str, ...]
    summary: Callable[[str], Told | None]
    triggers: Callable[[str, int], list[Trigger]]
    pages: Callable[[int], str]


def _told(text: str) -> Told | None:
    summary = parse_summary(text)
    if summary is None:
        return None
    numbers = tuple(getattr(summary, name) for name in COUNTS.values())
    return Told(numbers=numbers, nothing_came=summary == NOTHING_CAME)


#: Results of the processing in real time.
REAL_TIME = ResultFiles(
    labels=tuple(COUNTS), summary=_told, triggers=lambda text, cb: parse_triggers(text), pages=pages_name
)


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
    files: ResultFiles = REAL_TIME,
) -> BeamReport:
    """Return the results of a beam.

    Args:
        folder: the observation's folder of results
        cb: compound beam
        node: node that processes it
        coordinates: where the beam looked
        absent: its state if there are no results
        reason: why there are none
        files: how they are written
    """
    counts: dict[str, int | None] = dict.fromkeys(files.labels)
    unknown = BeamReport(
        cb=cb, node=node, state=absent, reason=reason, counts=counts, coordinates=coordinates
    )
    if not has_results(folder, cb):
        return unknown
    try:
        told = _read(folder / summary_name(cb), _SUMMARY_MAX, files.summary)
    except ResultsError as error:
        return replace(unknown, state=BeamState.UNREADABLE, reason=str(error))
    if told is None:
        return replace(unknown, state=BeamState.GIVEN_UP, reason=f"{summary_name(cb)} is empty")
    if told.nothing_came:
        return replace(unknown, state=BeamState.NO_AMBER, reason="not even a header")
    counts = {
        label: None if number < 0 else number
        for label, number in zip(files.labels, told.numbers, strict=True)
    }
    return _processed(replace(unknown, counts=counts), folder, told, files)


def _read(path: Path, max_bytes: int, parse: Callable[[str], _Result]) -> _Result:
    text = read_text(path, max_bytes, ResultsError)
    try:
        return parse(text)
    except ResultsError as error:
        raise ResultsError(f"{path.name}: {error}") from error


def _processed(beam: BeamReport, folder: Path, told: Told, files: ResultFiles) -> BeamReport:
    """Return the report of a beam that was processed, with its candidates and its plots."""
    kept = max(told.numbers[-1], 0)
    pages, problem = _pages(folder / files.pages(beam.cb))
    try:
        triggers = _triggers(folder, beam.cb, files) if kept else []
    except ResultsError as error:
        return replace(beam, state=BeamState.UNREADABLE, reason=str(error), pages=pages)
    candidates = [
        Candidate(trigger=trigger, picture=path if is_there(path) else None)
        for row, trigger in enumerate(triggers)
        for path in [folder / picture_name(beam.cb, row)]
    ]
    problems = [*told.problems, *([problem] if kept and problem else [])]
    if len(triggers) != kept:
        problems.insert(0, f"{triggers_name(beam.cb)} lists {len(triggers)} of {kept} candidates")
    return replace(
        beam,
        state=BeamState.DONE,
        reason="; ".join(problems),
        candidates=tuple(best_first(candidates)),
        pages=pages,
    )


def _triggers(folder: Path, cb: int, files: ResultFiles) -> list[Trigger]:
    path = folder / triggers_name(cb)
    triggers = _read(path, _TRIGGERS_MAX, lambda text: files.triggers(text, cb))
    for trigger in triggers:
        if trigger.cb != cb:
            raise ResultsError(f"{path.name} has a candidate of CB{trigger.cb:02d}")
    return triggers


def _pages(path: Path) -> tuple[Path | None, str]:
    """Return the PDF of a beam, or None, and what is wrong with it."""
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
