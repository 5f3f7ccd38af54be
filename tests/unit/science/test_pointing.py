"""Apparent hour angle and declination, checked against astropy's frames, and what a beam needs."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, HADec, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.science import pointing

MIDDLE = Time("2019-05-18T23:51:13", scale="utc")
WSRT = EarthLocation.from_geocentric(ARTS.itrf_x_m, ARTS.itrf_y_m, ARTS.itrf_z_m, unit=u.m)
HA, DEC = (grid.ravel() for grid in np.meshgrid(np.linspace(-90, 90, 7), np.linspace(-30, 85, 6)))


def test_hadec_to_j2000_agrees_with_astropy():
    theirs = SkyCoord(HADec(ha=HA * u.deg, dec=DEC * u.deg, obstime=MIDDLE, location=WSRT)).icrs
    ours = pointing.hadec_to_j2000(HA, DEC, MIDDLE, ARTS)
    assert ours.separation(theirs).arcsec.max() < 0.01


def test_j2000_to_hadec_agrees_with_astropy():
    sky = SkyCoord(np.arange(0, 360, 15), np.linspace(-30, 89, 24), unit="deg")
    theirs = sky.transform_to(HADec(obstime=MIDDLE, location=WSRT))
    ha, dec = pointing.j2000_to_hadec(sky, MIDDLE, ARTS)
    ours = SkyCoord(HADec(ha=ha * u.deg, dec=dec * u.deg, obstime=MIDDLE, location=WSRT))
    assert ours.separation(theirs).arcsec.max() < 0.01
    assert (np.abs(ha) <= 180).all()


@settings(max_examples=50, deadline=None)
@given(ha=st.floats(-179, 179), dec=st.floats(-89, 89), mjd=st.floats(50000, 63000))
def test_there_and_back(ha, dec, mjd):
    time = Time(mjd, format="mjd", scale="utc")
    there = pointing.hadec_to_j2000(ha, dec, time, ARTS)
    back = pointing.j2000_to_hadec(there, time, ARTS)
    assert back == pytest.approx((ha, dec), abs=1e-6)


def test_hour_angle_grows_to_the_west():
    # HADEC pointings converted with the inverse function: RA = LST - HA, but for precession since 2000
    lst = MIDDLE.sidereal_time("apparent", longitude=WSRT.lon).deg
    sky = pointing.hadec_to_j2000(30.0, 20.0, MIDDLE, ARTS)
    assert isinstance(sky, SkyCoord)
    assert sky.ra.deg == pytest.approx(lst - 30, abs=0.5)
    assert sky.dec.deg == pytest.approx(20, abs=0.5)


def test_j2000_may_come_in_any_frame():
    icrs = SkyCoord(293.948755, 16.277785, unit="deg")
    assert pointing.j2000_to_hadec(icrs.galactic, MIDDLE, ARTS) == pytest.approx(
        pointing.j2000_to_hadec(icrs, MIDDLE, ARTS), abs=1e-9
    )


@pytest.mark.parametrize("mjd", [40000.0, 62000.0, 66000.0])
def test_dates_outside_the_table_work_without_a_warning(mjd):
    time = Time(mjd, format="mjd", scale="utc")
    sky = pointing.hadec_to_j2000(10.0, 20.0, time, ARTS)
    assert pointing.j2000_to_hadec(sky, time, ARTS) == pytest.approx((10.0, 20.0), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SkyCoord(HADec(ha=10 * u.deg, dec=20 * u.deg, obstime=time, location=WSRT)).icrs
    assert sky.separation(theirs).arcsec < 60


def test_nothing_is_downloaded():
    # IERS tables downloaded at run time
    assert not iers.conf.auto_download
    assert iers.conf.auto_max_age is None


def test_age_of_the_table_counts_from_its_last_measurement():
    table = iers.IERS_A.read(file=iers.IERS_A_FILE)
    first_predicted = Time(table.meta["predictive_mjd"], format="mjd", scale="utc")
    assert pointing.iers_table_age_days(first_predicted + 10 * u.day) == pytest.approx(10)


def test_beam_rotation():
    # on the meridian an east-west array lies along right ascension
    assert pointing.beam_rotation_angle_deg(0.0, 50.0) == 0
    # at the pole the beam turns with the sky; on the equator it does not turn at all
    assert pointing.beam_rotation_angle_deg(40.0, 90.0) == pytest.approx(40)
    assert pointing.beam_rotation_angle_deg(40.0, 0.0) == 0
    assert pointing.beam_rotation_angle_deg(-30.0, 30.0) == pytest.approx(-16.1021, abs=1e-4)


def test_position_angle_is_the_rotation_at_the_sources_hour_angle():
    sky = pointing.hadec_to_j2000(-30.0, 30.0, MIDDLE, ARTS)
    assert pointing.position_angle_deg(sky, MIDDLE, ARTS) == pytest.approx(-16.1021, abs=1e-4)


def test_galactic_coordinates_of_the_crab_pulsar():
    assert pointing.galactic(
        SkyCoord("05:34:31.97", "+22:00:52.1", unit=("hourangle", "deg"))
    ) == pytest.approx((184.5575, -5.7843), abs=1e-4)
