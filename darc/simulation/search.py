"""AMBER's rows for filterbank data, found by trying DMs, boxcars and synthesised beams (SBs) one by one.

It looks where something was injected: `targets` says in which samples, at which DMs and in which SBs. A batch
without a target has no rows, so there are no false alarms from pure noise. Of AMBER's trial DMs around a
burst's own, the nearest are tried half a pulse width apart, farther ones at growing distances.

What it finds there is what the data hold, in AMBER's form: boxcars follow each other without overlap from the
beginning of a batch, the best of each batch, SB, DM and width counts, and these are compacted to the best
width of each DM and the best of each run of neighbouring trial DMs. S/N is (sum - mean) / (1.048 sigma), with
mean and sigma of the boxcars around, after those beyond 3 sigma were left out, four times. Where there are
fewer than 100 boxcars of a width, those of the next smaller width that has more tell mean and sigma.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.definitions import Instrument
from darc.formats.amber import header
from darc.simulation.amber import ARTS_PLANS, ROW, Chunk, SearchPlan, compact, format_rows
from darc.simulation.beams import sb_table
from darc.simulation.filterbank_sky import FilterbankSky, channel_table, tab_response
from darc.simulation.signals import Emission, burst_extent, delay_samples
from darc.simulation.sky import Burst

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

#: what `compact` takes: SB, number of the DM, index of the width, boxcar of the batch, S/N
_CELL = np.dtype([("beam", "i4"), ("dm_id", "i4"), ("step", "i4"), ("sample", "i4"), ("snr", "f8")])
#: samples around a target that tell mean and sigma, at least
_SPAN = 4000
#: fewer boxcars than this do not tell mean and sigma
_FEW = 100
#: AMBER's S/N
_OUTLIER, _NCLIP, _SIGMA_FACTOR = 3.0, 4, 1.048
#: SBs in which a burst is expected that far below the threshold are not looked at
_NOISE_MARGIN = 4.0
#: trial DMs around that of a burst: so many at the smallest distance on each side, and the growth beyond
_NEAREST, _GROWTH = 3, 1.4
#: where interference is looked for: DMs in pc cm^-3, number of SBs
_EMISSION_DMS = (0.0, *np.geomspace(5, 500, 11).tolist())
_EMISSION_NSB = 9


@dataclass(frozen=True)
class Target:
    """Where to look.

    Attributes:
        first: first sample, at the top of the band.
        last: the one after the last.
        dms: in pc cm^-3, ordered; the nearest trial DMs are taken.
        sbs: SBs, ordered.

    """

    first: int
    last: int
    dms: tuple[float, ...]
    sbs: tuple[int, ...]

    def trials(self, plan: SearchPlan) -> Integers:
        """Return the numbers of the trial DMs of an instance of AMBER."""
        numbers = np.unique(np.rint((np.array(self.dms) - plan.first_dm) / plan.dm_step).astype(np.intp))
        return numbers[(numbers >= 0) & (numbers < plan.ndm)]


def targets(sky: FilterbankSky, snr_min: float = 8.0) -> tuple[Target, ...]:
    """Return where bursts are expected in AMBER's rows, and where interference comes and goes.

    Args:
        sky: what was injected
        snr_min: AMBER's threshold

    """
    bursts = [b for b in sky.bursts if b.snr > snr_min - _NOISE_MARGIN]
    # what lasts for more than a batch is part of the baseline
    short = [e for e in sky.emissions if e.duration_s < sky.instrument.batch_s]
    return (
        *(_burst_target(burst, sky.instrument, snr_min) for burst in bursts),
        *(_emission_target(emission, sky.instrument) for emission in short),
    )


def _burst_target(burst: Burst, instrument: Instrument, snr_min: float) -> Target:
    per_dm = float(np.ptp(delay_samples(1.0, instrument)))
    first, last = burst_extent(burst, instrument)
    length = last - first - burst.dm * per_dm
    # S/N falls with the square root of the smear over the width
    reach = length * max((burst.snr / snr_min) ** 2, 1.0)
    step = burst.width_samples / 2 / per_dm
    nfar = math.ceil(math.log(max(reach / per_dm / (_NEAREST * step), 1.0), _GROWTH))
    offsets = step * np.concatenate(
        [np.arange(1, _NEAREST + 1), _NEAREST * _GROWTH ** np.arange(1, nfar + 1)]
    )
    dms = burst.dm + np.concatenate([-offsets[::-1], [0.0], offsets])
    sbs = np.arange(instrument.nsynthesised_beam)
    if burst.sb is not None:
        sbs = np.flatnonzero(burst.snr * _sb_response(instrument, burst.sb) > snr_min - _NOISE_MARGIN)
    return Target(
        first - math.ceil(reach), math.ceil(first + length + reach), tuple(dms), tuple(sbs.tolist())
    )


def _emission_target(emission: Emission, instrument: Instrument) -> Target:
    first, length = np.array([emission.start_s, emission.duration_s]) / instrument.tsamp_s
    nsb = instrument.nsynthesised_beam
    sbs = range(0, nsb, max(1, nsb // _EMISSION_NSB))
    return Target(math.floor(first), math.ceil(first + length), _EMISSION_DMS, tuple(sbs))


def _sb_response(instrument: Instrument, sb: int) -> Floats:
    """Return the part of the S/N of a source in the direction of an SB that each SB finds, shape (nsb,)."""
    table = channel_table(instrument)
    channel = np.arange(instrument.nchan)
    return np.asarray(tab_response(instrument, table[sb])[table, channel].mean(axis=1))


class Search:
    """All instances of AMBER on one node, looking at filterbank data; a feed of `AmberWriter`.

    The rows of a batch need the data of the batches after it, as far as the delay of its highest DM reaches;
    where these are beyond the end, the DM is not searched.

    Args:
        source: the data.
        targets: where to look, see `targets`.
        plans: what each instance searches; its data are downsampled by what its widths have in common.
        snr_min: AMBER's threshold.
        zapped: channels that are left out, counted from the lowest frequency.

    """

    def __init__(
        self,
        source: FilterbankSky,
        targets: Sequence[Target],
        *,
        plans: tuple[SearchPlan, ...] = ARTS_PLANS,
        snr_min: float = 8.0,
        zapped: Sequence[int] = (),
    ) -> None:
        self.plans = plans
        self._source = source
        self._instrument = source.instrument
        self._targets = targets
        self._snr_min = snr_min
        self._found: dict[tuple[int, int], list[bytes]] = {}
        self._table = sb_table(self._instrument)
        nchan = self._instrument.nchan
        self._subband = np.arange(nchan)[::-1] * self._instrument.nsubband // nchan
        self._used = np.setdiff1d(np.arange(nchan), nchan - 1 - np.array(zapped, np.intp))

    @property
    def headers(self) -> tuple[bytes, ...]:
        """What each instance writes first."""
        return (header().encode(),) * len(self.plans)

    def __iter__(self) -> Iterator[Chunk]:
        """Give the output of all instances, batch by batch; what was found once is not searched again."""
        for batch in range(self._source.nbatch):
            for instance in range(len(self.plans)):
                if (batch, instance) not in self._found:
                    self._found[batch, instance] = format_rows(self.rows(batch, instance))
                yield Chunk(batch, instance, self._found[batch, instance])

    def rows(self, batch: int, instance: int) -> NDArray[np.void]:
        """Return what one instance finds in one batch: dtype `ROW`, ordered by SB, then DM."""
        plan, nsample = self.plans[instance], self._instrument.samples_per_batch
        start = batch * nsample
        near = [each for each in self._targets if each.first < start + nsample and each.last > start]
        searched = [(each, trials) for each in near if (trials := each.trials(plan)).size]
        if not searched:
            return np.empty(0, ROW)
        cells = np.concatenate([self._cells(each, trials, batch, plan) for each, trials in searched])
        found, compacted_widths, compacted_dms = _compact(cells, [trials for _, trials in searched], plan)
        rows = np.empty(found.size, ROW)
        width = np.array(plan.widths)[found["step"]]
        rows["beam_id"], rows["batch_id"], rows["sample_id"] = found["beam"], batch, found["sample"]
        rows["integration_step"], rows["compacted_integration_steps"] = width, compacted_widths
        rows["time"] = (start + found["sample"] * width) * self._instrument.tsamp_s
        rows["DM_id"], rows["DM"] = found["dm_id"], plan.dms[found["dm_id"]]
        rows["compacted_DMs"], rows["SNR"] = compacted_dms, found["snr"]
        return rows

    def _cells(self, target: Target, trials: Integers, batch: int, plan: SearchPlan) -> NDArray[np.void]:
        """Return the boxcars of a batch in which a target is above the threshold."""
        begin, end = self._span(target, batch, plan)
        sbs, cells = np.array(target.sbs), [np.empty(0, _CELL)]
        for trial, sums in self._dedispersed(trials, batch, begin, end, plan):
            series = np.zeros((sbs.size, sums.shape[2]), np.float32)
            for subband, tab in enumerate(self._table[sbs].T):
                series += sums[tab, subband]
            snr, sample = boxcar_snr(series, np.array(plan.widths) // math.gcd(*plan.widths))
            beam, step = np.nonzero(snr >= self._snr_min)
            above = np.empty(beam.size, _CELL)
            above["beam"], above["dm_id"], above["step"] = sbs[beam], trial, step
            above["sample"] = begin // np.array(plan.widths)[step] + sample[beam, step]
            above["snr"] = snr[beam, step]
            cells.append(above)
        return np.concatenate(cells)

    def _span(self, target: Target, batch: int, plan: SearchPlan) -> tuple[int, int]:
        """Return the part of a batch to search: boxcars of all widths begin there, and the noise shows."""
        nsample = self._instrument.samples_per_batch
        first, last = target.first - batch * nsample, target.last - batch * nsample
        missing = max(_SPAN - (last - first), 0)
        grid = math.lcm(*plan.widths)
        begin = max(min(first - missing // 2, nsample - _SPAN), 0) // grid * grid
        return begin, min(max(last + missing, begin + _SPAN), nsample)

    def _dedispersed(
        self, trials: Integers, batch: int, begin: int, end: int, plan: SearchPlan
    ) -> Iterator[tuple[int, NDArray[np.unsignedinteger[Any]]]]:
        """Give trial DMs with the sums of each TAB and subband, shape (ntab, nsubband, n)."""
        instrument, down = self._instrument, math.gcd(*plan.widths)
        first = batch * instrument.samples_per_batch + begin
        room = self._source.nbatch * instrument.samples_per_batch - first
        number = (end - begin) // down
        delays = {int(trial): delay_samples(plan.dms[trial], instrument) for trial in trials}
        delays = {trial: delay for trial, delay in delays.items() if delay[-1] + end - begin + down <= room}
        if not delays:
            return
        lowest = np.rint(delays[min(delays)]).astype(np.intp)
        extra = math.ceil((delays[max(delays)] - lowest).max() / down) + 1
        data = self._aligned(first, lowest, min(number + extra, (room - lowest[-1]) // down), down)
        highest = 255 * down * int(np.bincount(self._subband).max())
        dtype = np.result_type(np.uint16, np.min_scalar_type(highest))
        for trial, delay in delays.items():
            sums = np.zeros((instrument.ntab, instrument.nsubband, number), dtype)
            shifts = np.rint((delay - lowest) / down).astype(np.intp)
            for channel in self._used:
                shift = shifts[channel]
                sums[:, self._subband[channel]] += data[:, channel, shift : shift + number]
            yield trial, sums

    def _aligned(self, first: int, shifts: Integers, number: int, down: int) -> NDArray[np.uint16]:
        """Return `number` samples of each TAB and channel, added up by `down`, each from its shift on."""
        nrow = int(shifts[-1]) + number * down
        data = np.empty((self._instrument.ntab, shifts.size, number), np.uint16)
        for tab, channels in enumerate(data):
            block = self._source.block(tab, first, nrow).T
            for channel, shift, samples in zip(channels, shifts.tolist(), block, strict=True):
                part = samples[shift : shift + number * down]
                np.copyto(channel, part[::down])
                for i in range(1, down):
                    np.add(channel, part[i::down], out=channel)
        return data


def boxcar_snr(series: NDArray[np.float32], widths: Integers) -> tuple[Floats, Integers]:
    """Return the S/N of the best boxcar of each width, and its number.

    Args:
        series: shape (nbeam, n)
        widths: of the boxcars, rising, shape (nwidth,)

    Returns:
        S/N and number of the boxcar, each (nbeam, nwidth)

    """
    series = series - series.mean(axis=1, keepdims=True)
    snr = np.zeros((len(series), widths.size))
    sample = np.zeros(snr.shape, np.intp)
    mean = sigma = np.empty(0)
    for step, width in enumerate(widths.tolist()):
        number = series.shape[1] // width
        if not number:
            break
        sums = series[:, : number * width].reshape(len(series), number, width).sum(axis=2)
        if number >= _FEW or not step:
            mean, sigma = (
                part / unit for part, unit in zip(_clipped(sums), (width, width**0.5), strict=True)
            )
        sample[:, step] = sums.argmax(axis=1)
        snr[:, step] = (sums.max(axis=1) - mean * width) / (_SIGMA_FACTOR * sigma * width**0.5)
    return snr, sample


def _clipped(values: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each row, outliers left out."""
    kept = np.ones(values.shape, bool)
    for _ in range(_NCLIP):
        mean, sigma = _moments(values, kept)
        kept = np.abs(values - mean[:, None]) < _OUTLIER * sigma[:, None]
    return _moments(values, kept)


def _moments(values: NDArray[np.float32], kept: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    number = kept.sum(axis=1)
    kept_values = np.where(kept, values, 0)
    mean = kept_values.sum(axis=1, dtype=np.float64) / number
    square = np.square(kept_values).sum(axis=1, dtype=np.float64) / number
    return mean, np.sqrt(square - mean**2)


def _compact(
    cells: NDArray[np.void], grids: Sequence[Integers], plan: SearchPlan
) -> tuple[NDArray[np.void], Integers, Integers]:
    """Compact detections; of the trial DMs, only those that were searched are there to be neighbours."""
    searched = np.unique(np.concatenate(grids))
    # between what different targets asked for is a gap
    spanned = np.any([(grid[0] <= searched[:-1]) & (grid[-1] >= searched[1:]) for grid in grids], axis=0)
    rank = np.concatenate([[0], np.cumsum(np.where(spanned, 1, 2))])
    ranked = cells.copy()
    ranked["dm_id"] = rank[np.searchsorted(searched, cells["dm_id"])]
    found, widths, dms = compact(ranked, replace(plan, ndm=int(rank[-1]) + 1))
    found["dm_id"] = searched[np.searchsorted(rank, found["dm_id"])]
    return found, widths, dms
