"""Candidates to measure with: another sky, which shares nothing with the one that is trained with.

Only the extraction is the same, as it is part of what is measured. Noise is that of detected power (a gamma
distribution), or real data; the pulses are asymmetric, with structure and scintillation; what is no burst is
described in `darc.training.second_interference`. The band is that of ARTS with all its channels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from darc.science.dedispersion import Band
from darc.science.extraction import Candidate, Detection, ExtractionError, Extractor, Plan, Settings
from darc.training.examples import Example, Examples, collect
from darc.training.second_interference import KINDS, Cut
from darc.training.second_pulses import Pulse, add_pulse, delay_s, draw_pulse, smear_s

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Samples = NDArray[np.uint8]

#: 1220 to 1520 MHz in 1536 channels every 81.92 us; longer samples where a candidate is long.
NCHAN, TOP_MHZ, WIDTH_MHZ, TSAMP_S = 1536, 1520.0, 300.0, 81.92e-6
BYTES_MAX = 6e6
DM, WIDTH_S, SNR = (20.0, 5000.0), (30e-6, 0.1), (6.0, 100.0)
#: Mean counts, and the shape of the gamma distribution of detected power.
COUNTS, SHAPE = 100.0, 60.0
NTILE = 4096
#: What a search tries: widths are powers of two of its samples. Candidates below this S/N do not get here.
SNR_MIN = 5.0
SETTINGS = Settings(snr_min_local=SNR_MIN)
#: How many bursts have interference around them.
DISTURBED = 0.2


def draw(number: int, seed: tuple[int, ...]) -> Examples:
    """Draw candidates, half of them bursts, among those that pass the S/N limit of the extraction."""
    rng = np.random.default_rng(seed)
    examples: list[Example] = []
    for count, is_burst in ((number - number // 2, True), (number // 2, False)):
        drawn: list[Example] = []
        while len(drawn) < count:
            one = _one(rng, is_burst)
            if one is not None:
                drawn.append(one)
        examples += drawn
    return collect(examples)


def draw_noise(number: int, seed: tuple[int, ...]) -> Examples:
    """Draw candidates that are noise alone; most are below the S/N limit, which they do not have to pass."""
    rng = np.random.default_rng(seed)
    found: list[Example] = []
    while len(found) < number:
        band, detection, todo = _detection(rng, _uniform_log(rng, DM), _uniform_log(rng, WIDTH_S))
        data = _noise(rng, band, todo.stop - todo.start)
        candidate = Extractor(band, replace(SETTINGS, snr_min_local=0.0)).extract(data, todo)
        found.append(Example(candidate, "noise", False, detection.dm, candidate.width * band.tsamp_s))
    return collect(found)


def inject(data: Samples, band: Band, number: int, seed: int, dm_max: float) -> Examples:
    """Put bursts into data, one at a time at different places, and extract them.

    Args:
        data: real data or noise, (nsample, nchan), highest frequency first
        band: band of the data
        number: of bursts
        seed: the same bursts for the same seed, whatever the data
        dm_max: highest DM
    """
    rng = np.random.default_rng(seed)
    duration_s = len(data) * band.tsamp_s
    sigma = _scatter(data)
    extractor = Extractor(band, SETTINGS)
    examples: list[Example] = []
    for _ in range(number):
        pulse = draw_pulse(
            rng, band, _uniform_log(rng, (10.0, dm_max)), _uniform_log(rng, (band.tsamp_s / 4, 0.02))
        )
        snr = _uniform_log(rng, (8.0, 60.0))
        sweep_s = float(delay_s(pulse.dm, band)[-1])
        time_s = rng.uniform(0.0, max(0.05, duration_s - sweep_s - 0.1))
        signal = np.zeros(data.shape, np.float32)
        add_pulse(signal, band, pulse, time_s, snr, sigma)
        bright = np.minimum(np.floor(data + signal + rng.random(data.shape, np.float32)), 255).astype(
            np.uint8
        )
        found = Detection(pulse.dm, max(0.0, time_s - pulse.width_s / 2), _boxcar(rng, band, pulse))
        try:
            todo = extractor.plan(found, len(data))
            candidate = extractor.extract(bright[todo.start : todo.stop], todo)
        except ExtractionError:
            continue
        examples.append(_burst_example(candidate, band, pulse, time_s, snr))
    return collect(examples)


def search(data: Samples, band: Band, number: int, seed: int, dm_max: float) -> list[Candidate]:
    """Extract candidates at different times and DMs of data, whatever their S/N."""
    rng = np.random.default_rng(seed)
    extractor = Extractor(band, replace(SETTINGS, snr_min_local=0.0))
    candidates: list[Candidate] = []
    while len(candidates) < number:
        found = Detection(
            rng.uniform(0, dm_max), rng.uniform(0, len(data) * band.tsamp_s), int(2 ** rng.integers(6))
        )
        try:
            todo = extractor.plan(found, len(data))
            candidates.append(extractor.extract(data[todo.start : todo.stop], todo))
        except ExtractionError:
            continue
    return candidates


def noise_like(data: Samples, seed: int) -> Samples:
    """Return noise with the level and scatter that the channels of data have."""
    rng = np.random.default_rng(seed)
    mean, sigma = np.median(data, axis=0), _scatter(data)
    shape = np.maximum(mean / sigma, 2.0) ** 2
    return np.clip(np.rint(rng.gamma(shape, mean / shape, data.shape)), 0, 255).astype(np.uint8)


def undecided(there: Examples) -> NDArray[np.bool_]:
    """Return which candidates of this sky the data cannot tell from something without dispersion.

    The delay over the band is less than twice the width of the best boxcar, or of the burst.
    """
    sweep_s = float(delay_s(1.0, _band(1))[-1])
    return there.dm * sweep_s < 2 * there.width_s


def sweeps_like_bursts(there: Examples) -> NDArray[np.bool_]:
    """Return which sweeps follow the dispersion as bursts do that are found at nearly their DM.

    Their distance from the track of the detection extends over no more than its width.
    """
    return there.departure <= 1.0


def _one(rng: np.random.Generator, is_burst: bool) -> Example | None:
    dm, width_s = _uniform_log(rng, DM), _uniform_log(rng, WIDTH_S)
    pulse = draw_pulse(rng, _band(1), dm, width_s) if is_burst else None
    band, found, todo = _detection(rng, dm, width_s, pulse)
    nsample = todo.stop - todo.start
    data = _noise(rng, band, nsample)
    signal = np.zeros(data.shape, np.float32)
    sigma = _noise_tile()[1].astype(np.float64)
    cut = Cut(signal, sigma, band.tsamp_s, _track(found, band) - todo.start, found.width)
    kind = "burst"
    if pulse is None or rng.random() < DISTURBED:
        kind = str(rng.choice(list(KINDS), p=[weight for _, weight in KINDS.values()]))
        KINDS[kind][0](rng, cut, 1.0 if pulse is None else 0.3)
    snr, time_s = 0.0, 0.0
    if pulse is not None:
        kind, snr = "burst", _uniform_log(rng, SNR)
        # the search has its boxcar somewhere about the pulse, at a DM that is not quite the pulse's
        time_s = found.time_s + found.width * band.tsamp_s * rng.uniform(0.3, 0.7)
        time_s -= (pulse.dm - found.dm) * float(delay_s(1.0, band)[NCHAN // 2])
        add_pulse(signal, band, pulse, time_s - todo.start * band.tsamp_s, snr, sigma)
    signal += data
    signal += _dither()[: len(signal)]
    np.floor(signal, out=signal)
    mask = np.flatnonzero(rng.random(NCHAN) < 0.09) if rng.random() < 0.5 else ()
    try:
        extractor = Extractor(band, SETTINGS, [int(one) for one in mask])
        candidate = extractor.extract(np.clip(signal, 0, 255).astype(np.uint8), todo)
    except ExtractionError:
        return None
    if pulse is None:
        width_s, departure = candidate.width * band.tsamp_s, cut.facts.get("departure", np.nan)
        return Example(candidate, kind, False, dm, width_s, departure=departure)
    return _burst_example(candidate, band, pulse, time_s, snr)


def _burst_example(candidate: Candidate, band: Band, pulse: Pulse, time_s: float, snr: float) -> Example:
    middle = band.nchan // 2
    expected = time_s + (pulse.dm - candidate.dm) * float(delay_s(1.0, band)[middle])
    tolerance = (
        1.5 * pulse.width_s + 2 * pulse.tau_s + candidate.tsamp_s + 0.5 * candidate.width * band.tsamp_s
    )
    tolerance += smear_s(pulse.dm, band)[middle]
    centred = abs(candidate.time_s - expected) <= tolerance
    return Example(candidate, "burst", True, pulse.dm, pulse.width_s, snr, bool(centred))


def _detection(
    rng: np.random.Generator, dm: float, width_s: float, pulse: Pulse | None = None
) -> tuple[Band, Detection, Plan]:
    """Return what a search reports, and at which resolution its data are looked at."""
    error = 0.0
    if pulse is not None:
        extent = np.hypot(pulse.width_s, smear_s(dm, _band(1)).mean()) + pulse.tau_s
        error = rng.uniform(-0.6, 0.6) * extent / float(delay_s(1.0, _band(1))[-1])
    longer = 1
    while True:
        band = _band(longer)
        width = (
            _boxcar(rng, band, pulse) if pulse is not None else 2 ** round(np.log2(width_s / band.tsamp_s))
        )
        found = Detection(max(0.0, dm + error), 100.0, max(1, round(width)))
        todo = Extractor(band, SETTINGS).plan(found)
        if (todo.stop - todo.start) * band.nchan <= BYTES_MAX:
            return band, found, todo
        longer *= 2


@cache
def _band(longer: int) -> Band:
    return Band(TOP_MHZ - WIDTH_MHZ / NCHAN / 2, -WIDTH_MHZ / NCHAN, NCHAN, longer * TSAMP_S)


def _boxcar(rng: np.random.Generator, band: Band, pulse: Pulse) -> int:
    """Return the power of two nearest to a pulse's width, or one beside it."""
    smear = smear_s(pulse.dm, band)[band.nchan // 2]
    samples = (float(np.hypot(pulse.width_s, smear)) + pulse.tau_s) / band.tsamp_s
    power = round(np.log2(max(1.0, samples)) + rng.choice([-1, 0, 0, 0, 1]))
    return int(min(1024, 2 ** max(0, power)))


def _track(found: Detection, band: Band) -> Doubles:
    """Return the sample at which a detection is in each channel."""
    return (found.time_s + delay_s(found.dm, band)) / band.tsamp_s


@cache
def _noise_tile() -> tuple[Samples, Doubles]:
    """Return noise behind a bandpass, the same for all candidates, and the scatter of each channel."""
    rng = np.random.default_rng(77)
    x = np.linspace(-1, 1, NCHAN)
    gain = np.polynomial.chebyshev.chebval(x, [1, 0.1, -0.15, 0.05, -0.1]) * (1 + 0.1 * np.cos(90 * x) ** 3)
    gain[rng.random(NCHAN) < 0.01] = 0.02  # dead channels
    mean = COUNTS * gain
    tile = rng.standard_gamma(SHAPE, (NTILE, NCHAN)) * (mean / SHAPE)
    return np.clip(np.rint(tile), 0, 255).astype(np.uint8), np.maximum(mean / SHAPE**0.5, 0.3)


def _noise(rng: np.random.Generator, band: Band, nsample: int) -> Samples:
    """Take pieces of the tile, each from another place and with its samples in either order."""
    tile = _noise_tile()[0]
    data = np.empty((nsample, band.nchan), np.uint8)
    done = 0
    while done < nsample:
        length = min(int(rng.integers(30, 90)), nsample - done)
        first = rng.integers(NTILE - length)
        data[done : done + length] = tile[first : first + length][:: rng.choice([-1, 1])]
        done += length
    return data


@cache
def _dither() -> Floats:
    """Return what counts are rounded with, up or down in proportion."""
    return np.random.default_rng(78).random((NTILE, NCHAN), np.float32)


def _scatter(data: Samples) -> Doubles:
    """Return the standard deviation of each channel from its quartiles."""
    low, high = np.percentile(data[:: max(1, len(data) // 2000)], [25, 75], axis=0)
    scatter: Doubles = np.maximum((high - low) / 1.349, 0.3)
    return scatter


def _uniform_log(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return float(low * (high / low) ** rng.random())
