"""What is no burst in the second sky; nothing here is shared with the fake telescope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cut:
    """A piece of data around a detection.

    Attributes:
        signal: counts to be added to the noise, (nsample, nchan)
        sigma: scatter of the noise of each channel in counts, (nchan,)
        tsamp_s: length of a sample
        track: sample in which the detection begins, for each channel, (nchan,)
        width: of the detection in samples
        facts: what is known of what was added, by its name
    """

    signal: Floats
    sigma: Doubles
    tsamp_s: float
    track: Doubles
    width: int
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def nsample(self) -> int:
        """Number of samples."""
        return len(self.signal)

    @property
    def nchan(self) -> int:
        """Number of channels."""
        return int(self.signal.shape[1])

    def level(self, rng: np.random.Generator, nchan: int, nsample: float) -> float:
        """Draw a level, in sigma of a sample, that so many channels and samples show with S/N 8 to 120."""
        snr = 8.0 * 15.0 ** rng.random()
        level = snr * self.nchan**0.5 / (max(1, nchan) * max(1.0, nsample) ** 0.5)
        return float(min(level, 40.0))


def lightning(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Add discharges: strokes at irregular intervals, each with a steep rise, a decay and its own colour."""
    start = rng.uniform(0, cut.nsample)
    x = np.linspace(-1, 1, cut.nchan)
    for _ in range(rng.integers(1, 12)):
        decay = max(0.5, cut.width * rng.uniform(0.1, 3.0))
        first, last = int(start), min(cut.nsample, int(start + 6 * decay) + 1)
        if 0 <= first < last:
            colour = np.exp(rng.normal(0, 0.7) * x) * cut.sigma
            level = strength * rng.uniform(1, 20) * cut.level(rng, cut.nchan, decay)
            profile = np.exp(-np.arange(last - first) / decay)
            cut.signal[first:last] += (level * profile[:, None] * colour).astype(np.float32)
        start += rng.exponential(0.05) / cut.tsamp_s


