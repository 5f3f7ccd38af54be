"""The plot of a drift scan: how the source passes through each beam, and what the beams' sensitivity is."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from darc.processor_tools.drawing import drawing
from darc.processor_tools.panels import printable
from darc.science.drift_scan import Scan

_TITLE_MAX = 110


def draw_scans(scans: Sequence[Scan], title: str, file_type: str) -> bytes:
    """Return the plot as a file.

    Args:
        scans: of the beams, at least one
        title: what was observed
        file_type: pdf or png
    """
    with drawing(9.0):
        figure = Figure(figsize=(10, 8), dpi=100, layout="constrained")
        figure.suptitle(printable(title, _TITLE_MAX), x=0.02, ha="left", weight="bold")
        by_time, by_freq = figure.subplots(2, 1)
        colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(scans)))
        for scan, colour in zip(scans, colours, strict=True):
            good = np.isfinite(scan.sefd_jy)
            power, model = (
                (array[:, good] / scan.transit.off[good]).mean(axis=1)
                for array in (scan.power, scan.transit.model)
            )
            by_time.plot(scan.time_s, power, ".", markersize=3, color=colour)
            by_time.plot(scan.time_s, model, color=colour, linewidth=1)
            label = f"{scan.name}: {np.nanmedian(scan.sefd_jy):.0f} Jy"
            looks = {"fmt": ".", "color": colour, "elinewidth": 0.7, "label": label}
            by_freq.errorbar(scan.freq_mhz, scan.sefd_jy, scan.sefd_error_jy, **looks)
        by_time.set(xlabel="Time from the start of the data (s)", ylabel="Power (1: without the source)")
        by_time.set_title("Mean of the band, and the fit: Gaussian beam on a linear baseline")
        by_freq.set(xlabel="Frequency (MHz)", ylabel="System-equivalent flux density (Jy)")
        by_freq.set_title("Flux density x off / (on - off); in the legend: median of the band")
        by_freq.set_ylim(0, 1.6 * max(float(np.nanmedian(scan.sefd_jy)) for scan in scans))
        by_freq.legend(ncols=4, loc="upper right", frameon=False)
        output = BytesIO()
        figure.savefig(
            output, format=file_type, metadata={"CreationDate": None} if file_type == "pdf" else None
        )
    return output.getvalue()
