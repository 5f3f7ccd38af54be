"""The comparisons with references: what is a failure, and what the page says of it."""

import math

import pytest

from validation import run
from validation.result import Check, Section, Table


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


def test_a_validation_that_fails_is_told_and_no_page_is_written(monkeypatch, capsys, tmp_path):
    def fail(name, short):
        raise run.ValidationError("ended with exit code 1")

    monkeypatch.setattr(run, "run", fail)
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.md")
    assert run.main([]) == 1
    assert "FAILED sky" in capsys.readouterr().out
    assert not (tmp_path / "page.md").exists()


def test_the_page_has_all_sections_and_what_was_mended(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "run", lambda name, short: Section(name.title(), "How.", [check(0.5)]))
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.md")
    assert run.main([]) == 0
    text = (tmp_path / "page.md").read_text()
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [*(name.title() for name in run.validations()), "Found wrong and mended"]
    assert "| delay | formula | 0.5 us | <= 1 us |" in text
