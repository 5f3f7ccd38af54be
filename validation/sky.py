"""The sky: pointings against ERFA and published places; which table of the Earth's rotation is used."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import astropy.units as u
import erfa
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy.utils import iers

from darc.beam_pointing import beam_pointing
from darc.definitions import ARTS
from darc.science import pointing
from validation.result import Check, Section, Table

ARCSEC = 206264.80624709636
TIMES = ("2019-01-02T18:00:00", "2019-05-18T23:51:13", "2020-02-29T12:34:56.789", "2022-02-11T03:04:05")
#: The Galactic pole in ICRS and the longitude of the node (deg), which define the system: Hipparcos
#: Catalogue, ESA SP-1200, vol. 1, sect. 1.5.3.
POLE, NODE = (192.85948, 27.12825), 32.93192
#: ICRS places of sources and their Galactic coordinates (deg), as published (SIMBAD; Sgr A*: Reid &
#: Brunthaler 2004, ApJ 616, 872).
GALACTIC = {
    ("05:34:31.97", "+22:00:52.1"): (184.5575, -5.7843),  # Crab pulsar
    ("17:45:40.0409", "-29:00:28.118"): (359.94423, -0.04616),  # Sgr A*
    ("00:42:44.330", "+41:16:07.50"): (121.1743, -21.5733),  # M 31
}


def measure(short: bool) -> Section:
    """Compare pointings."""
    number = 50 if short else 500
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-0.4, 0.9999, number)))
    with no_network():
        hadec, back, no_tables = places(ra, dec)
        rotation = rotation_error(rng, number)
        galactic = galactic_errors(ra, dec)
        published = max(published_error(*each) for each in GALACTIC.items())
    reference = f"{number} directions at {len(TIMES)} times"
    checks = [
        Check(
            "RA/Dec to HA/Dec at the WSRT",
            f"erfa matrices and vectors, step by step; {reference}",
            hadec,
            0.5,
            "arcsec",
        ),
        Check("RA/Dec to HA/Dec and back", f"itself; {reference}", back, 0.001, "arcsec"),
        Check(
            "what the pole's motion changes in HA/Dec", "the same with it set to 0", no_tables, 0.5, "arcsec"
        ),
        Check(
            "beam rotation angle",
            f"direction of the array's baseline, projected; {number} directions",
            rotation,
            1e-6,
            "deg",
        ),
        Check(
            "Galactic coordinates",
            f"rotation of the Hipparcos Catalogue; {number} directions",
            galactic,
            0.1,
            "arcsec",
        ),
        Check(
            "Galactic coordinates of the Crab pulsar, Sgr A*, M 31",
            "published, 4 decimals",
            published,
            0.36,
            "arcsec",
        ),
        Check(
            "pointing of a beam given in J2000 and the same in HADEC",
            "40 beams of a parset at 2 times",
            beams_error(),
            0.5,
            "arcsec",
        ),
    ]
    table = iers.IERS_A.read(file=iers.IERS_A_FILE)
    first = float(table.meta["predictive_mjd"])
    last = float(table["MJD"][-1].value)
    age = pointing.iers_table_age_days(Time(datetime.now(UTC)))
    rows = [
        [
            "table",
            f"IERS-A of astropy-iers-data, {iers.IERS_A_FILE.rsplit('/', 1)[-1]}; read without network",
        ],
        ["measured up to", Time(first, format="mjd").isot[:10]],
        ["predicted up to", Time(last, format="mjd").isot[:10]],
        ["age when this page was made", f"{age:.0f} days"],
    ]
    text = (
        "The reference takes the way of the IERS Conventions (2010) in single steps: aberration and light "
        "deflection, precession-nutation matrix, Earth rotation angle, polar motion, diurnal aberration. "
        "Both use UT1 - UTC and the pole of the same table, so that what the table does not know is in "
        "neither: beyond its last measured day UT1 is predicted, to 0.1 arcsec for some months. A place "
        "that does not know the pole's motion is wrong by less than the 0.5 arcsec that are asked for."
    )
    return Section("Sky", text, checks, [Table("Orientation of the Earth", ("", ""), rows)])


@contextmanager
def no_network() -> Iterator[None]:
    """Let every attempt to reach the network fail."""
    original = socket.socket.connect

    def refused(*args: Any) -> None:
        raise AssertionError(f"asked for the network: {args}")

    socket.socket.connect = refused  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.socket.connect = original  # type: ignore[method-assign]


def separation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest angle between vectors, shape (n, 3), in arcsec."""
    return float(np.linalg.norm(one - other, axis=-1).max() * ARCSEC)


def vector(longitude_deg: Any, latitude_deg: Any) -> np.ndarray:
    """Return unit vectors, shape (n, 3)."""
    return np.asarray(erfa.s2c(np.radians(longitude_deg), np.radians(latitude_deg)))


def places(ra: np.ndarray, dec: np.ndarray) -> tuple[float, float, float]:
    """Return the largest differences to the reference, after going back, and without polar motion."""
    hadec = back = pole = 0.0
    sky = SkyCoord(ra, dec, unit="deg")
    for text in TIMES:
        time = Time(text, scale="utc")
        ours = vector(*pointing.j2000_to_hadec(sky, time, ARTS))
        hadec = max(hadec, separation(ours, step_by_step(ra, dec, time)))
        pole = max(pole, separation(ours, step_by_step(ra, dec, time, still_pole=True)))
        there = pointing.hadec_to_j2000(*pointing.j2000_to_hadec(sky, time, ARTS), time, ARTS)
        back = max(back, float(there.separation(sky).arcsec.max()))
    return hadec, back, pole


