"""Result files: exactly the forms that other programs read, complete or not at all."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darc.errors import DARCError
from darc.formats.files import write_complete
from darc.formats.results import (
    NOTHING_CAME,
    PULSES_HEADER,
    Pulse,
    ResultsError,
    Summary,
    Trigger,
    best_first,
    build_summary,
    build_triggers,
    pages_name,
    parse_pulses,
    parse_summary,
    parse_triggers,
    pulse_row,
    summary_name,
    triggers_name,
)

PULSE = Pulse(snr=10, dm=20, time_s=30, downsamp=50, sb=35)
TRIGGER = Trigger(**vars(PULSE), cb=0, probability=1)

counts = st.integers(-1, 10**9)
pulse_fields = {
    "snr": st.integers(0, 10**6).map(lambda value: value / 100),
    "dm": st.integers(0, 10**6).map(lambda value: value / 100),
    "time_s": st.integers(0, 10**9).map(lambda value: value / 10_000),
    "downsamp": st.integers(1, 10**5),
    "sb": st.integers(0, 500),
}
pulses = st.builds(Pulse, **pulse_fields)
triggers = st.builds(
    Trigger,
    **pulse_fields,
    cb=st.integers(0, 99),
    probability=st.integers(0, 100).map(lambda value: value / 100),
)


def test_files_are_named_after_their_beam():
    assert summary_name(3) == "CB03_summary.yaml"
    assert triggers_name(39) == "CB39_triggers.txt"
    assert pages_name(0) == "CB00.pdf"


def test_a_summary_has_the_documented_keys():
    assert yaml.safe_load(build_summary(Summary(5000, 40, 12, 3))) == {
        "ncand_raw": 5000,
        "ncand_post_clustering": 40,
        "ncand_post_thresholds": 12,
        "ncand_post_classifier": 3,
    }


def test_all_counts_are_minus_one_when_no_header_came():
    assert set(yaml.safe_load(build_summary(NOTHING_CAME)).values()) == {-1}


@given(st.builds(Summary, counts, counts, counts, counts))
def test_a_summary_is_read_as_it_was_written(summary):
    assert parse_summary(build_summary(summary)) == summary


def test_an_empty_summary_gives_up_a_beam():
    assert parse_summary("") is None
    assert parse_summary("\n") is None


@pytest.mark.parametrize(
    "text",
    [
        "ncand_raw: 1\n",
        build_summary(NOTHING_CAME).replace("-1", "many"),
        build_summary(NOTHING_CAME).replace("-1", "-2"),
        build_summary(NOTHING_CAME).replace("-1", "true"),
        build_summary(NOTHING_CAME).replace("-1", "[", 1),
        "- 1",
    ],
)
def test_what_is_no_summary_is_refused(text):
    with pytest.raises(ResultsError, match="summary"):
        parse_summary(text)


def test_kept_candidates_have_the_documented_form():
    assert build_triggers([TRIGGER]) == ("#cb snr dm time downsamp sb p\n00 10.00 20.00 30.0000 50 35 1.00\n")
    assert build_triggers([]) == "#cb snr dm time downsamp sb p\n"


def listed(rows):
    return "\n".join([PULSES_HEADER, *map(pulse_row, rows), ""])


def test_clusters_have_the_documented_form():
    assert listed([PULSE]) == "#snr dm time downsamp sb\n10.00 20.00 30.0000 50 35\n"


@given(st.lists(pulses))
def test_clusters_are_read_as_they_were_written(rows):
    assert parse_pulses(listed(rows)) == rows


@given(st.lists(triggers))
def test_kept_candidates_are_read_best_first(rows):
    assert parse_triggers(build_triggers(rows)) == best_first(rows)


def test_the_best_come_first():
    # pitfall: candidates sorted worst first and then cut
    ranks = [(0.99, 12.0), (0.99, 8.0), (0.5, 100.0), (None, 50.0), (None, 10.0)]
    rows = [replace(TRIGGER, probability=probability, snr=snr) for probability, snr in ranks]
    assert best_first(rows[::-1]) == rows


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "line 1"),
        ("#snr dm\n10 20", "line 1"),
        ("#cb snr dm time downsamp sb p\n00 10.00 20.00 30.0000 50 35\n", "line 2"),
        ("#cb snr dm time downsamp sb p\n\n00 10.00 20.00 30.0000 50 35 many\n", "line 3"),
        ("#cb snr dm time downsamp sb p\n00 10.00 20.00 30.0000 50 35.5 1.00\n", "line 2"),
        ("#cb snr dm time downsamp sb p\n00 10.00 nan 30.0000 50 35 1.00\n", "line 2"),
        ("#cb snr dm time downsamp sb p\ninf 10.00 20.00 30.0000 50 35 1.00\n", "line 2"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_line(text, line):
    with pytest.raises(ResultsError, match=line):
        parse_triggers(text)


@given(st.text())
def test_any_other_text_is_refused(text):
    for parse in (parse_triggers, parse_pulses):
        with pytest.raises(ResultsError):
            parse(text)


def test_a_result_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "20190518" / "summary.yaml"
    for text in ("old", "new µ"):
        write_complete(path, text, DARCError)
        assert path.read_text("utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_a_result_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=f"{tmp_path}/file/summary.yaml: cannot be written: File exists"):
        write_complete(tmp_path / "file" / "summary.yaml", "text", ResultsError)
