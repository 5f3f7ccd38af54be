"""What an observation was: `info.yaml`, and where its beams looked: `coordinates.txt`.

`info.yaml` is a mapping; a value that is not known is null:

| key                  | value                                              |
| -------------------- | -------------------------------------------------- |
| `taskid`             | task ID                                            |
| `datetimesource`     | label of the observation                           |
| `source`             | name of the source, exactly as given               |
| `utc_start`          | start of the data, `YYYY-MM-DDTHH:MM:SS.ffffff`    |
| `tobs`               | length of the data in s                            |
| `telescopes`         | list of the dishes                                 |
| `frame`              | reference frame of the directions                  |
| `ymw16`              | highest Galactic DM towards the source in pc cm^-3 |
| `freq`, `bandwidth`  | centre and width of the band in MHz                |

`coordinates.txt` is a table with one header line and a row per beam, fields separated by single spaces, in
degrees but for the number of the beam.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

import yaml

from darc.errors import DARCError
from darc.formats.files import shown
from darc.formats.parset_types import finite_number
from darc.formats.utc import UTCError, isot_text, parse_utc
from darc.formats.yaml_text import YAMLTextError, parse_yaml

#: Names of the files.
INFO_NAME = "info.yaml"
COORDINATES_NAME = "coordinates.txt"
#: First line of the table.
COORDINATES_HEADER = "#CB RA Dec Gl Gb"


class OverviewError(DARCError):
    """A file about an observation is not as it has to be."""


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


def build_info(info: ObservationInfo) -> str:
    """Return the content of `info.yaml`."""
    content = {
        "taskid": info.task_id,
        "datetimesource": info.datetimesource,
        "source": info.source,
        "utc_start": isot_text(info.start),
        "tobs": info.duration_s,
        "telescopes": list(info.telescopes),
        "frame": info.frame,
        "ymw16": info.dm_galactic,
        "freq": info.centre_mhz,
        "bandwidth": info.bandwidth_mhz,
    }
    return yaml.safe_dump(content, sort_keys=False)


def parse_info(text: str) -> ObservationInfo:
    """Return what `info.yaml` says.

    Raises:
        OverviewError: something is missing, or is not as it has to be
    """
    try:
        content = parse_yaml(text)
        dm_galactic = content["ymw16"]
        return ObservationInfo(
            task_id=_text(content, "taskid"),
            datetimesource=_text(content, "datetimesource"),
            source=_text(content, "source"),
            frame=_text(content, "frame"),
            start=parse_utc(_text(content, "utc_start")),
            telescopes=tuple(_texts(content["telescopes"])),
            dm_galactic=None if dm_galactic is None else finite_number(dm_galactic),
            duration_s=finite_number(content["tobs"]),
            centre_mhz=finite_number(content["freq"]),
            bandwidth_mhz=finite_number(content["bandwidth"]),
        )
    except YAMLTextError as error:
        raise OverviewError(f"{INFO_NAME}: {error}") from error
    except KeyError as error:
        raise OverviewError(f"{INFO_NAME} has no key {error}") from error
    except (TypeError, ValueError, UTCError) as error:
        raise OverviewError(f"{INFO_NAME}: a value is not as it has to be: {error}") from error


def _text(content: dict[str, Any], key: str) -> str:
    (text,) = _texts([content[key]])
    return text


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{shown(values)} is no text")
    return values


def build_coordinates(beams: Iterable[BeamCoordinates]) -> str:
    """Return the content of `coordinates.txt`, to 1e-6 degrees, in the order of the beams."""
    rows = [
        f"{beam.cb:02d} {beam.ra_deg:.6f} {beam.dec_deg:.6f} {beam.gl_deg:.6f} {beam.gb_deg:.6f}"
        for beam in sorted(beams, key=lambda beam: beam.cb)
    ]
    return "\n".join([COORDINATES_HEADER, *rows, ""])


def parse_coordinates(text: str) -> list[BeamCoordinates]:
    """Return the rows of `coordinates.txt`.

    Raises:
        OverviewError: another header, or a row that is none; says which line
    """
    lines = text.splitlines()
    if not lines or lines[0].split() != COORDINATES_HEADER.split():
        raise OverviewError(
            f"line 1 has to be {COORDINATES_HEADER!r}, not {shown(lines[0] if lines else '')}"
        )
    return [_coordinates(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]


def _coordinates(number: int, line: str) -> BeamCoordinates:
    try:
        cb, *degrees = line.split()
        ra_deg, dec_deg, gl_deg, gb_deg = map(float, degrees)
        if not all(map(isfinite, (ra_deg, dec_deg, gl_deg, gb_deg))):
            raise ValueError
        return BeamCoordinates(cb=int(cb), ra_deg=ra_deg, dec_deg=dec_deg, gl_deg=gl_deg, gb_deg=gb_deg)
    except ValueError:
        raise OverviewError(
            f"line {number} has to be the numbers {COORDINATES_HEADER.lstrip('#')}, not {shown(line)}"
        ) from None
