"""A source that drifts through the beams of the fake telescope."""

import numpy as np
import pytest

from darc.definitions import Instrument
from darc.science.drift_scan import FluxModel
from darc.simulation.drift import DriftingSource, DriftSky
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.sky import Sky

INSTRUMENT = Instrument(
    ntab=2, nsynthesised_beam=5, nsubband=8, nchan=16, tsamp_s=1.024e-3, samples_per_batch=1000
)
FLUX = FluxModel((1.0,), (1000, 2000))


@pytest.fixture(scope="module")
def plain():
    return FilterbankSky(Sky(20.48), instrument=INSTRUMENT, tile_samples=4096)


def test_mean_and_rms_grow_by_the_share_of_the_source(plain):
    shown = DriftSky(plain, DriftingSource(FLUX, 20.0, 10.0, 400.0), zero_level=7)  # as good as constant
    without, found = plain.block(1, 5000, 8000).astype(float), shown.block(1, 5000, 8000).astype(float)
    # the darkest channels: no sample is cut off at 255
    dark = without.mean(axis=0) < 60
    np.testing.assert_allclose(
        found[:, dark].mean(axis=0), 1.5 * without[:, dark].mean(axis=0) + 7, rtol=2e-3
    )
    np.testing.assert_allclose(found[:, dark].std(axis=0), 1.5 * without[:, dark].std(axis=0), rtol=2e-2)


def test_half_a_width_from_the_middle_half_of_the_source_is_seen(plain):
    shown = DriftSky(plain, DriftingSource(FLUX, 20.0, 10.0, 4.0))
    means = [shown.block(0, first, 20).mean() / plain.block(0, first, 20).mean() for first in (0, 7802, 9756)]
    assert means == pytest.approx([1.0, 1.25, 1.5], abs=0.01)


def test_a_block_in_pieces_is_the_same(plain):
    shown = DriftSky(plain, DriftingSource(FLUX, 50.0, 10.0, 4.0))
    pieces = [shown.block(None, 9000, 123), shown.block(None, 9123, 877)]
    np.testing.assert_array_equal(np.concatenate(pieces), shown.block(None, 9000, 1000))
