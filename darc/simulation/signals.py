"""What bursts and interference look like in a filterbank: in which channels and samples, and how strong.

A burst is one rectangular pulse or several. Each channel smears them over the delay between its edges, and
scattering drags them out exponentially. This has a closed form, which is averaged over each sample, so that a
pulse that is much shorter than a sample, or begins within one, has its right place and energy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.science.dispersion import delay_s
from darc.simulation.sky import Burst

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

#: The exponential tail ends after so many e-folding times: what is cut off is 3e-4 of the energy.
_TAIL = 8.0
#: A smear or a scattering time shorter than this (samples) changes nothing, but would divide zero by zero.
_MIN_LENGTH = 1e-3
#: What is there all the time comes in pieces of this length, each of which has to fit into memory.
_STEADY_S = 5.0
#: Widths of boxcars that are tried, evenly spaced in the logarithm, before all those around the best of them.
_NWIDTH = 100


@dataclass(frozen=True)
class SubBurst:
    """One pulse of a burst.

    Attributes:
        offset_s: time after the burst's own.
        fluence: share of the energy, relative to the other pulses.
        centre_mhz: where its spectrum, a Gaussian, is highest.
        fwhm_mhz: full width at half maximum of the spectrum; infinite: flat.

    """

    offset_s: float = 0.0
    fluence: float = 1.0
    centre_mhz: float = 1370.0
    fwhm_mhz: float = math.inf


@dataclass(frozen=True)
class ShapedBurst(Burst):
    """A burst with structure.

    Attributes:
        scattering_s: e-folding time of the tail at 1 GHz; it falls with the 4th power of frequency, as
            behind a thin screen (Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, ch. 4).
        parts: its pulses, each of the burst's width.

    """

    scattering_s: float = 0.0
    parts: tuple[SubBurst, ...] = (SubBurst(),)


@dataclass(frozen=True)
class Emission:
    """Interference at one frequency, or sweeping from one to another, alike in all beams.

    Attributes:
        start_s: its beginning, in seconds from the start of the data.
        duration_s: its length.
        start_mhz: centre at the beginning.
        end_mhz: centre at the end.
        width_mhz: width that it occupies at any time.
        level: mean power, in units of the noise rms of a sample of a channel.

    """

    start_s: float
    duration_s: float
    start_mhz: float
    end_mhz: float
    width_mhz: float
    level: float


@dataclass(frozen=True, eq=False)
class Footprint:
    """A signal in units of the noise rms of each channel.

    Attributes:
        channels: where it is, counted from the highest frequency, shape (m,).
        first: sample of the first value of each channel, shape (m,).
        signal: shape (m, n), consecutive samples.

    """

    channels: Integers
    first: Integers
    signal: NDArray[np.float32]


def drifting(
    number: int, interval_s: float, drift_mhz_per_s: float, centre_mhz: float, fwhm_mhz: float
) -> tuple[SubBurst, ...]:
    """Return pulses whose spectra drift with time; in repeating sources the drift is negative."""
    offsets_s = [interval_s * i for i in range(number)]
    return tuple(SubBurst(t, 1.0, centre_mhz + drift_mhz_per_s * t, fwhm_mhz) for t in offsets_s)


def narrow_band(
    freq_mhz: float,
    width_mhz: float,
    level: float,
    *,
    duration_s: float,
    duty: float = 1.0,
    slot_s: float = 0.25,
    seed: int = 0,
) -> tuple[Emission, ...]:
    """Return interference in few channels: all the time, or in a part `duty` of slots chosen at random."""
    slot_s = slot_s if duty < 1 else _STEADY_S
    rng = np.random.default_rng(seed)
    starts = slot_s * np.arange(math.ceil(duration_s / slot_s))
    return tuple(
        Emission(float(start_s), slot_s, freq_mhz, freq_mhz, width_mhz, level)
        for start_s in starts[rng.uniform(size=starts.size) < duty]
    )


def radar(
    start_mhz: float,
    end_mhz: float,
    level: float,
    *,
    duration_s: float,
    first_s: float = 0.0,
    period_s: float = 1.0,
    sweep_s: float = 0.02,
    width_mhz: float = 1.0,
) -> tuple[Emission, ...]:
    """Return the sweeps of a radar, one every `period_s`, each of which takes `sweep_s`."""
    return tuple(
        Emission(float(time_s), sweep_s, start_mhz, end_mhz, width_mhz, level)
        for time_s in np.arange(first_s, duration_s, period_s)
    )


def channel_freqs_mhz(instrument: Instrument) -> Floats:
    """Return the centres of the channels in MHz, highest first, shape (nchan,)."""
    channel = np.arange(instrument.nchan, dtype=np.float64)[::-1]
    return np.asarray(instrument.min_freq_mhz + instrument.channel_width_mhz * channel)


def delay_samples(dm: float, instrument: Instrument) -> Floats:
    """Return the delays of the channels' centres after the top of the band, in samples, shape (nchan,)."""
    top_mhz = instrument.top_freq_mhz(instrument.min_freq_mhz)
    return np.asarray(delay_s(dm, channel_freqs_mhz(instrument), top_mhz) / instrument.tsamp_s)


