"""The simulated candidates: their labels are right, and a seed says which they are."""

from dataclasses import replace

import numpy as np
import pytest

from darc.science.dedispersion import Band
from darc.training import second_sky, telescope_sky
from darc.training.examples import SHAPES, SHARD, Drawing, Examples
from darc.training.interference import KINDS
from darc.training.second_interference import KINDS as SECOND_KINDS
from darc.training.second_interference import Cut, chirp

SKIES = {"telescope": telescope_sky, "second": second_sky}


@pytest.fixture(scope="module", params=SKIES)
def drawn(request):
    return SKIES[request.param].draw(10, (1, 2))


def test_half_are_bursts_and_the_shapes_are_those_of_the_networks(drawn):
    assert drawn.burst.sum() == 5
    assert drawn.freqtime.shape == (10, 32, 64)
    assert drawn.dmtime.shape == (10, 64, 64)
    assert set(drawn.kind[~drawn.burst]) <= {*KINDS, *SECOND_KINDS}
    assert set(drawn.kind[drawn.burst]) == {"burst"}


def test_bursts_are_in_the_centre_and_about_as_bright_as_they_were_made(drawn):
    bright = drawn.where(drawn.burst & drawn.centred & (drawn.injected_snr > 12))
    # a pulse in a part of the band is as bright in the sum of all frequencies
    profile = bright.freqtime.mean(axis=1)
    assert np.abs(profile.argmax(axis=1) - 32).max() <= 8
    ratio = bright.snr / bright.injected_snr
    assert 0.6 < np.median(ratio) < 1.2


@pytest.mark.parametrize("sky", SKIES.values(), ids=SKIES)
def test_the_seed_says_what_is_drawn(sky):
    first, again = (sky.draw(2, (1, 0)) for _ in range(2))
    assert np.array_equal(first.freqtime, again.freqtime)
    assert np.array_equal(first.dmtime, again.dmtime)


def cheap(number, seed):
    """Candidates that take no time."""
    rng = np.random.default_rng(seed)
    planes = (rng.random((number, *shape), np.float32) for shape in SHAPES.values())
    flags, numbers = np.ones(number, bool), np.ones(number)
    return Examples(
        *planes, flags, np.full(number, "burst"), numbers, numbers, numbers, numbers, flags, numbers
    )


def test_what_was_kept_is_not_drawn_again(tmp_path):
    def twice(number, seed):
        raise AssertionError("drawn again")

    first = Drawing(cheap, "training", 4, 1, tmp_path).examples(1)
    again = Drawing(twice, "training", 4, 1, tmp_path).examples(1)
    assert np.array_equal(first.freqtime, again.freqtime)
    assert np.array_equal(first.kind, again.kind)
    with pytest.raises(AssertionError, match="drawn again"):
        Drawing(twice, "training", 4, 2, tmp_path).examples(1)


def test_sets_of_other_names_and_seeds_and_their_parts_hold_other_candidates():
    sets = [Drawing(cheap, *one).examples(1) for one in (("a", 3, 1), ("b", 3, 1), ("a", 3, 2))]
    long = Drawing(cheap, "a", SHARD + 3, 1)
    sets.append(long.shard(1))
    assert len({one.freqtime.tobytes() for one in sets}) == 4
    assert len(long.examples(1)) == SHARD + 3


def test_noise_of_the_second_sky_is_faint():
    noise = second_sky.draw_noise(5, (1,))
    assert not noise.burst.any()
    assert noise.snr.max() < 6


def test_bursts_injected_into_data_are_the_same_whatever_the_data():
    band = Band(1518.0, -4.0, 75, 1e-3)
    data = np.random.default_rng(1).normal(100, 10, (1500, 75)).astype(np.uint8)
    quiet, other = (second_sky.inject(one, band, 6, 3, 300.0) for one in (data, data[::-1]))
    assert np.array_equal(quiet.injected_snr, other.injected_snr)
    assert quiet.centred.all()
    # the cleaning takes what is bright in few channels
    assert 0.5 < np.median(quiet.snr / quiet.injected_snr) < 1.2


def test_candidates_are_extracted_at_different_places_of_data():
    band = Band(1518.0, -4.0, 75, 1e-3)
    data = np.random.default_rng(1).normal(100, 10, (1500, 75)).astype(np.uint8)
    found = second_sky.search(data, band, 5, 1, 200.0)
    assert len({one.dm for one in found}) == 5
    assert len({one.time_s for one in found}) > 1


def test_sweeps_that_leave_the_track_by_more_than_their_width_are_told_from_those_like_bursts():
    drawn = second_sky.draw(2, (1, 0))
    for sweep_samples, alike in ((0.0, True), (4000.0, False)):
        track = 300 + np.linspace(0, sweep_samples, 64)
        cut = Cut(np.zeros((900, 64), np.float32), np.ones(64), 1e-3, track, 8)
        chirp(np.random.default_rng(3), cut, 1.0)
        there = replace(drawn, departure=np.array([cut.facts["departure"], np.nan]))
        assert second_sky.sweeps_like_bursts(there).tolist() == [alike, False]
