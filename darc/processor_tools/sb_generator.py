"""The synthesised beams of an observation: the site's table of them, or a computed one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.config import processing
from darc.definitions import ARTS, Instrument
from darc.errors import DARCError
from darc.formats.files import read_text
from darc.formats.sb_table import SBTableError, parse_sb_table
from darc.science.beams import sb_table

#: Largest table that is read; that of ARTS has 6 kB.
_TABLE_BYTES_MAX = 10**6


class SBGeneratorError(DARCError):
    """There is no such synthesised beam, or no table for an observation."""


@dataclass(frozen=True)
class SBGenerator:
    """Says which tied-array beam (TAB) each synthesised beam (SB) takes in each subband.

    Attributes:
        table: TAB of each SB and subband, lowest frequency first, shape (nsb, nsubband)
        source: where the table comes from, for the log

    """

    table: NDArray[np.intp]
    source: str

    @classmethod
    def for_observation(
        cls, settings: processing.SBGenerator, ntab: int, instrument: Instrument = ARTS
    ) -> SBGenerator:
        """Return the beams of the science case that has this number of TABs.

        Args:
            settings: section `sb_generator` of the configuration
            ntab: number of TABs of the observation
            instrument: its subbands, and its frequencies if the table has to be computed

        Raises:
            SBGeneratorError: no science case has this number of TABs
            SBTableError: the site's table cannot be read or does not have the numbers of beams and subbands

        """
        case = _science_case(settings, ntab)
        nsb = getattr(settings.numsb, case)
        path = settings.table_folder / getattr(settings.table, case)
        if not path.exists():
            computed = replace(instrument, ntab=ntab, nsynthesised_beam=nsb)
            return cls(sb_table(computed), f"computed, there is no table {path}")
        return cls(_load(path, nsb, instrument.nsubband, ntab), str(path))

    def row(self, sb: int) -> NDArray[np.intp]:
        """Return the TAB of each subband of an SB, lowest frequency first, shape (nsubband,).

        Raises:
            SBGeneratorError: there is no such SB

        """
        if not 0 <= sb < len(self.table):
            raise SBGeneratorError(f"there is no synthesised beam {sb}, only 0 to {len(self.table) - 1}")
        row: NDArray[np.intp] = self.table[sb]
        return row


def _science_case(settings: processing.SBGenerator, ntab: int) -> str:
    cases = {case: getattr(settings.numtab, case) for case in type(settings.numtab).model_fields}
    for case, number in cases.items():
        if number == ntab:
            return case
    known = ", ".join(f"{number} ({case})" for case, number in cases.items())
    raise SBGeneratorError(
        f"no synthesised beams are known for {ntab} TABs, only for {known}; see sb_generator.numtab"
    )


def _load(path: Path, nsb: int, nsubband: int, ntab: int) -> NDArray[np.intp]:
    text = read_text(path, _TABLE_BYTES_MAX, SBTableError)
    try:
        return parse_sb_table(text, nsb=nsb, nsubband=nsubband, ntab=ntab)
    except SBTableError as error:
        raise SBTableError(f"{path}: {error}") from error
