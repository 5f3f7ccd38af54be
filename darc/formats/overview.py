"""What an observation was: `info.yaml`, and where its beams looked: `coordinates.txt`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class ObservationInfo:
    """An observation, as its parameters tell it.

    Attributes:
        task_id: identifies it
        datetimesource: its label, the name of its folder
        source: name of the source, exactly as given
        start: start of the data, with time zone UTC
        duration_s: length of the data in s
        telescopes: names of the dishes
        frame: reference frame of the directions, `J2000` or `HADEC`
        dm_galactic: highest Galactic DM towards the source in pc cm^-3 (YMW16); None if it is not known
        centre_mhz: centre of the band in MHz
        bandwidth_mhz: width of the band in MHz
    """

    task_id: str
    datetimesource: str
    source: str
    start: datetime
    duration_s: float
    telescopes: tuple[str, ...]
    frame: str
    dm_galactic: float | None
    centre_mhz: float
    bandwidth_mhz: float


@dataclass(frozen=True, kw_only=True)
class BeamCoordinates:
    """Where a compound beam looked in the middle of the observation.

    Attributes:
        cb: compound beam
        ra_deg: right ascension (ICRS) in degrees
        dec_deg: declination (ICRS) in degrees
        gl_deg: Galactic longitude in degrees
        gb_deg: Galactic latitude in degrees
    """

    cb: int
    ra_deg: float
    dec_deg: float
    gl_deg: float
    gb_deg: float
