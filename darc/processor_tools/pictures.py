"""Pictures of single candidates, for web pages: all types of plot side by side in one PNG per candidate."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from darc.config.processing import Visualizer as Settings
from darc.errors import DARCError
from darc.formats.candidate import Candidate, CandidateError, read
from darc.formats.files import write_complete
from darc.formats.results import picture_name
from darc.processor_tools.drawing import drawing
from darc.processor_tools.panels import DM_UNIT, PANELS, Observed, printable

#: Size in inches, resolution, and size of the font in points: 1200 x 400 pixels, of which a third is a panel.
_WIDTH, _HEIGHT, _DPI, _FONT = 12.0, 4.0, 100, 9.0
#: Space left of, right of, above and below a panel, in inches.
_LEFT, _RIGHT, _ABOVE, _BELOW = 0.62, 0.08, 0.42, 0.5
#: A picture has few colours: a palette makes the file a third as large.
_COLOURS = 128
_NAME_MAX = 60


class PicturesError(DARCError):
    """A picture cannot be written."""


def write_pictures(
    folder: Path, ranked: Sequence[Path], settings: Settings, observed: Observed
) -> dict[Path, str]:
    """Write the pictures of the best candidates of a beam, each complete or not at all.

    Pictures of an earlier run are removed, since its candidates may have stood in another order.

    Args:
        folder: folder with the results of the beam
        ranked: files of candidates in the order of the list of those that were kept
        settings: section `visualizer` of the configuration
        observed: what was observed

    Returns:
        files that could not be read, with the reason; there is no picture of these

    Raises:
        PicturesError: pictures cannot be written
    """
    _empty((folder / picture_name(observed.cb, 0)).parent)
    damaged = {}
    with drawing(_FONT):
        picture = _Picture(settings, observed)
        for row, file in enumerate(ranked[: settings.npicture_max]):
            try:
                content = picture.draw(row + 1, read(file))
            except CandidateError as error:
                damaged[file] = str(error)
                continue
            write_complete(folder / picture_name(observed.cb, row), content, PicturesError)
    return damaged


def _empty(folder: Path) -> None:
    try:
        for path in folder.glob("*.png"):
            path.unlink()
    except OSError as error:
        raise PicturesError(f"{folder}: cannot be emptied: {error.strerror}") from error


class _Picture:
    """A figure with a panel of each type, filled anew for each candidate."""

    def __init__(self, settings: Settings, observed: Observed) -> None:
        self.observed = observed
        self.figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        y = 1 - 0.22 / _HEIGHT
        self.title = self.figure.text(_LEFT / _WIDTH, y, "", size=1.15 * _FONT, weight="bold")
        name = f"{printable(observed.datetimesource, _NAME_MAX)}   CB{observed.cb:02d}"
        self.figure.text(1 - _RIGHT / _WIDTH, y, name, size=_FONT, ha="right", color="0.3")
        self.panels = []
        width = 1 / len(settings.plot_types)
        for column, kind in enumerate(settings.plot_types):
            box = (
                column * width + _LEFT / _WIDTH,
                _BELOW / _HEIGHT,
                width - (_LEFT + _RIGHT) / _WIDTH,
                1 - (_ABOVE + _BELOW) / _HEIGHT,
            )
            panel = PANELS[kind](self.figure.add_axes(box), settings, observed)
            panel.name_axes(x=True, y=True)
            panel.title.set_visible(False)
            self.panels.append(panel)

    def draw(self, number: int, candidate: Candidate) -> bytes:
        """Return the picture of a candidate."""
        self.title.set_text(
            f"#{number}   p {candidate.probability or 0:.2f}   S/N {candidate.snr:.1f}   "
            f"DM {candidate.dm:.2f} {DM_UNIT}   width {candidate.width_s * 1e3:.2f} ms   "
            f"t {candidate.toa_s:.4f} s   {self.observed.sub_beam} {candidate.sb}"
        )
        for panel in self.panels:
            panel.show(number, candidate)
        self.canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(self.canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        image = Image.fromarray(pixels).convert("RGB")
        output = BytesIO()
        image.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(output, "PNG")
        return output.getvalue()
