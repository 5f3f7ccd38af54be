"""What the demo injects, and what it tells the instrument about it."""

import numpy as np

from darc.definitions import ARTS
from darc.science.rfi import masked_channels
from darc.simulation.demo import INSTRUMENT
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.scenario import DEMO
from darc.simulation.sky import Sky


def test_the_mask_holds_the_channels_that_transmitters_reach_and_no_others():
    silent, sent = (
        FilterbankSky(Sky(5.0), emissions, instrument=INSTRUMENT).block(3, 0, 40_000)
        for emissions in ((), DEMO.emissions())
    )
    reached = (silent != sent).any(axis=0)
    mask = DEMO.masked(INSTRUMENT)
    np.testing.assert_array_equal(masked_channels(mask, INSTRUMENT.nchan, descending=True), reached)
    assert 0 < len(mask) < INSTRUMENT.nchan / 10


def test_a_mask_covers_the_same_frequencies_in_narrower_channels():
    assert 12 / 2 < len(DEMO.masked(ARTS)) / len(DEMO.masked(INSTRUMENT)) <= 12
