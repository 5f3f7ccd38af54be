"""The page of an observation: its results with plots, and its place in the list of observations."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from darc.definitions import ARTS, Instrument
from darc.formats.files import write_complete
from darc.formats.parset import check_path_component
from darc.formats.results import build_triggers
from darc.reporting.report import BeamReport, Candidate, ObservationReport
from darc.web.index import ENTRY_NAME, build_entry, entry, write_index
from darc.web.pages import WebError, render, write_shared
from darc.web.sky_map import LEVELS, sky_map

#: Rows in the table of candidates: more are of no use to a reader, and slow in a browser.
ROWS_MAX = 1000
#: Name of the file with all of them, beside the page.
TABLE_NAME = "candidates.txt"

#: Address of each copied file by its source; there is none for None.
Links = dict[Path | None, str]


@dataclass(frozen=True)
class Row:
    """A row of the table of candidates.

    Attributes:
        number: rank, from 1
        candidate: what stands in it
        arrival: when it arrived at the top of the band
        width_ms: its width
        picture: address of its plot; None if there is none
    """

    number: int
    candidate: Candidate
    arrival: datetime
    width_ms: float
    picture: str | None


def publish(report: ObservationReport, webdir: Path, instrument: Instrument = ARTS) -> Path:
    """Write the page of an observation and what it leads to, and the list of observations.

    Nothing of it is ever there half. It may be done again, when more results are there.

    Args:
        report: what to show
        webdir: folder of the pages
        instrument: telescope and search

    Returns:
        the page, `<webdir>/<date>/<datetimesource>/index.html`

    Raises:
        DARCError: it cannot be written, or the name of the observation is not that of a folder
    """
    info = report.info
    folders = f"{info.start:%Y%m%d}", check_path_component("datetimesource", info.datetimesource)
    folder = webdir.joinpath(*folders)
    write_shared(webdir)
    links = _copy_files(report, folder)
    table = build_triggers(candidate.trigger for candidate in report.candidates)
    write_complete(folder / TABLE_NAME, table, WebError)
    page = render(
        "observation.html",
        root="../../",
        report=report,
        info=info,
        steps=steps(report.beams),
        rows=rows(report, ROWS_MAX, instrument, links),
        links=links,
        table=TABLE_NAME,
        map=sky_map(report.beams, instrument, info.centre_mhz),
        levels=LEVELS,
    )
    path = folder / "index.html"
    write_complete(path, page.encode("utf-8", "replace"), WebError)
    write_complete(folder / ENTRY_NAME, build_entry(entry(report, folders)), WebError)
    write_index(webdir, report.written)
    return path


def rows(
    report: ObservationReport, number_max: int, instrument: Instrument, links: Links | None = None
) -> list[Row]:
    """Return the rows of the best candidates, with the addresses of their plots."""
    return [
        Row(
            number,
            candidate,
            report.info.start + timedelta(seconds=candidate.trigger.time_s),
            candidate.trigger.downsamp * instrument.tsamp_s * 1e3,
            (links or {}).get(candidate.picture),
        )
        for number, candidate in enumerate(report.candidates[:number_max], start=1)
    ]


def steps(beams: tuple[BeamReport, ...]) -> list[str]:
    """Return the labels of the steps of processing of all beams, in order."""
    return list(dict.fromkeys(label for beam in beams for label in beam.counts))


def _copy_files(report: ObservationReport, folder: Path) -> Links:
    """Copy plots beside the page; return the address of each that is there."""
    links: Links = {}
    for beam in report.beams:
        if beam.pages is not None:
            _copy(beam.pages, folder, f"CB{beam.cb:02d}.pdf", links)
        for number, candidate in enumerate(beam.candidates):
            if candidate.picture is not None:
                _copy(candidate.picture, folder, f"pictures/CB{beam.cb:02d}_{number:03d}.png", links)
    for number, plot in enumerate(report.plots):
        _copy(plot.path, folder, f"pictures/{number:03d}.png", links)
    return links


def _copy(source: Path, folder: Path, name: str, links: Links) -> None:
    """Copy a file, complete or not at all, unless it has been copied; one that vanished may have been."""
    target = folder / name
    aside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if not source.is_file():
            if target.is_file():
                links[source] = name
            return
        if not _is_copy(target, source):
            target.parent.mkdir(parents=True, exist_ok=True)
            # not its mode: a web server has to be able to read the copy
            shutil.copyfile(source, aside)
            found = source.stat()
            os.utime(aside, ns=(found.st_atime_ns, found.st_mtime_ns))
            aside.replace(target)
    except OSError as error:
        raise WebError(f"{source}: cannot be copied to {target}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
    links[source] = name


def _is_copy(target: Path, source: Path) -> bool:
    if not target.is_file():
        return False
    ours, theirs = target.stat(), source.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)
