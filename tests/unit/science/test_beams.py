"""Which TAB a synthesised beam takes, and which channels of it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.science.beams import ChannelRange, SubbandError, channel_ranges, sb_table

rows = st.lists(st.integers(0, 11), min_size=1, max_size=40).map(np.array)


def test_an_sb_far_from_the_centre_moves_through_the_tabs_along_the_band():
    first = np.diff(sb_table()[0]) % ARTS.ntab
    assert set(first) == {0, 1}
    assert len(set(sb_table()[0])) == 8


def test_neighbouring_subbands_of_one_tab_are_one_range():
    row = np.array([4, 4, 5, 4])
    assert channel_ranges(row, 8, highest_first=False) == [(4, 0, 4), (5, 4, 6), (4, 6, 8)]
    assert channel_ranges(row, 8, highest_first=True) == [(4, 0, 2), (5, 2, 4), (4, 4, 8)]


@given(rows, st.integers(1, 5), st.booleans())
def test_every_channel_comes_from_the_tab_of_its_subband(row, width, highest_first):
    # pitfall: a band turned around with an off-by-one (channel n of N counted from the other end is N-1-n)
    nchan = len(row) * width
    taken = [
        tab
        for tab, start, stop in channel_ranges(row, nchan, highest_first=highest_first)
        for _ in range(start, stop)
    ]
    for channel in range(nchan):
        from_below = nchan - 1 - channel if highest_first else channel
        assert taken[channel] == row[from_below // width]


@given(rows, st.booleans())
def test_ranges_are_as_few_as_possible_and_leave_no_gap(row, highest_first):
    ranges = channel_ranges(row, 3 * len(row), highest_first=highest_first)
    assert ranges[0].start == 0 and ranges[-1].stop == 3 * len(row)
    for one, other in pairwise(ranges):
        assert one.stop == other.start and one.tab != other.tab
    assert all(isinstance(number, int) for one in ranges for number in one)
    assert isinstance(ranges[0], ChannelRange)


@pytest.mark.parametrize("nchan", [1000, 31, 0])
def test_channels_that_do_not_fill_the_subbands_are_refused(nchan):
    with pytest.raises(SubbandError, match=f"{nchan} channels cannot be divided into the 32 subbands"):
        channel_ranges(sb_table()[0], nchan, highest_first=True)
