"""Map of the beams of an observation with the candidates in them: where each thing is drawn.

North is up and east is left. The place of a candidate within its beam is not known to a point; its marks are
spread from the centre outwards, best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

from darc.definitions import Instrument
from darc.formats.overview import BeamCoordinates
from darc.reporting.report import BeamReport, Candidate
from darc.science.sky_plane import half_power_radius_deg, middle, tangent_plane_deg

#: Width of the map in its own units, in which letters are about 11 high.
WIDTH = 640.0
#: Space around the beams and least size of the map in beam radii.
_MARGIN, _LEAST = 0.1, 6.0
#: Height of the strip below the beams, for the directions and the scale.
_STRIP = 56.0
#: Marks in one beam: more do not fit. Their distance from the centre grows with the root of their number.
MARKS_MAX = 24
_SPREAD, _GOLDEN_ANGLE = 0.16, pi * (3 - sqrt(5))
#: Least probability of each level of colour but the first.
LEVELS = (0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Mark:
    """A candidate: its place, its level of colour from 0 to 4, and itself."""

    x: float
    y: float
    level: int
    candidate: Candidate


@dataclass(frozen=True)
class Circle:
    """A beam: its centre, its marks, and itself."""

    x: float
    y: float
    marks: tuple[Mark, ...]
    beam: BeamReport


@dataclass(frozen=True)
class SkyMap:
    """A map.

    Attributes:
        height: of the map, in the units of `WIDTH`
        radius: of a beam
        degree: length of one degree
        centre: right ascension and declination in degrees of its centre
        circles: the beams whose coordinates are known
    """

    height: float
    radius: float
    degree: float
    centre: tuple[float, float]
    circles: tuple[Circle, ...]
    width: float = WIDTH


def level(probability: float) -> int:
    """Return the level of colour of a probability, from 0 to 4."""
    return sum(probability >= least for least in LEVELS)


def sky_map(beams: Sequence[BeamReport], instrument: Instrument, freq_mhz: float) -> SkyMap | None:
    """Return the map of beams; None if no coordinates are known.

    Args:
        beams: beams, those without coordinates are left out
        instrument: whose dishes
        freq_mhz: centre of the band
    """
    placed: list[tuple[BeamReport, BeamCoordinates]] = [
        (beam, beam.coordinates) for beam in beams if beam.coordinates is not None
    ]
    if not placed:
        return None
    ra_deg, dec_deg = zip(*((where.ra_deg, where.dec_deg) for _, where in placed), strict=True)
    centre = middle(ra_deg, dec_deg)
    east, north = tangent_plane_deg(ra_deg, dec_deg, centre)
    radius_deg = half_power_radius_deg(instrument.dish_diameter_m, freq_mhz)
    margin_deg = 2 * (1 + _MARGIN) * radius_deg
    width_deg = max(float(east.max() - east.min()) + margin_deg, _LEAST * radius_deg)
    height_deg = max(float(north.max() - north.min()) + margin_deg, _LEAST * radius_deg / 2)
    degree = WIDTH / width_deg
    radius, height = radius_deg * degree, height_deg * degree
    xs = WIDTH / 2 - (east - (east.max() + east.min()) / 2) * degree
    ys = height / 2 - (north - (north.max() + north.min()) / 2) * degree
    circles = tuple(
        Circle(float(x), float(y), _marks(float(x), float(y), radius, beam.candidates), beam)
        for x, y, (beam, _) in zip(xs, ys, placed, strict=True)
    )
    return SkyMap(height + _STRIP, radius, degree, centre, circles)


def _marks(x: float, y: float, radius: float, candidates: Sequence[Candidate]) -> tuple[Mark, ...]:
    marks = []
    for number, candidate in enumerate(candidates[:MARKS_MAX]):
        distance, angle = radius * _SPREAD * sqrt(number), number * _GOLDEN_ANGLE
        mark = x + distance * sin(angle), y - distance * cos(angle)
        marks.append(Mark(*mark, level(candidate.probability), candidate))
    return tuple(marks)
