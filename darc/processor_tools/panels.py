"""Panels: plots of one candidate, of which pages are made.

A panel keeps its artists and gives them the data of one candidate after the other; making new ones for each
would take several times as long. All times are in ms from the arrival time.
"""

from __future__ import annotations

import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import matplotlib as mpl
import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from darc.config.processing import Visualizer as Settings
from darc.errors import DARCError
from darc.formats.candidate import Candidate
from darc.science.dispersion import delay_s

Floats = NDArray[np.float64]

DM_UNIT = "pc cm\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT THREE}"

_NO_DATA = "0.75"  # light grey
_ABOVE_GALACTIC = "red"
#: Width of that frame in sizes of the font.
_FRAME_WIDTH = 0.25
#: Characters in a line of the message about a damaged file.
_DAMAGE_WIDTH = 28
#: Percentiles between which colours change. Of 64 x 64 pixels, the 20 brightest of a frequency-time image
#: have the same colour, and 4 of a DM-time image, which is smoother and whose peak matters.
_LOWEST, _HIGHEST_FREQ_TIME, _HIGHEST_DM_TIME = 1.0, 99.5, 99.9
#: Ratio of standard deviation to median absolute deviation of Gaussian noise.
_SIGMA_PER_MAD = 1.4826


class PanelError(DARCError):
    """Panels cannot be made as configured."""


def check_settings(settings: Settings) -> None:
    """Check names in the configuration that only matplotlib knows.

    Raises:
        PanelError: matplotlib does not have the colour or colour map
    """
    for key in ("cmap_freqtime", "cmap_dmtime"):
        if (name := getattr(settings, key)) not in mpl.colormaps:
            raise PanelError(f"visualizer.{key}: matplotlib has no colour map {name!r}; viridis is one")
    if not colors.is_color_like(settings.colour_1dtime):
        raise PanelError(
            f"visualizer.colour_1dtime: matplotlib has no colour {settings.colour_1dtime!r}; black is one"
        )


@dataclass(frozen=True)
class Observed:
    """What was observed, as the pages tell it.

    Attributes:
        datetimesource: name of the observation
        cb: compound beam
        source: name of the source
        band_mhz: lower and upper edge of the band
        dm_galactic: highest Galactic DM in this direction in pc cm^-3; None if it is not known
        sub_beam: what the beams of candidates are, SB or TAB
    """

    datetimesource: str
    cb: int
    source: str
    band_mhz: tuple[float, float]
    dm_galactic: float | None = None
    sub_beam: str = "SB"


