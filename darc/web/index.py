"""The list of observations, made anew from what each of them left in its folder."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.files import read_text, write_complete
from darc.reporting.report import BeamState, ObservationReport
from darc.web.pages import WebError, duration, render, utc, write_shared

#: What an observation leaves for the list.
ENTRY_NAME = "observation.json"
_ENTRY_BYTES_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An observation in the list.

    Attributes:
        folders: names of its folders below that of the list
        datetimesource, source: its label, and the name of what was observed
        start: start of the data in unix seconds
        duration_s: length of the data in s
        beams: number of beams
        done: number of beams with results
        waiting: number of beams that results may still come from
        candidates: number of candidates that were kept
        probability, snr, dm: of the best candidate; None if there is none
    """

    folders: tuple[str, str]
    datetimesource: str
    source: str
    start: float
    duration_s: float
    beams: int
    done: int
    waiting: int
    candidates: int
    probability: float | None
    snr: float | None
    dm: float | None


def entry(report: ObservationReport, folders: tuple[str, str]) -> Entry:
    """Return an observation's entry."""
    states = [beam.state for beam in report.beams]
    candidates = report.candidates
    best = candidates[0].trigger if candidates else None
    return Entry(
        folders=folders,
        datetimesource=report.info.datetimesource,
        source=report.info.source,
        start=report.info.start.timestamp(),
        duration_s=report.info.duration_s,
        beams=len(states),
        done=states.count(BeamState.DONE),
        waiting=states.count(BeamState.WAITING),
        candidates=len(candidates),
        probability=best.probability if best else None,
        snr=best.snr if best else None,
        dm=best.dm if best else None,
    )


def build_entry(content: Entry) -> str:
    """Return the text of an entry."""
    return json.dumps(asdict(content), indent=1) + "\n"


def parse_entry(text: str, folders: tuple[str, str]) -> Entry:
    """Return the entry of a text that lies in the given folders.

    Raises:
        WebError: it is none
    """
    try:
        content = json.loads(text)
        values = {field.name: _value(field.type, content[field.name]) for field in fields(Entry)[1:]}
        utc(values["start"]), duration(values["duration_s"])  # can be told
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError) as error:
        raise WebError(f"not the entry of an observation: {type(error).__name__}: {error}") from error
    return Entry(folders=folders, **values)


_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": (float, int),
    "float | None": (float, int, type(None)),
}


def _value(kind: Any, value: Any) -> Any:
    """Check that a value is of the type that an annotation names."""
    if isinstance(value, bool) or not isinstance(value, _TYPES[kind]):
        raise TypeError(f"{value!r:.80} is not {kind}")
    return value


def write_index(webdir: Path, written: datetime) -> list[str]:
    """Write the list of the observations that have an entry, the newest first; and say which cannot be read.

    One process at a time does it, so that none writes an older list over a newer one.

    Raises:
        WebError: it cannot be written
    """
    write_shared(webdir)
    try:
        with (webdir / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries, problems = _entries(webdir)
            page = render("index.html", root="", entries=entries, written=written)
            write_complete(webdir / "index.html", page.encode("utf-8", "replace"), WebError)
    except OSError as error:
        raise WebError(f"{webdir}: the list of observations cannot be written: {error.strerror}") from error
    return problems


def _entries(webdir: Path) -> tuple[list[Entry], list[str]]:
    found, problems = [], []
    for path, folders in _entry_files(webdir):
        try:
            found.append(parse_entry(read_text(path, _ENTRY_BYTES_MAX, WebError), folders))
        except DARCError as error:
            problems.append(f"{path}: {error}")
    return sorted(found, key=lambda each: (each.start, each.folders), reverse=True), problems


def _entry_files(webdir: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    for path in webdir.glob(f"*/*/{ENTRY_NAME}"):
        yield path, (path.parent.parent.name, path.parent.name)
