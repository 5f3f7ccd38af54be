"""The map of beams: what is where on it."""

from dataclasses import replace
from math import hypot

import pytest

from darc.definitions import ARTS
from darc.formats.overview import BeamCoordinates
from darc.formats.results import Trigger
from darc.reporting.report import BeamReport, BeamState, Candidate
from darc.web.sky_map import MARKS_MAX, WIDTH, level, sky_map


def beam(cb, ra_deg, dec_deg, ncandidate=0):
    trigger = Trigger(cb=cb, snr=10.0, dm=500.0, time_s=1.0, downsamp=1, sb=0, probability=0.9)
    return BeamReport(
        cb=cb,
        node="",
        state=BeamState.DONE,
        counts={},
        candidates=(Candidate(trigger=trigger),) * ncandidate,
        coordinates=BeamCoordinates(cb=cb, ra_deg=ra_deg, dec_deg=dec_deg, gl_deg=0, gb_deg=0),
    )


def drawn(*beams):
    return sky_map(beams, ARTS, 1400.0)


def test_north_is_up_and_east_is_left():
    centre, north, east = drawn(beam(0, 10, 40), beam(1, 10, 41), beam(2, 11, 40)).circles
    assert north.y < centre.y
    assert north.x == pytest.approx(centre.x, abs=2)
    assert east.x < centre.x


def test_distances_and_beams_have_the_same_scale():
    one, two = (map_ := drawn(beam(0, 0.25, 0), beam(1, 359.75, 0))).circles
    assert two.x - one.x == pytest.approx(0.5 * map_.degree, rel=1e-4)
    assert map_.radius == pytest.approx(0.2525 * map_.degree, rel=1e-3)


@pytest.mark.parametrize("dec_deg", [-89.0, 0.0, 52.9, 89.9])
def test_all_beams_are_on_the_map_wherever_they_look(dec_deg):
    beams = [beam(cb, (cb * 9) % 360, dec_deg + cb % 3 * 0.03) for cb in range(40)]
    if abs(dec_deg) < 80:
        beams = [replace(b, coordinates=replace(b.coordinates, ra_deg=cb / 20)) for cb, b in enumerate(beams)]
    map_ = drawn(*beams)
    assert len(map_.circles) == 40
    for circle in map_.circles:
        assert map_.radius <= circle.x + 1e-6 <= WIDTH - map_.radius + 2e-6
        assert map_.radius <= circle.y + 1e-6 <= map_.height - map_.radius + 2e-6


def test_marks_are_within_their_beam_and_not_on_each_other():
    map_ = drawn(beam(0, 0, 0, ncandidate=100))
    (circle,) = map_.circles
    marks = circle.marks
    assert len(marks) == MARKS_MAX
    assert (marks[0].x, marks[0].y) == (circle.x, circle.y)
    assert all(hypot(mark.x - circle.x, mark.y - circle.y) < map_.radius for mark in marks)
    assert len({(round(mark.x), round(mark.y)) for mark in marks}) == MARKS_MAX


def test_beams_without_coordinates_are_left_out():
    unknown = replace(beam(1, 0, 0), coordinates=None)
    assert [circle.beam.cb for circle in drawn(beam(0, 0, 0), unknown).circles] == [0]
    assert drawn(unknown) is None


def test_levels_of_colour_follow_the_probability():
    assert [level(p) for p in (0.0, 0.59, 0.6, 0.75, 0.8, 0.9, 1.0)] == [0, 0, 1, 2, 3, 4, 4]
