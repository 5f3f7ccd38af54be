"""Where a beam points: hour angle and declination, ICRS, Galactic coordinates, orientation of the beam.

The hour angle (HA) and declination (Dec) of a HADEC pointing are apparent and topocentric: those at which
the dishes stand, counted from the local meridian and the celestial pole of the moment (HA positive to the
west). They contain precession, nutation, annual and diurnal aberration, light deflection, UT1-UTC and polar
motion, and no refraction. This is the "observed" place of ERFA (`atco13`, `atoc13`) at zero pressure. J2000
stands for ICRS, which differs from FK5 J2000 by 0.03 arcsec.

The orientation of the Earth comes from the IERS-A bulletin that the package astropy-iers-data ships: measured
values up to its issue, then predictions for a year; beyond its last day the last value holds (UT1 drifts by
0.1-0.3 s per year, 15 arcsec per s). To have newer ones, upgrade that package; nothing is ever downloaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import astropy.units as u
import erfa
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy.utils import iers
from numpy.typing import ArrayLike, NDArray

from darc.definitions import Instrument

Angle = np.float64 | NDArray[np.float64]


def use_shipped_tables() -> None:
    """Keep astropy off the network: leap seconds and Earth orientation as shipped, in this process.

    Done when this module is imported. Tables that are old then neither raise nor warn:
    `iers_table_age_days` tells how old they are.
    """
    iers.conf.auto_download = False
    iers.conf.auto_max_age = None
    iers.conf.iers_degraded_accuracy = "ignore"


use_shipped_tables()


def iers_table_age_days(now: Time) -> float:
    """Days between the last measured Earth orientation in the shipped table and `now`.

    Up to about 400 the table predicts, and pointings are good to some 0.1 arcsec; beyond, see the module.
    """
    return float(now.utc.mjd - _earth_orientation().meta["predictive_mjd"])


def hadec_to_j2000(ha_deg: ArrayLike, dec_deg: ArrayLike, time: Time, instrument: Instrument) -> SkyCoord:
    """ICRS coordinates of an apparent hour angle and declination; see the module for what these are.

    Args:
        ha_deg: Hour angle in degrees, positive to the west.
        dec_deg: Declination in degrees.
        time: When; for an observation, its middle.
        instrument: Where.

    """
    ra, dec = _quietly(erfa.atoc13, "H", np.radians(ha_deg), np.radians(dec_deg), *_site(time, instrument))
    return SkyCoord(ra, dec, unit=u.rad, frame="icrs")


def j2000_to_hadec(coord: SkyCoord, time: Time, instrument: Instrument) -> tuple[Angle, Angle]:
    """Apparent hour angle (-180 to 180, positive to the west) and declination in degrees.

    Args:
        coord: Position of a distant source, in any frame.
        time: When.
        instrument: Where.

    """
    icrs, fixed = coord.icrs, (0.0, 0.0, 0.0, 0.0)  # no proper motion, parallax, radial velocity
    site = _site(time, instrument)
    _, _, ha, dec, _, _ = _quietly(erfa.atco13, icrs.ra.rad, icrs.dec.rad, *fixed, *site)
    return np.degrees(ha), np.degrees(dec)


def beam_rotation_angle_deg(ha_deg: ArrayLike, dec_deg: ArrayLike) -> Angle:
    """Rotation of the beam of an east-west array on the sky in degrees: atan2(sin Dec sin HA, cos HA)."""
    ha, dec = np.radians(ha_deg), np.radians(dec_deg)
    angle: Angle = np.degrees(np.arctan2(np.sin(dec) * np.sin(ha), np.cos(ha)))
    return angle


def position_angle_deg(coord: SkyCoord, time: Time, instrument: Instrument) -> Angle:
    """Rotation of the beam in degrees when the array looks at a position at a time; arguments as above."""
    return beam_rotation_angle_deg(*j2000_to_hadec(coord, time, instrument))


def velocity_towards(coord: SkyCoord, time: Time, instrument: Instrument) -> float:
    """Velocity of the telescope towards a position, in units of the speed of light.

    Positive when approaching; relative to the barycentre of the solar system; with the rotation of the Earth.
    Good to 1e-8.

    Args:
        coord: Position of a distant source, in any frame.
        time: When.
        instrument: Where.

    """
    astrom, _ = _quietly(erfa.apco13, *_site(time, instrument))
    return float(np.dot(astrom["v"], coord.icrs.cartesian.xyz.to_value(u.one)))


def galactic(coord: SkyCoord) -> tuple[Angle, Angle]:
    """Galactic longitude (0 to 360) and latitude in degrees of a position in any frame."""
    return coord.galactic.l.deg, coord.galactic.b.deg


@cache
def _earth_orientation() -> iers.IERS_A:
    return iers.IERS_A.read(file=iers.IERS_A_FILE)


def _site(time: Time, instrument: Instrument) -> tuple[Any, ...]:
    """Arguments of ERFA's functions for observed places from `utc1` on: time, Earth, site, air."""
    utc, table = time.utc, _earth_orientation()
    # asking for the status makes times outside the table take its nearest value, where it would raise
    ut1_utc, _ = table.ut1_utc(utc, return_status=True)
    pole_x, pole_y, _ = table.pm_xy(utc, return_status=True)
    position = [instrument.itrf_x_m, instrument.itrf_y_m, instrument.itrf_z_m]
    lon, lat, height = erfa.gc2gd(1, position)  # 1: WGS84
    no_air = (0.0, 0.0, 0.0, 0.0)  # pressure, temperature, humidity, wavelength
    earth = (ut1_utc.to_value(u.s), lon, lat, height, pole_x.to_value(u.rad), pole_y.to_value(u.rad))
    return (utc.jd1, utc.jd2, *earth, *no_air)


def _quietly(function: Callable[..., Any], *args: Any) -> Any:
    """Call ERFA without its warning that leap seconds are not known for years to come."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ERFA function .*dubious year", erfa.ErfaWarning)
        return function(*args)