def step_by_step(ra: np.ndarray, dec: np.ndarray, time: Time, *, still_pole: bool = False) -> np.ndarray:
    """Return vectors of hour angle (positive to the west) and declination at the WSRT."""
    table = iers.IERS_A.open(iers.IERS_A_FILE)
    dut1 = table.ut1_utc(time).to_value(u.s)
    xp, yp = (0.0, 0.0) if still_pole else (each.to_value(u.rad) for each in table.pm_xy(time))
    tt, ut1 = time.tt, erfa.utcut1(time.utc.jd1, time.utc.jd2, dut1)
    position, velocity = erfa.epv00(tt.jd1, tt.jd2)
    sun_m = position["p"]
    distance = np.linalg.norm(sun_m)
    c_au_per_day = 173.14463267424034
    v = velocity["v"] / c_au_per_day
    # deflection by the Sun, aberration
    natural = vector(ra, dec)
    deflected = erfa.ldsun(natural, sun_m / distance, distance)
    inverse_gamma = np.sqrt(1 - np.dot(v, v))
    proper = erfa.ab(deflected, v, distance, inverse_gamma)
    # precession-nutation, rotation of the Earth, motion of the pole: terrestrial
    matrix = erfa.c2t06a(tt.jd1, tt.jd2, *ut1, xp, yp)
    terrestrial = proper @ matrix.T
    # the site's motion with the rotation of the Earth
    site = np.array([ARTS.itrf_x_m, ARTS.itrf_y_m, ARTS.itrf_z_m])
    spin = np.cross([0, 0, 1.00273781191135448 * 2 * np.pi / 86400], site) / 299792458.0
    terrestrial = terrestrial + spin - (terrestrial @ spin)[:, None] * terrestrial
    # hour angle and declination count from the axis of the Earth's crust, as the dishes' do
    longitude, _, _ = erfa.gc2gd(1, site)
    local = terrestrial @ erfa.rz(longitude, np.eye(3)).T
    local = local / np.linalg.norm(local, axis=1, keepdims=True)
    return np.asarray(local * [1, -1, 1])


def rotation_error(rng: np.random.Generator, number: int) -> float:
    """Compare the rotation of the beam with the direction of an east-west baseline, seen from the source."""
    ha, dec = rng.uniform(-90, 90, number), rng.uniform(-20, 89, number)
    found = np.asarray(pointing.beam_rotation_angle_deg(ha, dec))
    worst = 0.0
    for h, d, angle in zip(np.radians(ha), np.radians(dec), found, strict=True):
        # in the equatorial frame of the site: x to the meridian, y to the east, z to the pole
        east = np.array([0.0, 1.0, 0.0])
        ra_axis = np.array([np.sin(h), np.cos(h), 0.0])
        dec_axis = np.array([-np.sin(d) * np.cos(h), np.sin(d) * np.sin(h), np.cos(d)])
        projected = np.arctan2(east @ dec_axis, east @ ra_axis)
        worst = max(worst, abs(np.degrees(projected) - angle))
    return worst


def galactic_errors(ra: np.ndarray, dec: np.ndarray) -> float:
    """Compare Galactic coordinates with the rotation that their definition gives."""
    pole = vector(*POLE)
    node = np.cross([0, 0, 1], pole)
    node /= np.linalg.norm(node)
    # the node is where the Galactic plane crosses the equator, at longitude 32.93192 deg
    x = np.cos(np.radians(NODE)) * node - np.sin(np.radians(NODE)) * np.cross(pole, node)
    matrix = np.array([x, np.cross(pole, x), pole])
    gl, gb = pointing.galactic(SkyCoord(ra, dec, unit="deg"))
    return separation(vector(gl, gb), vector(ra, dec) @ matrix.T)


def published_error(place: tuple[str, str], galactic: tuple[float, float]) -> float:
    """Return the distance of a source from its published Galactic coordinates in arcsec."""
    gl, gb = pointing.galactic(SkyCoord(*place, unit=("hourangle", "deg")))
    return separation(vector([gl], [gb]), vector([galactic[0]], [galactic[1]]))


def beams_error() -> float:
    """Give all beams of an observation as HADEC and look where they are in J2000."""
    worst = 0.0
    for text in TIMES[:2]:
        time = Time(text, scale="utc")
        sky = SkyCoord(293.9 + np.linspace(-2, 2, 40), 16.3 + np.linspace(-1, 1, 40), unit="deg")
        ha, dec = step_angles(sky, time)
        for frame, first, second in (("HADEC", ha, dec), ("J2000", sky.ra.deg, sky.dec.deg)):
            parset = parset_of(frame, first, second)
            for beam, place in enumerate(sky):
                found = beam_pointing(parset, beam, time, ARTS)
                worst = max(worst, float(found.separation(place).arcsec))
    return worst


def step_angles(sky: SkyCoord, time: Time) -> tuple[np.ndarray, np.ndarray]:
    """Return hour angle and declination of the reference in degrees."""
    longitude, latitude = erfa.c2s(step_by_step(sky.ra.deg, sky.dec.deg, time))
    return np.degrees(longitude), np.degrees(latitude)


def parset_of(frame: str, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Return the part of a parset that says where beams point."""
    pairs = zip(np.asarray(first).tolist(), np.asarray(second).tolist(), strict=True)
    beams = {
        f"task.beamSet.0.compoundBeam.{beam}.phaseCenter": f"[{a!r}deg, {b!r}deg]"
        for beam, (a, b) in enumerate(pairs)
    }
    return {"task.source.name": "test", "task.directionReferenceFrame": frame, **beams}
