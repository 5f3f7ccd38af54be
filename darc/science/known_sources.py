"""Which detections may come from known sources: by position and by DM."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def separation_deg(
    ra1_deg: ArrayLike, dec1_deg: ArrayLike, ra2_deg: ArrayLike, dec2_deg: ArrayLike
) -> NDArray[np.float64]:
    """Return the angle between directions in degrees (haversine formula, exact also for small angles)."""
    ra1, dec1, ra2, dec2 = map(np.radians, (ra1_deg, dec1_deg, ra2_deg, dec2_deg))
    haversine = np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    angle: NDArray[np.float64] = np.degrees(2 * np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))
    return angle


def near(
    detections: ArrayLike, sources: ArrayLike, *, radius_deg: float, dm_window: float
) -> NDArray[np.bool_]:
    """Return which detections are near which sources.

    Args:
        detections: right ascension and declination in degrees of the beam, DM in pc cm^-3; shape (n, 3)
        sources: the same of sources, shape (m, 3)
        radius_deg: largest angle between beam and source
        dm_window: largest difference of DMs in pc cm^-3

    Returns:
        shape (m, n)
    """
    ra, dec, dm = np.reshape(detections, (-1, 3)).T
    source_ra, source_dec, source_dm = np.reshape(sources, (-1, 3)).T[:, :, np.newaxis]
    in_beam = separation_deg(ra, dec, source_ra, source_dec) <= radius_deg
    found: NDArray[np.bool_] = in_beam & (np.abs(dm - source_dm) <= dm_window)
    return found
