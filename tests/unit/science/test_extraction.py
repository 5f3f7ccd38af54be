"""Extraction of candidates: pulses of known arrival time and strength, and the same steps in plain numpy."""

import itertools
import statistics
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS, DISPERSION_CONSTANT
from darc.errors import DARCError
from darc.science.dedispersion import Band
from darc.science.extraction import (
    Detection,
    ExtractionError,
    Extractor,
    Settings,
    TooFaintError,
    plan,
    to_levels,
)
from darc.science.rfi import Cleaning, MaskError

TSAMP = ARTS.tsamp_s
WIDTH_MHZ = ARTS.channel_width_mhz
#: An eighth of the instrument's band, with its channels and so with its smearing.
DOWN = Band(1389.0, -WIDTH_MHZ, 192, TSAMP)
UP = Band(1389.0 - 191 * WIDTH_MHZ, WIDTH_MHZ, 192, TSAMP)
BANDS = pytest.mark.parametrize("band", [DOWN, UP], ids=["descending", "ascending"])
#: Widths that AMBER looks for.
AMBER_WIDTHS = np.array([1, 5, 10, 25, 50, 100, 250])
PLAIN = Settings(cleaning=Cleaning("none"))
CLEAN_TYPES = ["time", "frequency", "both", "perchannel", "none"]


def delay_s(dm, freq_mhz, band):
    top_mhz = band.freq_mhz.max() + WIDTH_MHZ * 192 / band.nchan / 2
    return DISPERSION_CONSTANT * dm * (freq_mhz**-2 - top_mhz**-2)


def pulse_of(band, dm, centre_s, width, nsample):
    """A rectangular pulse, dispersed, smeared, sampled, of unit fluence in each channel; (nsample, nchan)."""
    freq = band.freq_mhz
    centre = (centre_s + delay_s(dm, freq, band)) / band.tsamp_s
    smearing = (
        delay_s(dm, freq - WIDTH_MHZ / 2, band) - delay_s(dm, freq + WIDTH_MHZ / 2, band)
    ) / band.tsamp_s
    smearing = np.maximum(smearing, 1e-3)
    edge = np.arange(nsample + 1)[:, None] - centre

    def ramp(time):
        return np.maximum(time, 0) ** 2 / 2

    wide, narrow = (width + smearing) / 2, (width - smearing) / 2
    risen = ramp(edge + wide) - ramp(edge + narrow) - ramp(edge - narrow) + ramp(edge - wide)
    return np.diff(risen / (width * smearing), axis=0)


def best_boxcar(band, dm, pulse):
    """Highest S/N of any boxcar for noise of 1 per channel, and its width."""
    delays = np.rint(delay_s(dm, band.freq_mhz, band) / band.tsamp_s).astype(int)
    n = len(pulse) - delays.max()
    profile = sum(pulse[delay : delay + n, channel] for channel, delay in enumerate(delays))
    sums = np.append(0, np.cumsum(profile))
    return max(((sums[w:] - sums[:-w]).max() / np.sqrt(w * band.nchan), w) for w in range(1, min(400, n)))


def noise_of(shape, seed, level=100.0, sigma=12.0):
    random = np.random.default_rng(seed)
    return level + sigma * random.standard_normal(shape, dtype=np.float32)


def as_bytes(data):
    return np.clip(np.rint(data), 0, 255).astype(np.uint8)


def observe(band, dm, centre_s, width, snr, *, options=PLAIN, nsample=None, seed=0):
    """Data with a pulse whose best boxcar has the given S/N, extracted as AMBER would have found it."""
    extractor = Extractor(band, options)

    def planned(width):
        start_s = max(0, centre_s - width / 2 * band.tsamp_s)
        todo = extractor.plan(Detection(dm, start_s, width), nsample)
        n = todo.stop - todo.start
        return todo, pulse_of(band, dm, centre_s - todo.start * band.tsamp_s, true_width, n)

    true_width = width
    unit, best = best_boxcar(band, dm, planned(width)[1])
    todo, pulse = planned(int(AMBER_WIDTHS[np.abs(np.log(AMBER_WIDTHS / best)).argmin()]))
    return extractor.extract(as_bytes(noise_of(pulse.shape, seed) + 12.0 * snr / unit * pulse), todo)


# -- the same in plain numpy


