"""Simulated candidates to train networks with: drawn data that went through the same extraction as real data.

    python -m darc.training.candidates --number 1000 --seed 1 FILE.npz

Half of them are bursts: of any DM, width and S/N, some scattered, some in part of the band only. The others
are what else AMBER reports: noise, impulses without dispersion, narrow-band interference, and radar that
sweeps through the band on a straight line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s, smearing_s
from darc.science.extraction import Detection, ExtractionError, Extractor, Settings
from darc.science.network_input import network_input

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: A sixth of the channels of ARTS, which takes a sixth of the time.
NCHAN = 256
BAND = Band(
    ARTS.top_freq_mhz(ARTS.min_freq_mhz) - ARTS.bandwidth_mhz / NCHAN / 2,
    -ARTS.bandwidth_mhz / NCHAN,
    NCHAN,
    ARTS.tsamp_s,
)
#: Delay of each channel behind the top of the band in samples for a DM of 1 pc cm^-3.
DELAY: Doubles = np.asarray(delay_s(1.0, BAND.freq_mhz, BAND.top_mhz)) / BAND.tsamp_s
#: Level and scatter of the noise, in levels of 8 bits.
MEAN, SIGMA = 96.0, 12.0
#: Noise that all candidates take pieces of, in samples.
NNOISE = 1 << 16
#: Shapes that the networks take: (frequency, time) and (DM, time).
SHAPES = ((32, 64), (64, 64))
#: Ranges from which values are drawn, evenly in their logarithm: DM (pc cm^-3), width (samples), S/N.
DM_RANGE, WIDTH_RANGE, SNR_RANGE = (20.0, 1000.0), (1.0, 100.0), (7.0, 60.0)
#: Lowest S/N in the data of a burst to be trained with: below, noise has been found.
SNR_MIN = 6.0
#: Of what is no burst, most that is fainter than this is left out: it would not be looked at.
OTHERS_SNR, OTHERS_FAINT = 4.0, 0.25

_EXTRACTOR = Extractor(BAND, Settings(snr_min_local=0.0))


def burst(rng: np.random.Generator, found: Detection, nsample: int, start: int) -> Floats:
    """Return a burst at a detection, up to the errors of a search."""
    width = max(0.5, found.width * rng.uniform(0.6, 1.4))
    # a DM that is off by this smears the pulse by half its width
    dm = max(0.0, found.dm + rng.uniform(-0.5, 0.5) * found.width / DELAY[-1])
    arrival = found.time_s / BAND.tsamp_s + found.width * rng.uniform(0.3, 0.7) - start
    centre = arrival + dm * DELAY
    smearing = smearing_s(dm, BAND.freq_mhz, BAND.channel_width_mhz) / BAND.tsamp_s
    tau = width * rng.uniform(0.2, 2.0) * (rng.random() < 0.3) * (BAND.centre_mhz / BAND.freq_mhz) ** 4
    profile = _profile(nsample, centre, np.hypot(width / 2.355, smearing / 3.46), tau)
    return _scaled(profile, _spectrum(rng), _logarithmic(rng, SNR_RANGE), found.width)


def noise(rng: np.random.Generator, found: Detection, nsample: int, start: int) -> Floats:
    """Return nothing: noise alone."""
    del rng, found, start
    return np.zeros((nsample, NCHAN), np.float32)


def impulse(rng: np.random.Generator, found: Detection, nsample: int, start: int) -> Floats:
    """Return impulses without dispersion somewhere around the detection's track."""
    signal = noise(rng, found, nsample, start)
    for _ in range(rng.integers(1, 4)):
        first, length = rng.integers(nsample), rng.integers(1, 4 * found.width + 20)
        signal[first : first + length] += _logarithmic(rng, (0.2, 8.0)) * _spectrum(rng)
    return signal


def narrow_band(rng: np.random.Generator, found: Detection, nsample: int, start: int) -> Floats:
    """Return channels that are noisy or bright for a while, one where the detection is."""
    signal = noise(rng, found, nsample, start)
    delay = found.dm * DELAY
    for number in range(rng.integers(1, 12)):
        channel = int(rng.integers(NCHAN - 1))
        width = int(rng.integers(1, 30))
        at_burst = found.time_s / BAND.tsamp_s - start + delay[channel]
        first = max(0, int(at_burst if number == 0 else rng.uniform(-0.5, 1) * nsample))
        length = int(_logarithmic(rng, (found.width, max(nsample, found.width + 1))))
        if number == 0:
            length = found.width * int(rng.integers(1, 4))
        level = _logarithmic(rng, (0.5, 12.0))
        signal[first : first + length, channel : channel + width] += level
    return signal


