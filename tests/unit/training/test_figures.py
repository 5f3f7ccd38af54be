"""What is measured of a network, and how its probabilities are made true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.training.examples import Examples
from darc.training.figures import (
    calibrate,
    calibration_curve,
    measure,
    precision_recall_curve,
    roc_curve,
    sigmoid,
)

RNG = np.random.default_rng(1)


def examples(burst, snr, kind="noise"):
    n = len(burst)
    none = np.empty((n, 0, 0), np.float32)
    kinds = np.where(burst, "burst", kind)
    numbers = np.full(n, 100.0)
    return Examples(none, none, burst, kinds, snr, numbers, numbers / 1e5, numbers, np.ones(n, bool), numbers)


def test_recall_and_false_positives_are_those_at_the_threshold():
    burst = np.array([True] * 4 + [False] * 4)
    snr = np.array([9.0, 9.0, 20.0, 20.0] * 2)
    probability = np.array([0.4, 0.6, 0.5, 0.9, 0.1, 0.2, 0.3, 0.5])
    figures = measure(probability, examples(burst, snr))
    assert (figures.recall.kept, figures.recall.number) == (3, 4)
    assert figures.recall_bright.part == 1
    assert figures.recall_faint.part == 0.5
    assert figures.false_positives.part == 0.25
    # of as many bursts as others, 1 and 0.25 of them are kept
    assert figures.precision == pytest.approx(0.8)
    assert [(one.label, one.number) for one in figures.by_kind] == [("noise", 4)]
    assert sum(one.number for one in figures.by_snr) == 4


def test_a_perfect_and_a_useless_network():
    burst = RNG.random(4000) < 0.5
    assert roc_curve(burst.astype(float), burst)[1] == 1
    assert precision_recall_curve(burst.astype(float), burst)[1] == 1
    guess = RNG.random(4000)
    assert roc_curve(guess, burst)[1] == pytest.approx(0.5, abs=0.03)
    assert precision_recall_curve(guess, burst)[1] == pytest.approx(0.5, abs=0.03)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.9]), st.booleans()), min_size=2, max_size=30))
def test_the_roc_area_is_the_chance_that_a_burst_is_ranked_above_another(pairs):
    probability, burst = np.array([p for p, _ in pairs]), np.array([b for _, b in pairs])
    if burst.all() or not burst.any():
        return
    difference = probability[burst][:, None] - probability[~burst]
    chance = (difference > 0).mean() + 0.5 * (difference == 0).mean()
    assert roc_curve(probability, burst)[1] == pytest.approx(chance)


def test_calibration_finds_the_factor_and_summand_that_odds_were_distorted_with():
    odds = RNG.normal(0, 3, 40_000)
    burst = RNG.random(odds.size) < sigmoid(odds)
    factor, summand = calibrate((odds - 1.5) / 0.4, burst)
    assert (factor, summand) == pytest.approx((0.4, 1.5), rel=0.05)


def test_calibrated_probabilities_are_true_and_others_are_not():
    odds = RNG.normal(0, 3, 40_000)
    burst = RNG.random(odds.size) < sigmoid(odds)
    assert calibration_curve(sigmoid(odds), burst)[1] < 0.01
    assert calibration_curve(sigmoid(4 * odds), burst)[1] > 0.05


def test_calibration_stays_finite_where_bursts_are_perfectly_separated():
    odds = np.array([-3.0, -2.0, 2.0, 3.0])
    factor, summand = calibrate(odds, odds > 0)
    assert 0 < factor < 10
    assert abs(summand) < 1
