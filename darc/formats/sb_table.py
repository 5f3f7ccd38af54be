"""Tables of synthesised beams (SBs): text, a row per SB, a column per subband (lowest frequency first).

Each cell has the number of the tied-array beam (TAB) that the SB takes in that subband. White space separates
columns; empty lines, and lines that start with `#`, are skipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.files import shown


class SBTableError(DARCError):
    """A text is not a table of synthesised beams."""


def parse_sb_table(text: str, *, nsb: int, nsubband: int, ntab: int) -> NDArray[np.intp]:
    """Return a table.

    Args:
        text: the table
        nsb: number of rows it has to have
        nsubband: number of columns it has to have
        ntab: number of TABs; cells have to be 0 to `ntab` - 1

    Returns:
        shape (nsb, nsubband)

    Raises:
        SBTableError: rows, columns or cells are not as they have to be

    """
    allowed = {str(tab): tab for tab in range(ntab)}
    rows: list[list[int]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.split()
        if not cells or cells[0].startswith("#"):
            continue
        if len(cells) != nsubband:
            raise SBTableError(f"line {number}: has {len(cells)} columns; there are {nsubband} subbands")
        if wrong := [cell for cell in cells if cell not in allowed]:
            raise SBTableError(f"line {number}: {shown(wrong[0])} is no TAB; they are 0 to {ntab - 1}")
        rows.append([allowed[cell] for cell in cells])
    if len(rows) != nsb:
        raise SBTableError(f"has {len(rows)} rows; there are {nsb} synthesised beams")
    return np.array(rows, dtype=np.intp)