def radar(rng: np.random.Generator, found: Detection, nsample: int, start: int) -> Floats:
    """Return a signal that sweeps on a straight line, near the detection in the middle of the band."""
    delay = found.dm * DELAY
    slope = rng.uniform(-2.0, 2.0) * delay[-1] / NCHAN + rng.uniform(-1, 1) * found.width / 30
    centre = (
        found.time_s / BAND.tsamp_s
        - start
        + delay[NCHAN // 2]
        + rng.uniform(-1, 1) * found.width
        + slope * (np.arange(NCHAN) - NCHAN / 2)
    )
    profile = _profile(nsample, centre, np.full(NCHAN, max(1.0, found.width / 2.0)), np.zeros(NCHAN))
    return _scaled(profile, _spectrum(rng), _logarithmic(rng, SNR_RANGE) * 3, found.width)


Signal = Callable[[np.random.Generator, Detection, int, int], Floats]
#: What is no burst, and how often it is drawn.
OTHERS: tuple[tuple[Signal, float], ...] = ((noise, 0.25), (impulse, 0.3), (narrow_band, 0.3), (radar, 0.15))


def _profile(nsample: int, centre: Doubles, sigma: Doubles, tau: Doubles) -> Floats:
    """Return Gaussian pulses of height 1 in each channel, with exponential tails, (nsample, nchan)."""
    signal = np.zeros((nsample, NCHAN), np.float32)
    reach = 4 * sigma + 6 * tau + 2
    for channel in range(NCHAN):
        first = max(0, int(centre[channel] - reach[channel]))
        stop = min(nsample, int(centre[channel] + reach[channel]) + 1)
        if stop <= first:
            continue
        time = np.arange(first, stop) - centre[channel]
        pulse = np.exp(-0.5 * (time / max(sigma[channel], 0.3)) ** 2)
        if tau[channel] > 0.3:
            tail = np.exp(-np.arange(len(time)) / tau[channel])
            pulse = np.convolve(pulse, tail / tail.sum())[: len(time)]
        signal[first:stop, channel] = pulse
    return signal


def _spectrum(rng: np.random.Generator) -> Floats:
    """Return the brightness of each channel, mean 1: flat, sloped, or in part of the band."""
    frequency = np.linspace(-1, 1, NCHAN)
    spectrum = np.exp(rng.normal(0, 0.5) * frequency)
    if rng.random() < 0.4:
        spectrum *= np.exp(-0.5 * ((frequency - rng.uniform(-0.7, 0.7)) / rng.uniform(0.25, 0.8)) ** 2)
    ripple = 1 + rng.uniform(0, 0.6) * np.sin(rng.uniform(3, 40) * frequency + rng.uniform(0, 6))
    spectrum *= ripple
    brightness: Floats = (spectrum / spectrum.mean()).astype(np.float32)
    return brightness


def _scaled(profile: Floats, spectrum: Floats, snr: float, width: int) -> Floats:
    """Scale a signal, in standard deviations of the noise, such that a boxcar finds it with about an S/N."""
    total = profile.sum(dtype=np.float64) / NCHAN  # samples of the dedispersed mean
    mean = snr * max(width, total) ** 0.5 / NCHAN**0.5
    scaled: Floats = profile * spectrum * np.float32(mean / max(total, 1e-3))
    return scaled


def _logarithmic(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def draw(rng: np.random.Generator, tile: Floats, is_burst: bool) -> tuple[Floats, Floats, float] | None:
    """Draw a candidate.

    Args:
        rng: source of random numbers
        tile: noise with standard deviation 1, shape (NNOISE, NCHAN)
        is_burst: whether it is a burst

    Returns:
        what the two networks see of it, and its S/N; None if the extraction refuses it
    """
    width = max(1, round(_logarithmic(rng, WIDTH_RANGE)))
    found = Detection(_logarithmic(rng, DM_RANGE), 3.0, width)
    todo = _EXTRACTOR.plan(found)
    nsample = todo.stop - todo.start
    if nsample > NNOISE:
        return None
    weights = [weight for _, weight in OTHERS]
    signal = burst if is_burst else OTHERS[rng.choice(len(OTHERS), p=weights)][0]
    first = rng.integers(NNOISE - nsample + 1)
    gain = np.exp(rng.normal(0, 0.15, NCHAN)).astype(np.float32)
    data = tile[first : first + nsample] + signal(rng, found, nsample, todo.start)
    counts = np.clip(np.rint(gain * (MEAN + SIGMA * data)), 0, 255).astype(np.uint8)
    try:
        candidate = _EXTRACTOR.extract(counts, todo)
    except ExtractionError:
        return None
    freq_time = network_input(candidate.data_freq_time, SHAPES[0])
    return freq_time, network_input(candidate.data_dm_time, SHAPES[1]), candidate.snr


def draw_many(number: int, seed: int) -> dict[str, NDArray[Any]]:
    """Draw candidates, every second a burst.

    Returns:
        `freqtime` and `dmtime`, what the networks see, `snr`, and `burst`, whether it is one
    """
    rng = np.random.default_rng(seed)
    tile = rng.standard_normal((NNOISE, NCHAN), np.float32)
    drawn: list[tuple[Floats, Floats, float, bool]] = []
    while len(drawn) < number:
        is_burst = len(drawn) % 2 == 0
        one = draw(rng, tile, is_burst)
        if one is None:
            continue
        wanted = one[2] >= SNR_MIN if is_burst else one[2] >= OTHERS_SNR or rng.random() < OTHERS_FAINT
        if wanted:
            drawn.append((*one, is_burst))
    freqtime, dmtime, snr, bursts = zip(*drawn, strict=True)
    return {
        "freqtime": np.array(freqtime),
        "dmtime": np.array(dmtime),
        "snr": np.array(snr),
        "burst": np.array(bursts),
    }


def main() -> None:
    """Draw candidates into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    drawn: dict[str, Any] = draw_many(options.number, options.seed)
    np.savez_compressed(options.file, **drawn)


if __name__ == "__main__":
    main()