def reference_kept(values, usable, cleaning):
    """Which values are kept, and which channels."""
    kept = np.ones(values.shape, bool)
    if cleaning.clean_type in ("time", "both"):
        total, good = values[:, usable].sum(axis=1), np.ones(len(values), bool)
        for _ in range(cleaning.n_iter_time):
            left = total[good]
            good = good & (abs(total - np.median(left)) <= cleaning.threshold_time * left.std())
        kept[~good] = False
    if cleaning.clean_type == "perchannel":
        for channel, _ in itertools.product(range(values.shape[1]), range(cleaning.n_iter_time)):
            left = values[kept[:, channel], channel]
            inside = abs(values[:, channel] - left.mean()) <= cleaning.threshold_time * left.std() + 1e-9
            kept[:, channel] &= inside
    if cleaning.clean_type in ("frequency", "both"):
        mean = values.mean(axis=0, where=kept)
        for _ in range(cleaning.n_iter_freq):
            deviation = mean.copy()
            for first in range(0, len(mean), cleaning.bin_size):
                block = slice(first, first + cleaning.bin_size)
                if usable[block].any():
                    deviation[block] -= mean[block][usable[block]].mean()
            left = deviation[usable]
            usable = usable & (abs(deviation - np.median(left)) <= cleaning.threshold_freq * left.std())
    return kept, usable


def reference_snr(series):
    left = series
    for _ in range(4):
        left = left[abs(left - np.median(left)) < 3 * left.std()]
    return (series.max() - np.median(left)) / (1.048 * left.std())


