from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS, Instrument
from darc.errors import DARCError
from darc.simulation.signals import (
    Emission,
    ShapedBurst,
    SubBurst,
    best_boxcar,
    burst_extent,
    burst_footprint,
    channel_freqs_mhz,
    drifting,
    emission_footprint,
    narrow_band,
    radar,
)
from darc.simulation.sky import Burst

COARSE = Instrument(nchan=64)
FLAT = np.ones(64)
#: upper edge of ARTS' band, and of one with the same lowest channel's centre, but channels of 4.7 MHz
ARTS_TOP_MHZ = 1219.70092773 - 300 / 1536 / 2 + 300
TOP_MHZ = 1219.70092773 - 300 / 64 / 2 + 300


def delay_samples(dm, freq_mhz, top_mhz=TOP_MHZ):
    """Delay after the top of the band, worked out from the formula."""
    return 4.148808e3 * dm * (freq_mhz**-2 - top_mhz**-2) / 81.92e-6


def footprint(burst, instrument=COARSE, gain=None):
    return burst_footprint(burst, instrument, np.ones(instrument.nchan) if gain is None else gain)


def centroids(print_):
    """Mean arrival of the energy in each channel, in samples; a sample counts from its beginning."""
    signal = print_.signal.astype(float)
    middle = np.arange(signal.shape[1]) + 0.5
    return print_.first + (middle * signal).sum(axis=1) / signal.sum(axis=1)


def test_channels_are_those_of_the_band_highest_first():
    freqs = channel_freqs_mhz(ARTS)
    assert freqs[-1] == ARTS.min_freq_mhz
    assert np.allclose(np.diff(freqs), -300 / 1536)


@settings(max_examples=20, deadline=None)
@given(
    time_s=st.floats(0, 3),
    dm=st.floats(0, 2000),
    width=st.integers(1, 100),
    scattering_s=st.floats(0, 0.01),
)
def test_each_channel_has_the_pulse_at_its_delay(time_s, dm, width, scattering_s):
    burst = ShapedBurst(time_s, dm, 20.0, width, scattering_s=scattering_s)
    found = footprint(burst)
    freqs, half = channel_freqs_mhz(COARSE), 300 / 64 / 2
    upper, lower = delay_samples(dm, freqs + half), delay_samples(dm, freqs - half)
    scattering = scattering_s / 81.92e-6 * (1000 / freqs) ** 4
    expected = time_s / 81.92e-6 + width / 2 + (upper + lower) / 2 + scattering
    # a tail of 8 e-folding times holds all but 3e-4 of the energy
    assert np.all(np.abs(centroids(found) - expected) < 0.01 + 0.005 * scattering)
    assert np.all(found.first <= time_s / 81.92e-6 + upper + 1e-6)
    energy = found.signal.sum(axis=1)
    assert np.allclose(energy, energy[0], rtol=1e-3)
    assert found.signal.min() >= -1e-4 * found.signal.max()


@pytest.mark.parametrize("dm", [56.8, 1500.0])
def test_delay_over_the_band_is_right_to_a_sample(dm):
    # taking the centre of the lowest channel for the edge of the band would be wrong by the smear of half one
    start, width = 1234, 10
    found = footprint(Burst(start * 81.92e-6, dm, 20.0, width), ARTS)
    width_mhz, bottom_mhz = 300 / 1536, ARTS_TOP_MHZ - 300
    edges = {0: (ARTS_TOP_MHZ, ARTS_TOP_MHZ - width_mhz), 1535: (bottom_mhz + width_mhz, bottom_mhz)}
    for channel, (upper, lower) in edges.items():
        there = np.flatnonzero(found.signal[channel] > 1e-3 * found.signal[channel].max())
        assert found.first[channel] + there[0] == pytest.approx(
            start + delay_samples(dm, upper, ARTS_TOP_MHZ), abs=1
        )
        end = found.first[channel] + there[-1] + 1
        assert end == pytest.approx(start + width + delay_samples(dm, lower, ARTS_TOP_MHZ), abs=1)


def test_smearing_in_a_channel_is_the_delay_between_its_edges():
    found = footprint(Burst(1.0, 1000.0, 20.0, 1))
    for channel in (0, 40, 63):
        freq = channel_freqs_mhz(COARSE)[channel]
        smear = delay_samples(1000.0, freq - 300 / 128) - delay_samples(1000.0, freq + 300 / 128)
        assert smear > 50
        signal = found.signal[channel]
        assert np.count_nonzero(signal > signal.max() / 2) == pytest.approx(smear, abs=2)


def test_scattering_falls_with_the_fourth_power_of_frequency():
    found = footprint(ShapedBurst(0.0, 0.0, 20.0, 1, scattering_s=0.05))
    freqs = channel_freqs_mhz(COARSE)
    for channel in (0, 63):
        tail = found.signal[channel, 5:300]
        decay = -1 / np.polyfit(np.arange(tail.size), np.log(tail), 1)[0]
        assert decay * 81.92e-6 == pytest.approx(0.05 * (1000 / freqs[channel]) ** 4, rel=0.01)


def test_a_spectrum_has_its_centre_and_width():
    part = SubBurst(centre_mhz=1400, fwhm_mhz=80)
    found = footprint(ShapedBurst(0.0, 300.0, 20.0, 5, parts=(part,)))
    energy, freqs = found.signal.sum(axis=1), channel_freqs_mhz(COARSE)
    assert freqs[energy.argmax()] == pytest.approx(1400, abs=300 / 64)
    assert np.ptp(freqs[energy > energy.max() / 2]) == pytest.approx(80, abs=2 * 300 / 64)


