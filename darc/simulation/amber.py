"""AMBER, the dedispersion search, as far as its output goes: rows of detections per batch of data.

For a burst, the S/N in each boxcar follows from the pulse's energy in it. A wrong DM smears a rectangular
pulse of width w over L = k dDM (f_low^-2 - f_high^-2), into a trapezoid; a boxcar of n samples that holds the
fraction e of it finds S/N = S e sqrt(w / n). This is to a rectangular pulse what Cordes & McLaughlin (2003,
ApJ 596, 1142, sect. 2.3) derive for a Gaussian one, with the shift in time that a wrong DM brings.

Like the original, it keeps the best boxcar of each batch, SB, DM and width, and compacts these: to the best
width of each DM, then to the best of each run of neighbouring DMs, with the numbers of widths and DMs that it
stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS, Instrument
from darc.formats.amber import COMPACTED_COLUMNS, header
from darc.science.dispersion import delay_s
from darc.simulation.beams import sb_response, sb_table
from darc.simulation.sky import Burst, RfiStorm, Sky

#: one row, its fields named as AMBER's columns
ROW = np.dtype(
    [(name, "f8" if name in ("time", "DM", "SNR") else "i4") for name in COMPACTED_COLUMNS.split()]
)
_LINE = b"%d %d %d %d %d %.6g %d %.6g %d %.6g\n"

#: a boxcar above threshold: SB, number of the DM, index of the width, boxcar of the batch, S/N
_CELL = np.dtype([("beam", "i4"), ("dm_id", "i4"), ("step", "i4"), ("sample", "i4"), ("snr", "f8")])

#: standard deviations of the noise in S/N that the boxcars of one SB share (they hold much the same samples),
#: and of what each adds; together about 1
_SHARED_NOISE, _OWN_NOISE = 0.92, 0.4
#: boxcars whose expected S/N is further below the threshold are not looked at
_NOISE_MARGIN = 4.0
#: a smear shorter than this (samples) changes nothing, but would divide zero by zero
_MIN_SMEAR = 0.01


@dataclass(frozen=True)
class SearchPlan:
    """What one instance of AMBER searches.

    Attributes:
        first_dm: lowest trial DM in pc cm^-3.
        dm_step: spacing of the trial DMs.
        ndm: number of trial DMs.
        widths: boxcars in native samples; multiples of the downsampling.

    """

    first_dm: float
    dm_step: float
    ndm: int
    widths: tuple[int, ...] = (1, 5, 10, 25, 50, 100, 250, 500, 1000)

    @property
    def dms(self) -> NDArray[np.float64]:
        """All trial DMs in pc cm^-3."""
        return self.first_dm + self.dm_step * np.arange(self.ndm, dtype=np.float64)


#: Three instances, as ARTS runs them; the third works on data downsampled by 5.
ARTS_PLANS = (
    SearchPlan(0.0, 0.2, 2048),
    SearchPlan(409.6, 0.2, 2048),
    SearchPlan(819.2, 2.5, 1024, widths=(5, 10, 25, 50, 100, 250, 500, 1000)),
)


@dataclass(frozen=True)
class Chunk:
    """What one instance of AMBER writes for one batch: whole lines, each with its line end."""

    batch: int
    instance: int
    lines: list[bytes]


def format_rows(rows: NDArray[np.void]) -> list[bytes]:
    """Return rows of dtype `ROW` as AMBER prints them: single spaces, at most 6 significant digits."""
    return [_LINE % row for row in rows.tolist()]


def pulse_response(
    start: float, width: float, smear: NDArray[np.float64], boxcars: NDArray[np.int_], nsample: int
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return how much of a pulse's S/N the best boxcar of a batch finds, per smear and width.

    Args:
        start: leading edge at the top of the band, in samples from the start of the batch
        width: of the pulse, in samples
        smear: delay over the band that a wrong DM leaves, in samples, shape (ndm,); negative where the trial
            DM is too high
        boxcars: widths in samples, shape (nwidth,); boxcars follow each other without overlap
        nsample: samples in a batch

    Returns:
        fraction of the S/N of a boxcar that fits the pulse, and number of the boxcar, each (ndm, nwidth)

    """
    first = start + np.minimum(smear, 0)[:, None]
    length = np.maximum(np.abs(smear), _MIN_SMEAR)[:, None]
    middle = first + (width + length) / 2
    sample = np.clip(middle // boxcars, 0, nsample // boxcars - 1).astype(np.int_)

    def energy_before(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.clip(x, 0, width + length)
        ramps = np.maximum(x - width, 0) ** 2 + np.maximum(x - length, 0) ** 2
        energy: NDArray[np.float64] = (x**2 - ramps) / (2 * width * length)
        return energy

    lower = sample * boxcars - first
    energy = energy_before(lower + boxcars) - energy_before(lower)
    return energy * np.sqrt(width / boxcars), sample


def _best(
    group: NDArray[np.integer[Any]], snr: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the index of the highest S/N in each group, in the groups' order, and the groups' sizes."""
    order = np.lexsort((-snr, group))
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    return order[first], np.diff(first, append=order.size)


def compact(
    cells: NDArray[np.void], plan: SearchPlan
) -> tuple[NDArray[np.void], NDArray[np.intp], NDArray[np.intp]]:
    """Compact the detections of one batch as AMBER does.

    Returns:
        the representatives, ordered by SB, then DM; how many widths each stands for; how many DMs

    """
    nwidth = len(plan.widths)
    # one number more than there are DMs keeps the highest of an SB apart from the lowest of the next
    trial = cells["beam"] * (plan.ndm + 1) + cells["dm_id"]
    chosen, _ = _best(trial * nwidth + cells["step"], cells["snr"])
    cells, trial = cells[chosen], trial[chosen]
    chosen, compacted_widths = _best(trial, cells["snr"])
    cells, trial = cells[chosen], trial[chosen]
    run = np.cumsum(np.diff(trial, prepend=-1) > 1)
    chosen, compacted_dms = _best(run, cells["snr"])
    return cells[chosen], compacted_widths[chosen], compacted_dms


class Amber:
    """All instances of AMBER on one node, looking at a sky.

    The rows of a batch follow from the sky, the seed and the batch alone, whichever were asked for before.

    Args:
        sky: what there is to see.
        seed: of the noise, the pulses of pulsars and the interference.
        plans: what each instance searches.
        snr_min: AMBER's threshold.
        instrument: sampling time, batches, band, SBs.

    """

    def __init__(
        self,
        sky: Sky,
        *,
        seed: int = 0,
        plans: tuple[SearchPlan, ...] = ARTS_PLANS,
        snr_min: float = 8.0,
        instrument: Instrument = ARTS,
    ) -> None:
        self.plans = plans
        self.nbatch = int(sky.duration_s / instrument.batch_s + 1e-6)
        self._seed = seed
        self._snr_min = snr_min
        self._instrument = instrument
        top_mhz = instrument.top_freq_mhz(instrument.min_freq_mhz)
        smear_s = delay_s(1.0, top_mhz - instrument.bandwidth_mhz, top_mhz)
        #: samples of smear over the band per unit of error in DM
        self._smear_per_dm = float(smear_s / instrument.tsamp_s)
        self._response = sb_response(sb_table(instrument))
        self._storms = sky.all_storms()
        bursts = sky.all_bursts(np.random.default_rng(seed), snr_min - _NOISE_MARGIN)
        #: with the S/N that a fitting boxcar finds; of one that is beyond the search, nothing is made up for
        self._bursts = [(burst, burst.snr / (self._best_boxcar(burst) or (1.0,))[0]) for burst in bursts]
        reach = np.array([self._reach(burst, matched) for burst, matched in self._bursts])
        start = np.array([burst.time_s for burst in bursts]) / instrument.tsamp_s
        width = np.array([burst.width_samples for burst in bursts])
        self._first, self._last = start - reach, start + width + reach

    @property
    def headers(self) -> tuple[bytes, ...]:
        """What each instance writes first."""
        return (header().encode(),) * len(self.plans)

    def __iter__(self) -> Iterator[Chunk]:
        """Give the output of all instances, batch by batch."""
        for batch in range(self.nbatch):
            for instance in range(len(self.plans)):
                yield Chunk(batch, instance, format_rows(self.rows(batch, instance)))

    def place(self, burst: Burst) -> tuple[int, int] | None:
        """Return batch and instance whose rows show a burst best; None if no trial DM is near its own."""
        best = self._best_boxcar(burst)
        return best and best[1:]

    def rows(self, batch: int, instance: int) -> NDArray[np.void]:
        """Return what one instance finds in one batch: dtype `ROW`, ordered by SB, then DM."""
        rng = np.random.default_rng((self._seed, batch, instance))
        plan = self.plans[instance]
        nsample = self._instrument.samples_per_batch
        near = np.flatnonzero((self._first < (batch + 1) * nsample) & (self._last > batch * nsample))
        cells = [self._burst_cells(*self._bursts[i], batch, plan, rng) for i in near]
        cells += [self._storm_cells(storm, batch, plan, rng) for storm in self._storms]
        found, compacted_widths, compacted_dms = compact(np.concatenate([np.empty(0, _CELL), *cells]), plan)
        rows = np.empty(found.size, ROW)
        width = np.array(plan.widths)[found["step"]]
        rows["beam_id"], rows["batch_id"], rows["sample_id"] = found["beam"], batch, found["sample"]
        rows["integration_step"], rows["compacted_integration_steps"] = width, compacted_widths
        rows["time"] = (batch * nsample + found["sample"] * width) * self._instrument.tsamp_s
        rows["DM_id"], rows["DM"] = found["dm_id"], plan.dms[found["dm_id"]]
        rows["compacted_DMs"], rows["SNR"] = compacted_dms, found["snr"]
        return rows

    def _best_boxcar(self, burst: Burst) -> tuple[float, int, int] | None:
        """Return the fraction of a fitting boxcar's S/N that the search finds, the batch and the instance."""
        nsample = self._instrument.samples_per_batch
        batch, start = divmod(burst.time_s / self._instrument.tsamp_s, nsample)
        # a small error in DM may move the pulse into step with the boxcars, a larger one only loses
        coarsest = max(plan.dm_step for plan in self.plans) / 2 * self._smear_per_dm
        useful = max(4 * burst.width_samples, coarsest)
        found = []
        for instance, plan in enumerate(self.plans):
            smear = (burst.dm - plan.dms) * self._smear_per_dm
            smear, widths = smear[np.abs(smear) <= useful], np.array(plan.widths)
            for later in (0, 1) if smear.size else ():
                edge = start - later * nsample
                response, _ = pulse_response(edge, burst.width_samples, smear, widths, nsample)
                found.append((float(response.max()), int(batch) + later, instance))
        return max(found, default=None)

    def _reach(self, burst: Burst, matched: float) -> float:
        """Return the smear in samples beyond which no boxcar can reach the threshold."""
        widest = max(width for plan in self.plans for width in plan.widths)
        floor = max(self._snr_min - _NOISE_MARGIN, 1.0)
        return matched / floor * float(np.sqrt(burst.width_samples * widest))

    def _burst_cells(
        self, burst: Burst, matched: float, batch: int, plan: SearchPlan, rng: np.random.Generator
    ) -> NDArray[np.void]:
        """Return the boxcars in which a burst is above the threshold; `matched`: S/N of a fitting boxcar."""
        error = burst.dm - plan.dms
        dm_id = np.flatnonzero(np.abs(error) * self._smear_per_dm <= self._reach(burst, matched))
        nsample = self._instrument.samples_per_batch
        response, sample = pulse_response(
            burst.time_s / self._instrument.tsamp_s - batch * nsample,
            burst.width_samples,
            error[dm_id] * self._smear_per_dm,
            np.array(plan.widths),
            nsample,
        )
        floor = self._snr_min - _NOISE_MARGIN
        trial, step = np.nonzero(matched * response > floor)
        beam_response = np.ones(len(self._response)) if burst.sb is None else self._response[burst.sb]
        expected = matched * beam_response[:, None] * response[trial, step]
        noise = _SHARED_NOISE * rng.standard_normal((len(expected), 1))
        snr = expected + noise + _OWN_NOISE * rng.standard_normal(expected.shape)
        beam, found = np.nonzero((snr >= self._snr_min) & (expected > floor))
        trial, step = trial[found], step[found]
        return _cells(beam, dm_id[trial], step, sample[trial, step], snr[beam, found])

    def _storm_cells(
        self, storm: RfiStorm, batch: int, plan: SearchPlan, rng: np.random.Generator
    ) -> NDArray[np.void]:
        """Return a storm's detections in a batch, in every second DM at most so that none are compacted."""
        batch_s, nbeam = self._instrument.batch_s, len(self._response)
        start = max(storm.start_s / batch_s - batch, 0.0)
        end = min((storm.start_s + storm.duration_s) / batch_s - batch, 1.0)
        if start >= end:
            return np.empty(0, _CELL)
        thinning = [p.dms[::2] / storm.dm_scale for p in self.plans]
        weights = [np.exp(-exponent).sum() for exponent in thinning]
        instance = self.plans.index(plan)
        copies, own = (nbeam, 1) if storm.all_beams else (1, nbeam)
        expected = storm.rows_per_s * (end - start) * batch_s * weights[instance] / sum(weights) / copies
        # the highest of Gumbel variates are a choice without replacement, in proportion to the weights
        keys = rng.gumbel(size=(own, len(thinning[instance]))) - thinning[instance]
        order = np.argsort(keys, axis=None)[::-1]
        beam, trial = np.divmod(order[: rng.poisson(expected)], keys.shape[1])
        number = trial.size
        step = rng.integers(len(plan.widths), size=number)
        count = self._instrument.samples_per_batch // np.array(plan.widths)[step]
        sample = (rng.uniform(start, end, number) * count).astype(np.int_)
        snr = self._snr_min + rng.exponential(storm.snr_scale, number)
        if storm.all_beams:
            beam = np.repeat(np.arange(nbeam), number)
            trial, step, sample, snr = (np.tile(column, nbeam) for column in (trial, step, sample, snr))
        return _cells(beam, 2 * trial, step, sample, snr)


def _cells(*columns: NDArray[Any]) -> NDArray[np.void]:
    """Put columns into one array of dtype `_CELL`."""
    cells = np.empty(columns[0].size, _CELL)
    for name, column in zip(_CELL.names or (), columns, strict=True):
        cells[name] = column
    return cells
