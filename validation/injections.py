"""Bursts that are injected, and the interference among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from darc.definitions import ARTS
from darc.simulation.signals import (
    Emission,
    ShapedBurst,
    SubBurst,
    burst_footprint,
    delay_samples,
    drifting,
    narrow_band,
    radar,
)
from darc.simulation.sky import Burst, RfiStorm

#: Ranges of the issue, drawn from evenly in the logarithm: DM (pc cm^-3), width (s), S/N.
DM_RANGE, WIDTH_RANGE_S, SNR_RANGE = (20.0, 3000.0), (0.08e-3, 50e-3), (6.0, 100.0)
#: Scattering time at 1 GHz (s); the parts of the bursts that have it, a narrow, and a drifting spectrum.
SCATTERING_RANGE_S, SCATTERED, NARROW, DRIFTING = (0.1e-3, 20e-3), 0.3, 0.3, 0.15
#: Full width of a narrow spectrum (MHz).
NARROW_RANGE_MHZ = (80.0, 400.0)
#: False alarms of AMBER per second, in quiet data; rows per second of a storm, and its length (s).
NOISE_ROWS_PER_S, STORM_ROWS_PER_S, STORM_S = 0.5, 100.0, 2.0
#: One data stream: TAB and synthesised beam in one.
SINGLE = replace(ARTS, ntab=1, nsynthesised_beam=1)


@dataclass(frozen=True)
class Injection:
    """A burst, and what of it a search sees.

    Attributes:
        burst: as it is in the data.
        start_s: beginning of the boxcar that finds it best, at the top of the band.
        width: of that boxcar in samples.

    """

    burst: ShapedBurst
    start_s: float
    width: int

    @property
    def middle_s(self) -> float:
        """Arrival time: the middle of the best boxcar."""
        return self.start_s + self.width * ARTS.tsamp_s / 2

    @property
    def spectrum(self) -> str:
        """Kind of its spectrum."""
        if len(self.burst.parts) > 1:
            return "drifting"
        return "flat" if np.isinf(self.burst.parts[0].fwhm_mhz) else "narrow"

    @property
    def as_rectangle(self) -> Burst:
        """The pulse that the model of AMBER knows: a rectangle."""
        return Burst(self.start_s, self.burst.dm, self.burst.snr, self.width)


def draw(rng: np.random.Generator, number: int, duration_s: float) -> list[Injection]:
    """Return bursts, one in the middle of each of as many equal spans of time."""
    time_s = (np.arange(number) + rng.uniform(0.25, 0.65, number)) * duration_s / number
    return [injection(_burst(rng, float(each))) for each in time_s]


def _burst(rng: np.random.Generator, time_s: float) -> ShapedBurst:
    def log(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.uniform())

    parts: tuple[SubBurst, ...] = (SubBurst(),)
    kind = rng.uniform()
    width_s = log(*WIDTH_RANGE_S)
    if kind < NARROW:
        parts = (SubBurst(0.0, 1.0, rng.uniform(1270.0, 1470.0), log(*NARROW_RANGE_MHZ)),)
    elif kind < NARROW + DRIFTING:
        width_s /= 4
        interval_s = 1.5 * width_s
        parts = drifting(3, interval_s, -60.0 / interval_s, 1430.0, 200.0)
    return ShapedBurst(
        time_s,
        log(*DM_RANGE),
        log(*SNR_RANGE),
        max(1, round(width_s / ARTS.tsamp_s)),
        None,
        log(*SCATTERING_RANGE_S) if rng.uniform() < SCATTERED else 0.0,
        parts,
    )


def injection(burst: ShapedBurst) -> Injection:
    """Return a burst with the boxcar that finds it best in noise that is the same in all channels."""
    footprint = burst_footprint(burst, SINGLE, np.ones(SINGLE.nchan))
    place = footprint.first - np.rint(delay_samples(burst.dm, SINGLE)).astype(np.intp)
    series = np.zeros(int(np.ptp(place)) + footprint.signal.shape[1])
    for begin, signal in zip(place - place.min(), footprint.signal, strict=True):
        series[begin : begin + signal.size] += signal
    total = np.concatenate([[0.0], np.cumsum(series)])
    found = []
    for width in np.unique(np.geomspace(1, series.size, 200).astype(int)).tolist():
        sums = total[width:] - total[:-width]
        found.append((sums.max() / np.sqrt(width), int(sums.argmax()), width))
    _, first, width = max(found)
    return Injection(burst, float(place.min() + first) * ARTS.tsamp_s, width)


def emissions(duration_s: float, storms: tuple[RfiStorm, ...], seed: int) -> tuple[Emission, ...]:
    """Return interference in the data: transmitters that come and go, a radar, and more during storms."""
    steady = narrow_band(1381.0, 1.0, 1.0, duration_s=duration_s, duty=0.2, seed=seed)
    sweeps = radar(1240.0, 1300.0, 6.0, duration_s=duration_s, first_s=3.0, period_s=12.0)
    stormy = tuple(
        Emission(storm.start_s + t, 0.01, 1350.0, 1360.0, 8.0, 4.0)
        for storm in storms
        for t in np.arange(0, storm.duration_s, 0.1)
    )
    return (*steady, *sweeps, *stormy)


def impulses(duration_s: float) -> tuple[Burst, ...]:
    """Return broad-band impulses at DM 0, one every minute."""
    return tuple(Burst(float(t), 0.0, 40.0, 10, None) for t in np.arange(20.0, duration_s, 60.0))


def storms(duration_s: float) -> tuple[RfiStorm, ...]:
    """Return storms of AMBER's rows, one every five minutes."""
    starts = np.arange(100.0, duration_s, 300.0)
    return tuple(RfiStorm(float(t), STORM_S, STORM_ROWS_PER_S, dm_scale=300.0) for t in starts)
