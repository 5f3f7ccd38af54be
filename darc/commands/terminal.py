"""Text for people: tables, colours where the output is a terminal, and nothing that a terminal would obey."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_GAP = "  "


class Style(NamedTuple):
    """How text is to look: with colours or without."""

    colour: bool = False

    def paint(self, text: str, colour: str) -> str:
        """Return text in a colour, or as it is."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and colour and text else text


class Cell(NamedTuple):
    """Text in a table, and its colour."""

    text: str
    colour: str = ""


def style_of(stream: TextIO) -> Style:
    """Return the style that suits an output; `NO_COLOR` is explained at https://no-color.org."""
    return Style(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def printable(text: str) -> str:
    """Return one line of text, without the characters that would move the cursor or change the terminal."""
    if text.isprintable():
        return text
    # what other programs and observers wrote, such as the name of a source
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


def table(header: Sequence[str], rows: Sequence[Sequence[Cell | str]], style: Style) -> list[str]:
    """Return the lines of a table; columns without content are left out, numbers stand to the right.

    Args:
        header: titles of the columns; all empty: no such line
        rows: as many cells each
        style: colours or none
    """
    if not rows:
        return []
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    cells = [[Cell(printable(text), colour) for text, colour in row] for row in cells]
    titles = [Cell(title, "bold") for title in header]
    columns = [
        _column(title, column)
        for title, column in zip(titles, zip(*cells, strict=True), strict=True)
        if any(cell.text for cell in column)
    ]
    lines = [_GAP.join(style.paint(*cell) for cell in row).rstrip() for row in zip(*columns, strict=True)]
    return lines if any(header) else lines[1:]


def _column(title: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """Return title and cells, filled with spaces to the same width."""
    width = max(len(cell.text) for cell in (title, *cells))
    right = all(cell.text.isdecimal() or not cell.text for cell in cells)
    filled = [cell.text.rjust(width) if right else cell.text.ljust(width) for cell in (title, *cells)]
    return [Cell(text, cell.colour) for text, cell in zip(filled, (title, *cells), strict=True)]
