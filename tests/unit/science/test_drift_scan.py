"""Drift scans whose outcome is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.drift_scan import (
    DriftScanError,
    FluxModel,
    band_averages,
    centres,
    fit_transit,
    gaussian_beam,
    polynomial_model,
)

FREQ_MHZ = np.linspace(1505.0, 1235.0, 10)
TIME_S = np.arange(120) * 1.0
MODEL = FluxModel((1.2481, -0.4507, -0.1798, 0.0357), (50, 50_000))


def scan(sefd_jy=100.0, middle_s=50.0, fwhm_s=20.0, *, noise=1e-3, zero=0.0, slope=0.0):
    rng = np.random.default_rng(3)
    gain = 80 * (1 + 0.2 * np.sin(np.arange(len(FREQ_MHZ))))
    beam = gaussian_beam(TIME_S, FREQ_MHZ, middle_s, fwhm_s, FREQ_MHZ.mean())
    power = 1 + MODEL.flux_density_jy(FREQ_MHZ) / sefd_jy * beam + slope * TIME_S[:, np.newaxis]
    return gain * power * (1 + noise * rng.normal(size=power.shape)) + zero


@pytest.mark.parametrize(("sefd_jy", "middle_s", "fwhm_s"), [(30, 50, 20), (100, 90.3, 8.5), (500, 20, 30)])
def test_sefd_time_and_width_of_a_transit_come_out(sefd_jy, middle_s, fwhm_s):
    transit = fit_transit(TIME_S, FREQ_MHZ, scan(sefd_jy, middle_s, fwhm_s))
    assert transit.time_s == pytest.approx(middle_s, abs=0.05 * fwhm_s)
    assert transit.fwhm_s == pytest.approx(fwhm_s, rel=0.1)
    sefd, error = transit.sefd_jy(MODEL.flux_density_jy(FREQ_MHZ))
    np.testing.assert_allclose(sefd, sefd_jy, rtol=0.05)
    assert (np.abs(sefd - sefd_jy) < 5 * error + 0.02 * sefd_jy).all()


def test_a_power_that_drifts_along_does_not_matter():
    transit = fit_transit(TIME_S, FREQ_MHZ, scan(slope=1e-4))
    np.testing.assert_allclose(transit.sefd_jy(MODEL.flux_density_jy(FREQ_MHZ))[0], 100.0 * 1.005, rtol=0.03)


def test_interference_for_a_moment_does_not_matter():
    power = scan()
    power[[10, 48, 49]] *= 1.5
    transit = fit_transit(TIME_S, FREQ_MHZ, power)
    np.testing.assert_allclose(transit.sefd_jy(MODEL.flux_density_jy(FREQ_MHZ))[0], 100.0, rtol=0.05)


def test_a_zero_level_that_stays_in_makes_the_sefd_too_high_by_its_share():
    power = scan(zero=20.0)
    off = scan()[0]
    sefd, _ = fit_transit(TIME_S, FREQ_MHZ, power).sefd_jy(MODEL.flux_density_jy(FREQ_MHZ))
    np.testing.assert_allclose(sefd, 100.0 * (off + 20) / off, rtol=0.05)


def test_without_a_source_there_is_no_transit():
    empty = np.random.default_rng(0).normal(80, 0.1, (120, 10))
    assert fit_transit(TIME_S, FREQ_MHZ, empty).snr < 5


def test_bands_without_data_are_left_out():
    power = scan()
    power[:, 3] = np.nan
    power[:, 4] = 0
    sefd, error = fit_transit(TIME_S, FREQ_MHZ, power).sefd_jy(MODEL.flux_density_jy(FREQ_MHZ))
    assert np.isnan(sefd).nonzero()[0].tolist() == np.isnan(error).nonzero()[0].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("power", "reason"),
    [
        (scan()[:11], "11 times are too few"),
        (np.full((120, 10), np.nan), "no band has any power"),
        (np.zeros((120, 10)), "no band has any power"),
        (np.ones((120, 10)), "nothing passes through"),
    ],
)
def test_what_cannot_be_evaluated_is_said(power, reason):
    with pytest.raises(DriftScanError, match=reason):
        fit_transit(TIME_S[: len(power)], FREQ_MHZ, power)


def test_the_published_flux_densities_come_out_at_1400_mhz():
    # Perley & Butler 2017: 3C286 is some 15 Jy at L band
    assert MODEL.flux_density_jy(np.array([1000.0, 1400.0])) == pytest.approx([10**1.2481, 15.08], rel=1e-3)


def test_a_flux_model_is_not_used_where_it_does_not_hold():
    model = polynomial_model([1.0], [1300, 1400])
    assert model.flux_density_jy(np.array([1300.0, 1400.0])).tolist() == [10, 10]
    with pytest.raises(DriftScanError, match=r"from 1300 to 1400 MHz, the data have 1250\.0 to 1350\.0"):
        model.flux_density_jy(np.array([1350.0, 1250.0]))


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(0, 2**60))
def test_band_averages_are_those_of_the_usable_channels_of_each_band(shape, flags):
    nchan, nband = shape
    usable = np.array([flags >> channel & 1 for channel in range(nchan)], np.bool_)
    power = np.arange(nchan) ** 2.0
    row = np.arange(nchan) * nband // nchan
    found = band_averages(power, usable, nband)
    for band in range(nband):
        own = power[usable & (row == band)]
        assert np.isnan(found[band]) if not own.size else found[band] == pytest.approx(own.mean())
    assert np.isfinite(centres(power, usable, nband)).all()
