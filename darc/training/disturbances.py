"""What is no burst, beyond what the fake telescope knows: any shape in frequency and time.

Nothing here stands for one source. Sweeps, strokes, trains, lobes, steps, gaps, bunches and patches are drawn
as widely as possible, on and across the track on which a burst would be, so that networks learn what a burst
is rather than what the interference of one site looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darc.science.extraction import Detection

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Samples = NDArray[np.uint8]

#: A sweep leaves the track by at least so many widths of the detection: closer to it, it looks like a burst.
DEPARTURE_MIN = 1.2
#: No stronger than this, in standard deviations of a sample of a channel; and what overwrites all there is.
LEVEL_MAX, OVERWRITE = 40.0, 1e4
#: Most pulses of one train.
_MANY = 150


@dataclass(frozen=True, eq=False)
class Canvas:
    """A piece of data around a detection.

    Attributes:
        power: what is added to the noise, in standard deviations of a sample of its channel,
            (nsample, nchan)
        track: sample in which the detection begins, for each channel, (nchan,)
        width: of the detection in samples
    """

    power: Floats
    track: Doubles
    width: int

    @classmethod
    def empty(cls, nsample: int, start: int, found: Detection, delay_s: Doubles, tsamp_s: float) -> Canvas:
        """Return a canvas for samples from `start` on; delays are those of the channels, (nchan,)."""
        track = (found.time_s + delay_s) / tsamp_s - start
        return cls(np.zeros((nsample, len(track)), np.float32), track, found.width)

    @property
    def nsample(self) -> int:
        """Number of samples."""
        return len(self.power)

    @property
    def nchan(self) -> int:
        """Number of channels."""
        return int(self.power.shape[1])

    def pulse(self, first: float, profile: Doubles, colour: Doubles) -> None:
        """Add a pulse to all channels at once: its power in time, and in frequency."""
        begin = int(np.floor(first))
        low, high = max(0, begin), min(self.nsample, begin + len(profile))
        if low < high:
            self.power[low:high] += np.outer(profile[low - begin : high - begin], colour).astype(np.float32)

    def near(self, rng: np.random.Generator) -> float:
        """Draw a time at which the detection is somewhere in the band."""
        return float(self.track[rng.integers(self.nchan)] + self.width * rng.uniform(-0.5, 1.5))

    def anywhere(self, rng: np.random.Generator, near: float = 0.5) -> float:
        """Draw a time: with some probability one on the track, else any."""
        return self.near(rng) if rng.random() < near else float(rng.uniform(0, self.nsample))

    def level(self, snr: float, nchan: float, nsample: float) -> float:
        """Return the power at which so many channels and samples have an S/N in the sum of all channels."""
        power = snr * self.nchan**0.5 / (max(1.0, nchan) * max(1.0, nsample) ** 0.5)
        return float(min(power, LEVEL_MAX))


def add(data: Samples, canvas: Canvas, rms: Doubles, rng: np.random.Generator) -> Samples:
    """Return data with what is on a canvas; `rms` is the noise of each channel in counts, (nchan,)."""
    counts = canvas.power
    counts *= rms.astype(np.float32)
    counts += data
    # rounded up or down at random, in proportion; the same numbers again and again are random enough
    tile = rng.random((min(512, len(counts)), counts.shape[1]), np.float32)
    for first in range(0, len(counts), len(tile)):
        part = counts[first : first + len(tile)]
        part += tile[: len(part)]
    np.clip(counts, 0, 255, out=counts)
    return counts.astype(np.uint8)


def sweeps(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Draw a line, or several of the same shape, that crosses the track or follows another law than it."""
    low, high = _part(rng, canvas.nchan)
    for _ in range(20):
        middle = int(rng.integers(low, high))
        offset = _offset(rng, canvas, middle)
        if np.ptp(offset[low:high]) > DEPARTURE_MIN * canvas.width:
            break
    thickness = np.abs(np.gradient(offset)) + canvas.width * logarithmic(rng, 0.2, 2.5)
    together = (high - low) * min(1.0, float(thickness.mean()) / max(1.0, float(np.ptp(offset[low:high]))))
    level = strength * canvas.level(logarithmic(rng, 10, 300), together, float(np.median(thickness)))
    power = level * _colour(rng, canvas.nchan)
    for _ in range(rng.integers(0, 4) if rng.random() < 0.25 else 0):
        gap = int(rng.integers(low, high))
        power[gap : gap + int(rng.integers(1, max(2, (high - low) // 4)))] = 0
    lines = int(rng.integers(2, 5)) if rng.random() < 0.2 else 1
    interval = canvas.width * logarithmic(rng, 2, 60)
    for line in range(lines):
        begin = canvas.track + offset + line * interval + canvas.width * rng.uniform(0, 1) - thickness / 2
        first = np.clip(begin, 0, canvas.nsample).astype(int)
        last = np.clip(begin + np.maximum(1, thickness), 0, canvas.nsample).astype(int)
        for channel in range(low, high):
            canvas.power[first[channel] : last[channel], channel] += power[channel]


def _offset(rng: np.random.Generator, canvas: Canvas, middle: int) -> Doubles:
    """Draw the way of a line in samples after the track, which it crosses in the channel `middle`."""
    x = np.linspace(-1, 1, canvas.nchan)
    knots = np.sort(np.concatenate([[-1, 1], rng.uniform(-1, 1, rng.integers(1, 7))]))
    shapes: list[Callable[[], NDArray[np.floating]]] = [
        lambda: x,
        lambda: np.polynomial.chebyshev.chebval(x, rng.normal(0, 1, 6) / np.arange(1, 7)),
        lambda: np.sin(logarithmic(rng, 1.5, 30) * x + rng.uniform(0, 2 * np.pi)) + rng.normal(0, 1) * x,
        lambda: np.interp(x, knots, rng.normal(0, 1, knots.size).cumsum()),
        lambda: np.abs(x - rng.uniform(-1, 1)) ** logarithmic(rng, 0.3, 3),
        lambda: np.round(logarithmic(rng, 1, 10) * x + rng.random()),
        lambda: ((x + 1) / 2) ** logarithmic(rng, 0.2, 5),
    ]
    drawn = shapes[rng.integers(len(shapes))]()
    shape: Doubles = (drawn - drawn[middle]) / max(1e-9, float(np.ptp(drawn)))
    delay = canvas.track - canvas.track[middle]
    sweep = float(np.ptp(canvas.track))
    kind = rng.random()
    if kind < 0.25:  # far from the track, or across all the data
        offset = shape * _sign(rng) * logarithmic(rng, 0.3, 4) * (sweep + canvas.width)
    elif kind < 0.65:  # about the track
        offset = shape * _sign(rng) * canvas.width * logarithmic(rng, 1.0, 60)
    else:  # as if there were no dispersion, or as long as the track, but of another shape
        offset = shape * _sign(rng, 0.75) * sweep * logarithmic(rng, 0.1, 3) - delay
    return offset


def strokes(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Draw pulses without dispersion that rise and decay, each with its own colour."""
    time = canvas.anywhere(rng, 0.7)
    interval = canvas.width * logarithmic(rng, 0.5, 200)
    snr = strength * logarithmic(rng, 8, 2000)
    decay = canvas.width * logarithmic(rng, 0.1, 5)
    for _ in range(rng.integers(1, 10) if rng.random() < 0.7 else 1):
        rise, fall = decay * rng.choice([0.0, 0.1, 0.5, 1.0]), decay * logarithmic(rng, 0.3, 3)
        t = np.arange(-np.ceil(4 * rise), np.ceil(5 * fall) + 1)
        profile = np.exp(-np.abs(t) / np.maximum(np.where(t < 0, rise, fall), 1e-3))
        if rng.random() < 0.3:
            profile = (np.abs(t) <= fall).astype(np.float64)
        level = canvas.level(snr * logarithmic(rng, 0.2, 1.5), canvas.nchan, float(profile.sum()))
        canvas.pulse(time + t[0], level * profile, _colour(rng, canvas.nchan))
        time += rng.gamma(2.0, interval / 2)


def trains(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Draw pulses that come again and again, on time or nearly, in all of the band or a part of it."""
    period = max(canvas.width * logarithmic(rng, 1.5, 300), canvas.nsample / _MANY, 2.0)
    length = max(1.0, period * logarithmic(rng, 0.01, 0.6))
    low, high = _part(rng, canvas.nchan)
    colour = np.zeros(canvas.nchan)
    colour[low:high] = _colour(rng, canvas.nchan)[low:high]
    level = canvas.level(strength * logarithmic(rng, 20, 1500), high - low, length)
    jitter, scatter, slope = rng.choice([0.0, 0.02, 0.15]), rng.choice([0.0, 0.5]), rng.choice([0.0, 1.0])
    profile = np.exp(-slope * np.arange(round(length)) / length)
    begin = canvas.near(rng) % period
    for time in np.arange(begin - period, canvas.nsample, period):
        power = level * np.exp(scatter * rng.normal())
        canvas.pulse(time + jitter * period * rng.normal(), power * profile, colour)


def lobes(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Draw wide transmissions whose power drifts and beats."""
    channel, time = np.arange(canvas.nchan), np.arange(canvas.nsample)
    for _ in range(rng.integers(1, 4)):
        distance = (channel - rng.uniform(0, canvas.nchan)) / (canvas.nchan * logarithmic(rng, 0.01, 0.3))
        lobe = np.exp(-(distance**2)) if rng.random() < 0.5 else np.cos(np.clip(distance, -1.57, 1.57)) ** 2
        if rng.random() < 0.4:
            lobe = lobe + 0.2 * np.cos(np.pi * distance) ** 2 / (1 + distance**2)
        knots = np.clip(rng.normal(0.5, 1, rng.integers(3, 25)), 0, None)
        drift = np.interp(time, np.linspace(0, canvas.nsample, knots.size), knots)
        period = canvas.width * logarithmic(rng, 0.7, 60)
        beat = 0.5 + 0.5 * np.cos(2 * np.pi * (time / period + rng.random()))
        beat = beat ** rng.integers(1, 8) if rng.random() < 0.8 else np.ones(canvas.nsample)
        together = float(lobe.sum())
        length = min(period / 2, 8 * canvas.width)
        level = canvas.level(strength * logarithmic(rng, 15, 500), together, length)
        canvas.pulse(0, level * drift * beat, lobe)


def steps(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Let the level of all channels change: slowly, or at once, with or without a way back."""
    level = np.zeros(canvas.nsample)
    for _ in range(rng.integers(1, 5)):
        kind, size = rng.random(), rng.choice([-1, 1]) * strength * logarithmic(rng, 0.1, 5)
        first = int(np.clip(canvas.anywhere(rng), 0, canvas.nsample - 1))
        after = np.arange(canvas.nsample - first)
        length = canvas.width * logarithmic(rng, 0.5, 100)
        if kind < 0.35:
            level[first:] += size * (after < length)
        elif kind < 0.7:
            level[first:] += size * np.exp(-after / length)
        else:
            knots = rng.normal(0, 1, rng.integers(4, 80)).cumsum()
            places = np.linspace(0, canvas.nsample, knots.size)
            level += 0.3 * size * np.interp(np.arange(canvas.nsample), places, knots)
    canvas.pulse(0, level, _colour(rng, canvas.nchan) if rng.random() < 0.5 else np.ones(canvas.nchan))


def gaps(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Lose some blocks of data: what is there instead is nothing, or as much as there can be."""
    del strength
    value = -OVERWRITE if rng.random() < 0.6 else OVERWRITE
    nchan = max(1, round(canvas.nchan * logarithmic(rng, 0.01, 1.0)))
    for _ in range(rng.integers(1, 25)):
        low = int(rng.integers(0, max(1, canvas.nchan // nchan))) * nchan
        first = max(0, int(canvas.anywhere(rng, 0.4)))
        length = max(1, int(canvas.width * logarithmic(rng, 0.1, 12)))
        canvas.power[first : first + length, low : low + nchan] += value


def bunches(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Draw bunches of short pulses in a few channels."""
    for _ in range(rng.integers(1, 7)):
        nchan = int(rng.integers(1, max(2, canvas.nchan // 40)))
        low = int(rng.integers(0, canvas.nchan - nchan))
        middle = canvas.track[low] + canvas.width * rng.uniform(-1, 2)
        spread = canvas.width * logarithmic(rng, 0.5, 30) + 2
        length = max(1, int(canvas.width * rng.uniform(0, 0.4)))
        for time in middle + spread * rng.normal(0, 1, int(logarithmic(rng, 2, 80))):
            first = int(max(0, time))
            power = canvas.level(strength * logarithmic(rng, 4, 80), nchan, length)
            canvas.power[first : first + length, low : low + nchan] += np.float32(power)


def patches(rng: np.random.Generator, canvas: Canvas, strength: float) -> None:
    """Draw blocks of power: a few of them on the track, too narrow for a burst, others anywhere."""
    number, on_track = int(logarithmic(rng, 1, 40)), int(rng.integers(1, 4))
    for i in range(number):
        nchan = max(1, round(canvas.nchan * logarithmic(rng, 0.005, 0.12)))
        low = int(rng.integers(0, canvas.nchan - nchan))
        length = max(1, int(canvas.width * logarithmic(rng, 0.3, 6)))
        first = rng.uniform(0, canvas.nsample)
        if i < on_track:
            first = canvas.track[low + nchan // 2] + canvas.width * rng.uniform(-0.5, 0.5)
        power = canvas.level(strength * logarithmic(rng, 8, 150), nchan, length)
        begin = max(0, int(first))
        canvas.power[begin : begin + length, low : low + nchan] += np.float32(power)


def _part(rng: np.random.Generator, nchan: int) -> tuple[int, int]:
    """Draw a part of the band: often all of it."""
    if rng.random() < 0.55:
        return 0, nchan
    number = max(2, round(nchan * rng.uniform(0.15, 1.0)))
    low = int(rng.integers(0, nchan - number + 1))
    return low, low + number


def _colour(rng: np.random.Generator, nchan: int) -> Doubles:
    """Draw a spectrum with a mean of 1: flat, steep, in a part of the band, or in waves."""
    x = np.linspace(-1, 1, nchan)
    kind = rng.random()
    if kind < 0.4:
        return np.ones(nchan)
    if kind < 0.7:
        spectrum = np.exp(rng.normal(0, 0.8) * x)
    elif kind < 0.85:
        spectrum = np.exp(-(((x - rng.uniform(-1, 1)) / rng.uniform(0.2, 1.2)) ** 2))
    else:
        spectrum = 1 + rng.uniform(0.2, 1) * np.cos(logarithmic(rng, 2, 60) * x + rng.uniform(0, 6.3))
    colour: Doubles = spectrum / spectrum.mean()
    return colour


def _sign(rng: np.random.Generator, positive: float = 0.5) -> int:
    return 1 if rng.random() < positive else -1


def logarithmic(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is evenly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


Disturbance = Callable[[np.random.Generator, Canvas, float], None]
#: Draws interference around a detection, the last argument scaling its strength; and how often it is drawn.
DISTURBANCES: dict[str, tuple[Disturbance, float]] = {
    "lines": (sweeps, 0.36),
    "strokes": (strokes, 0.16),
    "trains": (trains, 0.1),
    "lobes": (lobes, 0.1),
    "steps": (steps, 0.06),
    "gaps": (gaps, 0.05),
    "bunches": (bunches, 0.05),
    "patches": (patches, 0.12),
}
