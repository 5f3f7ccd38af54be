"""S/N of pulses of known strength."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.science.snr import amber_snr, matched_filter


def reference_snr(series):
    """AMBER's S/N, step by step."""
    left = np.asarray(series, np.float64)
    median, sigma = np.median(left), left.std()
    for _ in range(4):
        left = left[np.abs(left - median) < 3 * sigma]
        if not left.size:
            return 0.0
        median, sigma = np.median(left), left.std()
    return (np.max(series) - median) / (1.048 * sigma) if sigma > 0 else 0.0


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-100, 100), min_size=1, max_size=60))
def test_snr_is_that_of_the_definition(values):
    series = np.array(values, np.float32)
    assert amber_snr(series) == pytest.approx(reference_snr(series), rel=1e-4, abs=1e-4)


def test_snr_of_data_without_scatter_is_zero():
    assert amber_snr(np.full(50, 3.0)) == 0


def test_snr_does_not_depend_on_level_and_scale():
    series = noise(500)
    assert amber_snr(1000 + 7 * series) == pytest.approx(amber_snr(series), rel=1e-3)


def test_estimator_loses_three_per_cent():
    # the figure in the docstring of the module
    series = noise(100_000)
    series[5] = 1000
    assert amber_snr(series) / 1000 == pytest.approx(0.969, abs=0.01)


@pytest.mark.parametrize("width", [1, 5, 25, 100, 300])
def test_pulse_is_found_where_it_is(width):
    series = noise(80 * width + 400)
    start = 37 * width + 5
    series[start : start + width] += 40 / np.sqrt(width)
    pulse = matched_filter(series, width)
    assert abs(pulse.start + pulse.width / 2 - (start + width / 2)) <= max(1, 0.1 * width)
    assert pulse.width == pytest.approx(width, rel=0.15)
    assert pulse.snr == pytest.approx(40, rel=0.15)


@pytest.mark.parametrize("snr", [10, 20, 50])
@pytest.mark.parametrize("width", [1, 10, 100])
def test_snr_is_recovered_on_average(width, snr):
    n, recovered = max(320, 80 * width), []
    for seed in range(40):
        series = noise(n, seed)
        series[n // 2 : n // 2 + width] += snr / np.sqrt(width)
        recovered.append(matched_filter(series, width).snr)
    assert np.mean(recovered) / snr == pytest.approx(0.98, abs=0.05)


@pytest.mark.parametrize(("true", "guess"), [(5, 10), (20, 10), (30, 25)])
def test_width_may_be_off_by_a_factor_of_two(true, guess):
    series = noise(2000)
    series[1000 : 1000 + true] += 30 / np.sqrt(true)
    assert matched_filter(series, guess).width == pytest.approx(true, rel=0.2)


@given(width=st.integers(1, 2000))
@settings(max_examples=20, deadline=None)
def test_widths_tried_are_between_half_and_twice_the_guess(width):
    pulse = matched_filter(noise(4 * width + 8, width), width)
    assert width / 2 - max(1, width / 100) <= pulse.width <= 2 * width


def test_drift_of_the_level_costs_no_digits():
    series = noise(2000)
    series[700] = 30
    assert matched_filter(series + 1e9, 1).snr == pytest.approx(matched_filter(series, 1).snr, rel=1e-3)


def test_constant_series_has_no_pulse():
    assert matched_filter(np.full(100, 2.0), 3).snr == 0


@pytest.mark.parametrize(("n", "width"), [(39, 10), (100, 0), (0, 1)])
def test_series_that_is_too_short_is_refused(n, width):
    with pytest.raises(ValueError, match="boxcar"):
        matched_filter(np.zeros(n), width)
