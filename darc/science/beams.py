"""Synthesised beams (SBs): which tied-array beam (TAB) each of them takes, as a table and as channels.

The dishes of an equidistant east-west array repeat their response along one direction; the TABs divide one
such period. The period shrinks with frequency while a direction stays where it is, so a direction away from
the centre moves through the TABs along the band. An SB follows one direction: per subband it takes the TAB
that is there (van Leeuwen et al. 2023, A&A 672, A117).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS, Instrument
from darc.errors import DARCError


class SubbandError(DARCError):
    """A number of channels cannot be divided into the subbands of a table."""


class ChannelRange(NamedTuple):
    """Channels `start` to `stop` - 1 of a file, which an SB takes from one TAB."""

    tab: int
    start: int
    stop: int


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


def channel_ranges(row: NDArray[np.intp], nchan: int, *, highest_first: bool) -> list[ChannelRange]:
    """Return the channels that an SB takes from each TAB, in the order of the file.

    Neighbouring subbands of the same TAB are one range. The ranges follow each other without gaps.

    Args:
        row: TAB of each subband of the SB, lowest frequency first, shape (nsubband,)
        nchan: number of channels of the files, a multiple of the number of subbands
        highest_first: whether the files store the highest frequency first

    Raises:
        SubbandError: the number of channels is not a multiple of the number of subbands

    """
    width, rest = divmod(nchan, len(row))
    if rest or not width:
        raise SubbandError(
            f"{nchan} channels cannot be divided into the {len(row)} subbands of the synthesised beams; "
            "use a table with a number of columns that divides the number of channels"
        )
    tabs = row[::-1] if highest_first else row
    edges = [0, *(np.flatnonzero(np.diff(tabs)) + 1).tolist(), len(tabs)]
    return [ChannelRange(int(tabs[start]), start * width, stop * width) for start, stop in pairwise(edges)]
