"""S/N of a pulse in a time series, as AMBER determines it, and the boxcar that fits a pulse best.

What the estimator loses, measured on normal noise: AMBER's factor makes up for more than clipping takes away,
so that S/N come out 3.1 % too low (0.969 of the true value in long series). In series of 80 independent
samples, the usual length here, they scatter by another 5 to 10 %, since the noise is not known better. The
choice of the highest of many boxcars gains 1 to 2 %: on average `matched_filter` returns 0.98 of what the
best boxcar reaches in noise that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darc.science import _kernels

#: AMBER's estimator (Sclocco et al. 2020, SoftwareX 12, 100549; its mode with sigma clipping): outliers are
#: removed this many times beyond this many standard deviations, and the standard deviation that is left is
#: multiplied by a factor that makes up for the tails that were cut off.
CLIP_ROUNDS = 4
CLIP_SIGMA = 3.0
SIGMA_CORRECTION = 1.048
#: Widest boxcar in samples. For wider pulses samples are added up first.
MAX_WIDTH = 250


@dataclass(frozen=True)
class Pulse:
    """The boxcar that gives the highest S/N in a time series.

    Attributes:
        snr: Its S/N.
        start: Its first sample.
        width: Its width in samples.

    """

    snr: float
    start: int
    width: int


def amber_snr(series: NDArray[np.floating]) -> float:
    """Return the S/N of the highest value: its height above the median over the corrected standard deviation.

    0 where the values do not scatter.

    Args:
        series: Shape (n,), n at least 1.

    """
    ordered = np.sort(np.asarray(series, dtype=np.float32))
    median, sigma = _kernels.clipped_moments(ordered, CLIP_SIGMA, CLIP_ROUNDS)
    return (float(ordered[-1]) - median) / (SIGMA_CORRECTION * sigma) if sigma > 0 else 0.0


def matched_filter(series: NDArray[np.float64], width: int) -> Pulse:
    """Find the boxcar with the highest S/N, of all positions and of all widths from half to twice `width`.

    Where twice the width exceeds `MAX_WIDTH`, so many samples are added up beforehand that it does not; start
    and width of the result are whole numbers of these.

    Args:
        series: Shape (n,), n at least 4 times `width`.
        width: Expected width in samples.

    Raises:
        ValueError: The series is too short.

    """
    if width < 1 or len(series) < 4 * width:
        raise ValueError(f"a boxcar of {width} samples needs a series of {4 * width}, not {len(series)}")
    step = -(-2 * width // MAX_WIDTH)
    nsum = len(series) // step
    sums = np.zeros(nsum + 1)
    # without its mean the series keeps its digits when it is added up
    np.cumsum((series - series.mean())[: nsum * step].reshape(nsum, step).sum(axis=1), out=sums[1:])
    best = Pulse(0.0, 0, step)
    for trial in range(max(1, width // (2 * step)), 2 * width // step + 1):
        filtered = sums[trial:] - sums[:-trial]
        if (snr := amber_snr(filtered)) > best.snr:
            best = Pulse(snr, int(filtered.argmax()) * step, trial * step)
    return best
