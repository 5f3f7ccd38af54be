"""Positions as astronomers write them, against astropy."""

import pytest
from astropy.coordinates import Angle
from hypothesis import given
from hypothesis import strategies as st

from darc.web.angles import hours, sexagesimal


@pytest.mark.parametrize(
    ("ra_deg", "text"),
    [
        (0.0, "00:00:00.0"),
        (83.633212, "05:34:32.0"),
        (359.99999, "00:00:00.0"),
        (14.99999, "01:00:00.0"),
        (-15.0, "23:00:00.0"),
    ],
)
def test_right_ascensions_carry_into_the_next_unit(ra_deg, text):
    assert hours(ra_deg) == text


@pytest.mark.parametrize(
    ("dec_deg", "text"),
    [
        (22.01446, "+22:00:52"),
        (-0.5, "-00:30:00"),
        (-0.0001, "+00:00:00"),
        (9.99999, "+10:00:00"),
        (-90, "-90:00:00"),
    ],
)
def test_declinations_have_a_sign_and_carry(dec_deg, text):
    assert sexagesimal(dec_deg) == text


@given(st.floats(0, 360), st.floats(-90, 90))
def test_both_can_be_read_back(ra_deg, dec_deg):
    difference = (Angle(hours(ra_deg), unit="hourangle").deg - ra_deg) % 360
    assert min(difference, 360 - difference) <= 0.75 / 3600 + 1e-9
    assert Angle(sexagesimal(dec_deg), unit="deg").deg == pytest.approx(dec_deg, abs=0.5 / 3600 + 1e-9)
