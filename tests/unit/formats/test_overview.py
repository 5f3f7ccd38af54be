"""What is written about an observation is what is read."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.overview import (
    COORDINATES_HEADER,
    BeamCoordinates,
    ObservationInfo,
    OverviewError,
    build_coordinates,
    build_info,
    parse_coordinates,
    parse_info,
)
from darc.formats.yaml_text import parse_yaml

numbers = st.floats(0, 1e6)
angles = st.floats(-90, 90)
infos = st.builds(
    ObservationInfo,
    task_id=st.text(),
    datetimesource=st.text(),
    source=st.text(),
    start=st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    duration_s=numbers,
    telescopes=st.lists(st.text()).map(tuple),
    frame=st.sampled_from(["J2000", "HADEC"]),
    dm_galactic=st.none() | numbers,
    centre_mhz=numbers,
    bandwidth_mhz=numbers,
)


def info(**change):
    known = {
        "task_id": "190518009", "datetimesource": "2019-05-18-23:51:13.B1933+16", "source": "B1933+16",
        "start": datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC), "duration_s": 299.008,
        "telescopes": ("RT2", "RT3"), "frame": "J2000", "dm_galactic": 415.5, "centre_mhz": 1369.6,
        "bandwidth_mhz": 300.0,
    }  # fmt: skip
    return ObservationInfo(**known | change)


@given(infos)
def test_the_parameters_come_back(observation):
    assert parse_info(build_info(observation)) == observation


def test_info_has_the_documented_keys():
    content = parse_yaml(build_info(info()))
    assert content["utc_start"] == "2019-05-18T23:51:12.640000" and content["tobs"] == 299.008
    assert content["source"] == "B1933+16" and content["taskid"] == "190518009"
    assert content["telescopes"] == ["RT2", "RT3"] and content["ymw16"] == 415.5


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a'b\"c; rm -rf $HOME `id` | \\", "no", "1e3", ""]
)
def test_the_name_of_the_source_stands_there_exactly_as_given(name):
    assert parse_yaml(build_info(info(source=name)))["source"] == name


@pytest.mark.parametrize(
    "text", ["", "nonsense", "taskid: [", build_info(info())[:150], "taskid: 5\n", "a: 1\na: 2"]
)
def test_nonsense_is_refused_as_such(text):
    with pytest.raises(OverviewError):
        parse_info(text)


@pytest.mark.parametrize(
    ("key", "value"), [("utc_start", "noon"), ("tobs", ".nan"), ("telescopes", "RT2"), ("source", "3")]
)
def test_a_value_of_the_wrong_kind_is_refused(key, value):
    lines = [line for line in build_info(info(telescopes=())).splitlines() if not line.startswith(key)]
    with pytest.raises(OverviewError):
        parse_info("\n".join([*lines, f"{key}: {value}"]))


@given(st.lists(st.tuples(angles, angles, angles, angles), max_size=40))
def test_the_coordinates_come_back_to_a_milliarcsecond_or_so(rows):
    beams = [
        BeamCoordinates(cb=cb, ra_deg=ra, dec_deg=dec, gl_deg=gl, gb_deg=gb)
        for cb, (ra, dec, gl, gb) in enumerate(rows)
    ]
    for found, beam in zip(parse_coordinates(build_coordinates(reversed(beams))), beams, strict=True):
        assert found.cb == beam.cb
        for name in ("ra_deg", "dec_deg", "gl_deg", "gb_deg"):
            assert getattr(found, name) == pytest.approx(getattr(beam, name), abs=1e-6)


def test_the_table_has_the_documented_header_and_two_digits_for_the_beam():
    beam = BeamCoordinates(cb=7, ra_deg=293.948755, dec_deg=16.277785, gl_deg=52.4, gb_deg=-2.1)
    assert build_coordinates([beam]) == "#CB RA Dec Gl Gb\n07 293.948755 16.277785 52.400000 -2.100000\n"


@pytest.mark.parametrize("row", ["00 1 2 3", "00 1 2 3 4 5", "0x 1 2 3 4", "00 1 2 3 nan", "00 1 2 3 four"])
def test_a_row_that_is_none_is_named(row):
    with pytest.raises(OverviewError, match="line 2"):
        parse_coordinates(f"{COORDINATES_HEADER}\n{row}\n")


@pytest.mark.parametrize("text", ["", "00 1 2 3 4\n"])
def test_a_table_without_its_header_is_refused(text):
    with pytest.raises(OverviewError, match="line 1"):
        parse_coordinates(text)
