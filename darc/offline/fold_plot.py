"""The plot of a folded pulsar: its profile, and the pulse against time and against frequency."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from darc.processor_tools.drawing import drawing
from darc.processor_tools.panels import DM_UNIT, printable
from darc.science.folding import Fold

Doubles = NDArray[np.float64]

#: Most bins of a turn in the images: a pulse in finer ones is lost in the noise.
_NBIN_IMAGE = 128
#: Percentiles between which colours change.
_LOWEST, _HIGHEST = 2.0, 99.7
_TITLE_MAX = 110


def draw_fold(
    fold: Fold, title: str, dm: float, duration_s: float, ends_mhz: tuple[float, float], file_type: str
) -> bytes:
    """Return the plot as a file.

    Args:
        fold: the folded pulsar
        title: what was observed
        dm: DM in pc cm^-3
        duration_s: length of the data
        ends_mhz: centres of the first and of the last channel
        file_type: pdf or png
    """
    with drawing(9.0):
        figure = Figure(figsize=(10, 7.2), dpi=100, layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(1, 2.2))
        figure.suptitle(printable(title, _TITLE_MAX), x=0.02, ha="left", weight="bold")
        profile = figure.add_subplot(grid[0, 0])
        by_time = figure.add_subplot(grid[1, 0], sharex=profile)
        by_freq = figure.add_subplot(grid[1, 1])
        nbin = len(fold.profile)
        # the middle of the pulse comes to half a turn
        turn = nbin // 2 - (fold.peak.start + fold.peak.width // 2)
        twice = np.tile(np.roll(fold.profile, turn), 2)
        profile.step((np.arange(2 * nbin) + 0.5) / nbin, twice, where="mid", color="black", linewidth=0.8)
        half = fold.peak.width / nbin / 2
        profile.axvspan(0.5 - half, 0.5 + half, color="tab:orange", alpha=0.3, linewidth=0)
        profile.set(xlim=(0, 2), ylabel="Mean power\n(noise rms of a sample)")
        _image(by_time, np.roll(fold.time_phase, turn, axis=1), (0, duration_s), "Time (s)")
        _image(by_freq, np.roll(fold.freq_phase, turn, axis=1), ends_mhz, "Frequency (MHz)")
        text = figure.add_subplot(grid[0, 1])
        text.axis("off")
        text.text(0, 0.98, _numbers(fold, dm), va="top", linespacing=1.5, transform=text.transAxes)
        output = BytesIO()
        figure.savefig(
            output, format=file_type, metadata={"CreationDate": None} if file_type == "pdf" else None
        )
    return output.getvalue()


def _numbers(fold: Fold, dm: float) -> str:
    width_ms = fold.peak.width / len(fold.profile) * fold.period_s * 1e3
    return "\n".join(
        (
            f"S/N  {fold.peak.snr:.1f}",
            f"Period at the telescope, mid-time  {fold.period_s:.9f} s",
            f"DM  {dm:.3f} {DM_UNIT}",
            f"Width of the boxcar (shaded)  {width_ms:.2f} ms",
            f"Pulses  {fold.npulse},  bins of a period  {len(fold.profile)}",
            "Phases: at the top of the band, the pulse at 0.5",
        )
    )


def _image(axes: Axes, data: Doubles, ends: tuple[float, float], label: str) -> None:
    """Show data over two turns, from the lowest end upwards."""
    data, ends = (data[::-1], (ends[1], ends[0])) if ends[1] < ends[0] else (data, ends)
    merged = -(-data.shape[1] // _NBIN_IMAGE)
    whole = data[:, : data.shape[1] // merged * merged]
    image = whole.reshape(len(data), -1, merged).mean(axis=2)
    image = np.tile(image - np.median(image, axis=1, keepdims=True), (1, 2))
    low, high = np.percentile(image, (_LOWEST, _HIGHEST))
    axes.imshow(
        image,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, 2, *ends),
        vmin=low,
        vmax=high if high > low else low + 1,
    )
    axes.set(xlabel="Phase (turns)", ylabel=label)
