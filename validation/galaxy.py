"""The Galaxy's DM against another build of its model; flux density and gain against a calculation by hand."""

from __future__ import annotations

import astropy.units as u
from astropy.coordinates import SkyCoord

from darc.definitions import ARTS
from darc.science.galaxy import galactic_maximum_dm
from darc.science.pointing import galactic
from darc.science.radiometer import gain_k_per_jy, peak_flux_density_jy, sefd_jy
from validation.result import Check, Section, Table

#: Galactic longitude and latitude in deg, and the DM to 50 kpc in pc cm^-3 by the authors' program as the
#: package pygedm 3.3.0 has it (a copy and a build of its own; `dmdtau` with ndir 2 and mode 1).
REFERENCE = {
    (0, 0): 3945.97,
    (0, 90): 19.56,
    (0, -90): 18.42,
    (10, 2): 583.02,
    (30, -1): 1044.18,
    (49.2, -5): 239.41,
    (60, 20): 60.67,
    (90, 0.5): 438.14,
    (120, -3): 264.66,
    (132.9, 23): 68.28,
    (150, 10): 181.27,
    (174.95, -0.225): 287.12,
    (184.56, -5.78): 243.07,
    (200, 45): 31.30,
    (225, -30): 53.09,
    (250, -1): 568.91,
    (263.55, -2.79): 491.51,
    (290, 60): 24.53,
    (320, -10): 169.20,
    (345, 1): 942.91,
}
#: Values of the model as published, with all digits: where, in which direction, and the DM of all the Galaxy
#: (pc cm^-3), or the distance (light years) that belongs to DM 10.
PUBLISHED_DM = (
    "Batten (2019, JOSS 4, 1399), README of fruitbat 2.0.1",
    SkyCoord("12h34m43.5s", "2d34m15.2s"),
    22.43696785,
)
PUBLISHED_DISTANCE = (
    "Price et al. (2021, PASA 38, e038), README of pygedm 3.3.0",
    SkyCoord("23h0m0s", "-43d0m2s"),
    3362.16343117,
)
#: Bursts: S/N and width in s.
BURSTS = ((10.0, 1e-3), (25.0, 0.8192e-3), (100.0, 50e-3))


def measure(short: bool) -> Section:
    """Compare DMs, gain and flux densities."""
    found = {place: galactic_maximum_dm(*place) for place in REFERENCE}
    worst = max(abs(found[place] - dm) for place, dm in REFERENCE.items())
    gain = 0.6 * 3.14159265358979 * 12.5**2 / (2 * 1.380649e-23) * 1e-26
    checks = [
        Check(
            "highest Galactic DM (YMW16)",
            f"pygedm's build of the authors' program, {len(REFERENCE)} directions",
            worst,
            0.006,
            "pc/cm3",
        ),
        Check(
            "highest Galactic DM, all digits",
            f"published: {PUBLISHED_DM[0]}",
            abs(galactic_maximum_dm(*map(float, galactic(PUBLISHED_DM[1]))) - PUBLISHED_DM[2]),
            1e-6,
            "pc/cm3",
        ),
        Check("distance of DM 10", f"published: {PUBLISHED_DISTANCE[0]}", distance_error(), 1e-9, "of it"),
        Check(
            "gain of one dish",
            "0.60 pi (12.5 m)^2 / 2 k = 0.1067 K/Jy, by hand",
            abs(gain_k_per_jy(ARTS, 1) / gain - 1),
            1e-9,
            "of it",
        ),
        Check(
            "gain of one dish, to the digits of the hand",
            "0.1067 K/Jy",
            abs(gain_k_per_jy(ARTS, 1) - 0.1067),
            5e-5,
            "K/Jy",
        ),
        Check(
            "SEFD, 8 dishes coherently",
            "85 K / (8 x 0.10667 K/Jy) = 99.6 Jy",
            abs(sefd_jy(ARTS) - 99.6),
            0.05,
            "Jy",
        ),
        Check(
            "peak flux density of S/N 10 in 1 ms",
            "10 x 99.6 Jy / sqrt(2 x 300 MHz x 1 ms) = 1.286 Jy",
            abs(peak_flux_density_jy(10, 1e-3, ARTS) - 1.286),
            5e-4,
            "Jy",
        ),
        Check(
            "flux density, coherent and incoherent",
            "radiometer equation, three bursts",
            flux_error(gain),
            1e-9,
            "of it",
        ),
    ]
    rows = [[f"{gl:g}", f"{gb:g}", f"{dm:.2f}", f"{found[gl, gb]:.2f}"] for (gl, gb), dm in REFERENCE.items()]
    text = (
        "The Galactic DM is that of all the Galaxy (to 50 kpc) in the model of Yao, Manchester & Wang "
        "(2017), from the package pyymw16. The model is a program of its authors, and values of it that are "
        "published come from that program. Two were to be had without network, in what other packages are "
        "released with; a third, in a docstring of fruitbat (30.56 towards l = 349, b = 50.7), is not what "
        "pygedm gives, which fruitbat calls (27.48, as here), and was left out. The other directions are "
        "compared with the same program in another package, built on its own: what is shown is that it is "
        "built and called rightly, not that the Galaxy is so."
    )
    table = Table("Highest Galactic DM (pc/cm3)", ("l", "b", "reference", "found"), rows)
    return Section("Galactic DM and sensitivity", text, checks, [table])


def distance_error() -> float:
    """Return the relative error of the published distance: the model alone, by the package's own function."""
    from pyymw16 import dm_to_dist  # noqa: PLC0415 (slow)

    _, place, light_years = PUBLISHED_DISTANCE
    distance, _ = dm_to_dist(*map(float, galactic(place)), 10.0)
    return float(abs(distance.to_value(u.lyr) / light_years - 1))


def flux_error(gain: float) -> float:
    """Return the largest relative error of flux densities."""
    worst = 0.0
    for snr, width_s in BURSTS:
        for coherent, dishes in ((True, 8.0), (False, 8**0.5)):
            expected = snr * 85 / (gain * dishes) / (2 * 300e6 * width_s) ** 0.5
            worst = max(worst, abs(peak_flux_density_jy(snr, width_s, ARTS, coherent) / expected - 1))
    return worst
