"""The comparisons with references: what is a failure, and what the page says of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from darc.definitions import ARTS
from darc.simulation.sky import Burst
from validation import formats, losses, readers, real_time, run
from validation.injections import draw
from validation.result import Check, Section, Table


@pytest.fixture(autouse=True)
def written(monkeypatch, tmp_path):
    """Page and results go to a folder of the test."""
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    return tmp_path


def check(value, bound=1.0, *, at_least=False):
    return Check("delay", "formula", value, bound, "us", at_least)


@pytest.mark.parametrize(
    ("value", "at_least", "passed"),
    [
        (0.5, False, True), (1.0, False, True), (1.1, False, False), (math.nan, False, False),
        (0.5, True, False), (1.0, True, True), (math.nan, True, False), (math.inf, False, False),
    ],
)  # fmt: skip
def test_a_value_beyond_its_bound_or_no_number_is_a_failure(value, at_least, passed):
    assert check(value, at_least=at_least).passed is passed
    assert ("exceeded" in check(value, at_least=at_least).cells()[-1]) is not passed


def test_a_section_travels_as_plain_data():
    section = Section("Dispersion", "How.", [check(0.5)], [Table("More", ("a", "b"), [["1", "2"]])])
    assert Section.from_dict(section.as_dict()) == section


@pytest.mark.parametrize(("value", "code"), [(0.5, 0), (1.5, 1)])
def test_the_exit_code_says_whether_a_bound_was_exceeded(monkeypatch, capsys, value, code):
    monkeypatch.setattr(run, "run", lambda name, short: Section(name, "", [check(value)]))
    assert run.main(["dispersion", "--short"]) == code
    assert ("EXCEEDED" in capsys.readouterr().out) == bool(code)


def test_a_validation_that_fails_is_told_and_no_page_is_written_until_it_is_made(
    monkeypatch, capsys, written
):
    def fail(name, short):
        if name == "sky":
            raise run.ValidationError("ended with exit code 1")
        return Section(name.title(), "How.", [check(0.5)])

    monkeypatch.setattr(run, "run", fail)
    assert run.main([]) == 1
    assert "FAILED sky" in capsys.readouterr().out
    assert not (written / "page.md").exists()
    monkeypatch.setattr(run, "run", lambda name, short: Section(name.title(), "How.", [check(0.5)]))
    assert run.main(["sky"]) == 0
    assert "## Sky" in (written / "page.md").read_text()


def test_a_section_that_is_made_anew_replaces_the_old_one_alone(monkeypatch, written):
    monkeypatch.setattr(run, "run", lambda name, short: Section(name.title(), "Old.", [check(0.5)]))
    run.main([])
    monkeypatch.setattr(run, "run", lambda name, short: Section(name.title(), "New.", [check(2.5)]))
    assert run.main(["sky"]) == 1
    text = (written / "page.md").read_text()
    assert (text.count("New."), text.count("Old.")) == (1, len(run.validations()) - 1)
    assert "2.5 us | <= 1 us **exceeded** |" in text


def test_a_short_run_changes_neither_page_nor_results(monkeypatch, written):
    monkeypatch.setattr(run, "run", lambda name, short: Section(name.title(), "How.", [check(0.5)]))
    assert run.main(["--short"]) == 0
    assert not list(written.iterdir())


def test_the_page_has_all_sections_and_what_was_mended(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "run", lambda name, short: Section(name.title(), "How.", [check(0.5)]))
    assert run.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    titles = [name.title() for name in run.validations()]
    assert headings == [*titles, "How long it takes", "Found wrong and mended"]
    assert "| delay | formula | 0.5 us | <= 1 us |" in text


BURST = draw(np.random.default_rng(1), 1, 10.0)[0]


@pytest.mark.parametrize(
    ("rows", "passed", "extracted", "reason"),
    [
        ([], (False, False, False, False), False, losses.UNSEEN),
        ([(100.0, 9.9, 0, 1, 0)], (True, False, False, False), False, losses.FAINT),
        ([(19.0, 30.0, 0, 1, 0)], (True, False, False, False), False, losses.NEARBY),
        ([(100.0, 30.0, 0, 1, 0)], (True, False, False, False), False, losses.HIDDEN),
        ([(100.0, 30.0, 0, 1, 0)], (True, True, False, False), False, losses.NOT_IN_DATA),
        ([(100.0, 30.0, 0, 1, 0)], (True, True, False, False), True, losses.ELSEWHERE),
        ([(100.0, 30.0, 0, 1, 0)], (True, True, True, False), True, losses.REFUSED),
        ([(100.0, 30.0, 0, 1, 0)], (True, True, True, True), True, ""),
    ],
)
def test_the_cause_of_a_loss_is_the_first_stage_that_a_burst_did_not_pass(rows, passed, extracted, reason):
    assert losses.cause(rows, passed, extracted=extracted) == reason


def test_bright_bursts_that_were_lost_are_listed():
    bright = replace(BURST, burst=replace(BURST.burst, snr=40.0, dm=30.0))
    by_cause, _, listed = losses.lost_bursts([bright, bright], [losses.NEARBY, ""])
    assert [row[:2] for row in by_cause.rows][-1] == ["35-100", "1"]
    assert [(row[0], row[1], row[-1]) for row in listed.rows] == [("40.0", "30", losses.NEARBY)]


@pytest.mark.parametrize(
    ("ucd", "valid"),
    [
        ("phys.dispMeasure", True), ("stat.error;phys.dispMeasure", True), ("pos.errorEllipse", False),
        ("phys.dispersion", False),
    ],
)  # fmt: skip
def test_a_ucd_has_words_of_the_list_in_their_order(ucd, valid):
    assert formats.valid(ucd) is valid


def test_an_unknown_word_of_a_ucd_is_found():
    unknown, misplaced = formats.ucd_checks({"dm": "phys.dispMeasure", "width": "time.length"})
    assert (unknown.value, misplaced.value) == (1, 1)


def test_what_waits_for_a_batch_that_does_not_come_is_decided_on_a_batch_later():
    decide = real_time.decider("linked, waiting", sb_filter=False)
    last = np.array([[500.0, 30.0, ARTS.batch_s - 0.001, 10.0, 0.0]])
    first_alone, then = decide({0: last})
    assert (first_alone[0].iquv, then[0].iquv[0].snr) == ((), 30.0)
    assert then[1] - first_alone[1] == pytest.approx(ARTS.batch_s)


@pytest.mark.parametrize(("dm", "late_s", "mine"), [(0.0, 0.0, 1), (0.0, 0.5, 0), (300.0, 0.0, 0)])
def test_a_dump_is_right_if_it_is_near_the_burst(dm, late_s, mine):
    burst = Burst(0.5, 500.0, 30.0, 10)
    rows = np.array([[500.0 + dm, 30.0, 0.5 + late_s, 10.0, 0.0]])
    decisions = real_time.decider("windows", sb_filter=False)({0: rows})
    sent = real_time.outcome(decisions, burst)
    assert (sent.dumps, sent.right, sent.waited_s) == (1, bool(mine), 0.0)


@pytest.mark.parametrize(
    ("name", "variable"), [("your", "DARC_TEST_YOUR"), ("sigpyproc", "DARC_TEST_SIGPYPROC")]
)
def test_a_short_run_installs_nothing_and_says_what_is_missing(monkeypatch, tmp_path, name, variable):
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(readers, "FOLDER", tmp_path / "readers")
    with pytest.raises(readers.NotHereError, match=variable):
        dict(readers.readers(short=True))[name]()
    assert not list(tmp_path.glob("readers"))


def test_an_interrupted_run_leaves_no_process_and_keeps_what_is_done(monkeypatch, written):
    def measure(name, short):
        if name == "sky":
            raise KeyboardInterrupt
        return Section(name.title(), "How.", [check(0.5)])

    ended = []
    monkeypatch.setattr(run, "run", measure)
    monkeypatch.setattr(run, "end", ended.append)
    monkeypatch.setattr(run, "RUNNING", {4321})
    with pytest.raises(KeyboardInterrupt):
        run.main(["galaxy", "sky", "--jobs", "1"])
    assert ended == [4321]
    assert "Galaxy" in (written / "results.json").read_text()
