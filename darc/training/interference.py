"""What is no burst, of what the fake telescope knows: impulses, pulses at DM 0, narrow bands and radars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s
from darc.science.extraction import Detection
from darc.simulation.signals import Emission, narrow_band, radar
from darc.simulation.sky import Burst, Pulsar
from darc.training.disturbances import DISTURBANCES, Canvas, logarithmic

#: Most pulses of one train, or slots of one emission, in a piece of data.
_MANY = 12
#: An emission is no stronger than this, in standard deviations of a sample of a channel.
_LEVEL_MAX = 30.0


@dataclass(frozen=True)
class Layer:
    """What is drawn over the fake telescope's data: one of `DISTURBANCES`."""

    kind: str
    seed: int
    strength: float

    def draw(self, canvas: Canvas) -> None:
        """Draw it."""
        DISTURBANCES[self.kind][0](np.random.default_rng(self.seed), canvas, self.strength)


@dataclass(frozen=True)
class Interference:
    """Signals of the fake telescope, at times from the first sample of the data, and what is over them."""

    bursts: tuple[Burst, ...] = ()
    emissions: tuple[Emission, ...] = ()
    layers: tuple[Layer, ...] = ()

    def __add__(self, other: Interference) -> Interference:
        """Return both together."""
        return Interference(
            self.bursts + other.bursts, self.emissions + other.emissions, self.layers + other.layers
        )


@dataclass(frozen=True)
class Scene:
    """Where a candidate was detected, and which samples are cut out of the data for it."""

    band: Band
    found: Detection
    start: int
    stop: int

    @property
    def start_s(self) -> float:
        """Time of the first sample."""
        return self.start * self.band.tsamp_s

    @property
    def length_s(self) -> float:
        """Length of the data."""
        return (self.stop - self.start) * self.band.tsamp_s

    @property
    def low_mhz(self) -> float:
        """Lower edge of the band."""
        return self.band.top_mhz - self.bandwidth_mhz

    @property
    def bandwidth_mhz(self) -> float:
        """Width of the band."""
        return self.band.nchan * self.band.channel_width_mhz

    @property
    def boxcar_s(self) -> float:
        """Width of the detection."""
        return self.found.width * self.band.tsamp_s

    def track_s(self, freq_mhz: float) -> float:
        """Return when the detection passes a frequency."""
        return self.found.time_s + float(delay_s(self.found.dm, freq_mhz, self.band.top_mhz))


#: Draws interference around a detection; the last argument scales its strength.
Kind = Callable[[np.random.Generator, Scene, float], Interference]


