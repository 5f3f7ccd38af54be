"""What the fake telescope looks at: bursts, pulsars, interference.

A sky says what is there, with the S/N that AMBER would find; `darc.simulation.amber` turns it into rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darc.definitions import ARTS, Instrument
from darc.science.radiometer import peak_flux_density_jy

#: SB at the centre of a compound beam of ARTS (71 SBs)
CENTRAL_SB = 35


@dataclass(frozen=True)
class Burst:
    """One dispersed pulse with a rectangular profile.

    Attributes:
        time_s: arrival of its leading edge at the top of the band, from the start of the data.
        dm: dispersion measure in pc cm^-3.
        snr: the S/N that AMBER reports in the best SB, noise aside.
        width_samples: width in native samples.
        sb: the SB in whose direction it lies; None: all SBs see it alike, as they do a terrestrial signal.

    """

    time_s: float
    dm: float
    snr: float
    width_samples: int = 1
    sb: int | None = CENTRAL_SB


@dataclass(frozen=True)
class Pulsar:
    """A train of pulses whose S/N is distributed log-normally.

    Attributes:
        period_s: time between pulses.
        dm: dispersion measure in pc cm^-3.
        snr: median S/N in the best SB.
        snr_modulation: standard deviation of ln(S/N).
        width_samples: width of each pulse in native samples.
        sb: the SB in whose direction it lies; None: all beams see it alike.
        first_s: arrival of the first pulse at the top of the band, from the start of the data.

    """

    period_s: float
    dm: float
    snr: float
    snr_modulation: float = 0.5
    width_samples: int = 1
    sb: int | None = CENTRAL_SB
    first_s: float = 0.0

    @classmethod
    def of_flux(
        cls,
        period_s: float,
        dm: float,
        mean_flux_jy: float,
        width_samples: int,
        instrument: Instrument = ARTS,
    ) -> Pulsar:
        """Return a pulsar whose pulses all have what its mean flux density gives (radiometer equation)."""
        width_s = width_samples * instrument.tsamp_s
        one_jy = 1 / peak_flux_density_jy(1.0, width_s, instrument)
        return cls(period_s, dm, mean_flux_jy * period_s / width_s * one_jy, 0.0, width_samples)

    def folded_snr(self, duration_s: float) -> float:
        """Return the S/N to expect of all pulses within `duration_s` together: mean x sqrt(number)."""
        number = math.ceil((duration_s - self.first_s) / self.period_s)
        return self.snr * math.exp(self.snr_modulation**2 / 2) * math.sqrt(number)

    def pulses(self, duration_s: float, rng: np.random.Generator, snr_min: float = 0.0) -> tuple[Burst, ...]:
        """Return the pulses within `duration_s` that have at least `snr_min`, ordered by time."""
        time_s = np.arange(self.first_s, duration_s, self.period_s)
        snr = self.snr * np.exp(self.snr_modulation * rng.standard_normal(time_s.size))
        bright = np.flatnonzero(snr >= snr_min)
        return tuple(
            Burst(float(time_s[i]), self.dm, float(snr[i]), self.width_samples, self.sb) for i in bright
        )


@dataclass(frozen=True)
class RfiStorm:
    """Detections at random DMs, widths and times, as strong or narrow-band interference makes them.

    Attributes:
        start_s: its beginning, in seconds from the start of the data.
        duration_s: its length.
        rows_per_s: AMBER rows per second of data, all instances together. There cannot be more than one for
            every second DM of every SB and batch; near that limit and with bursts among them it is fewer.
        snr_scale: S/N above AMBER's threshold, an exponential distribution with this mean.
        dm_scale: DM in pc cm^-3 over which the rows thin out by a factor e, as those of a broad-band signal
            do; infinite: all DMs alike, as for narrow-band signals.
        all_beams: every SB shows the same detections, otherwise each has its own.

    """

    start_s: float
    duration_s: float
    rows_per_s: float
    snr_scale: float = 1.0
    dm_scale: float = math.inf
    all_beams: bool = False


@dataclass(frozen=True)
class Sky:
    """Everything that one compound beam sees during an observation.

    Attributes:
        duration_s: length of the data.
        bursts: single bursts; broad-band impulses of interference are bursts with DM 0 and `sb=None`.
        pulsars: trains of pulses.
        storms: interference in bulk.
        noise_rows_per_s: false alarms of AMBER per second: random DM, width and SB, S/N just above its
            threshold.

    """

    duration_s: float
    bursts: tuple[Burst, ...] = ()
    pulsars: tuple[Pulsar, ...] = ()
    storms: tuple[RfiStorm, ...] = ()
    noise_rows_per_s: float = 0.0

    def all_bursts(self, rng: np.random.Generator, snr_min: float = 0.0) -> tuple[Burst, ...]:
        """Return the bursts and the pulses of at least `snr_min`, ordered by time."""
        pulses = (pulse for pulsar in self.pulsars for pulse in pulsar.pulses(self.duration_s, rng, snr_min))
        return tuple(sorted((*self.bursts, *pulses), key=lambda burst: burst.time_s))

    def all_storms(self) -> tuple[RfiStorm, ...]:
        """Return the storms, and the noise as a faint one that lasts all the time."""
        noise = RfiStorm(0.0, self.duration_s, self.noise_rows_per_s, snr_scale=0.3)
        return (noise, *self.storms) if self.noise_rows_per_s else self.storms


def random_sky(
    rng: np.random.Generator,
    duration_s: float,
    nburst: int = 10,
    *,
    dm: tuple[float, float] = (50.0, 3000.0),
    snr: tuple[float, float] = (30.0, 100.0),
    width_samples: tuple[int, int] = (1, 100),
    nsb: int = 71,
    pulsars: tuple[Pulsar, ...] = (),
    storms: tuple[RfiStorm, ...] = (),
    noise_rows_per_s: float = 0.0,
) -> Sky:
    """Return a sky with `nburst` bursts, one in the middle of each of as many equal spans of time.

    DM and width are distributed evenly in the logarithm between their limits, S/N as sources of one
    luminosity in Euclidean space have it, N(> S) ~ S^-1.5, between its limits; the SB is any.
    """
    span_s = duration_s / max(nburst, 1)
    time_s = (np.arange(nburst) + rng.uniform(0.2, 0.8, nburst)) * span_s
    dms = dm[0] * (dm[1] / dm[0]) ** rng.uniform(size=nburst)
    widths = width_samples[0] * (width_samples[1] / width_samples[0]) ** rng.uniform(size=nburst)
    snrs = rng.uniform(snr[1] ** -1.5, snr[0] ** -1.5, nburst) ** (-1 / 1.5)
    sbs = rng.integers(nsb, size=nburst)
    bursts = tuple(
        Burst(float(time_s[i]), float(dms[i]), float(snrs[i]), round(widths[i]), int(sbs[i]))
        for i in range(nburst)
    )
    return Sky(duration_s, bursts, pulsars, storms, noise_rows_per_s)
