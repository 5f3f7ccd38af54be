"""Positions and DMs of known fast radio bursts: a YAML file that a site may have.

    FRB20180916B: {ra: 29.5031, dec: 65.7168, dm: 348.8}

A line per source: its name, right ascension and declination (ICRS) in degrees, and DM in pc cm^-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.files import read_yaml_mapping, shown
from darc.formats.parset_types import finite_number

#: Limit of the file in bytes: some 15,000 sources.
MAX_FILE_BYTES = 2**20
#: Least and greatest value of each key.
_RANGES = {"ra": (0.0, 360.0), "dec": (-90.0, 90.0), "dm": (0.0, 1e5)}


class KnownFRBsError(DARCError):
    """The list of known bursts cannot be used; the message names file, source and value."""


@dataclass(frozen=True)
class KnownFRB:
    """A known source of bursts.

    Attributes:
        name: its name
        ra_deg: right ascension (ICRS) in degrees
        dec_deg: declination (ICRS) in degrees
        dm: DM in pc cm^-3
    """

    name: str
    ra_deg: float
    dec_deg: float
    dm: float


def load_known_frbs(path: Path | str) -> list[KnownFRB]:
    """Read a list of known bursts, in the order of the file.

    Raises:
        KnownFRBsError: the file cannot be read, or a source lacks a value or has one that is none
    """
    content = read_yaml_mapping(Path(path), MAX_FILE_BYTES, KnownFRBsError)
    return [KnownFRB(str(name), *_values(f"{path}: {name}", source)) for name, source in content.items()]


def _values(where: str, source: Any) -> list[float]:
    if not isinstance(source, dict) or source.keys() != _RANGES.keys():
        raise KnownFRBsError(f"{where}: has to hold the numbers {', '.join(_RANGES)}, not {shown(source)}")
    values = []
    for key, (least, greatest) in _RANGES.items():
        try:
            value = finite_number(source[key])
        except (TypeError, ValueError, OverflowError):
            value = -1e9
        if not least <= value <= greatest:
            allowed = f"a number from {least:g} to {greatest:g}"
            raise KnownFRBsError(f"{where}: {key} = {shown(source[key])}: has to be {allowed}")
        values.append(value)
    return values