def noise(rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Return nothing."""
    del rng, scene, strength
    return Interference()


def impulse(rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Draw impulses that are not dispersed, anywhere in the data."""
    return Interference(tuple(_impulse(rng, scene, strength) for _ in range(rng.integers(1, 5))))


def _impulse(rng: np.random.Generator, scene: Scene, strength: float) -> Burst:
    width = max(1, round(logarithmic(rng, 1e-4, 0.1) / scene.band.tsamp_s))
    time_s = scene.start_s + scene.length_s * rng.uniform(-0.05, 1.0)
    return Burst(float(time_s), 0.0, strength * logarithmic(rng, 10, 3000), width, None)


def zero_dm_pulses(rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Draw a train of pulses that are not dispersed, as of a pulsar in the next room."""
    period_s = max(logarithmic(rng, 0.01, 1.0), scene.length_s / _MANY)
    width = max(1, round(period_s * rng.uniform(0.01, 0.3) / scene.band.tsamp_s))
    pulsar = Pulsar(
        period_s,
        0.0,
        strength * logarithmic(rng, 8, 500),
        width_samples=width,
        first_s=float(period_s * rng.random()),
    )
    pulses = pulsar.pulses(scene.length_s, rng)
    return Interference(tuple(replace(one, time_s=one.time_s + scene.start_s, sb=None) for one in pulses))


def narrow(rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Draw emissions in few channels: one where the detection is, others that come and go or stay."""
    emissions: list[Emission] = []
    for _ in range(rng.integers(1, 4)):
        freq, width = _narrow(rng, scene)
        duration_s = scene.boxcar_s * rng.uniform(0.5, 3.0)
        level = strength * _level(rng, scene, width / scene.band.channel_width_mhz, duration_s)
        start_s = scene.track_s(freq) + scene.boxcar_s * rng.uniform(-0.5, 0.5)
        emissions.append(Emission(start_s, duration_s, freq, freq, width, level))
    for number in range(rng.integers(0, 3)):
        freq, width = _narrow(rng, scene)
        there = narrow_band(
            freq,
            width,
            strength * logarithmic(rng, 0.3, 10),
            duration_s=scene.length_s,
            duty=float(rng.choice([1.0, rng.uniform(0.1, 0.9)])),
            slot_s=max(scene.length_s / _MANY, scene.boxcar_s * rng.uniform(0.5, 5)),
            seed=int(rng.integers(2**31)) + number,
        )
        emissions += [replace(one, start_s=one.start_s + scene.start_s) for one in there]
    return Interference(emissions=tuple(emissions))


def _narrow(rng: np.random.Generator, scene: Scene) -> tuple[float, float]:
    """Draw frequency and width of an emission in MHz."""
    width = logarithmic(rng, scene.band.channel_width_mhz, 0.15 * scene.bandwidth_mhz)
    return float(scene.low_mhz + scene.bandwidth_mhz * rng.uniform(0.02, 0.98)), width


def _level(rng: np.random.Generator, scene: Scene, nchan: float, duration_s: float) -> float:
    """Return the power of an emission that a boxcar of its length finds with some S/N."""
    nsample = max(1.0, duration_s / scene.band.tsamp_s)
    snr = logarithmic(rng, 6, 80)
    return float(min(_LEVEL_MAX, snr * (scene.band.nchan / nsample) ** 0.5 / max(1.0, nchan)))


def sweeping(rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Draw sweeps on straight lines: one that crosses the detection, or one like it, and a radar's."""
    low, top, bandwidth = scene.low_mhz, scene.band.top_mhz, scene.bandwidth_mhz
    sweep_s = scene.track_s(low) - scene.found.time_s
    whole_s = sweep_s * logarithmic(rng, 0.15, 4.0) + scene.boxcar_s
    first, last = np.sort(rng.uniform(0, 1, 2)) if rng.random() < 0.4 else (0.0, 1.0)
    part, middle = max(last - first, 0.1), (first + last) / 2
    width = min(bandwidth, max(scene.band.channel_width_mhz, bandwidth * scene.boxcar_s / whole_s))
    in_channel_s = whole_s * width / bandwidth
    level = strength * _level(rng, scene, scene.band.nchan * part, in_channel_s)
    upwards = rng.random() < 0.3
    start_mhz, end_mhz = top - first * bandwidth, top - (first + part) * bandwidth
    duration_s = float(whole_s * part)
    start_s = scene.track_s(float(top - middle * bandwidth)) - duration_s / 2
    if upwards:
        start_mhz, end_mhz = end_mhz, start_mhz
    one = Emission(start_s, duration_s, float(start_mhz), float(end_mhz), float(width), level)
    return Interference(emissions=(one, *_radar(rng, scene, strength)))


def _radar(rng: np.random.Generator, scene: Scene, strength: float) -> tuple[Emission, ...]:
    """Draw a radar that sweeps again and again, or none."""
    if rng.random() < 0.5:
        return ()
    start, end = scene.low_mhz + scene.bandwidth_mhz * rng.uniform(0, 1, 2)
    period_s = max(logarithmic(rng, 0.05, 1.0), scene.length_s / _MANY)
    sweeps = radar(
        float(start),
        float(end),
        strength * logarithmic(rng, 0.5, 10),
        duration_s=scene.length_s,
        first_s=float(period_s * rng.random()),
        period_s=period_s,
        sweep_s=float(period_s * rng.uniform(0.02, 0.5)),
        width_mhz=_narrow(rng, scene)[1],
    )
    return tuple(replace(one, start_s=one.start_s + scene.start_s) for one in sweeps)


def disturbance(kind: str, rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Draw interference of one of `DISTURBANCES`."""
    del scene
    return Interference(layers=(Layer(kind, int(rng.integers(2**63)), strength),))


def mixture(rng: np.random.Generator, scene: Scene, strength: float) -> Interference:
    """Draw two of the other kinds."""
    kinds = [name for name in KINDS if name not in ("noise", "mixture")]
    first, second = (KINDS[str(one)][0](rng, scene, strength) for one in rng.choice(kinds, 2, replace=False))
    return first + second


#: What is no burst, and how often it is drawn.
KINDS: dict[str, tuple[Kind, float]] = {
    "noise": (noise, 0.06),
    "impulses": (impulse, 0.04),
    "zero-DM pulses": (zero_dm_pulses, 0.04),
    "narrow band": (narrow, 0.08),
    "sweeps": (sweeping, 0.08),
    "mixture": (mixture, 0.15),
    **{name: (partial(disturbance, name), 0.55 * part) for name, (_, part) in DISTURBANCES.items()},
}
