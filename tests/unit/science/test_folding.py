"""Pulsars of known period and strength, folded."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.science import folding
from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s
from darc.science.folding import Folder, FoldingError, Rotation, best_boxcar, rotated, shifts
from darc.science.rfi import Cleaning, clean

BAND = Band(1515.0, -10.0, 30, 1e-3)
PERIOD_S, WIDTH, PHASE = 0.1003, 8, 0.3
NSAMPLE, BLOCK = 24_000, 3000
EXPECTED, UNCLEANED = Rotation(1 / PERIOD_S), Cleaning("none")


def pulsar(snr, *, dm=100.0, rotation=EXPECTED, nsample=NSAMPLE, seed=0):
    """Data with pulses of 8 samples that begin at a phase of 0.3; `snr` is that of one of them."""
    rng = np.random.default_rng(seed)
    sigma, gain = 12.0, np.linspace(0.5, 1.5, BAND.nchan)
    time_s = (np.arange(nsample) + 0.5) * BAND.tsamp_s
    power = np.empty((nsample, BAND.nchan))
    for channel, delay in enumerate(delay_s(dm, BAND.freq_mhz, BAND.top_mhz)):
        phase = (rotation.turns(time_s - delay) - PHASE) % 1
        power[:, channel] = snr / sqrt(WIDTH * BAND.nchan) * (phase < WIDTH * BAND.tsamp_s / PERIOD_S)
    noise = rng.normal(size=power.shape)
    return np.rint(gain * (80 + sigma * (power + noise))).clip(0, 255).astype(np.uint8)


def fold(data, rotation=EXPECTED, dm=100.0, masked=(), cleaning=UNCLEANED):
    folder = Folder(BAND, rotation, dm, len(data), nband=10)
    flags = np.isin(np.arange(BAND.nchan), masked)
    for first in range(0, len(data), BLOCK):
        block = data[first : first + BLOCK]
        folder.add(block, clean(block, flags, cleaning), first)
    return folder.fold()


@pytest.fixture(scope="module")
def bright():
    return pulsar(6.0)


@pytest.mark.parametrize("cleaning", [Cleaning("none"), Cleaning("perchannel"), Cleaning("frequency")])
def test_a_pulsar_folds_to_its_period_and_to_the_snr_of_its_pulses_times_the_root_of_their_number(
    bright, cleaning
):
    found = fold(bright, cleaning=cleaning)
    npulse = NSAMPLE * BAND.tsamp_s / PERIOD_S
    assert found.npulse == int(npulse)
    assert found.peak.snr == pytest.approx(6 * sqrt(npulse), rel=0.05)
    # better than half a bin from the beginning to the end
    assert found.period_s == pytest.approx(PERIOD_S, rel=0.5 / len(found.profile) / npulse)


@pytest.mark.parametrize("off", [-1.2e-4, 0.7e-4])
def test_the_period_is_found_when_it_is_not_the_expected_one(bright, off):
    found = fold(bright, Rotation((1 + off) / PERIOD_S))
    nbin, npulse = len(found.profile), NSAMPLE * BAND.tsamp_s / PERIOD_S
    assert found.period_s == pytest.approx(PERIOD_S, rel=1.5 / nbin / npulse)
    assert found.shift_bins == pytest.approx(-off * npulse * nbin, abs=2)
    assert found.peak.snr == pytest.approx(6 * sqrt(npulse), rel=0.08)
    again = fold(bright, found.rotation)
    assert again.peak.snr == pytest.approx(6 * sqrt(npulse), rel=0.05)
    assert abs(again.shift_bins) <= 2


def test_a_rotation_that_changes_is_followed():
    changing = Rotation(1 / PERIOD_S, 2e-3)  # by half a turn
    found = fold(pulsar(6.0, rotation=changing), changing)
    assert found.peak.snr == pytest.approx(6 * sqrt(NSAMPLE * BAND.tsamp_s / PERIOD_S), rel=0.05)


def test_the_pulse_is_where_it_is_at_the_top_of_the_band_at_all_frequencies_and_times(bright):
    found = fold(bright)
    nbin = len(found.profile)
    inside = found.peak.inside(nbin)
    assert abs(found.peak.start / nbin - PHASE) <= 1.5 / nbin
    assert inside.sum() / nbin == pytest.approx(WIDTH * BAND.tsamp_s / PERIOD_S, abs=1.5 / nbin)
    for plane in (found.time_phase, found.freq_phase):
        # of each part of time or band the pulse is the brightest place, or nearly: S/N of a row is above 10
        assert (plane[:, inside].mean(axis=1) > plane[:, ~inside].mean(axis=1)).all()


def test_at_another_dm_the_pulse_is_smeared_away(bright):
    assert fold(bright, dm=400.0).peak.snr < 40 < fold(bright).peak.snr


def test_masked_channels_cost_only_their_share(bright):
    ruined = bright.copy()
    ruined[:, :6] = np.random.default_rng(1).integers(0, 255, (NSAMPLE, 6))
    found = fold(ruined, masked=range(6))
    assert (found.freq_phase[:2] == 0).all()
    npulse = NSAMPLE * BAND.tsamp_s / PERIOD_S
    assert found.peak.snr == pytest.approx(6 * sqrt(npulse * 24 / 30), rel=0.05)


def test_noise_alone_is_no_pulsar():
    assert fold(pulsar(0.0)).peak.snr < 5.5


def test_data_that_never_change_are_said():
    with pytest.raises(FoldingError, match="no channel has any noise"):
        fold(np.full((NSAMPLE, BAND.nchan), 7, np.uint8))


def test_a_period_of_a_whole_number_of_samples_makes_no_pattern():
    # bins of the profile then hold one or two samples of each pulse
    period = Rotation(1 / 0.1)
    data = pulsar(0.0)
    assert np.abs(fold(data, period).profile).max() < 6 / sqrt(BAND.nchan * NSAMPLE / 100)


@pytest.mark.parametrize(
    ("nsample", "period_s", "reason"),
    [
        (500, PERIOD_S, "hold 5.0 periods"),
        (0, PERIOD_S, "0.000 s of data"),
        (9000, 0.003, "fewer than 4 samples"),
    ],
)
def test_what_cannot_be_folded_is_said(nsample, period_s, reason):
    with pytest.raises(FoldingError, match=reason):
        Folder(BAND, Rotation(1 / period_s), 10.0, nsample)


def test_data_of_which_nothing_is_left_are_said(bright):
    with pytest.raises(FoldingError, match="nothing is left"):
        fold(bright[:BLOCK], masked=range(BAND.nchan))


def test_the_kernel_does_the_same_when_it_is_not_compiled(bright, monkeypatch):
    short = bright[:900]
    compiled = fold(short).profile
    monkeypatch.setattr(folding, "_add", folding._add.py_func)
    np.testing.assert_allclose(fold(short).profile, compiled, rtol=1e-4, atol=1e-5)


@settings(max_examples=50)
@given(
    st.integers(8, 200).flatmap(
        lambda nbin: st.tuples(st.just(nbin), st.integers(0, nbin - 1), st.integers(1, nbin // 2))
    )
)
def test_a_boxcar_is_found_wherever_it_is(case):
    nbin, start, width = case
    profile = 3.0 + 5.0 * ((np.arange(nbin) - start) % nbin < width)
    height, found, wide = best_boxcar(profile)
    # not all widths of long profiles are tried
    assert abs(wide - width) <= 0.1 * width
    assert height >= 0.95 * 5.0 * sqrt(width * (nbin - width) / nbin)
    assert min((found - start) % nbin, (start - found) % nbin) <= 0.1 * width


@given(st.integers(1, 6), st.integers(1, 9), st.integers(-30, 30))
def test_shifting_there_and_back_changes_nothing(nrow, nbin, shift):
    plane = np.arange(nrow * nbin).reshape(nrow, nbin)
    bins = shift * np.arange(nrow)
    np.testing.assert_array_equal(rotated(rotated(plane, bins), -bins), plane)
    np.testing.assert_array_equal(rotated(plane, bins)[-1], np.roll(plane[-1], bins[-1]))


def test_a_higher_frequency_shifts_later_pulses_to_later_phases():
    assert shifts(np.array([-0.5, 0.0, 0.26]), 100).tolist() == [-50, 0, 26]
