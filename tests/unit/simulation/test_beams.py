from pathlib import Path

import numpy as np
import pytest

from darc.definitions import ARTS, Instrument
from darc.simulation.beams import sb_response, sb_table


def period(response):
    """Lag of the highest autocorrelation at lag 2 or more."""
    lags = range(2, len(response))
    return max(lags, key=lambda lag: sum(response[lag:] * response[:-lag]))


def test_each_sb_uses_one_tab_per_subband():
    table = sb_table()
    assert table.shape == (ARTS.nsynthesised_beam, ARTS.nsubband)
    assert table.min() == 0 and table.max() == ARTS.ntab - 1


def test_the_middle_sb_is_the_central_tab_at_all_frequencies():
    assert not sb_table()[ARTS.nsynthesised_beam // 2].any()


def test_neighbouring_sbs_are_one_tab_apart_at_the_top_of_the_band():
    steps = np.diff(sb_table()[:, -1]) % ARTS.ntab
    assert np.mean(steps == ARTS.ntab - 1) > 0.98


@pytest.mark.parametrize("sb", range(ARTS.nsynthesised_beam))
def test_a_source_in_any_direction_shows_the_period_of_celestial_signals(sb):
    response = sb_response(sb_table())[sb]
    assert response[sb] == 1
    assert np.sum(response == 1) == 1
    assert 10 < period(response) < 15


def test_another_instrument_has_its_own_table():
    table = sb_table(Instrument(ntab=3, nsynthesised_beam=9, nsubband=4))
    assert table.shape == (9, 4)
    assert table.max() == 2


def test_the_table_is_that_of_the_telescope_but_for_roundings(reference_data: Path):
    real = np.loadtxt(reference_data / "arts" / "sbtable-sc4-12tabs-71sbs.txt", dtype=int)
    difference = (sb_table() - real) % ARTS.ntab
    assert np.mean(difference == 0) > 0.95
    assert np.isin(difference, (0, 1, ARTS.ntab - 1)).all()
