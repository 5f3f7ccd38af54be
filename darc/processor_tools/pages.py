"""Pages with plots of candidates: one PDF per beam, with a block of pages for each type of plot.

The candidates stand in the same order in each block: by probability, then S/N.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from pypdf import PdfWriter

from darc.config.processing import Visualizer as Settings
from darc.errors import DARCError
from darc.formats.candidate import CandidateError, read
from darc.formats.files import write_complete
from darc.formats.results import best_first
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.drawing import drawing
from darc.processor_tools.panels import DM_UNIT, PANELS, Observed, Panel, check_settings, printable

#: Sizes of the fonts in points: of a page's texts per inch of the page, of a panel's per inch of its cell.
#: Half of them, on A4, can still be read.
_PAGE_FONT, _PANEL_FONT, _PANEL_FONT_MAX = 0.7, 3.5, 16.0
#: Space left of, right of, above and below all cells, in sizes of the page's font.
_MARGIN_LEFT, _MARGIN_RIGHT, _HEADER, _FOOTER = 1.8, 1.0, 2.6, 6.0
#: Space left of, right of, above and below a panel in its cell, in sizes of the panel's font.
_LEFT, _RIGHT, _ABOVE, _BELOW = 3.3, 0.7, 4.3, 2.0
_POINTS_PER_INCH = 72.0
#: Longest name of an observation or source in a footer.
_NAME_MAX = 60

_LEGEND = "#: rank by probability p, then S/N. t: arrival at the top of the band, from the start of the data."


class PagesError(DARCError):
    """Pages cannot be written."""


@dataclass(frozen=True)
class Placed:
    """What stands in the pages.

    Attributes:
        page: page in the first block that shows a file's candidate, from 1; in the order of the panels
        damaged: files that could not be read, with the reason
    """

    page: dict[Path, int] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)


def write_pages(path: Path, files: Sequence[Path], settings: Settings, observed: Observed) -> Placed:
    """Write the pages of a beam to a PDF, which appears complete or not at all.

    A file that cannot be read costs no more than its own panel, which says why; these come last. Without
    any file there is one page that says so.

    Args:
        path: the PDF
        files: files of candidates, in any order
        settings: section `visualizer` of the configuration
        observed: what was observed

    Raises:
        PanelError: matplotlib does not have a colour of the settings
        PagesError: the PDF cannot be written
    """
    check_settings(settings)
    ranked, damaged = _ranked(files)
    per_page = settings.nplot_per_side**2
    sheets = [ranked[i : i + per_page] for i in range(0, len(ranked), per_page)] or [[]]
    names = settings.plot_types if ranked else settings.plot_types[:1]
    font = min(_PANEL_FONT * settings.figsize / settings.nplot_per_side, _PANEL_FONT_MAX)
    merged = PdfWriter()
    for block, name in enumerate(names):
        with drawing(font):
            pages = _Pages(PANELS[name], settings, observed)
            content = pages.draw(sheets, block * len(sheets) + 1, len(names) * len(sheets))
        merged.append(BytesIO(content), outline_item=PANELS[name].heading)
    merged.add_metadata({"/Title": f"Candidates of {_footer(observed)}", "/Creator": "DARC"})
    output = BytesIO()
    merged.write(output)
    write_complete(path, output.getvalue(), PagesError)
    return Placed({file: index // per_page + 1 for index, file in enumerate(ranked)}, damaged)


def draw_pages(
    path: Path,
    files: Sequence[Path],
    settings: Settings,
    beam: ObservedBeam,
    dm_galactic: float | None,
    sub_beam: str = "SB",
) -> Placed:
    """Write the pages of an observed beam; see `write_pages`.

    Args:
        path: the PDF
        files: files of candidates, in any order
        settings: section `visualizer` of the configuration
        beam: what was observed
        dm_galactic: highest Galactic DM in this direction in pc cm^-3; None if it is not known
        sub_beam: what the beams of candidates are, SB or TAB
    """
    return write_pages(path, files, settings, observed(beam, dm_galactic, sub_beam))


def observed(beam: ObservedBeam, dm_galactic: float | None, sub_beam: str = "SB") -> Observed:
    """Return what plots tell of an observed beam.

    Args:
        beam: what was observed
        dm_galactic: highest Galactic DM in this direction in pc cm^-3; None if it is not known
        sub_beam: what the beams of candidates are, SB or TAB
    """
    half_mhz = beam.band.channel_width_mhz * beam.band.nchan / 2
    return Observed(
        datetimesource=beam.label,
        cb=beam.beam,
        source=beam.source,
        band_mhz=(beam.band.centre_mhz - half_mhz, beam.band.centre_mhz + half_mhz),
        dm_galactic=dm_galactic,
        sub_beam=sub_beam,
    )


@dataclass(frozen=True)
class _Rank:
    file: Path
    probability: float
    snr: float


def _ranked(files: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Order files, best first and damaged last, and say why these are; keeps no data in memory."""
    ranks, damaged = [], {}
    for file in files:
        try:
            candidate = read(file)
            # as in the list of kept candidates, whose order has to be the same
            ranks.append(_Rank(file, candidate.probability or 0.0, candidate.snr))
        except CandidateError as error:
            damaged[file] = _reason(file, error)
    return [rank.file for rank in best_first(ranks)] + list(damaged), damaged