def printable(text: str, longest: int) -> str:
    """Replace what the font or the layout may not survive, and shorten."""
    text = re.sub(r"[^ -~]", "?", text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


class Panel(ABC):
    """One panel, for any number of candidates one after the other.

    Attributes:
        heading: what its plots show
        explanation: what a reader has to know about them
        y_label: name of the vertical axis
    """

    heading: ClassVar[str]
    explanation: ClassVar[str]
    y_label: ClassVar[str]

    def __init__(self, axes: Axes, settings: Settings, observed: Observed) -> None:
        self.axes = axes
        self.observed = observed
        self.font = font = mpl.rcParams["font.size"]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
        axes.tick_params(labelsize=0.85 * font, length=0.3 * font, pad=0.25 * font)
        self.title = axes.set_title("", fontsize=0.95 * font, linespacing=1.2, pad=0.4 * font)
        box = axes.get_position()
        self.damage = axes.figure.text((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2, "")
        self.damage.set(ha="center", va="center", size=0.85 * font, linespacing=1.3)
        self.damage.set_bbox({"boxstyle": "square,pad=1", "facecolor": "0.95", "edgecolor": "0.6"})
        self.prepare(settings)

    @abstractmethod
    def prepare(self, settings: Settings) -> None:
        """Make the artists."""

    @abstractmethod
    def draw(self, candidate: Candidate, edges_ms: Floats) -> None:
        """Give them the data of a candidate; `edges_ms` are the edges of its bins, (ntime + 1,)."""

    def show(self, number: int, candidate: Candidate) -> None:
        """Show a candidate and its place in the ranking."""
        self.hide()
        self.axes.set_visible(True)
        self.title.set_text(_title(number, candidate, self.observed.sub_beam))
        limit = self.observed.dm_galactic
        above = limit is not None and candidate.dm > limit
        for spine in self.axes.spines.values():
            spine.set_color(_ABOVE_GALACTIC if above else "black")
            spine.set_linewidth(_FRAME_WIDTH * self.font if above else mpl.rcParams["axes.linewidth"])
        ntime = candidate.data_freq_time.shape[1]
        edges_ms = (np.arange(ntime + 1) - ntime // 2 - 0.5) * candidate.bin_s * 1e3
        self.draw(candidate, edges_ms)
        self.axes.set_xlim(edges_ms[0], edges_ms[-1])

    def show_damage(self, number: int, name: str, reason: str) -> None:
        """Show which file could not be read, and why."""
        self.hide()
        texts = (f"#{number} cannot be shown", name, reason)
        lines = [line for text in texts for line in textwrap.wrap(printable(text, 200), _DAMAGE_WIDTH)]
        self.damage.set_text("\n".join(lines))
        self.damage.set_visible(True)

    def hide(self) -> None:
        """Show nothing."""
        self.axes.set_visible(False)
        self.damage.set_visible(False)

    def name_axes(self, *, x: bool, y: bool) -> None:
        """Name the axes, or not where a neighbour does it."""
        self.axes.set_xlabel("Time from arrival (ms)" if x else "")
        self.axes.set_ylabel(self.y_label if y else "")

    def line(self) -> list[Line2D]:
        """Make a line that can be seen on any colour; it consists of two."""
        widths = {"black": 0.2 * self.font, "white": 0.1 * self.font}
        return [
            self.axes.add_line(Line2D([], [], color=color, linewidth=width))
            for color, width in widths.items()
        ]


def _title(number: int, candidate: Candidate, sub_beam: str) -> str:
    probability = "unknown" if candidate.probability is None else f"{candidate.probability:.2f}"
    return (
        f"#{number}   p {probability}   S/N {candidate.snr:.1f}\n"
        f"DM {candidate.dm:.2f} {DM_UNIT}   {sub_beam} {candidate.sb}\n"
        f"t {candidate.toa_s:.4f} s   width {candidate.width_s * 1e3:.2f} ms"
    )


class FreqTimePanel(Panel):
    """Dedispersed data: frequency against time, with the path of an undispersed signal."""

    heading = "Frequency and time"
    explanation = (
        "Each subband in units of its noise (grey: no data); colours from the 1st to the 99.5th percentile. "
        "Dashed: path of a signal without dispersion (DM 0)."
    )
    y_label = "Frequency (MHz)"

    def prepare(self, settings: Settings) -> None:
        """Make image and line."""
        self.image = _image(self.axes, settings.cmap_freqtime)
        self.sweep = self.line()
        for line in self.sweep:
            # the data have to be seen in the gaps
            line.set_linestyle((0, (0.3 * self.font, 0.5 * self.font)))
        self.axes.set_ylim(*self.observed.band_mhz)
        self.freq_mhz = np.linspace(*self.observed.band_mhz)

    def draw(self, candidate: Candidate, edges_ms: Floats) -> None:
        """Fill them."""
        data = in_noise_units(candidate.data_freq_time)
        _fill(self.image, data, (edges_ms[0], edges_ms[-1], *self.observed.band_mhz), _HIGHEST_FREQ_TIME)
        # dedispersion moves the lower frequencies of such a signal to earlier times
        delay_ms = delay_s(candidate.dm, self.freq_mhz, self.observed.band_mhz[1]) * 1e3
        for line in self.sweep:
            line.set_data(-delay_ms, self.freq_mhz)


class DMTimePanel(Panel):
    """Sum over the band, dedispersed to a range of DMs: DM against time."""

    heading = "DM and time"
    explanation = "Colours from the 1st to the 99.9th percentile. Marks at both sides: DM of the candidate."
    y_label = f"DM ({DM_UNIT})"

    def prepare(self, settings: Settings) -> None:
        """Make image and marks."""
        self.image = _image(self.axes, settings.cmap_dmtime)
        self.marks = self.line()
        for line in self.marks:
            line.set_transform(self.axes.get_yaxis_transform())

    def draw(self, candidate: Candidate, edges_ms: Floats) -> None:
        """Fill them."""
        dms = candidate.dms
        half = (dms[-1] - dms[0]) / max(len(dms) - 1, 1) / 2 or 0.5
        extent = (edges_ms[0], edges_ms[-1], dms[0] - half, dms[-1] + half)
        _fill(self.image, candidate.data_dm_time, extent, _HIGHEST_DM_TIME)
        self.axes.set_ylim(*extent[2:])
        for line in self.marks:
            line.set_data([0, 0.05, np.nan, 0.95, 1], [candidate.dm] * 5)


class ProfilePanel(Panel):
    """Sum over the band: S/N of each sample against time."""

    heading = "Profile"
    explanation = "Sum over the band in units of its noise."
    y_label = "S/N per sample"

    def prepare(self, settings: Settings) -> None:
        """Make the line."""
        self.axes.axhline(0, color="0.6", linewidth=0.6)
        self.profile = self.axes.stairs([0], [0, 1], baseline=None, color=settings.colour_1dtime)

    def draw(self, candidate: Candidate, edges_ms: Floats) -> None:
        """Fill it."""
        total = candidate.data_freq_time.sum(axis=0, dtype=np.float64)
        profile = np.nan_to_num(in_noise_units(total[np.newaxis])[0])
        self.profile.set_data(profile, edges_ms)
        low, high = min(profile.min(), -3), max(profile.max(), 3)
        self.axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


#: Panel for each type of plot, by its name in the configuration.
PANELS: Mapping[str, type[Panel]] = {
    "freq_time": FreqTimePanel,
    "dm_time": DMTimePanel,
    "1d_time": ProfilePanel,
}


def in_noise_units(data: NDArray[np.floating]) -> Floats:
    """Return each row with its median subtracted, divided by its noise; NaN where a row holds no data.

    The noise follows from the median absolute deviation, which a pulse or a hot pixel hardly changes.

    Args:
        data: shape (n, ntime)
    """
    values = data.astype(np.float64)
    centred = values - np.median(values, axis=1, keepdims=True)
    noise = _SIGMA_PER_MAD * np.median(np.abs(centred), axis=1)
    noise = np.where(noise > 0, noise, centred.std(axis=1))
    noise[noise == 0] = np.nan
    scaled: Floats = centred / noise[:, np.newaxis]
    return scaled


def _image(axes: Axes, cmap: str) -> AxesImage:
    """Make an image; without interpolation the PDF holds the data themselves, not resampled ones."""
    colour_map = mpl.colormaps[cmap].with_extremes(bad=_NO_DATA)
    blank = np.zeros((2, 2))
    return axes.imshow(blank, cmap=colour_map, origin="lower", aspect="auto", interpolation="none")


def _fill(
    image: AxesImage, data: NDArray[np.floating], extent: tuple[float, float, float, float], highest: float
) -> None:
    low, high = colour_limits(data, highest)
    image.set(data=data, extent=extent, clim=(low, high))


def colour_limits(data: NDArray[np.floating], highest: float) -> tuple[float, float]:
    """Return the values between which colours change: percentiles, so that a hot pixel does not count.

    Args:
        data: any shape; NaN is no value
        highest: percentile of the upper one
    """
    values = data[np.isfinite(data)]
    low, high = np.percentile(values, [_LOWEST, highest]) if values.size else (0.0, 0.0)
    return (low, high) if high > low else (low, low + 1)