def test_sub_bursts_drift():
    parts = drifting(3, 0.005, -10_000, 1450, 40)
    found = footprint(ShapedBurst(1.0, 0.0, 20.0, 5, parts=parts))
    freqs = channel_freqs_mhz(COARSE)
    for number, part in enumerate(parts):
        assert part.centre_mhz == 1450 - 50 * number
        channel = np.abs(freqs - part.centre_mhz).argmin()
        peak = found.first[channel] + found.signal[channel].argmax()
        assert peak * 81.92e-6 == pytest.approx(1.0 + 0.005 * number, abs=6 * 81.92e-6)


def test_energy_of_sub_bursts_is_shared_as_asked():
    parts = (SubBurst(0.0, 1.0), SubBurst(0.01, 3.0))
    signal = footprint(ShapedBurst(0.0, 0.0, 20.0, 5, parts=parts)).signal[10]
    assert signal[60:].sum() == pytest.approx(3 * signal[:60].sum(), rel=1e-3)


sub_bursts = st.builds(
    SubBurst, st.floats(-0.004, 0.004), st.floats(0.3, 3), st.floats(1230, 1510), st.floats(30, inf)
)
shapes = st.builds(
    ShapedBurst,
    time_s=st.floats(0, 2),
    dm=st.floats(0, 500),
    snr=st.floats(5, 100),
    width_samples=st.integers(1, 60),
    scattering_s=st.floats(0, 0.001),
    parts=st.lists(sub_bursts, min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=15, deadline=None)
@given(shapes, st.integers(0, 2**32))
def test_the_best_of_all_boxcars_has_the_snr_that_was_asked_for(burst, seed):
    gain = np.random.default_rng(seed).uniform(0.5, 1.3, 64)
    found = footprint(burst, gain=gain)
    delays = np.rint(delay_samples(burst.dm, channel_freqs_mhz(COARSE))).astype(int)
    place = found.first - delays
    series = np.zeros(np.ptp(place) + found.signal.shape[1])
    for channel in range(64):
        begin = place[channel] - place.min()
        series[begin : begin + found.signal.shape[1]] += gain[channel] * found.signal[channel]
    total = np.concatenate(([0], np.cumsum(series)))
    best = max((total[w:] - total[:-w]).max() / w**0.5 for w in range(1, series.size + 1))
    assert best / np.sqrt((gain**2).sum()) == pytest.approx(burst.snr, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(shapes)
def test_the_extent_holds_all_of_a_burst(burst):
    first, last = burst_extent(burst, COARSE)
    found = footprint(burst)
    there = found.signal > 1e-3 * found.signal.max()
    sample = (found.first[:, None] + np.arange(found.signal.shape[1]))[there]
    assert first <= sample.min()
    assert sample.max() < last


def test_best_boxcar_of_a_rectangle_fits_it():
    series = np.zeros(1000)
    series[300:516] = 2.0
    assert best_boxcar(series) == pytest.approx(2 * 216**0.5)


def test_a_burst_outside_the_band_is_refused():
    with pytest.raises(DARCError, match="no signal in the band"):
        footprint(ShapedBurst(1.0, 100.0, 20.0, 5, parts=(SubBurst(centre_mhz=700, fwhm_mhz=20),)))


def emitted(emission):
    return emission_footprint(emission, COARSE, np.random.default_rng(1))


def test_narrow_band_interference_is_in_its_channels_only():
    found = emitted(Emission(0.5, 0.3, 1300.0, 1300.0, 6.0, 2.0))
    freqs = channel_freqs_mhz(COARSE)[found.channels]
    assert np.all(np.abs(freqs - 1300) < 3 + 300 / 128)
    assert 2 <= freqs.size <= 3
    assert np.all(found.first == int(0.5 / 81.92e-6))
    assert found.signal.mean() == pytest.approx(2.0, rel=0.01)
    assert found.signal.std() > 0.05


@pytest.mark.parametrize(("start_mhz", "end_mhz"), [(1250.0, 1350.0), (1350.0, 1250.0)])
def test_a_radar_sweeps(start_mhz, end_mhz):
    found = emitted(Emission(1.0, 0.1, start_mhz, end_mhz, 2.0, 5.0))
    time_s = (centroids(found) * 81.92e-6 - 1.0) / 0.1
    expected = (channel_freqs_mhz(COARSE)[found.channels] - start_mhz) / (end_mhz - start_mhz)
    inner = slice(2, -2)
    assert np.allclose(time_s[inner], expected[inner], atol=0.01)
    assert len(time_s) == pytest.approx(100 / (300 / 64), abs=2)


def test_a_radar_repeats():
    sweeps = radar(1250, 1300, 3.0, duration_s=5.0, first_s=0.3, period_s=1.5)
    assert [sweep.start_s for sweep in sweeps] == pytest.approx([0.3, 1.8, 3.3, 4.8])


def test_intermittent_interference_is_there_part_of_the_time():
    slots = narrow_band(1300, 1, 2.0, duration_s=100.0, duty=0.3, slot_s=0.1, seed=3)
    assert sum(slot.duration_s for slot in slots) == pytest.approx(30, abs=5)
    steady = narrow_band(1300, 1, 2.0, duration_s=100.0)
    assert sum(slot.duration_s for slot in steady) == pytest.approx(100)
    assert slots != narrow_band(1300, 1, 2.0, duration_s=100.0, duty=0.3, slot_s=0.1, seed=4)


def test_interference_outside_the_band_leaves_nothing():
    assert emitted(Emission(0.0, 0.1, 1000.0, 1000.0, 5.0, 3.0)).signal.size == 0
