"""Interference (RFI): which channels and samples of a block of data take no part, and what replaces them.

Nothing is written into the data. `clean` says what is to be replaced, and by what; whoever adds the data up
does it on the way. Data are bytes, so a histogram per channel holds all that the clipping needs, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.science import _kernels

CleanType: TypeAlias = Literal["time", "frequency", "both", "perchannel", "none"] | None
Flags = NDArray[np.bool_]
Doubles = NDArray[np.float64]


class MaskError(DARCError):
    """A list of channels does not fit the data."""


@dataclass(frozen=True)
class Cleaning:
    """How interference is removed; thresholds are in standard deviations.

    Attributes:
        clean_type: `time`: samples that stand out in the sum of all channels (`outlying_samples`).
            `frequency`: channels that stand out among their neighbours (`outlying_channels`).
            `both`: the former, then the latter.
            `perchannel`: single samples that stand out in their own channel (`clip`).
            `none` or None: nothing is removed.
        threshold_time: Threshold of `time` and `perchannel`.
        n_iter_time: Number of rounds of `time` and `perchannel`.
        threshold_freq: Threshold of `frequency`.
        n_iter_freq: Number of rounds of `frequency`.
        bin_size: Channels that are compared with each other in `frequency`.

    """

    clean_type: CleanType = "perchannel"
    threshold_time: float = 3.25
    n_iter_time: int = 3
    threshold_freq: float = 2.75
    n_iter_freq: int = 3
    bin_size: int = 32


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is used of a block of data, and the levels of what is used.

    A value is kept where its channel is usable, its sample is not skipped, and it lies within the limits of
    its channel. In a usable channel every other value is to be replaced by the channel's mean; the other
    channels count as if they were constant.

    Attributes:
        usable: Channels that take part, shape (nchan,).
        skipped: Samples that are replaced in all channels, (nsample,).
        limits: Lowest and highest level that is kept, (nchan, 2).
        mean: Mean of the kept values of each channel, (nchan,).
        median: Their median, (nchan,). For data are whole numbers, it is the median of values spread evenly
            over the width of their level, as `statistics.median_grouped` has it: the plain median would leave
            up to half a level in the data, which is more than the noise once many samples are added up.

    """

    usable: Flags
    skipped: Flags
    limits: NDArray[np.uint8]
    mean: Doubles
    median: Doubles


def masked_channels(numbers: Iterable[int], nchan: int, *, descending: bool) -> Flags:
    """Turn a list of channels, counted from the lowest frequency, into flags in the order of the data.

    Args:
        numbers: Channels, 0 being the lowest frequency.
        nchan: Number of channels of the data.
        descending: Whether the data have the highest frequency first. Then channel n is number nchan - 1 - n.

    Raises:
        MaskError: A channel does not exist: the list was made for another band.

    """
    listed = np.asarray(list(numbers), dtype=np.int64)
    if listed.size and not (listed.min() >= 0 and listed.max() < nchan):
        wrong = listed[(listed < 0) | (listed >= nchan)][0]
        raise MaskError(
            f"the RFI mask lists channel {wrong}, but the data have channels 0 to {nchan - 1}: "
            "use the mask of this band, or set rfi_apply_mask to false"
        )
    flags = np.zeros(nchan, dtype=np.bool_)
    flags[nchan - 1 - listed if descending else listed] = True
    return flags


def clean(data: NDArray[np.uint8], masked: Flags, cleaning: Cleaning) -> Verdict:
    """Find the interference in a block of data.

    Args:
        data: Shape (nsample, nchan), C-contiguous.
        masked: Channels that are known to be bad, (nchan,). They do not take part in any statistics.
        cleaning: What is looked for.

    """
    usable = ~masked
    skipped = np.zeros(len(data), dtype=np.bool_)
    if cleaning.clean_type in ("time", "both"):
        total = np.empty(len(data))
        _kernels.add_channels(data, usable.astype(np.uint8), total)
        skipped = outlying_samples(total, cleaning.threshold_time, cleaning.n_iter_time)
    niter = cleaning.n_iter_time if cleaning.clean_type == "perchannel" else 0
    verdict = clip(data, usable, skipped, threshold=cleaning.threshold_time, niter=niter)
    if cleaning.clean_type in ("frequency", "both"):
        bad = outlying_channels(
            verdict.mean, usable, cleaning.threshold_freq, cleaning.n_iter_freq, cleaning.bin_size
        )
        return replace(verdict, usable=usable & ~bad)
    return verdict


def outlying_samples(total: Doubles, threshold: float, niter: int) -> Flags:
    """Find samples that stand out in a time series: the sum of all usable channels, at DM 0.

    In each round, samples further than `threshold` standard deviations from the median go, both taken over
    the samples that are left. A burst of low DM stands out just as well: its sweep has to be long compared
    with its width for it to survive.

    Args:
        total: Shape (nsample,).
        threshold: In standard deviations.
        niter: Number of rounds.

    """
    good = np.ones(len(total), dtype=np.bool_)
    for _ in range(niter):
        left = total[good]
        remaining = good & (np.abs(total - np.median(left)) <= threshold * left.std())
        if not remaining.any():
            break
        good = remaining
    return ~good


def outlying_channels(mean: Doubles, usable: Flags, threshold: float, niter: int, bin_size: int) -> Flags:
    """Find channels whose mean stands out among their neighbours.

    Blocks of `bin_size` neighbouring channels, counted from the first channel, have the mean of their usable
    channels subtracted, which takes out the shape of the band. In each round, channels further than
    `threshold` standard deviations from the median go, both taken over the whole band and the channels that
    are left.

    Args:
        mean: Mean of each channel, (nchan,).
        usable: Channels to begin with, (nchan,).
        threshold: In standard deviations.
        niter: Number of rounds.
        bin_size: Channels per block.

    Returns:
        Flags of the channels that were found; those not usable to begin with are not among them.

    """
    block = np.arange(len(mean)) // bin_size
    good = usable
    for _ in range(niter):
        number = np.bincount(block, weights=good)
        level = np.bincount(block, weights=np.where(good, mean, 0.0)) / np.maximum(number, 1)
        deviation = mean - level[block]
        left = deviation[good]
        if not left.size:
            break
        remaining = good & (np.abs(deviation - np.median(left)) <= threshold * left.std())
        if not remaining.any():
            break
        good = remaining
    return usable & ~good


def clip(data: NDArray[np.uint8], usable: Flags, skipped: Flags, *, threshold: float, niter: int) -> Verdict:
    """Find values that stand out in their own channel, and the levels of what remains.

    In each round, values further than `threshold` standard deviations from their channel's mean go, both
    taken over the values that are left. A round that would leave nothing does not count.

    Args:
        data: Shape (nsample, nchan), C-contiguous.
        usable: Channels that take part, (nchan,).
        skipped: Samples that do not, (nsample,).
        threshold: In standard deviations.
        niter: Number of rounds; with 0 everything is kept.

    """
    nchan = data.shape[1]
    counts = np.zeros((nchan, _kernels.HISTOGRAM_LENGTH), dtype=np.uint32)
    limits = np.empty((nchan, 2), dtype=np.uint8)
    mean, median = np.empty(nchan), np.empty(nchan)
    _kernels.count_levels(data, skipped, counts)
    # an infinite threshold would not do as a whole number of levels
    _kernels.clip_levels(counts, min(float(threshold), 1e9), niter, limits, mean, median)
    return Verdict(usable, skipped, limits, mean, median)
