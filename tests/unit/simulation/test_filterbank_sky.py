from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS, Instrument
from darc.simulation.amber import Amber
from darc.simulation.beams import sb_table
from darc.simulation.filterbank_sky import (
    NOISE_MEAN,
    NOISE_RMS,
    FilterbankSky,
    bandpass,
    channel_table,
    tab_response,
)
from darc.simulation.signals import ShapedBurst, SubBurst, drifting, narrow_band, radar
from darc.simulation.sky import Burst, Pulsar, Sky

SMALL = Instrument(ntab=3, nsynthesised_beam=5, nsubband=8, nchan=64, samples_per_batch=2000)
BATCH_S = 2000 * 81.92e-6
FREQS_MHZ = SMALL.min_freq_mhz + SMALL.channel_width_mhz * np.arange(64)[::-1]
CENTRAL = 2


def delay_samples(dm, freq_mhz):
    top_mhz = SMALL.min_freq_mhz + (64 - 0.5) * SMALL.channel_width_mhz
    return 4.148808e3 * dm * (freq_mhz**-2 - top_mhz**-2) / 81.92e-6


def synthesised(sky, sb, nsample):
    """Samples of an SB, put together from the TABs, shape (nsample, nchan)."""
    blocks = np.stack([sky.block(tab, 0, nsample) for tab in range(SMALL.ntab)])
    subband = np.arange(64)[::-1] // 8
    return blocks[sb_table(SMALL)[sb][subband], :, np.arange(64)].T.astype(float)


def dedispersed(data, dm):
    """Sum of all channels, in whole samples after the top of the band."""
    delays = np.rint(delay_samples(dm, FREQS_MHZ)).astype(int)
    nsample = len(data) - delays[-1]
    return sum(data[delay : delay + nsample, channel] for channel, delay in enumerate(delays))


BUSY = Sky(
    3 * BATCH_S,
    bursts=(
        Burst(0.1, 50.0, 60.0, 7, 1),
        ShapedBurst(0.15, 120.0, 40.0, 20, 3, scattering_s=0.002, parts=drifting(2, 0.003, -5e3, 1400, 80)),
        Burst(0.3, 0.0, 400.0, 3, None),
    ),
    pulsars=(Pulsar(0.09, 20.0, 15.0, sb=2),),
)
RFI = (*narrow_band(1300, 5, 2, duration_s=0.5, duty=0.6, slot_s=0.03), *radar(1250, 1350, 9, duration_s=0.5))


def busy(seed=7):
    return FilterbankSky(BUSY, RFI, seed=seed, instrument=SMALL)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6000), max_size=8), st.sampled_from([0, 1, 2, None]), st.booleans())
def test_samples_do_not_depend_on_the_blocks_asked_for(cuts, tab, backwards):
    whole = busy().block(tab, 0, 6000)
    edges = [0, *sorted(cuts), 6000]
    spans = list(pairwise(edges))
    sky = busy()
    parts = {span: sky.block(tab, span[0], span[1] - span[0]) for span in spans[:: -1 if backwards else 1]}
    assert np.array_equal(np.concatenate([parts[span] for span in spans]), whole)


def test_samples_follow_from_the_seed():
    assert np.array_equal(busy().block(1, 0, 3000), busy().block(1, 0, 3000))
    assert not np.array_equal(busy().block(1, 0, 3000), busy(seed=8).block(1, 0, 3000))


def test_noise_has_the_level_of_the_bandpass():
    sky = FilterbankSky(Sky(2.0), instrument=SMALL)
    for tab, gain in enumerate(sky.gain):
        data = sky.block(tab if tab < SMALL.ntab else None, 0, 20_000)
        assert np.allclose(data.mean(axis=0), NOISE_MEAN * gain, rtol=0.02)
        assert np.allclose(data.std(axis=0), NOISE_RMS * gain, rtol=0.05)
        assert data.dtype == np.uint8


def test_noise_differs_between_tabs_and_channels():
    sky = FilterbankSky(Sky(2.0), instrument=SMALL)
    data = np.concatenate([sky.block(tab, 0, 8000).T for tab in range(SMALL.ntab)])
    correlation = np.corrcoef(data) - np.eye(len(data))
    assert np.abs(correlation).max() < 0.08


