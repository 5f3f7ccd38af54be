"""What a network sees of a candidate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from darc.science.network_input import network_input


def test_data_are_reduced_by_averaging():
    data = np.arange(32.0).reshape(4, 8) ** 2
    averaged = data.reshape(2, 2, 4, 2).mean(axis=(1, 3))
    expected = averaged - np.median(averaged, axis=1, keepdims=True)
    expected /= averaged.std(axis=1, keepdims=True)
    np.testing.assert_allclose(network_input(data, (2, 4)), expected, rtol=1e-5)


def test_bins_that_do_not_divide_evenly_are_averaged_over_what_they_hold():
    reduced = network_input(np.array([[0.0, 6.0, 6.0, 9.0, 9.0]]), (1, 2))
    # means 3 and 8
    np.testing.assert_allclose(reduced, [[-1.0, 1.0]])


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-9, 9, width=32)
    ),
    st.floats(0.125, 64, width=32),
    st.integers(-50, 50),
)
def test_gain_and_offset_of_a_row_do_not_matter(data, gain, offset):
    seen = network_input(data, data.shape)
    assert seen.dtype == np.float32 and np.isfinite(seen).all()
    if np.ptp(data, axis=1).min() > 0.01:
        np.testing.assert_allclose(network_input(gain * data + offset, data.shape), seen, atol=0.02)


def test_a_row_without_scatter_is_zero():
    data = np.array([[0.1] * 7, [1e7 / 3] * 7, [0, 0, 0, 1, 0, 0, 0]])
    seen = network_input(data, (3, 7))
    assert not seen[:2].any() and seen[2, 3] > 2


@pytest.mark.parametrize("shape", [(5, 8), (4, 9), (0, 8)])
def test_data_that_are_too_small_are_refused_with_both_shapes(shape):
    with pytest.raises(ValueError, match=r"\(4, 8\)"):
        network_input(np.zeros((4, 8)), shape)
