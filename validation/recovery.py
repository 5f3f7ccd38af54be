"""Recovered parameters of bursts against the injected ones: bias and scatter by S/N."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.science.dispersion import delay_s
from validation.result import Check, Table

BINS = ((6.0, 12.0), (12.0, 20.0), (20.0, 40.0), (40.0, 100.0))
Doubles = NDArray[np.float64]
#: Ranges of S/N for which there are bounds. For each quantity: figure, name, true value, what bias (median)
#: and scatter (half the range of 68 %) may be, to which two standard errors are added, and unit. A boxcar of
#: the pulse's width knows the DM to half a width of delay over the band, and the arrival time to a quarter of
#: a width; to go to infinite frequency costs 2.3 times the error of the DM. Where S/N is lost: `snr_loss`.
RANGES = ((10.0, 20.0), (20.0, 100.0))
BOUNDS = (
    ("S/N / injected", "S/N", 1.0, 0.13, 0.17, "of it"),
    ("log2 of width / injected", "width", 0.0, 0.05, 0.4, "octaves"),
    ("DM error, in widths of delay over the band", "DM", 0.0, 0.05, 0.55, "widths"),
    ("arrival error, in widths", "arrival at the top of the band", 0.0, 0.02, 0.27, "widths"),
    (
        "arrival error at infinite frequency, in widths",
        "arrival at infinite frequency",
        0.0,
        0.1,
        1.3,
        "widths",
    ),
)
#: Delay over the band for one unit of DM, in s.
TOP_MHZ = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
SWEEP_S = float(delay_s(1.0, TOP_MHZ - ARTS.bandwidth_mhz, TOP_MHZ))


def recovery(found: Doubles) -> tuple[list[Check], list[Table]]:
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
    checks = [check for low, high in RANGES for check in compared(figures, snr, low, high)]
    return checks, [table]


def compared(figures: dict[str, Doubles], snr: Doubles, low: float, high: float) -> list[Check]:
    """Compare bias and scatter of each quantity with their bounds, for bursts in a range of S/N."""
    here, checks = (low <= snr) & (snr < high), []
    # n values with scatter 1: the median scatters by 1.25 / sqrt(n), half the range of 68 % by 0.9 / sqrt(n)
    share = 2 / np.sqrt(max(here.sum(), 1))
    reference = f"{here.sum()} injected bursts, S/N {low:g}-{high:g}"
    for name, quantity, truth, bias, scatter, unit in BOUNDS:
        least, middle, most = np.percentile(figures[name][here], [16, 50, 84]) if here.any() else [np.nan] * 3
        checks += [
            Check(f"{quantity}: bias", reference, abs(middle - truth), bias + 1.25 * share * scatter, unit),
            Check(f"{quantity}: scatter", reference, (most - least) / 2, (1 + 0.9 * share) * scatter, unit),
        ]
    return checks


def spread(values: Doubles) -> str:
    """Return median and half the range of the middle 68 %."""
    low, middle, high = np.percentile(values, [16, 50, 84])
    return f"{middle:+.2f} ± {(high - low) / 2:.2f}"
