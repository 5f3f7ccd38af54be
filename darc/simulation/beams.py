"""Synthesised beams (SBs): which of them see a source, and how strongly.

The dishes of an equidistant east-west array repeat their response along one direction; the tied-array beams
(TABs) divide one such period. The period shrinks with frequency while a direction stays where it is, so a
direction away from the centre moves through the TABs along the band. An SB follows one direction: per subband
it takes the TAB that is there (van Leeuwen et al. 2023, A&A 672, A117). A source is therefore seen in part by
SBs about one period away, which is how a celestial signal is told from interference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS, Instrument


def sb_table(instrument: Instrument = ARTS) -> NDArray[np.intp]:
    """Return the TAB that each SB uses in each subband, lowest frequency first.

    The middle SB is the centre of the compound beam, TAB 0 at all frequencies. Neighbouring SBs are one TAB
    apart at the top of the band and less below it.

    Returns:
        shape (nsynthesised_beam, nsubband), values 0 to ntab - 1

    """
    subband = np.arange(instrument.nsubband) + 0.5
    bottom = instrument.top_freq_mhz(instrument.min_freq_mhz) - instrument.bandwidth_mhz
    freq_mhz = bottom + subband * instrument.bandwidth_mhz / instrument.nsubband
    direction = instrument.nsynthesised_beam // 2 - np.arange(instrument.nsynthesised_beam)
    tab = np.round(direction[:, None] * freq_mhz / (bottom + instrument.bandwidth_mhz))
    return tab.astype(np.intp) % instrument.ntab


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
