"""Names of drift scans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.drift_name import DriftScan, build_drift_name, parse_drift_name

BEAMS = st.integers(0, 99)


@given(st.text(min_size=1, max_size=20).filter(lambda name: "\n" not in name), BEAMS, st.none() | BEAMS)
def test_what_is_built_is_parsed(calibrator, first, last):
    low, high = sorted((first, first if last is None else last))
    assert parse_drift_name(build_drift_name(calibrator, first, last)) == DriftScan(
        calibrator, range(low, high + 1)
    )


@pytest.mark.parametrize(
    ("name", "calibrator", "beams"),
    [("3C286drift0107", "3C286", range(1, 8)), ("CTD93drift39", "CTD93", range(39, 40))],
)
def test_names_of_the_scheduler(name, calibrator, beams):
    assert parse_drift_name(name) == DriftScan(calibrator, beams)


@pytest.mark.parametrize(
    "name",
    [
        "3C286",
        "3C286drift",
        "3C286drift1",
        "3C286drift010",
        "drift00",
        "3C286drift01x7",
        "",
        "3C286drift\u0660\u0661",
    ],
)
def test_other_names_are_none(name):
    assert parse_drift_name(name) is None


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_none(name):
    scan = parse_drift_name(name)
    assert scan is None or (scan.calibrator and 1 <= len(scan.beams) <= 100)
