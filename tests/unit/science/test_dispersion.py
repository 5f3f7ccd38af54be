"""Delay and smearing by dispersion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.science.dispersion import delay_s, smearing_s

FREQS = st.floats(100, 10_000)


def test_delay_down_to_lofar():
    # Crab pulsar, DM 56.791: from 1.37 GHz down to 200 MHz
    assert delay_s(56.791, 200.0, 1370.0) == pytest.approx(5.76484, abs=1e-5)


def test_delay_without_reference_is_that_behind_infinite_frequency():
    assert delay_s(1.0, 1.0) == 4.148808e3


@given(dm=st.floats(0, 1e4), low=FREQS, mid=FREQS, high=FREQS)
def test_delays_add_up(dm, low, mid, high):
    total = delay_s(dm, low, mid) + delay_s(dm, mid, high)
    assert total == pytest.approx(delay_s(dm, low, high), rel=1e-9, abs=1e-9)


def test_pulse_arrives_later_in_the_centre_of_the_band_than_at_its_top():
    # subtracting the delay from the top of the band to its centre where it has to be added
    centre, top = ARTS.centre_freq_mhz(ARTS.min_freq_mhz), ARTS.top_freq_mhz(ARTS.min_freq_mhz)
    assert delay_s(100.0, centre, top) > 0
    assert delay_s(100.0, top, centre) == -delay_s(100.0, centre, top)


def test_arguments_broadcast():
    delays = delay_s(np.array([[10.0], [20.0]]), np.array([1200.0, 1400.0, 1500.0]), 1500.0)
    assert delays.shape == (2, 3)
    np.testing.assert_allclose(delays[1], 2 * delays[0])
    assert (delays[:, 2] == 0).all()


def test_smearing_is_the_delay_between_the_edges_of_a_channel():
    width = 300 / 1536
    assert smearing_s(100.0, 1370.0, width) == delay_s(100.0, 1370.0 - width / 2, 1370.0 + width / 2)
    # first order: 2 k DM df / f^3
    assert smearing_s(100.0, 1370.0, width) == pytest.approx(2 * 4.148808e5 * width / 1370.0**3, rel=1e-6)
