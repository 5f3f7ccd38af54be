"""Delay and smearing of a pulse by the electrons on its way.

A pulse arrives later at lower frequency: t(f) = t(inf) + k DM / f^2, with k of `darc.definitions`.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darc.definitions import DISPERSION_CONSTANT


def delay_s(
    dm: ArrayLike, freq_mhz: ArrayLike, ref_freq_mhz: ArrayLike = inf
) -> np.float64 | NDArray[np.float64]:
    """Time in s by which a pulse arrives later at one frequency than at a reference frequency.

    Negative where `freq_mhz` is above the reference. Arguments broadcast against each other.

    Args:
        dm: Dispersion measure in pc cm^-3.
        freq_mhz: Frequency in MHz.
        ref_freq_mhz: Reference frequency in MHz; infinite frequency, where there is no delay, by default.

    """
    freq, ref = np.asarray(freq_mhz, dtype=np.float64), np.asarray(ref_freq_mhz, dtype=np.float64)
    return DISPERSION_CONSTANT * np.asarray(dm, dtype=np.float64) * (freq**-2 - ref**-2)


def smearing_s(
    dm: ArrayLike, freq_mhz: ArrayLike, channel_width_mhz: ArrayLike
) -> np.float64 | NDArray[np.float64]:
    """Time in s over which a pulse drifts through one channel: the delay between the channel's edges.

    Args:
        dm: Dispersion measure in pc cm^-3.
        freq_mhz: Centre of the channel in MHz.
        channel_width_mhz: Width of the channel in MHz.

    """
    freq, half = np.asarray(freq_mhz, dtype=np.float64), np.asarray(channel_width_mhz, dtype=np.float64) / 2
    return delay_s(dm, freq - half, freq + half)
