"""Pulses of the second sky: what they look like at their source, and what happens to them on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darc.science.dedispersion import Band

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

#: Seconds of delay per MHz^-2 and pc cm^-3.
DISPERSION_S = 4148.808
#: Bins of a pulse's profile, and groups of channels that have the same.
NFINE, NGROUP = 4096, 24


@dataclass(frozen=True)
class Pulse:
    """A pulse as it leaves its source, and what happens on the way.

    Attributes:
        dm: in pc cm^-3
        width_s: full width at half maximum, or that of all components together
        tau_s: e-folding time of scattering at the centre of the band
        index: of the scattering's power law
        shape: fluence in equal steps of time over 3 widths, (n,)
        spectrum: mean power of each component in each channel, (ncomponent, nchan)
        offset_s: of each component, (ncomponent,)
    """

    dm: float
    width_s: float
    tau_s: float
    index: float
    shape: Doubles
    spectrum: Doubles
    offset_s: Doubles


def delay_s(dm: float, band: Band) -> Doubles:
    """Return the delay of each channel's centre behind the top of the band."""
    return DISPERSION_S * dm * (band.freq_mhz**-2 - band.top_mhz**-2)


def smear_s(dm: float, band: Band) -> Doubles:
    """Return the time over which a pulse crosses each channel."""
    return 2 * DISPERSION_S * dm * band.channel_width_mhz * band.freq_mhz**-3


