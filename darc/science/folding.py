"""Folding: the data of a pulsar added up over its period, in parts of the time and of the band.

Phases are those at which a pulse passes the top of the band; each channel is dedispersed by its delay modulo
the period, without rounding to samples. Values are relative to the mean of their channel in the block they
come from, in units of its standard deviation: blocks have to be longer than the period.

S/N of a profile is that of Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, sect. 7.1: (sum in a boxcar -
its width x mean outside of it) / (sigma x sqrt(width)), for the boxcar that stands out most, of any width up
to half a turn. Sigma is measured outside of the boxcar, over all parts of the time, where interference that
comes and goes is seen, too. N pulses with a S/N of s each, in a noise that is known, give s x sqrt(N).

The period is searched in the folded data, the parts of which are shifted by whole bins. That loses up to 7 %
of the S/N of narrow pulses where the period is far from the expected one; folding once more with the rotation
that was found does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.science import _kernels
from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s
from darc.science.rfi import Verdict

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)

#: Most bins of a profile, fewest pulses that are folded, and most parts of the time.
NBIN_MAX = 512
NPULSE_MIN = 8
NPART_MIN, NPART_MAX = 64, 512
#: Relative range of frequencies around the expected one: the motion of the Earth gives 1.0e-4 at most, the
#: age of the Crab pulsar's ephemeris 0.4e-4.
SEARCH_RANGE = 1.5e-4
#: Turns by which a pulse at the end of that range may move within a part of the time.
_SMEARING_TURNS = 0.05
#: Bins with which the search begins.
_NBIN_COARSE = 64
#: Samples from which the standard deviations of channels are taken.
_NSAMPLE_STATISTICS = 512
#: One turn.
_TURN = 2**32


class FoldingError(DARCError):
    """Data cannot be folded."""


@dataclass(frozen=True)
class Rotation:
    """Rotation of a pulsar as the telescope sees it.

    Attributes:
        frequency_hz: At the first sample of the data.
        derivative_hz_s: Its change, of the motion of the telescope.

    """

    frequency_hz: float
    derivative_hz_s: float = 0.0

    def turns(self, time_s: Doubles) -> Doubles:
        """Turns since the first sample at times since then."""
        return time_s * (self.frequency_hz + time_s * self.derivative_hz_s / 2)

    def period_s(self, time_s: float) -> float:
        """Period at a time since the first sample."""
        return 1 / (self.frequency_hz + time_s * self.derivative_hz_s)


@dataclass(frozen=True)
class Peak:
    """The boxcar that stands out most in a profile.

    Attributes:
        snr: Its S/N.
        start: Its first bin; it may go on at the beginning of the profile.
        width: Number of bins.

    """

    snr: float
    start: int
    width: int

    def inside(self, nbin: int) -> NDArray[np.bool_]:
        """Tell which bins are in it, (nbin,)."""
        return (np.arange(nbin) - self.start) % nbin < self.width


@dataclass(frozen=True, eq=False)
class Fold:
    """A folded pulsar, in units of the standard deviation of a sample of a channel.

    Attributes:
        rotation: With which the pulse comes at the same phase all the time.
        shift_bins: Bins by which the pulse moved in all with the expected rotation.
        period_s: Period in the middle of the data.
        peak: The pulse in the profile.
        npulse: Number of pulses that were folded.
        profile: Mean of all, (nbin,).
        time_phase: Mean over the band, (npart, nbin).
        freq_phase: Mean over the time, (nband, nbin), in the order of the channels; parts of the band without
            data are zero.

    """

    rotation: Rotation
    shift_bins: float
    period_s: float
    peak: Peak
    npulse: int
    profile: Doubles
    time_phase: Doubles
    freq_phase: Doubles


@_kernels.kernel
def _add(
    data: NDArray[np.uint8],
    skipped: NDArray[np.bool_],
    levels: NDArray[np.float32],
    phase: Indices,
    part: Indices,
    offset: Indices,
    row: Indices,
    sums: NDArray[np.float32],
    counts: NDArray[np.int32],
) -> None:
    """Add data to the bins of their phases.

    Args:
        data: Shape (nsample, nchan).
        skipped: Samples that are left out, (nsample,).
        levels: Per channel the lowest and the highest level that are kept, what is subtracted, and the factor
            by which the rest is multiplied, (4, nchan). Channels with the factor 0 are left out.
        phase: Of each sample, in 2^-32 turns, (nsample,).
        part: Part of the time of each sample, (nsample,).
        offset: Phase by which each channel is late, as above, (nchan,).
        row: Part of the band of each channel, (nchan,).
        sums: Shape (npart, nband, nbin), in and out.
        counts: Number of values in each of them, in and out.

    """
    nbin = sums.shape[2]
    for i in range(data.shape[0]):
        if skipped[i]:
            continue
        total, number = sums[part[i]], counts[part[i]]
        for c in range(data.shape[1]):
            value = np.float32(data[i, c])
            if levels[3, c] > 0 and levels[0, c] <= value <= levels[1, c]:
                place = (((phase[i] - offset[c]) & 0xFFFFFFFF) * nbin) >> 32
                total[row[c], place] += (value - levels[2, c]) * levels[3, c]
                number[row[c], place] += 1


class Folder:
    """Adds up data over the period of a pulsar; it needs the same memory however long they are.

    Args:
        band: Channels and sampling time.
        rotation: Expected one.
        dm: DM in pc cm^-3.
        nsample: Number of samples that will be folded.
        nband: Number of parts of the band.

    Raises:
        FoldingError: The data are too short, or the period is.

    """

    def __init__(self, band: Band, rotation: Rotation, dm: float, nsample: int, nband: int = 64) -> None:
        self._band, self._rotation, self._nsample = band, rotation, nsample
        duration_s, period_s = nsample * band.tsamp_s, 1 / rotation.frequency_hz
        npulse = duration_s / period_s
        nbin = min(NBIN_MAX, int(period_s / band.tsamp_s))
        if npulse < NPULSE_MIN:
            raise FoldingError(
                f"{duration_s:.3f} s of data hold {npulse:.1f} periods of {period_s:.6f} s; "
                f"{NPULSE_MIN} are needed to see a pulsar"
            )
        if nbin < 4:
            raise FoldingError(f"a period of {period_s:g} s has fewer than 4 samples of {band.tsamp_s:g} s")
        moved = SEARCH_RANGE * npulse / _SMEARING_TURNS
        npart = int(min(max(NPART_MIN, ceil(moved)), NPART_MAX, npulse / 2))
        delay_turns = delay_s(dm, band.freq_mhz, band.top_mhz) * rotation.frequency_hz
        self._offset = _fixed_point(np.asarray(delay_turns))
        self._row = np.arange(band.nchan) * min(nband, band.nchan) // band.nchan
        self._sums = np.zeros((npart, min(nband, band.nchan), nbin), np.float32)
        self._counts = np.zeros(self._sums.shape, np.int32)

    def add(self, data: NDArray[np.uint8], verdict: Verdict, first: int) -> None:
        """Add a block of data.

        Args:
            data: Shape (nsample, nchan).
            verdict: What is used of it.
            first: Number of its first sample in all data.

        """
        low, high = verdict.limits.T
        some = np.clip(data[:: -(-len(data) // _NSAMPLE_STATISTICS)], low, high)
        sigma = some.std(axis=0)
        # with so few levels rounding would be all that is seen of it
        fine = verdict.usable & (sigma > 0)
        scale = np.where(fine, 1 / np.where(fine, sigma, 1.0), 0.0)
        levels = np.stack([low, high, verdict.mean, scale]).astype(np.float32)
        sample = np.arange(first, first + len(data))
        middle_s = np.asarray((sample + 0.5) * self._band.tsamp_s, np.float64)
        phase = _fixed_point(self._rotation.turns(middle_s))
        part = np.minimum(sample * len(self._sums) // self._nsample, len(self._sums) - 1)
        _add(data, verdict.skipped, levels, phase, part, self._offset, self._row, self._sums, self._counts)

    def fold(self) -> Fold:
        """Find the frequency near the expected one at which the pulsar is seen best.

        Raises:
            FoldingError: There are no data that interference left.

        """
        counts = self._counts.sum(axis=1, dtype=np.float64)
        if not counts.any():
            raise FoldingError("nothing is left: without interference, no channel has any noise")
        plane = self._sums.sum(axis=1, dtype=np.float64)
        duration_s, npart = self._nsample * self._band.tsamp_s, len(plane)
        time_s = (np.arange(npart) + 0.5) / npart * duration_s - duration_s / 2
        turns = SEARCH_RANGE * self._rotation.frequency_hz * duration_s
        moved = find_offset(plane, counts, time_s, turns)
        offset_hz = moved / duration_s
        bins = shifts(offset_hz * time_s, plane.shape[1])
        plane, counts = rotated(plane, bins), rotated(counts, bins)
        rotation = replace(self._rotation, frequency_hz=self._rotation.frequency_hz + offset_hz)
        bands = [
            rotated(array, bins[:, np.newaxis]).sum(axis=0, dtype=np.float64)
            for array in (self._sums, self._counts)
        ]
        profile = _mean(plane.sum(axis=0), counts.sum(axis=0))
        return Fold(
            rotation=rotation,
            shift_bins=moved * plane.shape[1],
            period_s=rotation.period_s(duration_s / 2),
            peak=measure(plane, counts),
            npulse=int(duration_s * self._rotation.frequency_hz),
            profile=profile,
            time_phase=_mean(plane, counts),
            freq_phase=_mean(*bands),
        )


def find_offset(plane: Doubles, counts: Doubles, time_s: Doubles, turns_max: float) -> float:
    """Find by how many turns in all the frequency is off: at which of them the profile stands out most.

    Args:
        plane: Sums over the band, (npart, nbin).
        counts: Number of values in each, (npart, nbin).
        time_s: Middle of each part of the time, from the middle of all, (npart,).
        turns_max: Most turns that are tried, in both directions.

    """
    nbin = plane.shape[1]
    step = max(1, nbin // _NBIN_COARSE)
    edges = np.arange(0, nbin, step)
    sums, numbers = (np.add.reduceat(array, edges, axis=1) for array in (plane, counts))
    duration_s = 2 * float(time_s[-1]) * len(time_s) / (len(time_s) - 1)
    fraction = time_s / duration_s
    ntrial = ceil(turns_max * len(edges))
    best = _best(sums, numbers, fraction, np.arange(-ntrial, ntrial + 1) / len(edges))
    around = np.arange(-2 * step, 2 * step + 1) / nbin
    return _best(plane, counts, fraction, best + around)


def _best(plane: Doubles, counts: Doubles, fraction: Doubles, trials: Doubles) -> float:
    """Return the trial at which the profile stands out most; the middle one of those that are alike."""
    heights = np.empty(len(trials))
    for trial, turns in enumerate(trials):
        bins = shifts(turns * fraction, plane.shape[1])
        profile = _mean(rotated(plane, bins).sum(axis=0), rotated(counts, bins).sum(axis=0))
        heights[trial] = best_boxcar(profile)[0]
    alike = np.flatnonzero(heights >= heights.max())
    return float(trials[alike[len(alike) // 2]])


def shifts(turns: Doubles, nbin: int) -> Indices:
    """Return by how many bins the parts of the time are shifted when the frequency is raised."""
    return np.rint(turns * nbin).astype(np.int64)


def rotated(array: NDArray[Number], bins: Indices) -> NDArray[Number]:
    """Shift the last axis to later phases, circularly.

    Args:
        array: Shape (..., nbin).
        bins: By how many, of the shape that precedes, or one that can be broadcast to it.

    """
    nbin = array.shape[-1]
    place = (np.arange(nbin) - bins[..., np.newaxis]) % nbin
    return np.take_along_axis(array, np.broadcast_to(place, array.shape), axis=-1)


def best_boxcar(profile: Doubles) -> tuple[float, int, int]:
    """Return height, start and width of the boxcar that stands out most against the mean of the other bins.

    The height is its S/N for a noise of 1 per bin, with the uncertainty of that mean.
    """
    nbin = len(profile)
    widths = np.unique(np.geomspace(1, nbin // 2, 40).astype(np.int64))
    widths = np.arange(1, nbin // 2 + 1) if nbin <= 2 * len(widths) else widths
    total = np.concatenate(([0.0], np.cumsum(np.tile(profile - profile.mean(), 2))))
    sums = np.stack([total[width : width + nbin] - total[:nbin] for width in widths])
    heights = sums * np.sqrt(nbin / (widths * (nbin - widths)))[:, np.newaxis]
    row, start = np.unravel_index(int(heights.argmax()), heights.shape)
    return float(heights[row, start]), int(start), int(widths[row])


def measure(plane: Doubles, counts: Doubles) -> Peak:
    """Find the pulse and its S/N; see the module for what that is.

    Args:
        plane: Sums over the band of data whose pulses come at the same phase all the time, (npart, nbin).
        counts: Number of values in each, (npart, nbin).

    """
    profile = _mean(plane.sum(axis=0), counts.sum(axis=0))
    _, start, width = best_boxcar(profile)
    outside = ~Peak(0.0, start, width).inside(len(profile))
    means = _mean(plane, counts)
    level = _mean(plane[:, outside].sum(axis=1), counts[:, outside].sum(axis=1))
    # of equal variance, however many values are in a bin
    noise = ((means - level[:, np.newaxis]) * np.sqrt(counts))[:, outside]
    noise = noise[counts[:, outside] > 0]
    sigma = float(noise.std()) / sqrt(float(counts.sum(axis=0).mean())) if noise.size else 0.0
    excess = float((profile - profile[outside].mean())[~outside].sum())
    return Peak(excess / (sigma * sqrt(width)) if sigma > 0 else 0.0, start, width)


def _mean(sums: Doubles, counts: Doubles) -> Doubles:
    return np.divide(sums, counts, out=np.zeros(np.shape(sums)), where=counts > 0)


def _fixed_point(turns: Doubles) -> Indices:
    """Return the fraction of turns in units of 2^-32."""
    return np.asarray(np.floor((turns % 1.0) * _TURN), np.int64) & (_TURN - 1)
