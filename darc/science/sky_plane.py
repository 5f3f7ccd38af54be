"""Positions on a map of a small part of the sky, and the size of a beam on it."""

from __future__ import annotations

from math import asin, degrees, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

Degrees = NDArray[np.float64]

_LIGHT_M_PER_S = 299792458.0
#: Where the diffraction pattern of a uniformly illuminated disc (Airy 1835), (2 J1(x) / x)^2, is 1/2.
_AIRY_HALF_POWER = 1.616340


def half_power_radius_deg(dish_diameter_m: float, freq_mhz: float) -> float:
    """Angle in degrees from the centre of a dish's beam at which its response has fallen to half.

    That of a uniformly illuminated dish, sin(r) = 0.5145 wavelength / diameter: 0.25 degrees at 25 m and
    1400 MHz.
    """
    wavelength_m = _LIGHT_M_PER_S / (freq_mhz * 1e6)
    return degrees(asin(_AIRY_HALF_POWER * wavelength_m / (pi * dish_diameter_m)))


def middle(ra_deg: ArrayLike, dec_deg: ArrayLike) -> tuple[float, float]:
    """Return right ascension and declination in degrees of the middle of positions, shape (n,)."""
    x, y, z = _vectors(ra_deg, dec_deg).mean(axis=-1)
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def tangent_plane_deg(
    ra_deg: ArrayLike, dec_deg: ArrayLike, centre: tuple[float, float]
) -> tuple[Degrees, Degrees]:
    """Project positions on the plane that touches the sky at a centre (gnomonic projection, FITS `TAN`).

    Args:
        ra_deg: right ascensions in degrees, less than 90 degrees from the centre
        dec_deg: declinations in degrees
        centre: right ascension and declination of the centre in degrees

    Returns:
        distances to the east and to the north of the centre in degrees
    """
    ra, dec = np.radians(centre)
    away, east, north = (
        np.array(axis) @ _vectors(ra_deg, dec_deg)
        for axis in (
            (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)),
            (-np.sin(ra), np.cos(ra), 0.0),
            (-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)),
        )
    )
    return np.degrees(east / away), np.degrees(north / away)


def _vectors(ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.float64]:
    """Return unit vectors, shape (3, n)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
