"""Detections near known sources."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from darc.science.known_sources import near, separation_deg

RA, DEC = st.floats(0, 360), st.floats(-90, 90)


@given(RA, DEC, RA, DEC)
def test_angles_are_those_of_another_implementation(ra1, dec1, ra2, dec2):
    one, other = (SkyCoord(ra, dec, unit="deg") for ra, dec in ((ra1, dec1), (ra2, dec2)))
    assert separation_deg(ra1, dec1, ra2, dec2) == pytest.approx(one.separation(other).deg, abs=1e-5)


def test_small_angles_are_exact():
    assert separation_deg(10.0, 60.0, 10.0, 60.0 + 1e-6) == pytest.approx(1e-6, rel=1e-6)


def test_near_are_detections_within_the_beam_and_the_window_of_dm():
    detections = [(0.1, 60.0, 500.0), (359.9, 60.0, 519.9), (0.0, 60.0, 521.0), (1.0, 60.0, 500.0)]
    sources = [(0.0, 60.0, 500.0), (180.0, 60.0, 500.0)]
    # one degree of right ascension is half a degree on the sky at this declination
    found = near(detections, sources, radius_deg=0.4, dm_window=20.0)
    assert found.tolist() == [[True, True, False, False], [False] * 4]


def test_neither_detections_nor_sources_are_needed():
    assert near([], [(0, 0, 0)], radius_deg=1, dm_window=1).shape == (1, 0)
    assert near([(0, 0, 0)], [], radius_deg=1, dm_window=1).shape == (0, 1)
    assert np.all(near([(0, 0, 0)], [(0, 0, 0)], radius_deg=0, dm_window=0))