def burst_extent(burst: Burst, instrument: Instrument) -> tuple[int, int]:
    """Return the first sample that a burst may touch in any channel, and the one after the last."""
    shape = _shaped(burst)
    offsets_s = [part.offset_s for part in shape.parts]
    bottom = channel_freqs_mhz(instrument)[-1:]
    ends, smear = _smear(burst.dm, bottom, instrument)
    tail = _TAIL * _scattering(shape, bottom, instrument)
    start = (burst.time_s + min(offsets_s)) / instrument.tsamp_s
    length = (max(offsets_s) - min(offsets_s)) / instrument.tsamp_s + burst.width_samples
    return math.floor(start), math.ceil(start + length + float((ends + smear + tail)[0])) + 2


def burst_footprint(burst: Burst, instrument: Instrument, gain: Floats) -> Footprint:
    """Return a burst with the S/N that it says.

    Args:
        burst: the burst; its S/N is the expectation of what the best of all boxcars, of any width at any
            place, finds in the sum of all channels, unweighted, after each was shifted by its centre's delay
            in whole samples: (sum in the boxcar - expected sum of the noise) / (standard deviation of that
            sum in noise without signals). Sums of channels are in counts of the file.
        instrument: band and sampling time
        gain: of each channel, to which its noise rms and the burst's counts are proportional, shape (nchan,);
            the bandpass of the beam that looks at it

    Raises:
        DARCError: the spectra of all its pulses are outside the band

    """
    shape, freqs = _shaped(burst), channel_freqs_mhz(instrument)
    delay, smear = _smear(burst.dm, freqs, instrument)
    scattering = _scattering(shape, freqs, instrument)
    offsets = np.array([part.offset_s for part in shape.parts]) / instrument.tsamp_s
    start = burst.time_s / instrument.tsamp_s + delay + offsets[:, None]
    first = np.floor(start.min(axis=0))
    length = np.ptp(offsets) + burst.width_samples + (smear + _TAIL * scattering).max()
    edges = first[:, None] + np.arange(math.ceil(length) + 3)
    signal = np.zeros((freqs.size, edges.shape[1] - 1))
    for part, begin in zip(shape.parts, start, strict=True):
        spectrum = part.fluence * np.exp2(-((2 * (freqs - part.centre_mhz) / part.fwhm_mhz) ** 2))
        energy = _energy_before(edges - begin[:, None], burst.width_samples, smear, scattering)
        signal += spectrum[:, None] * np.diff(energy, axis=1)
    whole = first.astype(np.intp)
    series = _dedispersed(whole - np.rint(delay_samples(burst.dm, instrument)).astype(np.intp), signal, gain)
    found = best_boxcar(series) / float(np.sqrt(np.sum(gain**2)))
    if found <= 1e-12:
        raise DARCError(f"a burst at {burst.time_s} s has no signal in the band; move its spectrum there")
    return Footprint(np.arange(freqs.size), whole, (burst.snr / found * signal).astype(np.float32))


