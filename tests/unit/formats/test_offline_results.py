"""Result files of the processing after an observation: what is written is what is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.offline_results import (
    OfflineSummary,
    OfflineTrigger,
    build_summary,
    build_triggers,
    pages_name,
    parse_summary,
    parse_triggers,
)
from darc.formats.results import ResultsError

TRIGGER = OfflineTrigger(snr=10.0, dm=20.0, width_ms=0.8192, time_s=30.0, probability=1.0, beam=35)
COUNTS = "ncand_raw: 5\nncand_trigger: 4\nncand_skipped: 1\nncand_abovethresh: 3\nncand_classifier: 2\n"


def test_files_have_the_documented_form():
    assert pages_name(7) == "CB07_candidates_summary.pdf"
    assert build_triggers([TRIGGER]) == "# SNR DM Width T0 p SB\n10.00 20.00 0.8192 30.0000 1.00 35\n"
    assert build_triggers([], tied_array=True) == "# SNR DM Width T0 p TAB\n"
    numbers = {"ncand_raw": 5, "ncand_trigger": 4, "ncand_skipped": 1, "ncand_abovethresh": 3}
    assert build_summary(OfflineSummary(**numbers, ncand_classifier=2)) == COUNTS


@given(st.lists(st.text(min_size=1, max_size=30), max_size=4), st.integers(-1, 10**9))
def test_a_summary_is_read_as_it_was_written(problems, number):
    summary = OfflineSummary(ncand_raw=number, problems=tuple(problems))
    assert parse_summary(build_summary(summary)) == summary


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1), st.integers(0, 70)), max_size=5), st.booleans())
def test_triggers_are_read_as_they_were_written_best_first(rows, tied_array):
    triggers = [
        OfflineTrigger(snr=snr, dm=1.0, width_ms=2.0, time_s=3.0, probability=p, beam=beam)
        for snr, p, beam in rows
    ]
    read, kind = parse_triggers(build_triggers(triggers, tied_array=tied_array))
    assert kind is tied_array and len(read) == len(rows)
    assert [row.probability for row in read] == sorted((row.probability for row in read), reverse=True)
    assert sorted(row.beam for row in read) == sorted(beam for _, _, beam in rows)


def test_an_empty_summary_is_none():
    assert parse_summary("") is None


@pytest.mark.parametrize(
    "text", ["[]", "ncand_raw: 1\n", COUNTS + "problems: 3\n", COUNTS + "ncand_raw: 2\n"]
)
def test_what_is_no_summary_is_refused(text):
    with pytest.raises(ResultsError):
        parse_summary(text)


@pytest.mark.parametrize(
    "row", ["1 2 3 4 5", "1 2 3 4 5 6 7", "1 2 3 4 nan 6", "1 2 3 4 5 6.5", "a b c d e f"]
)
def test_a_row_that_is_none_is_refused_with_its_line(row):
    with pytest.raises(ResultsError, match="line 3"):
        parse_triggers(f"# SNR DM Width T0 p SB\n10.00 20.00 0.8192 30.0000 1.00 35\n{row}\n")


def test_another_header_is_refused():
    with pytest.raises(ResultsError, match="line 1"):
        parse_triggers("#cb snr dm time downsamp sb p\n")
