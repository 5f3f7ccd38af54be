"""DMs that are tried, delays, and the sums over dedispersed bins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.science.dedispersion import Band, Windows, dm_trials, scratch_array
from darc.science.dispersion import delay_s
from darc.science.rfi import Verdict

BANDS = {"descending": Band(1500.0, -4.0, 70, 1e-3), "ascending": Band(1224.0, 4.0, 70, 1e-3)}
WIDTH = ARTS.channel_width_mhz


def verdict_of(data, usable=None):
    nsample, nchan = data.shape
    return Verdict(
        usable=np.ones(nchan, bool) if usable is None else usable,
        skipped=np.zeros(nsample, bool),
        limits=np.tile(np.array([0, 255], np.uint8), (nchan, 1)),
        mean=np.zeros(nchan),
        median=np.full(nchan, 10.0),
    )


def windows_of(data, delays, main, downsampling=1, **kwargs):
    return Windows(
        data,
        verdict_of(data, **kwargs),
        np.ones(data.shape[1], np.float32),
        delays,
        main=main,
        downsampling=downsampling,
        scratch=np.empty(0, np.float32),
    )


@given(dm=st.floats(0, 4000), halfrange=st.floats(0.1, 200), ndm=st.integers(1, 100))
def test_dms_hold_the_detections_own_and_none_is_negative(dm, halfrange, ndm):
    # a range that would go below zero, shifted the wrong way
    dms = dm_trials(dm, halfrange, ndm)
    assert len(dms) == ndm
    assert dm in dms
    assert (dms >= 0).all()
    assert dms[0] >= dm - halfrange * (1 + 1e-9)
    if ndm > 1:
        np.testing.assert_allclose(np.diff(dms), halfrange / (ndm // 2), rtol=1e-6)


def test_range_is_centred_far_from_zero():
    dms = dm_trials(500.0, 20.0, 64)
    assert dms[32] == 500
    assert dms[0] == 480


@pytest.mark.parametrize("dm", [0.0, 0.1, 3.0, 19.9])
def test_range_near_zero_is_shifted_no_further_than_needed(dm):
    dms = dm_trials(dm, 20.0, 64)
    assert 0 <= dms[0] < dms[1] - dms[0]
    assert dms[-1] >= dm + 19


def test_band_of_the_instrument():
    top = ARTS.min_freq_mhz + ARTS.bandwidth_mhz - WIDTH
    band = Band(top, -WIDTH, ARTS.nchan, ARTS.tsamp_s)
    assert band.top_mhz == pytest.approx(ARTS.top_freq_mhz(ARTS.min_freq_mhz))
    assert band.centre_mhz == pytest.approx(ARTS.centre_freq_mhz(ARTS.min_freq_mhz))
    assert band.freq_mhz[-1] == pytest.approx(ARTS.min_freq_mhz)


@pytest.mark.parametrize("band", BANDS.values(), ids=BANDS)
def test_delays_count_from_the_upper_edge_of_the_band(band):
    # the centre of a channel taken for the edge of the band
    delays = band.delays([0.0, 100.0], band.tsamp_s)
    assert (delays[:, 0] == 0).all()
    lowest = delays[-1 if band.descending else 0, 1]
    assert lowest == round(delay_s(100.0, 1224.0, 1502.0) / band.tsamp_s)
    assert band.top_mhz == 1502


def test_both_orders_of_the_band_have_the_same_delays():
    down, up = (band.delays([10.0, 100.0], band.tsamp_s) for band in BANDS.values())
    np.testing.assert_array_equal(down, up[::-1])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    downsampling=st.integers(1, 4),
    start=st.integers(-30, 60),
    step=st.integers(1, 5),
    descending=st.booleans(),
)
def test_bins_are_sums_over_delayed_samples(seed, downsampling, start, step, descending):
    band = BANDS["descending" if descending else "ascending"]
    data = np.random.default_rng(seed).integers(0, 256, (300, 70), dtype=np.uint8)
    usable = np.arange(70) % 9 > 0
    delays = band.delays([50.0, 60.0, 75.0], downsampling * band.tsamp_s)
    windows = windows_of(data, delays, 1, downsampling, usable=usable)
    n = 300 // downsampling
    total = (data[: n * downsampling].astype(float) - 10).reshape(n, downsampling, 70).sum(axis=1) * usable
    last = windows.nseries + delays[:, -1]
    padded = np.zeros((n + 600, 70))
    for channel in range(70):
        inside = np.arange(delays[channel, 0], min(n, last[channel]))
        padded[300 + inside, channel] = total[inside, channel]

    def at(dm, first, length):
        return np.stack(
            [padded[300 + first + k : 300 + first + k + length, c] for c, k in enumerate(delays[:, dm])],
            axis=1,
        )

    np.testing.assert_allclose(windows.series(), at(1, 0, windows.nseries).sum(axis=1), atol=0.5)
    planes = [at(dm, start, 7 * step).reshape(7, step, 70).sum(axis=1) for dm in range(3)]
    np.testing.assert_allclose(windows.dm_time(start, step, 7), [p.sum(axis=1) for p in planes], atol=0.5)
    row = np.arange(70) // 14
    expected = planes[1].reshape(7, 5, 14).sum(axis=2).T
    np.testing.assert_allclose(windows.freq_time(row, start, step, 7), expected, atol=0.5)


def test_series_reaches_to_the_last_position_that_all_channels_cover():
    delays = BANDS["descending"].delays([100.0], 1e-3)
    assert windows_of(np.zeros((200, 70), np.uint8), delays, 0).nseries == 200 - delays.max()


def test_data_shorter_than_the_delay_are_refused():
    delays = BANDS["descending"].delays([100.0], 1e-3)
    with pytest.raises(ValueError, match="do not cover the delay"):
        windows_of(np.zeros((delays.max(), 70), np.uint8), delays, 0)


def test_memory_is_used_again_when_it_is_large_enough():
    memory = np.empty(1000, np.float32)
    assert np.shares_memory(scratch_array(memory, 10, 40), memory)
    larger = scratch_array(memory, 10, 100)
    assert not np.shares_memory(larger, memory)
    assert larger.shape[0] == 10
    assert larger.shape[1] >= 100
