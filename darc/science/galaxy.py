"""Highest dispersion measure that the Galaxy gives, from the electron density model YMW16.

Yao, Manchester & Wang 2017, ApJ 835, 29.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import isfinite
from typing import SupportsFloat

from darc.errors import DARCError

#: Distance in pc that is outside all of the model's Galactic components, in every direction.
BEYOND_THE_GALAXY_PC = 50e3


class GalaxyModelMissing(DARCError):  # noqa: N818
    """YMW16 is not installed, or does not work."""


def require_model() -> None:
    """Check, before an observation depends on it, that the model is there and works.

    Raises:
        GalaxyModelMissing: It is not.

    """
    galactic_maximum_dm(0.0, 0.0)


def galactic_dm(
    model: str, fixed_dm: float | None, direction: Callable[[], tuple[SupportsFloat, SupportsFloat] | None]
) -> float | None:
    """DM in pc cm^-3 that a site takes for the Galaxy's highest in one direction; None: it cannot be told.

    Args:
        model: "ymw16"; any other name: the same DM in all directions
        fixed_dm: that DM, in pc cm^-3
        direction: gives Galactic longitude and latitude in degrees, or None if they are not known; called
            only for a model

    Raises:
        GalaxyModelMissing: see `galactic_maximum_dm`

    """
    if model != "ymw16":
        return fixed_dm
    towards = direction()
    return None if towards is None else galactic_maximum_dm(*map(float, towards))


def galactic_maximum_dm(gl_deg: float, gb_deg: float) -> float:
    """DM in pc cm^-3 of all of the Galaxy in one direction.

    The model is imported at the first call, which takes about a second.

    Args:
        gl_deg: Galactic longitude in degrees.
        gb_deg: Galactic latitude in degrees.

    Raises:
        GalaxyModelMissing: pyymw16 cannot be imported, or gives no DM. A DM of 0 in its place would make
            every pulsar of the Galactic plane look like an extragalactic burst.
        ValueError: The direction is not finite.

    """
    if not (isfinite(gl_deg) and isfinite(gb_deg)):
        raise ValueError(f"no direction in the sky: l={gl_deg}, b={gb_deg}")
    try:
        with warnings.catch_warnings():
            # of how it looks for its data, on the screen of whoever runs a demo
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")
            from pyymw16 import dist_to_dm  # noqa: PLC0415 (slow, and needed by one service only)
    except ImportError as error:
        raise GalaxyModelMissing(
            f"the Galactic maximum DM needs the model YMW16, which cannot be imported ({error}): "
            "pip install 'darc[ymw16]', or set `galaxy_model: none` in the configuration to work without"
        ) from error
    dm = float(dist_to_dm(gl_deg, gb_deg, BEYOND_THE_GALAXY_PC)[0].value)
    if not dm > 0:
        raise GalaxyModelMissing(
            f"YMW16 gives a Galactic DM of {dm} at l={gl_deg}, b={gb_deg}: reinstall pyymw16, or set "
            "`galaxy_model: none` in the configuration to work without"
        )
    return dm
