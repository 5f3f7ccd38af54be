"""What is drawn over the data of the fake telescope."""

import numpy as np
import pytest

from darc.training import disturbances
from darc.training.disturbances import DISTURBANCES, Canvas, add

WIDTH = 8


def canvas():
    """A piece of data around a detection whose delay over the band is 200 samples."""
    track = 300 + 200 * np.linspace(0, 1, 96) ** 1.2
    return Canvas(np.zeros((900, 96), np.float32), track, WIDTH)


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_each_kind_draws_something_and_the_seed_says_what(kind):
    drawn = []
    for seed in (1, 2, 1):
        there = canvas()
        for draw in range(5):  # what is drawn may lie outside of the data
            DISTURBANCES[kind][0](np.random.default_rng((seed, draw)), there, 1.0)
        drawn.append(there.power)
    assert np.isfinite(drawn[0]).all()
    assert drawn[0].any()
    assert np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[1])


def test_a_sweep_leaves_the_track_further_than_a_burst_can():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        offset = disturbances._offset(rng, canvas(), 48)
        assert offset[48] == 0
        assert np.ptp(offset) >= WIDTH * 0.99


def test_counts_are_added_in_proportion_to_the_noise_and_stay_bytes():
    there = canvas()
    there.power[:, 0], there.power[:, 1], there.power[:, 2] = 0.25, 100, -100
    data = add(np.full((900, 96), 50, np.uint8), there, np.full(96, 10.0), np.random.default_rng(1))
    assert data.dtype == np.uint8
    # fractions are rounded up or down at random
    assert data[:, 0].mean() == pytest.approx(52.5, abs=0.1)
    assert (data[:, 1] == 255).all()
    assert (data[:, 2] == 0).all()
    assert (data[:, 3] == 50).all()
