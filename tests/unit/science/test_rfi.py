"""Cleaning of interference, on noise with interference at known places."""

import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from darc.science.rfi import Cleaning, MaskError, clean, clip, masked_channels, outlying_channels

NSAMPLE, NCHAN = 2000, 64
NO_MASK = np.zeros(NCHAN, bool)


@pytest.fixture
def noise():
    """Noise around a band that is not flat."""
    shape = 100 + 40 * np.sin(np.linspace(0, 2, NCHAN))
    return np.random.default_rng(1).normal(shape, 8, (NSAMPLE, NCHAN)).astype(np.uint8)


def fraction_removed(verdict, data):
    low, high = verdict.limits.T
    kept = (low <= data) & (data <= high) & ~verdict.skipped[:, None] & verdict.usable
    return 1 - kept.mean()


@pytest.mark.parametrize(("descending", "expected"), [(True, [99, 98, 0]), (False, [0, 1, 99])])
def test_mask_counts_from_the_lowest_frequency(descending, expected):
    # a mask that is turned around by one channel too many: number 0 of N is N - 1 from the other end
    flags = masked_channels([0, 1, 99], 100, descending=descending)
    assert sorted(np.flatnonzero(flags)) == sorted(expected)


@pytest.mark.parametrize("number", [-1, 100])
def test_mask_of_another_band_is_refused(number):
    with pytest.raises(MaskError, match=f"channel {number}.*0 to 99"):
        masked_channels([5, number], 100, descending=True)


def test_empty_mask_masks_nothing():
    assert not masked_channels([], 10, descending=True).any()


def test_time_finds_samples_that_stand_out_in_all_channels(noise):
    noise[[50, 51, 700]] += 20
    verdict = clean(noise, NO_MASK, Cleaning("time"))
    assert verdict.skipped[[50, 51, 700]].all()
    assert verdict.skipped.mean() < 0.01
    assert verdict.usable.all()


def test_time_finds_dropped_samples(noise):
    noise[300:310] = 0
    assert clean(noise, NO_MASK, Cleaning("time")).skipped[300:310].all()


def test_time_leaves_a_spike_in_one_channel_alone(noise):
    noise[50, 3] += 50
    assert not clean(noise, NO_MASK, Cleaning("time")).skipped[50]


def test_more_rounds_find_fainter_interference(noise):
    noise[100:110] = 255
    noise[200] += 8
    found = [clean(noise, NO_MASK, Cleaning("time", n_iter_time=n)).skipped for n in (0, 1, 3)]
    assert [bool(skipped[100]) for skipped in found] == [False, True, True]
    assert [bool(skipped[200]) for skipped in found] == [False, False, True]


def test_frequency_finds_channels_that_stand_out_from_the_band(noise):
    noise[:, 20] += 60
    noise[:, 41] = 0
    verdict = clean(noise, NO_MASK, Cleaning("frequency", bin_size=16))
    assert not verdict.usable[[20, 41]].any()
    assert verdict.usable.sum() >= NCHAN - 6
    assert not verdict.skipped.any()


def test_the_level_of_a_block_is_that_of_its_usable_channels():
    mean = np.random.default_rng(2).normal(0.0, 0.1, NCHAN)
    usable = np.ones(NCHAN, bool)
    mean[0], usable[1:4] = 1000.0, False  # alone in the first block of four
    assert not outlying_channels(mean, usable, 3.25, 3, 4).any()
    mean[5] += 3.0
    assert np.flatnonzero(outlying_channels(mean, usable, 3.25, 3, 4)).tolist() == [5]


def test_both_finds_samples_and_channels(noise):
    noise[:, 20] += 60
    noise[700] += 20
    verdict = clean(noise, NO_MASK, Cleaning("both", bin_size=16))
    assert verdict.skipped[700]
    assert not verdict.usable[20]


def test_perchannel_finds_single_values(noise):
    noise[50, 3], noise[60, 4] = 250, 0
    verdict = clean(noise, NO_MASK, Cleaning("perchannel"))
    assert verdict.limits[3, 1] < 250
    assert verdict.limits[4, 0] > 0
    assert fraction_removed(verdict, noise) < 0.01


def test_limits_are_those_of_the_threshold(noise):
    verdict = clean(noise, NO_MASK, Cleaning("perchannel", threshold_time=3.0, n_iter_time=1))
    assert fraction_removed(verdict, noise) == pytest.approx(0.0027, abs=0.0015)


@pytest.mark.parametrize("clean_type", ["none", None])
def test_none_keeps_everything(noise, clean_type):
    noise[:, 20], noise[700] = 255, 0
    assert fraction_removed(clean(noise, NO_MASK, Cleaning(clean_type)), noise) == 0


@pytest.mark.parametrize("clean_type", ["time", "frequency", "both", "perchannel", "none"])
def test_masked_channels_take_no_part(noise, clean_type):
    masked = np.arange(NCHAN) == 7
    before = clean(noise, masked, Cleaning(clean_type))
    noise[:, 7] = np.random.default_rng(2).choice([0, 255], NSAMPLE)
    after = clean(noise, masked, Cleaning(clean_type))
    np.testing.assert_array_equal(before.skipped, after.skipped)
    np.testing.assert_array_equal(before.usable, after.usable)
    assert not after.usable[7]


@pytest.mark.parametrize("clean_type", ["time", "frequency", "both", "perchannel", "none"])
def test_constant_data_are_kept(clean_type):
    data = np.full((30, NCHAN), 9, np.uint8)
    verdict = clean(data, NO_MASK, Cleaning(clean_type))
    assert fraction_removed(verdict, data) == 0
    np.testing.assert_array_equal(verdict.mean, 9)
    np.testing.assert_array_equal(verdict.median, 9)


@pytest.mark.parametrize("clean_type", ["time", "frequency", "both", "perchannel"])
def test_threshold_that_everything_exceeds_leaves_something(noise, clean_type):
    strict = replace(Cleaning(clean_type), threshold_time=1e-6, threshold_freq=1e-6)
    verdict = clean(noise, NO_MASK, strict)
    assert verdict.usable.any()
    assert not verdict.skipped.all()
    assert np.isfinite(verdict.mean).all()


@settings(max_examples=50, deadline=None)
@given(data=arrays(np.uint8, (12, 3)), threshold=st.floats(0.5, 4), niter=st.integers(0, 4))
def test_clipping_is_what_it_says(data, threshold, niter):
    verdict = clip(data, np.ones(3, bool), np.zeros(12, bool), threshold=threshold, niter=niter)
    for channel in range(3):
        left = data[:, channel].astype(float)
        for _ in range(niter):
            inside = left[np.abs(left - left.mean()) <= threshold * left.std()]
            if np.ptp(left) == 0 or not inside.size:
                break
            left = inside
        low, high = verdict.limits[channel]
        values = data[:, channel]
        assert sorted(values[(low <= values) & (values <= high)]) == sorted(left)
        assert verdict.mean[channel] == pytest.approx(left.mean())
        assert verdict.median[channel] == pytest.approx(statistics.median_grouped(left))
