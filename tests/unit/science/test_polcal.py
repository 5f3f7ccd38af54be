"""When a polarisation calibrator is dumped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.polcal import dump_windows

PAGE = 1.024
DEFAULTS = {"dump_s": 30.0, "interval_s": 60.0, "max_dumps": 4, "page_s": PAGE}


def test_dumps_begin_one_interval_after_the_start_and_last_whole_pages():
    assert dump_windows(1000.0, **DEFAULTS) == [
        (t, pytest.approx(t + 30.72)) for t in (60.0, 120.0, 180.0, 240.0)
    ]


def test_a_dump_of_whole_pages_is_not_made_longer():
    ((start, end),) = dump_windows(1000.0, **{**DEFAULTS, "dump_s": 3 * PAGE, "max_dumps": 1})
    assert end - start == pytest.approx(3 * PAGE)


def test_no_dump_outlasts_the_observation():
    assert [start for start, _ in dump_windows(150.0, **DEFAULTS)] == [60.0]
    assert dump_windows(90.0, **DEFAULTS) == []


def test_an_interval_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="interval"):
        dump_windows(100.0, **{**DEFAULTS, "interval_s": 0.0})


@given(st.floats(0, 5000), st.floats(0.1, 100), st.floats(1, 300), st.integers(0, 20))
def test_windows_lie_within_the_observation_and_are_whole_pages(duration, dump, interval, number):
    windows = dump_windows(duration, dump_s=dump, interval_s=interval, max_dumps=number, page_s=PAGE)
    assert len(windows) <= number
    for start, end in windows:
        assert start >= interval and end <= duration
        pages = (end - start) / PAGE
        assert pages == pytest.approx(round(pages)) and end - start >= dump - 1e-6