def draw_pulse(rng: np.random.Generator, band: Band, dm: float, width_s: float) -> Pulse:
    """Draw a pulse: what it looks like at its source, its spectrum, and its scattering."""
    t = np.linspace(-1.5, 1.5, NFINE // 4)
    shapes: list[Callable[[], Doubles]] = [
        lambda: np.exp(-4 * np.log(2) * t**2),
        lambda: np.cosh(2.634 * t / 1.5) ** -2.0,
        lambda: np.where(t > -0.5, np.exp(-(t + 0.5) / 0.6), np.exp((t + 0.5) / 0.05)),
        lambda: np.maximum(0, 1 - np.abs(t)),
        lambda: np.exp(-4 * np.log(2) * t**2) * rng.exponential(1, 48)[np.arange(t.size) * 48 // t.size],
    ]
    shape = shapes[rng.integers(len(shapes))]()
    ncomponent = int(rng.choice([1, 1, 1, 2, 3, 4]))
    offsets = np.sort(rng.exponential(1.2, ncomponent).cumsum()) * width_s
    offsets -= offsets.mean()
    low = rng.random() < 0.25
    tau = width_s * rng.uniform(0.2, 4.0) if low else 0.0
    total = width_s + float(np.ptp(offsets))
    spectrum = _spectra(rng, band, ncomponent)
    return Pulse(dm, total, min(tau, 0.08), -rng.uniform(3.5, 4.4), shape, spectrum, offsets)


def _spectra(rng: np.random.Generator, band: Band, ncomponent: int) -> Doubles:
    """Draw the spectrum of each component: a power law, an envelope that moves down, scintillation."""
    x = (band.freq_mhz / band.centre_mhz)[None, :]
    u = np.linspace(1, 0, band.nchan)[None, :]
    spectrum = np.ones((ncomponent, 1)) * x ** rng.normal(-1, 2.5)
    if rng.random() < 0.4:
        centre = rng.uniform(0.2, 0.9) - np.arange(ncomponent)[:, None] * rng.uniform(0, 0.2)
        spectrum = spectrum * np.exp(-((np.abs(u - centre.clip(0.1)) / rng.uniform(0.15, 0.5)) ** 3))
    if rng.random() < 0.4:
        scale = rng.uniform(3, 60)
        phases = rng.uniform(0, 2 * np.pi, (12, 1))
        waves = np.cos(scale * rng.uniform(0.3, 1, (12, 1)) * u + phases).sum(axis=0) ** 2
        spectrum = spectrum * waves
    power: Doubles = spectrum / spectrum.mean()
    return power * rng.uniform(0.3, 1, (ncomponent, 1))


def add_pulse(signal: Floats, band: Band, pulse: Pulse, time_s: float, snr: float, sigma: Doubles) -> None:
    """Add a pulse that a boxcar finds with an S/N in the sum of all channels.

    Args:
        signal: counts, (nsample, nchan); what it already holds stays
        band: of the data
        pulse: what to add
        time_s: of its middle at the top of the band, from the first sample
        snr: in noise alone, dedispersed at the pulse's DM
        sigma: scatter of the noise of each channel, to which the pulse's counts are proportional
    """
    pieces: list[tuple[int, int, Doubles]] = []
    width = pulse.width_s - float(np.ptp(pulse.offset_s))
    delay, smear = delay_s(pulse.dm, band), smear_s(pulse.dm, band)
    group = np.arange(band.nchan) * NGROUP // band.nchan
    for number in range(NGROUP):
        channels = np.flatnonzero(group == number)
        middle = channels[len(channels) // 2]
        tau = pulse.tau_s * (band.freq_mhz[middle] / band.centre_mhz) ** pulse.index
        time, energy = _energy(pulse.shape, width, float(smear[middle]), min(tau, 0.5))
        for channel in channels.tolist():
            for offset, power in zip(pulse.offset_s, pulse.spectrum[:, channel], strict=True):
                centre = (time_s + delay[channel] + offset) / band.tsamp_s
                first = int(np.floor(centre + time[0] / band.tsamp_s))
                last = int(np.ceil(centre + time[-1] / band.tsamp_s))
                edges = (np.arange(first, last + 2) - centre) * band.tsamp_s
                pieces.append((channel, first, power * np.diff(np.interp(edges, time, energy))))
    scale = snr / _significance(pieces, delay / band.tsamp_s, sigma)
    for channel, first, values in pieces:
        begin, end = max(0, first), min(len(signal), first + len(values))
        if end > begin:
            signal[begin:end, channel] += scale * sigma[channel] * values[begin - first : end - first]


def _energy(shape: Doubles, width: float, smear: float, tau: float) -> tuple[Doubles, Doubles]:
    """Return the energy of a pulse before each time, smeared and scattered, on a fine grid."""
    before, after = -(1.5 * width + smear), 1.5 * width + smear + 7 * tau
    time = np.linspace(before, after, NFINE)
    step = time[1] - time[0]
    grid = np.linspace(-1.5, 1.5, len(shape)) * width
    profile = np.interp(time, grid, shape, left=0, right=0)
    if profile.sum() == 0:  # much shorter than a step
        profile[np.abs(time).argmin()] = 1.0
    nsmear = int(smear / step)
    if nsmear > 1:
        total = np.concatenate([np.zeros(nsmear), profile.cumsum()])
        profile = np.roll(total[nsmear:] - total[:-nsmear], -(nsmear // 2))
    if tau > step:
        nfft = 2 * NFINE
        tail = np.exp(-np.arange(NFINE) * step / tau)
        profile = np.fft.irfft(np.fft.rfft(profile, nfft) * np.fft.rfft(tail, nfft), nfft)[:NFINE]
    energy = profile.clip(0).cumsum()
    return time, energy / energy[-1]


def _significance(pieces: list[tuple[int, int, Doubles]], delay: Doubles, sigma: Doubles) -> float:
    """Return the highest S/N of a boxcar over the dedispersed sum of all channels, for signals of 1 sigma."""
    begins = [first - round(float(delay[channel])) for channel, first, _ in pieces]
    low = min(begins)
    series = np.zeros(max(b + len(v) for b, (_, _, v) in zip(begins, pieces, strict=True)) - low)
    for begin, (channel, _, values) in zip(begins, pieces, strict=True):
        series[begin - low : begin - low + len(values)] += sigma[channel] * values
    total = np.concatenate([[0.0], series.cumsum()])
    widths = np.unique(np.geomspace(1, len(series), 60).astype(int))
    best = max(float((total[w:] - total[:-w]).max() / w**0.5) for w in widths)
    return best / float(np.sqrt((sigma**2).sum()))
