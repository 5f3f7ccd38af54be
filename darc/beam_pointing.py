"""Where a compound beam looks, as the observation parset tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astropy.coordinates import SkyCoord
from astropy.time import Time

from darc.definitions import Instrument
from darc.formats.parset import Task
from darc.science.pointing import hadec_to_j2000


def beam_pointing(parset: Mapping[str, Any], beam: int, time: Time, instrument: Instrument) -> SkyCoord:
    """Return the direction of a compound beam.

    Args:
        parset: decoded observation parset
        beam: compound beam
        time: when, for a beam that is fixed on the ground (HADEC)
        instrument: where

    Raises:
        ParsetError: the parset does not tell
    """
    task = Task.from_parset(parset)
    first_deg, second_deg = task.phase_centre_deg(beam)
    if task.reference_frame == "HADEC":
        return hadec_to_j2000(first_deg, second_deg, time, instrument)
    return SkyCoord(first_deg, second_deg, unit="deg", frame="icrs")
