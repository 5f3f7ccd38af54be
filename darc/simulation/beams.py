"""Synthesised beams (SBs): how strongly each of them sees a source.

The TABs that an SB uses repeat along one direction, with a period that depends on frequency. A source is
therefore seen in part by SBs about one period away, which is how a celestial signal is told from
interference. `darc.science.beams` describes the beams.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darc.science.beams import sb_table

__all__ = ["sb_response", "sb_table"]


def sb_response(table: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the fraction of a source's S/N that each SB finds.

    It is the fraction of subbands in which an SB uses the TAB that looks at the source.

    Args:
        table: TAB of each SB and subband, shape (nsb, nsubband)

    Returns:
        shape (nsb, nsb): row i for a source in the direction of SB i; 1 on the diagonal

    """
    same = table[:, None, :] == table[None, :, :]
    response: NDArray[np.float64] = same.mean(axis=-1, dtype=np.float64)
    return response
