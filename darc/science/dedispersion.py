"""Dedispersion of a short piece of data at many neighbouring DMs.

Each channel is stored as running sums over the samples that any of the DMs needs. The sum over a bin, at any
DM and in any channel, is then the difference of two elements, whatever the length of the bin.

Times refer to the top of the band, the upper edge of its highest channel: a pulse that arrives there in
sample 0 is in sample `Band.delays` of each channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darc.science import _kernels
from darc.science.dispersion import delay_s
from darc.science.rfi import Verdict

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Band:
    """Channels and sampling time of data, as the header of a SIGPROC file describes them.

    Attributes:
        fch1_mhz: Centre of the first channel.
        foff_mhz: Distance of neighbouring channels; negative if the first channel has the highest frequency.
        nchan: Number of channels.
        tsamp_s: Sampling time.

    """

    fch1_mhz: float
    foff_mhz: float
    nchan: int
    tsamp_s: float

    @property
    def descending(self) -> bool:
        """Whether the first channel has the highest frequency."""
        return self.foff_mhz < 0

    @property
    def freq_mhz(self) -> Doubles:
        """Centre of each channel."""
        return self.fch1_mhz + self.foff_mhz * np.arange(self.nchan, dtype=np.float64)

    @property
    def channel_width_mhz(self) -> float:
        """Width of a channel."""
        return abs(self.foff_mhz)

    @property
    def centre_mhz(self) -> float:
        """Centre of the band."""
        return self.fch1_mhz + self.foff_mhz * (self.nchan - 1) / 2

    @property
    def top_mhz(self) -> float:
        """Upper edge of the band."""
        return self.centre_mhz + self.channel_width_mhz * self.nchan / 2

    def delays(self, dms: ArrayLike, sample_s: float) -> Indices:
        """Delay of each channel behind the top of the band, in whole samples of length `sample_s`.

        Args:
            dms: DMs in pc cm^-3, (ndm,).
            sample_s: Length of a sample in s.

        Returns:
            Shape (nchan, ndm).

        """
        delay = delay_s(np.atleast_1d(dms), self.freq_mhz[:, np.newaxis], self.top_mhz)
        return np.rint(delay / sample_s).astype(np.int64)


def dm_trials(dm: float, halfrange: float, ndm: int) -> Doubles:
    """Return equidistant DMs around a DM, which is one of them, ascending.

    Element ndm // 2 is the DM itself, unless DMs would then be negative: the range is shifted up just as far
    as it takes, so that its lowest DM lies between 0 and one step.

    Args:
        dm: DM in pc cm^-3.
        halfrange: Distance of the lowest DM, where the range is not shifted.
        ndm: Number of DMs.

    """
    step = halfrange / max(1, ndm // 2)
    below = min(ndm // 2, int(dm / step)) if step > 0 else 0
    dms: Doubles = dm + step * np.arange(-below, ndm - below, dtype=np.float64)
    return np.maximum(dms, 0.0)


class Windows:
    """Running sums of the dedispersed data, and what can be read off them.

    Positions are counted in downsampled samples from the first sample of the data, at the top of the band.
    What the data do not cover counts as zero.

    Args:
        data: Shape (nsample, nchan), C-contiguous.
        verdict: What is used of the data; every other channel is zero.
        scale: Factors of the channels, (nchan,).
        delays: Delays in downsampled samples, (nchan, ndm), ascending with DM.
        main: Index of the DM at which `series` is made.
        downsampling: Samples that are added up before they are dedispersed; a remainder is left out.
        scratch: Memory that may be used, (any number,); `sums` is a view of it if it is large enough.

    """

    def __init__(
        self,
        data: NDArray[np.uint8],
        verdict: Verdict,
        scale: Floats,
        delays: Indices,
        *,
        main: int,
        downsampling: int,
        scratch: Floats,
    ) -> None:
        nsample = len(data) // downsampling
        #: number of positions at which a pulse of the main DM is covered by all channels
        self.nseries = nsample - int(delays[:, main].max())
        if self.nseries < 1:
            raise ValueError(f"{len(data)} samples do not cover the delay of the band")
        first = np.minimum(delays[:, 0], nsample)
        self._length = np.minimum(self.nseries + delays[:, -1], nsample) - first
        self._offset = delays - first[:, np.newaxis]
        self._main = main
        self.sums = scratch_array(scratch, len(first), int(self._length.max()) + 1)
        levels = np.stack([*verdict.limits.T, verdict.mean, verdict.median, scale * verdict.usable])
        _kernels.accumulate_windows(
            data, verdict.skipped, levels.astype(np.float32), downsampling, first, self._length, self.sums
        )

    def series(self) -> Doubles:
        """Return the sum over all channels at the main DM, shape (nseries,)."""
        total = np.zeros(self.nseries + 1)
        _kernels.add_windows(self.sums, np.ascontiguousarray(self._offset[:, self._main]), total)
        return np.diff(total)

    def dm_time(self, start: int, step: int, nbin: int) -> Doubles:
        """Return the sum over all channels at each DM, in bins, shape (ndm, nbin).

        Args:
            start: Position at which the first bin starts, may be negative.
            step: Length of a bin.
            nbin: Number of bins.

        """
        row = np.broadcast_to(np.arange(self._offset.shape[1]), self._offset.shape)
        return self._bins(self._offset + start, row, step, (self._offset.shape[1], nbin))

    def freq_time(self, row: Indices, start: int, step: int, nbin: int) -> Doubles:
        """Return the sum over the channels of each row at the main DM, in bins, shape (max(row) + 1, nbin).

        Args:
            row: Row of each channel, (nchan,).
            start: Position at which the first bin starts, may be negative.
            step: Length of a bin.
            nbin: Number of bins.

        """
        offset = self._offset[:, self._main, np.newaxis] + start
        return self._bins(offset, row[:, np.newaxis], step, (int(row.max()) + 1, nbin))

    def _bins(self, offset: Indices, row: Indices, step: int, shape: tuple[int, int]) -> Doubles:
        edges = np.zeros((shape[0], shape[1] + 1))
        _kernels.add_edges(self.sums, self._length, offset, np.ascontiguousarray(row), step, edges)
        return np.diff(edges, axis=1)


def scratch_array(scratch: Floats, nrow: int, ncolumn: int) -> Floats:
    """Return an uninitialised array with at least `ncolumn` columns, in `scratch` where that is large enough.

    Rows are an odd number of cache lines long, so that they do not compete for the same places of the cache.
    """
    stride = 16 * (-(-ncolumn // 16) | 1)
    memory = scratch if scratch.size >= nrow * stride else np.empty(nrow * stride, dtype=np.float32)
    return memory[: nrow * stride].reshape(nrow, stride)