@pytest.mark.parametrize("width", [1, 10, 100, 400])
def test_dedispersed_noise_averages_down_as_white_noise_does(width):
    sky = FilterbankSky(Sky(10.0), instrument=SMALL)
    series = dedispersed(sky.block(0, 0, 120_000).astype(float), 200.0)
    boxcars = series[: series.size // width * width].reshape(-1, width).sum(axis=1)
    expected = NOISE_RMS * np.sqrt((sky.gain[0] ** 2).sum() * width)
    assert boxcars.std() == pytest.approx(expected, rel=0.02 + 2 / boxcars.size**0.5)


def test_the_bandpass_is_smooth_and_differs_between_tabs():
    gain = bandpass(ARTS, np.random.default_rng(1))
    assert gain.shape == (13, 1536)
    assert gain.min() > 0.45
    assert gain.max() < 1.25
    assert np.all(gain[:, 0] < 0.8 * np.median(gain, axis=1))
    assert np.all(np.std(gain, axis=0)[100:-100] > 0.01)
    # 0 and 255 are far away
    assert NOISE_MEAN / NOISE_RMS > 5.5
    assert (255 - 1.25 * NOISE_MEAN) / (1.25 * NOISE_RMS) > 8


def test_a_source_is_in_the_tabs_of_its_sb():
    table = channel_table(ARTS)
    for sb in (0, 20, 35, 70):
        response = tab_response(ARTS, table[sb])
        assert response.shape == (12, 1536)
        assert np.array_equal(response.argmax(axis=0), table[sb])
        assert np.all(response.max(axis=0) == 1)
        # the lowest subband of the table is that of the last channels
        assert table[sb, -1] == sb_table(ARTS)[sb, 0]
        assert table[sb, 0] == sb_table(ARTS)[sb, -1]
    neighbour = tab_response(ARTS, np.array([3]))[:, 0]
    assert neighbour[2] == pytest.approx(neighbour[4])
    assert neighbour[[4, 5, 6]] == pytest.approx([0.175, 0.047, 0.0], abs=0.001)


def test_neighbouring_tabs_see_a_burst_attenuated():
    burst = Burst(0.1, 100.0, 300.0, 30, CENTRAL)
    with_burst = FilterbankSky(Sky(0.6, (burst,)), instrument=SMALL)
    without = FilterbankSky(Sky(0.6), instrument=SMALL)
    gained = [
        with_burst.block(tab, 0, 4000).astype(float) - without.block(tab, 0, 4000) for tab in (0, 1, 2, None)
    ]
    energy = [(each / gain).sum() for each, gain in zip(gained, with_burst.gain, strict=True)]
    expected = [1, *tab_response(SMALL, np.zeros(1, int))[1:, 0], 8**-0.5]
    assert np.array(energy) / energy[0] == pytest.approx(expected, abs=0.03)


def test_a_signal_without_direction_is_alike_in_all_tabs():
    burst = Burst(0.1, 0.0, 200.0, 10, None)
    with_burst = FilterbankSky(Sky(0.6, (burst,)), instrument=SMALL)
    without = FilterbankSky(Sky(0.6), instrument=SMALL)
    energy = [
        ((with_burst.block(tab, 0, 4000).astype(float) - without.block(tab, 0, 4000)) / gain).sum()
        for tab, gain in enumerate(with_burst.gain[:3])
    ]
    assert energy == pytest.approx([energy[0]] * 3, rel=0.02)


@pytest.mark.parametrize("dm", [30.0, 200.0])
def test_dispersion_in_the_data_is_right_to_a_sample_at_both_ends_of_the_band(dm):
    start, width = 1000, 8
    sky = FilterbankSky(Sky(2.0, (Burst(start * 81.92e-6, dm, 300.0, width, CENTRAL),)), instrument=SMALL)
    data = (sky.block(0, 0, 12_000) - NOISE_MEAN * sky.gain[0]) / (NOISE_RMS * sky.gain[0])
    half = SMALL.channel_width_mhz / 2
    for channel in (0, 63):
        upper, lower = delay_samples(dm, FREQS_MHZ[channel] + np.array([half, -half]))
        # what came of the pulse fills the time between the delays of the channel's edges
        middle = start + (upper + width + lower) / 2
        window = slice(int(start + upper) - 20, int(start + width + lower) + 20)
        signal = data[window, channel].clip(0)
        signal[signal < 4] = 0
        centroid = window.start + 0.5 + (np.arange(signal.size) * signal).sum() / signal.sum()
        assert centroid == pytest.approx(middle, abs=1)
        assert signal.max() > 6


SHAPES = {
    "rectangular": {},
    "scattered": {"scattering_s": 0.003},
    "in part of the band": {"parts": (SubBurst(centre_mhz=1330, fwhm_mhz=60),)},
    "drifting": {"parts": drifting(3, 0.003, -8000, 1430, 70)},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("snr", "width", "dm"), [(12.0, 1, 40.0), (20.0, 30, 150.0), (50.0, 100, 300.0)])
def test_the_snr_in_the_data_is_what_was_injected(shape, snr, width, dm):
    bursts = tuple(ShapedBurst(0.2 + 0.4 * i, dm, snr, width, 1, **SHAPES[shape]) for i in range(20))
    sky = FilterbankSky(Sky(9.5, bursts), seed=3, instrument=SMALL)
    quiet = FilterbankSky(Sky(9.5), seed=3, instrument=SMALL)
    signal, noise = (dedispersed(synthesised(each, 1, 115_000), dm) for each in (sky, quiet))
    # the best boxcar of the average burst, so that none is chosen for its noise
    folded = np.mean([(signal - noise)[int((0.1 + 0.4 * i) / 81.92e-6) :][:3000] for i in range(20)], axis=0)
    total = np.concatenate(([0], np.cumsum(folded)))
    best = max(((total[w:] - total[:-w]).max() / w**0.5, w) for w in range(1, 800))[1]
    begin = int(np.argmax(total[best:] - total[:-best]))
    table = sb_table(SMALL)[1][np.arange(64)[::-1] // 8]
    sigma = NOISE_RMS * np.sqrt((sky.gain[table, np.arange(64)] ** 2).sum() * best)
    sums = [signal[int((0.1 + 0.4 * i) / 81.92e-6) + begin :][:best].sum() for i in range(20)]
    found = (np.array(sums) - best * noise.mean()) / sigma
    assert np.mean(found) == pytest.approx(snr, rel=0.05, abs=0.5)  # noise of 1 in each of 20
    assert 0.5 < np.std(found) < 1.7


def test_interference_is_in_the_data():
    level = 3.0
    line = narrow_band(1300, 4, level, duration_s=0.6)
    sky = FilterbankSky(Sky(0.6), line, instrument=SMALL)
    data = (sky.block(2, 0, 6000) - NOISE_MEAN * sky.gain[2]) / (NOISE_RMS * sky.gain[2])
    loud = np.abs(FREQS_MHZ - 1300) < 2
    assert data[:, loud].mean() == pytest.approx(level, abs=0.1)
    assert np.abs(data[:, np.abs(FREQS_MHZ - 1300) > 8].mean(axis=0)).max() < 0.1


def test_what_does_not_fit_into_8_bits_is_clipped_and_counted():
    sky = FilterbankSky(Sky(1.0, (Burst(0.1, 0.0, 3000.0, 20, None),)), instrument=SMALL)
    data = sky.block(0, 0, 4000)
    assert data[1225:1235].min() == 255
    assert sky.clipped == np.count_nonzero(data == 255) > 1000


def test_pulses_are_those_that_amber_reports():
    sky = Sky(20.0, pulsars=(Pulsar(2.1, 60.0, 25.0, first_s=0.5),))
    amber = Amber(sky, seed=5)
    pulses = FilterbankSky(sky, seed=5).bursts
    assert len(pulses) == 10
    for pulse in pulses:
        reported = amber.rows(int(pulse.time_s / ARTS.batch_s), 0)["SNR"].max(initial=0)
        assert reported == pytest.approx(pulse.snr, abs=4)


def test_faint_signals_do_not_round_to_nothing():
    burst = Burst(0.05, 0.0, 10.0, 1500, CENTRAL)  # less than half a count per sample
    sky, quiet = (FilterbankSky(Sky(0.5, bursts), instrument=SMALL) for bursts in ((burst,), ()))
    gained = sky.block(0, 700, 1300).astype(float) - quiet.block(0, 700, 1300)
    expected = 10 * NOISE_RMS * np.sqrt((sky.gain[0] ** 2).sum() / 1500) * 1300
    assert gained.max() == 1
    assert gained.sum() == pytest.approx(expected, rel=0.05)