def mains(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Add sparks at twice the frequency of the mains, or of a motor, with jitter, in a part of the band."""
    period = rng.choice([0.01, 1 / 120, rng.uniform(0.02, 0.4)]) / cut.tsamp_s
    length = max(1, int(period * rng.uniform(0.02, 0.2)))
    first, last = np.sort(rng.integers(0, cut.nchan + 1, 2))
    if last - first < cut.nchan // 4:
        first, last = 0, cut.nchan
    level = strength * cut.level(rng, int(last - first), length) * rng.uniform(3, 40)
    for time in np.arange(rng.uniform(0, period), cut.nsample, period):
        begin = max(0, int(time + rng.normal(0, 0.03) * period))
        cut.signal[begin : begin + length, first:last] += np.float32(level) * cut.sigma[first:last]


def packets(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Add transmissions of data: some MHz wide, on and off, one of them on the detection's track."""
    for number in range(rng.integers(1, 40)):
        width = int(rng.integers(5, cut.nchan // 6))
        channel = int(rng.integers(0, cut.nchan - width))
        length = max(1, int(cut.width * rng.exponential(1.5)))
        begin = cut.track[channel + width // 2] + rng.normal(0, 0.5) * length
        if number:
            begin = rng.uniform(0, cut.nsample)
        first = max(0, int(begin))
        level = strength * cut.level(rng, width, length)
        cut.signal[first : first + length, channel : channel + width] += (
            np.float32(level) * cut.sigma[channel : channel + width]
        )


def distance_measuring(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Add pairs of short pulses in one to three channels, as aircraft send, in bunches."""
    for _ in range(rng.integers(1, 4)):
        width = int(rng.integers(1, 4))
        channel = int(rng.integers(0, cut.nchan - width))
        times = cut.track[channel] + rng.normal(0, 3 * cut.width + 3, rng.integers(5, 60))
        for time in times[(times >= 0) & (times < cut.nsample)].astype(int):
            power = strength * rng.uniform(3, 40) * cut.sigma[channel : channel + width]
            cut.signal[time, channel : channel + width] += power.astype(np.float32)


def satellite(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Add the lobes of a spread spectrum, whose power beats and drifts."""
    channel = np.arange(cut.nchan)
    lobe = np.sinc((channel - rng.uniform(0, cut.nchan)) / rng.uniform(20, 200)) ** 2 * cut.sigma
    time = np.arange(cut.nsample)
    period = max(4.0, cut.width * rng.uniform(1, 30))
    beating = 1 + np.sin(2 * np.pi * time / period + rng.uniform(0, 6)) ** rng.choice([1, 2, 5])
    drift = np.clip(rng.normal(0, 1, 12).cumsum(), 0, 4)
    beating *= np.interp(time, np.linspace(0, cut.nsample, 12), drift)
    cut.signal[:] += (strength * rng.uniform(0.5, 3.0) * beating[:, None] * lobe).astype(np.float32)


def chirp(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Add a sweep that follows no power law of frequency: bent, broken, back and forth, or straight."""
    sweep = cut.track[-1] - cut.track[0]
    u = np.linspace(0, 1, cut.nchan)
    laws: list[Callable[[], Doubles]] = [
        lambda: sweep * rng.uniform(0.2, 3.0) * (u - 0.5),
        lambda: -sweep * rng.uniform(0.2, 2.0) * (u - 0.5),
        lambda: sweep * rng.uniform(0.3, 2.0) * (np.sqrt(u) - 0.7),
        lambda: sweep * rng.uniform(0.2, 1.5) * np.sin(rng.uniform(3, 12) * u),
        lambda: sweep * np.interp(u, [0, 0.3, 0.6, 1], [-0.5, *np.sort(rng.uniform(-0.5, 0.5, 2)), 0.5]),
    ]
    bend = laws[rng.integers(len(laws))]()
    centre = cut.track[cut.nchan // 2] + bend + cut.width * rng.uniform(0, 1)
    length = np.maximum(1.0, np.abs(np.gradient(bend)) + cut.width * rng.uniform(0.3, 1.5))
    level = strength * cut.level(rng, cut.nchan, float(length.mean()))
    cut.facts["departure"] = float(np.ptp(centre - cut.track)) / cut.width
    for channel in range(cut.nchan):
        first = int(centre[channel] - length[channel] / 2)
        begin, end = max(0, first), max(0, first + round(length[channel]))
        cut.signal[begin:end, channel] += np.float32(level * cut.sigma[channel])


def gain(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Let the level of all channels jump and come back, or follow a random walk."""
    time = np.arange(cut.nsample)
    if rng.random() < 0.5:
        walk = rng.normal(0, 1, int(rng.integers(6, 60))).cumsum()
        level = np.interp(time, np.linspace(0, cut.nsample, walk.size), walk - walk.mean())
        level *= strength * rng.uniform(0.1, 1.0)
    else:
        level = np.zeros(cut.nsample)
        for _ in range(rng.integers(1, 4)):
            first = int(rng.uniform(0, cut.nsample))
            length = max(2.0, rng.exponential(20 * cut.width + 20))
            level[first:] += strength * rng.normal(0, 2) * np.exp(-np.arange(cut.nsample - first) / length)
    cut.signal[:] += (level[:, None] * cut.sigma).astype(np.float32)


def lost(rng: np.random.Generator, cut: Cut, strength: float) -> None:
    """Lose packets: blocks of some channels for some time that hold nothing, or too much."""
    del strength
    for _ in range(rng.integers(1, 30)):
        width = int(rng.choice([cut.nchan, cut.nchan // 8, cut.nchan // 32]))
        channel = int(rng.integers(0, cut.nchan // width)) * width
        length = max(1, int(rng.exponential(2 * cut.width + 10)))
        first = int(rng.uniform(0, cut.nsample))
        block = cut.signal[first : first + length, channel : channel + width]
        block += np.float32(-300.0 if rng.random() < 0.7 else 300.0)


Kind = Callable[[np.random.Generator, Cut, float], None]
#: Adds interference around a detection, the last argument scaling its strength; and how often it is drawn.
KINDS: dict[str, tuple[Kind, float]] = {
    "lightning": (lightning, 0.15),
    "mains": (mains, 0.2),
    "packets": (packets, 0.15),
    "distance measuring": (distance_measuring, 0.05),
    "satellite": (satellite, 0.12),
    "chirp": (chirp, 0.18),
    "gain": (gain, 0.1),
    "lost data": (lost, 0.05),
}
