"""Inner loops of the extraction, compiled with numba.

Each kernel is plain Python that works without compilation, as `NAME.py_func`; what it computes is defined by
the functions that call it. All arrays are C-contiguous. Data are time-major bytes, so that the loops over
neighbouring channels, which have no dependence on each other, become vector instructions.

Compiled code is kept in a cache, beside this file or, where that cannot be written to, in the folder of the
user; the environment variable NUMBA_CACHE_DIR names another folder. Where none of them can be written to,
every process compiles for itself, 5 to 10 s in `darc.science.extraction.warm_up`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, sqrt
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

Function = TypeVar("Function", bound=Callable[..., Any])

#: Values a byte can have, and the length of a histogram: rows whose distance is a power of two would compete
#: for the same lines of the first-level cache.
NLEVEL = 256
HISTOGRAM_LENGTH = 272
#: Channels whose histograms fit into the first-level cache together; one cache line of data.
HISTOGRAM_BLOCK = 64
#: Channels and samples that are cleaned and transposed together.
BLOCK = 192
TILE = 128


def kernel(function: Function) -> Function:
    """Compile a function when it is first called, and keep the result on disk where that is possible."""
    try:
        return cast(Function, numba.njit(cache=True)(function))
    except RuntimeError:
        # numba found no folder for its cache that it may write to
        return cast(Function, numba.njit(function))


@kernel
def count_levels(data: Bytes, skipped: NDArray[np.bool_], counts: NDArray[np.uint32]) -> None:
    """Add to `counts` (nchan, HISTOGRAM_LENGTH) how often each channel has each level in samples kept."""
    nsample, nchan = data.shape
    for first in range(0, nchan, HISTOGRAM_BLOCK):
        block = counts[first : first + HISTOGRAM_BLOCK]
        for i in range(nsample):
            if skipped[i]:
                continue
            row = data[i, first : first + HISTOGRAM_BLOCK]
            for j in range(row.size):
                block[j, row[j]] += 1


@kernel
def clip_levels(
    counts: NDArray[np.uint32],
    threshold: float,
    niter: int,
    limits: NDArray[np.uint8],
    mean: Doubles,
    median: Doubles,
) -> None:
    """Clip histograms iteratively; see `darc.science.rfi.clip`.

    Args:
        counts: Histograms, (nchan, HISTOGRAM_LENGTH).
        threshold: In standard deviations.
        niter: Number of rounds.
        limits: Lowest and highest level that are kept, (nchan, 2), out.
        mean: Mean of what is kept, (nchan,), out.
        median: Its grouped median, (nchan,), out.

    """
    for channel in range(counts.shape[0]):
        levels = counts[channel]
        low, high = new_low, new_high = 0, NLEVEL - 1
        number = 0.0
        for _ in range(niter + 1):
            total = first_moment = second_moment = 0.0
            for level in range(new_low, new_high + 1):
                count = float(levels[level])
                total += count
                first_moment += count * level
                second_moment += count * level * level
            if total == 0:
                break
            low, high, number, centre = new_low, new_high, total, first_moment / total
            mean[channel] = centre
            width = threshold * sqrt(max(0.0, second_moment / total - centre * centre))
            new_low, new_high = max(low, ceil(centre - width)), min(high, floor(centre + width))
            if new_low == low and new_high == high:
                break
        limits[channel, 0], limits[channel, 1] = low, high
        below, level = 0.0, low
        while level < high and below + levels[level] <= number / 2:
            below += levels[level]
            level += 1
        median[channel] = level - 0.5 + (number / 2 - below) / max(1.0, float(levels[level]))


@kernel
def add_channels(data: Bytes, weight: Bytes, series: Doubles) -> None:
    """Set `series` to the sum over the channels of `data` whose weight is 1; the others have weight 0."""
    for i in range(data.shape[0]):
        row = data[i]
        total = np.uint32(0)
        for j in range(row.size):
            total += np.uint32(row[j] * weight[j])
        series[i] = total


@kernel
def _add_sample(values: Bytes, low: Floats, high: Floats, mean: Floats, total: Floats) -> None:
    """Add to `total` the values that lie within their limits, and the mean for the others."""
    for j in range(values.size):
        # everything is loaded before the choice, or the loop does not vectorise
        value, instead, so_far = np.float32(values[j]), mean[j], total[j]
        keep = (value >= low[j]) & (value <= high[j])
        total[j] = so_far + (value if keep else instead)


@kernel
def _transpose(tile: Floats, begin: int, end: int, starts: Indices, ends: Indices, target: Floats) -> None:
    """Write the positions from `begin` to `end`, the rows of a tile, to where they belong in each channel."""
    for j in range(starts.size):
        start, stop = max(begin, starts[j]), min(end, ends[j] + 1)
        if start < stop:
            out, column = target[j, start - starts[j] : stop - starts[j]], tile[start - begin :, j]
            for k in range(out.size):
                out[k] = column[k]


@kernel
def accumulate_windows(
    data: Bytes,
    skipped: NDArray[np.bool_],
    levels: Floats,
    downsampling: int,
    first: Indices,
    length: Indices,
    windows: Floats,
) -> None:
    """Clean and downsample data, and add up each channel over the samples of its window.

    windows[c, k] becomes the sum of channel c over the downsampled samples up to, not including, first[c] +
    k, for k from 0 to length[c]: the sum over any range is the difference of two elements.

    Args:
        data: Shape (nsample, nchan).
        skipped: Samples that are replaced in all channels, (nsample,).
        levels: Per channel the lowest and the highest level that are kept, what replaces the others, the
            baseline that is subtracted, and the factor by which the rest is multiplied; (5, nchan).
        downsampling: Samples that are added up.
        first: First downsampled sample of each channel's window, (nchan,).
        length: Number of them, (nchan,).
        windows: Shape (nchan, at least max(length) + 1), out.

    """
    tile = np.empty((TILE, BLOCK), np.float32)
    for c in range(0, data.shape[1], BLOCK):
        # slices, for signed offsets hinder vectorisation
        starts, target = first[c : c + BLOCK], windows[c : c + BLOCK]
        ends = starts + length[c : c + BLOCK]
        low, high, mean = levels[0, c : c + BLOCK], levels[1, c : c + BLOCK], levels[2, c : c + BLOCK]
        baseline, scale = levels[3, c : c + BLOCK], levels[4, c : c + BLOCK]
        running, total = np.zeros(starts.size, np.float32), np.empty(starts.size, np.float32)
        last = ends.max()
        for begin in range(starts.min(), last + 1, TILE):
            end = min(begin + TILE, last + 1)
            for k in range(begin, end):
                line = tile[k - begin]
                for j in range(running.size):
                    line[j] = running[j]
                    total[j] = 0
                if k == last:
                    break
                for i in range(k * downsampling, (k + 1) * downsampling):
                    if skipped[i]:
                        total += mean
                    else:
                        _add_sample(data[i, c : c + BLOCK], low, high, mean, total)
                for j in range(running.size):
                    running[j] += (total[j] - np.float32(downsampling) * baseline[j]) * scale[j]
            _transpose(tile, begin, end, starts, ends, target)


@kernel
def add_windows(windows: Floats, offset: Indices, total: Doubles) -> None:
    """Add to `total` the windows of all channels, each from its own offset on."""
    for c in range(offset.size):
        window = windows[c, offset[c] : offset[c] + total.size]
        for k in range(total.size):
            total[k] += window[k]


@kernel
def add_edges(
    windows: Floats, length: Indices, offset: Indices, row: Indices, step: int, edges: Doubles
) -> None:
    """Add to the rows of `edges` what the windows hold at equidistant positions.

    edges[row[c, d], e] grows by windows[c, offset[c, d] + e * step] for each channel c and each of its
    offsets d. Beyond its ends a window keeps its first or last value, so that differences are 0 there.

    Args:
        windows: Sums up to each sample, see `accumulate_windows`.
        length: Index of each window's last element, (nchan,).
        offset: Position of the first edge, may be negative, (nchan, n).
        row: Row that each is added to, (nchan, n).
        step: Distance of the edges.
        edges: Shape (more than max(row), number of edges).

    """
    nedge = edges.shape[1]
    for c in range(length.size):
        last = length[c]
        for d in range(offset.shape[1]):
            target, start = row[c, d], offset[c, d]
            # unsigned positions need no check for negative ones; a step that is known to be 1 vectorises
            if start < 0 or start + (nedge - 1) * step > last:
                for e in range(nedge):
                    edges[target, e] += windows[c, min(max(start + e * step, 0), last)]
            elif step == 1:
                for e in range(nedge):
                    edges[target, e] += windows[c, np.uint64(start + e)]
            else:
                for e in range(nedge):
                    edges[target, e] += windows[c, np.uint64(start + e * step)]


@kernel
def clipped_moments(ordered: Floats, threshold: float, niter: int) -> tuple[float, float]:
    """Return median and standard deviation of ascending values after outliers were removed `niter` times."""
    sums, squares = np.zeros(ordered.size + 1), np.zeros(ordered.size + 1)
    for i in range(ordered.size):
        value = float(ordered[i])
        sums[i + 1] = sums[i] + value
        squares[i + 1] = squares[i] + value * value
    low, high = 0, ordered.size
    median = sigma = 0.0
    for iteration in range(niter + 1):
        number = high - low
        mean = (sums[high] - sums[low]) / number
        sigma = sqrt(max(0.0, (squares[high] - squares[low]) / number - mean * mean))
        median = 0.5 * (float(ordered[low + (number - 1) // 2]) + float(ordered[low + number // 2]))
        if iteration == niter or sigma == 0:
            break
        while ordered[low] <= median - threshold * sigma:
            low += 1
        while ordered[high - 1] >= median + threshold * sigma:
            high -= 1
    return median, sigma