def emission_footprint(emission: Emission, instrument: Instrument, rng: np.random.Generator) -> Footprint:
    """Return interference, whose power fluctuates as that of noise does."""
    freqs, half_mhz = channel_freqs_mhz(instrument), (emission.width_mhz + instrument.channel_width_mhz) / 2
    # times, as fractions of the duration, at which it is within reach of a channel
    drift_mhz = emission.end_mhz - emission.start_mhz
    reached = (freqs - emission.start_mhz + np.array([[-half_mhz], [half_mhz]])) / (drift_mhz or 1e-9)
    begin, end = np.clip(np.sort(reached, axis=0), 0, 1)
    channels = np.flatnonzero(end > begin)
    scale, zero = emission.duration_s / instrument.tsamp_s, emission.start_s / instrument.tsamp_s
    first = np.floor(zero + begin[channels] * scale).astype(np.intp)
    count = np.ceil(zero + end[channels] * scale).astype(np.intp) - first
    sample = np.arange(count.max(initial=0))
    degrees = instrument.npol * instrument.channel_width_mhz * 1e6 * instrument.tsamp_s
    power = rng.gamma(degrees, emission.level / degrees, (channels.size, sample.size))
    return Footprint(channels, first, np.where(sample < count[:, None], power, 0).astype(np.float32))


def best_boxcar(series: Floats) -> float:
    """Return the highest sum / sqrt(width) of all boxcars in a series, shape (n,)."""
    total = np.concatenate(([0.0], np.cumsum(series)))

    def best(width: int) -> float:
        return float((total[width:] - total[:-width]).max()) / math.sqrt(width)

    coarse = np.geomspace(1, series.size, _NWIDTH).astype(np.intp).tolist()
    nearest = int(np.argmax([best(width) for width in coarse]))
    return max(map(best, range(coarse[max(nearest - 1, 0)], coarse[min(nearest + 1, _NWIDTH - 1)] + 1)))


def _shaped(burst: Burst) -> ShapedBurst:
    """Return a burst with its structure; a plain one is a single pulse with a flat spectrum."""
    return burst if isinstance(burst, ShapedBurst) else ShapedBurst(**vars(burst))


def _smear(dm: float, freqs_mhz: Floats, instrument: Instrument) -> tuple[Floats, Floats]:
    """Return the delay after the top of the band at channels' upper edges, and that over each channel."""
    half_mhz = instrument.channel_width_mhz / 2
    top_mhz = instrument.top_freq_mhz(instrument.min_freq_mhz)
    delay = np.asarray(delay_s(dm, freqs_mhz + half_mhz, top_mhz)) / instrument.tsamp_s
    smear = np.asarray(delay_s(dm, freqs_mhz - half_mhz, freqs_mhz + half_mhz)) / instrument.tsamp_s
    return delay, np.maximum(smear, _MIN_LENGTH)


def _scattering(burst: ShapedBurst, freqs_mhz: Floats, instrument: Instrument) -> Floats:
    """Return the e-folding time at each frequency, in samples."""
    scattering: Floats = burst.scattering_s / instrument.tsamp_s * (freqs_mhz / 1000) ** -4.0
    return np.maximum(scattering, _MIN_LENGTH)


def _energy_before(time: Floats, width: float, smear: Floats, scattering: Floats) -> Floats:
    """Return the part of a pulse's energy that arrives before a time.

    A rectangle of length a, smeared over b, is a trapezoid: ramps that begin at 0, a, b and a + b. Scattered,
    the integral of a ramp is t^2 / 2 - s t + s^2 (1 - exp(-t / s)).

    Args:
        time: since the beginning of the pulse, in samples, shape (nchan, n)
        width: of the pulse, in samples
        smear: over each channel, in samples, shape (nchan,)
        scattering: e-folding time in each channel, in samples, shape (nchan,)

    """
    smear, scattering = smear[:, None], scattering[:, None]

    def ramp(t: Floats) -> Floats:
        t = np.maximum(t, 0)
        integral: Floats = t**2 / 2 - scattering * t - scattering**2 * np.expm1(-t / scattering)
        return integral

    energy = ramp(time) - ramp(time - width) - ramp(time - smear) + ramp(time - width - smear)
    return np.asarray(energy / (width * smear))


def _dedispersed(place: Integers, signal: Floats, gain: Floats) -> Floats:
    """Return the sum of all channels, each times its gain and put at its place."""
    place = place - place.min()
    series = np.zeros(place.max() + signal.shape[1])
    for begin in np.unique(place):
        here = place == begin
        series[begin : begin + signal.shape[1]] += gain[here] @ signal[here]
    return series
