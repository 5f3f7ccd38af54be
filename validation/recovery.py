"""Recovered parameters of bursts against the injected ones: bias and scatter by S/N."""

from __future__ import annotations

import numpy as np

from darc.definitions import ARTS
from darc.science.dispersion import delay_s
from validation.result import Check, Table

BINS = ((6.0, 12.0), (12.0, 20.0), (20.0, 40.0), (40.0, 100.0))
#: Delay over the band for one unit of DM, in s.
TOP_MHZ = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
SWEEP_S = float(delay_s(1.0, TOP_MHZ - ARTS.bandwidth_mhz, TOP_MHZ))


def recovery(found: np.ndarray) -> tuple[list[Check], list[Table]]:
    """Compare what was found with what was injected.

    Args:
        found: shape (n, 7): S/N, width (samples) and DM as injected, the same as found, and error of the
            arrival time (s)

    """
    snr, width = found[:, 0], found[:, 1] * ARTS.tsamp_s
    figures = {
        "S/N / injected": found[:, 3] / snr,
        "log2 of width / injected": np.log2(found[:, 4] / found[:, 1]),
        "DM error, in widths of delay over the band": (found[:, 5] - found[:, 2]) * SWEEP_S / width,
        "arrival error, in widths": found[:, 6] / width,
        "arrival error in ms": found[:, 6] * 1e3,
        "arrival error at infinite frequency, in widths": (
            found[:, 6] - delay_s(1.0, TOP_MHZ) * (found[:, 5] - found[:, 2])
        )
        / width,
    }
    rows = []
    for name, values in figures.items():
        cells = []
        for low, high in BINS:
            here = values[(low <= snr) & (snr < high)]
            cells.append(spread(here) if here.size else "")
        rows.append([name, *cells])
    headings = ("quantity", *(f"S/N {low:g}-{high:g}" for low, high in BINS))
    table = Table(
        "Recovered parameters of kept candidates: median, and half the range of 68 %", headings, rows
    )
    bright = snr >= 20
    reference = "injected bursts, S/N 20 or more"

    def median(name: str) -> float:
        return float(np.median(figures[name][bright]))

    return [
        Check("S/N recovered, median", reference, median("S/N / injected"), 0.75, "", at_least=True),
        Check("width, bias (median)", reference, abs(median("log2 of width / injected")), 0.5, "octaves"),
        Check(
            "DM, bias (median)",
            reference,
            abs(median("DM error, in widths of delay over the band")),
            0.2,
            "widths",
        ),
        Check(
            "arrival at the top of the band, bias (median)",
            reference,
            abs(median("arrival error, in widths")),
            0.1,
            "widths",
        ),
        Check(
            "arrival at infinite frequency, bias (median)",
            reference,
            abs(median("arrival error at infinite frequency, in widths")),
            0.5,
            "widths",
        ),
    ], [table]


def spread(values: np.ndarray) -> str:
    """Return median and half the range of the middle 68 %."""
    low, middle, high = np.percentile(values, [16, 50, 84])
    return f"{middle:+.2f} ± {(high - low) / 2:.2f}"
