"""Maps of small parts of the sky."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from darc.science.sky_plane import half_power_radius_deg, middle, tangent_plane_deg

RA = st.floats(0, 360)
DEC = st.floats(-85, 85)


def test_the_beam_of_a_westerbork_dish():
    assert half_power_radius_deg(25.0, 1400.0) == pytest.approx(0.2525, abs=1e-4)
    assert half_power_radius_deg(25.0, 700.0) == pytest.approx(0.505, abs=1e-3)


@given(RA, DEC)
def test_the_centre_is_the_origin(ra, dec):
    np.testing.assert_allclose(tangent_plane_deg([ra], [dec], (ra, dec)), 0, atol=1e-9)


@given(RA, DEC, st.floats(0.01, 3), st.floats(0, 360))
def test_small_distances_and_directions_are_those_on_the_sky(ra, dec, distance, direction):
    there = SkyCoord(ra, dec, unit="deg").directional_offset_by(direction * u.deg, distance * u.deg)
    east, north = tangent_plane_deg([there.ra.deg], [there.dec.deg], (ra, dec))
    expected = np.degrees(np.tan(np.radians(distance)))
    assert east[0] == pytest.approx(expected * np.sin(np.radians(direction)), abs=1e-6)
    assert north[0] == pytest.approx(expected * np.cos(np.radians(direction)), abs=1e-6)


def test_the_middle_of_positions_around_zero_hours():
    ra, dec = middle([359.0, 1.0], [10.0, 10.0])
    assert min(ra, 360 - ra) == pytest.approx(0, abs=1e-9)
    assert dec == pytest.approx(10, abs=0.01)