def _reason(file: Path, error: CandidateError) -> str:
    return str(error).removeprefix(f"{file}: ")


def _footer(observed: Observed) -> str:
    name, source = (printable(text, _NAME_MAX) for text in (observed.datetimesource, observed.source))
    return f"{name}    CB{observed.cb:02d}    {source}"


class _Pages:
    """The pages of one type of plot: a figure and its panels, filled anew for each of them."""

    def __init__(self, panel: type[Panel], settings: Settings, observed: Observed) -> None:
        self.side = settings.nplot_per_side
        self.figure = Figure(figsize=(settings.figsize, settings.figsize))
        font = _PAGE_FONT * settings.figsize
        em = font / _POINTS_PER_INCH / settings.figsize
        left, right, bottom, top = _MARGIN_LEFT * em, 1 - _MARGIN_RIGHT * em, 1.2 * em, 1 - 1.8 * em
        self.figure.text(left, top, panel.heading, size=1.2 * font, weight="bold")
        self.range = self.figure.text(right, top, "", size=font, ha="right")
        self.page = self.figure.text(right, bottom, "", size=font, ha="right")
        self.nothing = self.figure.text(0.5, 0.5, "No candidates", size=2 * font, ha="center")
        for line in (_footer(observed), f"{_LEGEND} {_galactic(observed)}", panel.explanation):
            self.figure.text(left, bottom, line, size=font)
            bottom += 1.4 * em
        cells = (left, _FOOTER * em, right - left, 1 - (_HEADER + _FOOTER) * em)
        self.panels = [panel(axes, settings, observed) for axes in self._axes(cells)]

    def _axes(self, cells: tuple[float, float, float, float]) -> Iterator[Axes]:
        """Make axes by rows from the top left; `cells` are left, bottom, width and height of all."""
        em = mpl.rcParams["font.size"] / _POINTS_PER_INCH / self.figure.get_figwidth()
        width, height = cells[2] / self.side, cells[3] / self.side
        for row, column in np.ndindex(self.side, self.side):
            left, bottom = cells[0] + column * width, cells[1] + (self.side - 1 - row) * height
            yield self.figure.add_axes(
                (
                    left + _LEFT * em,
                    bottom + _BELOW * em,
                    width - (_LEFT + _RIGHT) * em,
                    height - (_BELOW + _ABOVE) * em,
                )
            )

    def draw(self, sheets: Sequence[Sequence[Path]], first: int, number_of_pages: int) -> bytes:
        """Return a PDF with a page for each sheet of files; the first has the number `first`."""
        total, before = sum(map(len, sheets)), 0
        output = BytesIO()
        with PdfPages(output) as pdf:
            for page, sheet in enumerate(sheets, start=first):
                self.page.set_text(f"page {page} of {number_of_pages}")
                self.range.set_text(
                    f"candidates {before + 1} to {before + len(sheet)} of {total}" * bool(sheet)
                )
                self.nothing.set_visible(not sheet)
                self._fill(sheet, before + 1)
                pdf.savefig(self.figure)
                before += len(sheet)
        return output.getvalue()

    def _fill(self, sheet: Sequence[Path], first: int) -> None:
        for index, panel in enumerate(self.panels):
            if index >= len(sheet):
                panel.hide()
                continue
            panel.name_axes(x=index + self.side >= len(sheet), y=index % self.side == 0)
            file = sheet[index]
            try:
                panel.show(first + index, read(file))
            except CandidateError as error:
                panel.show_damage(first + index, file.name, _reason(file, error))


def _galactic(observed: Observed) -> str:
    if observed.dm_galactic is None:
        return "The Galactic maximum DM is not known."
    return f"Red frame: DM above the Galactic maximum, {observed.dm_galactic:.1f} {DM_UNIT}."