def reference(data, band, options, mask, todo):
    """Return S/N, start and width of the pulse, and both planes."""
    freq = band.freq_mhz
    values = data.astype(float)
    usable = ~np.isin(freq, np.sort(freq)[list(mask)])
    kept, usable = reference_kept(values, usable, options.cleaning)
    values = np.where(kept, values, values.mean(axis=0, where=kept))
    values -= [statistics.median_grouped(data[kept[:, c], c].astype(float)) for c in range(band.nchan)]
    values *= usable
    p, step = todo.predownsampling, todo.downsampling
    values = values[: len(values) // p * p].reshape(-1, p, band.nchan).sum(axis=1)
    delays = [np.rint(delay_s(dm, freq, band) / (p * band.tsamp_s)).astype(int) for dm in todo.dms]
    n = len(values) - delays[todo.main].max()
    series = sum(values[delay : delay + n, c] for c, delay in enumerate(delays[todo.main]))
    found = (0, 0, 0)
    for width in range(max(1, step // 2), 2 * step + 1):
        filtered = np.correlate(series, np.ones(width))
        found = max(found, (reference_snr(filtered), -filtered.argmax(), width))
    snr, start, width = found[0], -found[1], found[2]
    first = start + (width - step) // 2 - options.ntime // 2 * step
    planes = []
    for delay in delays:
        padded = np.pad(values, ((10_000, 10_000), (0, 0)))
        shifted = [padded[10_000 + first + d :][: options.ntime * step, c] for c, d in enumerate(delay)]
        planes.append(np.reshape(shifted, (band.nchan, options.ntime, step)).sum(axis=2)[np.argsort(freq)])
    in_bin = np.arange(band.nchan) * options.nfreq // band.nchan
    freq_time = [planes[todo.main][in_bin == f].mean(axis=0) / (p * step) for f in range(options.nfreq)]
    dm_time = np.mean(planes, axis=1) / (p * step)
    return snr, start, width, np.array(freq_time), dm_time


@pytest.mark.parametrize("clean_type", CLEAN_TYPES)
@BANDS
def test_result_is_that_of_the_steps_in_plain_numpy(band, clean_type):
    cleaning = Cleaning(clean_type, bin_size=20)
    options = Settings(ndm=9, ntime=15, nfreq=10, snr_min_local=0.0, cleaning=cleaning)
    mask = [0, 7, 8, 190]
    for dm, width in ((40.0, 1), (800.0, 25)):
        extractor = Extractor(band, options, mask)
        todo = extractor.plan(Detection(dm, 2.0, width))
        shape = (todo.stop - todo.start, band.nchan)
        data = noise_of(shape, seed=width, level=np.linspace(60, 140, band.nchan, dtype=np.float32))
        data += 25 * np.sqrt(width) * pulse_of(band, dm, 2.0 - todo.start * TSAMP, width, shape[0])
        data[50:53] += 30
        data[:, 33] += 40
        data[60:90, 100] = 255
        data = as_bytes(data)
        candidate = extractor.extract(data, todo)
        snr, start, pulse_width, freq_time, dm_time = reference(data, band, options, mask, todo)
        assert candidate.snr == pytest.approx(snr, rel=1e-4)
        assert candidate.width == pulse_width * todo.predownsampling
        middle = todo.start + (start + pulse_width / 2) * todo.predownsampling
        assert candidate.time_s == pytest.approx(middle * TSAMP)
        for mine, theirs in ((candidate.data_freq_time, freq_time), (candidate.data_dm_time, dm_time)):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-4 * theirs.std())


# -- arrival times


def assert_central(candidate):
    brightest = np.argmax(candidate.data_freq_time.mean(axis=0))
    # the middle of a pulse of two samples lies between them
    assert brightest in ((32, 33) if candidate.width == 2 else (32,))


@BANDS
@pytest.mark.parametrize("width", [1, 10, 60])
@pytest.mark.parametrize("dm", [20.0, 300.0, 2000.0])
def test_arrival_time_of_a_known_pulse(band, dm, width):
    centre_s = 3.00003
    candidate = observe(band, dm, centre_s, width, snr=60)
    assert abs(candidate.time_s - centre_s) <= candidate.tsamp_s / 2
    assert_central(candidate)


@BANDS
@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize(("dm", "width"), [(20.0, 1), (300.0, 10), (2000.0, 60)])
def test_arrival_time_where_the_window_had_to_be_moved(band, position, dm, width):
    # a window shifted at the start or end of a file, without the arrival time; the sign of the centring shift
    nsample = 20_000
    delay = delay_s(dm, band.freq_mhz.min(), band)
    near = 5.3 * max(width, 20) * TSAMP
    centre_s = near if position == "first" else nsample * TSAMP - delay - near
    candidate = observe(band, dm, centre_s, width, snr=60, nsample=nsample)
    assert abs(candidate.time_s - centre_s) <= candidate.tsamp_s / 2
    assert_central(candidate)


def test_both_band_orders_give_the_same():
    todo = plan(Detection(100.0, 1.0, 5), DOWN, PLAIN)
    data = as_bytes(noise_of((todo.stop - todo.start, 192), 3))
    options = replace(PLAIN, snr_min_local=0.0)
    down = Extractor(DOWN, options, [3, 5]).extract(data, todo)
    up = Extractor(UP, options, [3, 5]).extract(data[:, ::-1], todo)
    assert (up.snr, up.time_s) == (pytest.approx(down.snr), down.time_s)
    np.testing.assert_allclose(up.data_freq_time, down.data_freq_time, atol=1e-3)


def test_pulse_is_at_its_dm_and_the_lowest_frequency_comes_first():
    band, n = DOWN, 64
    extractor = Extractor(band, PLAIN)
    todo = extractor.plan(Detection(300.0, 1.0, 25))
    pulse = pulse_of(band, 300.0, 1.0 - todo.start * TSAMP, 25, todo.stop - todo.start)
    pulse[:, 96:] = 0
    candidate = extractor.extract(as_bytes(noise_of(pulse.shape, 1) + 1500 * pulse), todo)
    assert candidate.data_freq_time.shape == candidate.data_dm_time.shape == (n, n)
    bright = candidate.data_freq_time[:, n // 2]
    assert bright[n // 2 :].min() > bright[: n // 2].max()
    best = candidate.dms[candidate.data_dm_time[:, n // 2].argmax()]
    assert best == pytest.approx(300, abs=3 * (candidate.dms[1] - candidate.dms[0]))
    assert candidate.dm == 300
    assert candidate.tsamp_s == pytest.approx(candidate.downsampling * TSAMP)


def test_data_are_means_above_the_median():
    extractor = Extractor(DOWN, PLAIN)
    todo = extractor.plan(Detection(10.0, 1.0, 10))
    pulse = pulse_of(DOWN, 10.0, 1.0 - todo.start * TSAMP, 10, todo.stop - todo.start)
    candidate = extractor.extract(as_bytes(noise_of(pulse.shape, 1) + 500 * pulse), todo)
    assert candidate.data_freq_time[:, 32].mean() == pytest.approx(50, rel=0.1)
    assert candidate.data_dm_time[:, 32].max() == pytest.approx(50, rel=0.1)
    assert np.median(candidate.data_dm_time) == pytest.approx(0, abs=0.5)


# -- S/N


def test_snr_is_within_five_per_cent_of_the_best_boxcar_on_average():
    cases = list(itertools.product((10, 20, 50), (1, 4, 10, 30, 100), (20.0, 300.0, 1000.0, 3000.0), (0, 1)))
    ratios = [
        observe(DOWN, dm, 1.0 + 0.13 * seed * TSAMP, width, snr, seed=100 * seed + index).snr / snr
        for index, (snr, width, dm, seed) in enumerate(cases)
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)
    by_snr = np.reshape(ratios, (3, -1)).mean(axis=1)
    np.testing.assert_allclose(by_snr, 1, atol=0.07)


def test_default_cleaning_leaves_bursts_in_the_whole_band():
    top = ARTS.min_freq_mhz + ARTS.bandwidth_mhz - WIDTH_MHZ
    band = Band(top, -WIDTH_MHZ, ARTS.nchan, TSAMP)
    ratios = [
        observe(band, 100.0, 1.0, width, snr, options=Settings(), seed=seed).snr / snr
        for seed, (width, snr) in enumerate(itertools.product((1, 10), (10, 20, 40)))
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("clean_type", CLEAN_TYPES)
def test_noise_gives_no_candidate(clean_type):
    options = Settings(cleaning=Cleaning(clean_type), snr_min_local=7.0)
    extractor = Extractor(DOWN, options)
    for dm, width in ((20.0, 1), (800.0, 25)):
        todo = extractor.plan(Detection(dm, 1.0, width))
        data = as_bytes(noise_of((todo.stop - todo.start, 192), width))
        with pytest.raises(TooFaintError, match=r"S/N \d\.\d\d is below snr_min_local, 7.00"):
            extractor.extract(data, todo)


def test_interference_is_no_candidate_once_it_is_cleaned():
    for clean_type, found in (("none", True), ("time", False)):
        extractor = Extractor(DOWN, Settings(cleaning=Cleaning(clean_type), snr_min_local=8.0))
        todo = extractor.plan(Detection(0.5, 1.0, 2))
        data = noise_of((todo.stop - todo.start, 192), 4)
        data[160:163] += 30
        if found:
            assert extractor.extract(as_bytes(data), todo).snr > 8
        else:
            with pytest.raises(TooFaintError):
                extractor.extract(as_bytes(data), todo)


# -- the plan


@settings(max_examples=100, deadline=None)
@given(
    dm=st.floats(0, 3000),
    time_s=st.floats(0, 100),
    width=st.integers(1, 1000),
    nsample=st.none() | st.integers(100_000, 2_000_000),
)
def test_plan_stays_within_the_data_and_covers_the_pulse(dm, time_s, width, nsample):
    detection = Detection(dm, time_s, width)
    try:
        todo = plan(detection, DOWN, PLAIN, nsample)
    except ExtractionError:
        assert time_s >= nsample * TSAMP
        return
    assert 0 <= todo.start < todo.stop
    assert nsample is None or todo.stop <= nsample
    assert todo.dms[todo.main] == dm
    assert todo.start * TSAMP <= time_s
    sweep_end_s = time_s + delay_s(dm, DOWN.freq_mhz.min(), DOWN) + width * TSAMP
    assert todo.stop * TSAMP >= min(sweep_end_s, np.inf if nsample is None else nsample * TSAMP)
    factor = todo.predownsampling * todo.downsampling
    assert factor <= max(width, todo.predownsampling)
    halfrange = 10 + 5 * factor * TSAMP * 1e3 + dm / 100
    assert todo.dms[0] >= max(0, dm - halfrange * (1 + 1e-9))


def test_downsampling_before_dedispersion_is_a_quarter_of_the_smearing():
    # DM 1500 smears over 11.5 samples in the middle of the instrument's band
    band = Band(1519.4, -WIDTH_MHZ, 1536, TSAMP)
    todo = plan(Detection(1500.0, 10.0, 100), band, PLAIN)
    assert (todo.predownsampling, todo.downsampling) == (2, 50)
    assert plan(Detection(56.8, 10.0, 1), band, PLAIN).predownsampling == 1


@pytest.mark.parametrize(("width", "margin"), [(1, 128), (100, 800)])
def test_window_has_an_eighth_more_on_either_side_and_at_least_128_samples(width, margin):
    todo = plan(Detection(0.0, 10.0, width), DOWN, replace(PLAIN, dm_halfrange=0.0, ndm=1))
    middle = round(10.0 / TSAMP + width / 2)
    stored = 64 * width
    assert (todo.start, todo.downsampling) == (middle - stored // 2 - margin, width)


def test_shift_at_the_end_keeps_the_length_of_the_window():
    free = plan(Detection(100.0, 5.0, 10), DOWN, PLAIN)
    moved = plan(Detection(100.0, 5.0, 10), DOWN, PLAIN, free.stop - 100)
    assert (moved.start, moved.stop) == (free.start - 100, free.stop - 100)


@pytest.mark.parametrize(
    ("detection", "nsample", "message"),
    [
        (Detection(100.0, 9.0, 10), 1000, r"arrives at 9.0000 s, after the end of the data at 0.0819 s"),
        (Detection(3000.0, 0.01, 10), 1000, r"needs .* s of data, but there are 0.0819 s"),
        (Detection(10.0, 0.01, 1000), 5000, r"needs .* s of data, but there are 0.4096 s"),
        (Detection(-1.0, 1.0, 10), None, "have to be at least 0"),
        (Detection(10.0, float("nan"), 10), None, "have to be at least 0"),
    ],
)
def test_detection_that_the_data_cannot_hold_is_refused(detection, nsample, message):
    with pytest.raises(ExtractionError, match=message):
        plan(detection, DOWN, PLAIN, nsample)


# -- bad data and settings


# one damaged row of AMBER, or a width that nobody looks for, took all memory of the node
@pytest.mark.parametrize(("dm", "width", "fits"), [(1e5, 1, True), (500, 2500, True), (500, 200_000, False)])
def test_a_window_that_is_too_large_for_the_memory_is_refused(dm, width, fits):
    band = Band(1519.5, -WIDTH_MHZ, ARTS.nchan, TSAMP)
    if fits:
        plan(Detection(dm, 100.0, width), band, Settings())
        return
    with pytest.raises(ExtractionError, match=r"200000 samples needs 1471\.2609 s of data: too much"):
        plan(Detection(dm, 100.0, width), band, Settings())


def test_too_few_samples_are_refused():
    extractor = Extractor(DOWN, PLAIN)
    todo = extractor.plan(Detection(100.0, 1.0, 10))
    with pytest.raises(DARCError, match=r"samples of 192 channels are needed.*shape \(10, 192\)"):
        extractor.extract(np.zeros((10, 192), np.uint8), todo)


def test_mask_of_all_channels_is_refused():
    with pytest.raises(ExtractionError, match="all 192 channels"):
        Extractor(DOWN, PLAIN, range(192))


def test_mask_of_another_band_is_refused():
    with pytest.raises(MaskError):
        Extractor(DOWN, PLAIN, [192])


def test_more_frequency_bins_than_channels_are_refused():
    with pytest.raises(ExtractionError, match="nfreq = 200 is more than the 192 channels"):
        Extractor(DOWN, replace(PLAIN, nfreq=200))


@BANDS
def test_masked_channels_are_zero(band):
    # channel n of N, counted from the other end, is N - 1 - n
    extractor = Extractor(band, replace(PLAIN, nfreq=192, snr_min_local=0.0), [0, 1, 100])
    todo = extractor.plan(Detection(100.0, 1.0, 10))
    data = as_bytes(noise_of((todo.stop - todo.start, 192), 2))
    candidate = extractor.extract(data, todo)
    empty = (candidate.data_freq_time == 0).all(axis=1)
    assert list(np.flatnonzero(empty)) == [0, 1, 100]


@pytest.mark.parametrize("clean_type", CLEAN_TYPES)
def test_constant_data_hold_no_pulse(clean_type):
    extractor = Extractor(DOWN, Settings(cleaning=Cleaning(clean_type)))
    todo = extractor.plan(Detection(100.0, 1.0, 10))
    with pytest.raises(TooFaintError, match=r"S/N 0\.00"):
        extractor.extract(np.full((todo.stop - todo.start, 192), 7, np.uint8), todo)


def test_constant_channels_contribute_nothing():
    extractor = Extractor(DOWN, replace(PLAIN, nfreq=192, snr_min_local=0.0))
    todo = extractor.plan(Detection(100.0, 1.0, 10))
    data = as_bytes(noise_of((todo.stop - todo.start, 192), 2))
    data[:, 5:8] = 200
    assert (extractor.extract(data, todo).data_freq_time[-8:-5] == 0).all()


@pytest.mark.parametrize("dm", [0.0, 2.0, 9.0])
def test_dm_range_near_zero(dm):
    candidate = observe(DOWN, dm, 1.0, 5, snr=40)
    assert candidate.dms[0] >= 0
    assert candidate.dm == dm
    row = np.flatnonzero(candidate.dms == dm)
    assert candidate.data_dm_time[row, 32] > 5 * candidate.data_dm_time.std()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, ">f4"])
def test_other_types_give_nearly_the_same(dtype):
    extractor = Extractor(DOWN, replace(PLAIN, cleaning=Cleaning("perchannel")))
    todo = extractor.plan(Detection(300.0, 1.0, 10))
    pulse = pulse_of(DOWN, 300.0, 1.0 - todo.start * TSAMP, 10, todo.stop - todo.start)
    data = noise_of(pulse.shape, 1) + 250 * pulse
    expected = extractor.extract(as_bytes(data), todo)
    candidate = extractor.extract((100 * data).astype(dtype), todo)
    assert candidate.snr == pytest.approx(expected.snr, rel=0.03)
    assert candidate.time_s == pytest.approx(expected.time_s, abs=2 * TSAMP)
    difference = candidate.data_dm_time / 100 - expected.data_dm_time
    assert difference.std() < 0.1 * expected.data_dm_time.std()


def test_values_that_are_not_finite_do_no_harm():
    data = noise_of((2000, 5), 1)
    data[3, 2], data[4, 3] = np.nan, np.inf
    data[:, 4] = np.nan
    levels, scale = to_levels(data)
    assert np.isfinite(scale).all()
    assert np.median(levels[:, 2]) == pytest.approx(96, abs=1)
    assert np.ptp(levels[:, 4]) == 0


def test_data_may_be_read_only_and_of_any_layout():
    extractor = Extractor(DOWN, replace(PLAIN, snr_min_local=0.0))
    todo = extractor.plan(Detection(100.0, 1.0, 10))
    data = as_bytes(noise_of((todo.stop - todo.start, 192), 2))
    expected = extractor.extract(data, todo)
    frozen = data.copy()
    frozen.flags.writeable = False
    for other in (frozen, np.asfortranarray(data), np.repeat(data, 2, axis=1)[:, ::2]):
        assert extractor.extract(other, todo).snr == expected.snr


def test_candidates_do_not_depend_on_those_before():
    extractor = Extractor(DOWN, replace(PLAIN, snr_min_local=0.0))

    def extract(dm, width):
        todo = extractor.plan(Detection(dm, 1.0, width))
        return extractor.extract(as_bytes(noise_of((todo.stop - todo.start, 192), width)), todo)

    first = extract(100.0, 5)
    extract(800.0, 50)
    again = extract(100.0, 5)
    np.testing.assert_array_equal(first.data_dm_time, again.data_dm_time)
    assert first.snr == again.snr


def test_nothing_is_compiled_after_warming_up():
    # in a process of its own, where no other test has compiled anything
    program = """
import numpy as np
from darc.science import _kernels
from darc.science.extraction import *
warm_up()
kernels = [value for value in vars(_kernels).values() if hasattr(value, "signatures")]
compiled = [len(kernel.signatures) for kernel in kernels]
assert any(compiled)
for clean_type in ("time", "frequency", "both", "perchannel", "none"):
    cleaning = Cleaning(clean_type, threshold_time=3, bin_size=16)
    extractor = Extractor(Band(1500, -1, 128, 1e-4), Settings(snr_min_local=0, cleaning=cleaning), [1, 2])
    todo = extractor.plan(Detection(50, 1, 5))
    data = np.random.default_rng(0).integers(90, 110, (todo.stop - todo.start, 128), dtype=np.uint8)
    for writeable in (True, False):
        data.flags.writeable = writeable
        extractor.extract(data, todo)
assert compiled == [len(kernel.signatures) for kernel in kernels]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_real_data_without_a_pulse_give_no_candidate(reference_data):
    content = (reference_data / "sigproc" / "parkes_8bit_1.fil").read_bytes()
    header, marker = content.index(b"HEADER_END"), len(b"HEADER_END")
    data = np.frombuffer(content, np.uint8, offset=header + marker).reshape(-1, 832)
    extractor = Extractor(Band(4030.0, -4.0, 832, 0.512e-3), Settings())
    for dm, width in itertools.product((20.0, 56.8, 100.0), (1, 5, 25)):
        todo = extractor.plan(Detection(dm, 0.6, width), len(data))
        with pytest.raises(TooFaintError):
            extractor.extract(data[todo.start : todo.stop], todo)
