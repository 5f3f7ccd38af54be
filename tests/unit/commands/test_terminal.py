"""Text for people."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.commands.terminal import Cell, Style, printable, style_of, table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("variables", "colour"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_has_colours_unless_they_are_not_wanted(monkeypatch, variables, colour):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert style_of(Terminal()).colour is colour


def test_a_file_has_no_colours():
    assert not style_of(io.StringIO()).colour


@given(st.text())
def test_nothing_printable_moves_the_cursor(text):
    assert all(character.isprintable() or character == "\t" for character in printable(text))
    printable(text).encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_is_harmless_stays_as_it_is(text):
    assert printable(text) == text


def test_columns_are_aligned_numbers_to_the_right_and_empty_ones_left_out():
    rows = [("a", "", "7", "x"), (Cell("bcd", "red"), "", "100", "")]
    assert table(("NAME", "NONE", "N", "LAST"), rows, Style()) == [
        "NAME    N  LAST",
        "a       7  x",
        "bcd   100",
    ]


def test_a_table_without_titles_has_rows_only():
    assert table(("", ""), [("a", "1")], Style()) == ["a  1"]
    assert table(("", ""), [], Style()) == []


def test_colours_do_not_shift_the_columns():
    plain, coloured = (
        table(("A", "B"), [(Cell("ab", "red"), "c")], Style(colour)) for colour in (False, True)
    )
    assert plain[1] == "ab  c"
    assert coloured[1] == "\x1b[31mab\x1b[0m  c"


def test_a_cell_cannot_break_the_line():
    assert table(("A",), [("x\ny",)], Style()) == ["A", r"x\ny"]
