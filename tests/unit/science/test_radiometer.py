"""Gain, system-equivalent flux density and flux density. Numbers worked out by hand."""

from dataclasses import replace

import pytest

from darc.definitions import ARTS
from darc.science.radiometer import gain_k_per_jy, peak_flux_density_jy, sefd_jy


def test_gain_of_one_dish_and_of_all():
    # 0.6 x pi x 12.5^2 m^2 = 294.524 m^2; 2 k_B = 2761.298 Jy m^2 / K
    assert gain_k_per_jy(ARTS, 1) == pytest.approx(0.106661, abs=1e-6)
    assert gain_k_per_jy(ARTS) == pytest.approx(8 * 0.106661, abs=1e-5)
    assert gain_k_per_jy(ARTS, 10) == pytest.approx(10 * gain_k_per_jy(ARTS, 1))


def test_sefd_falls_with_the_dishes_or_with_their_root():
    assert sefd_jy(ARTS) == pytest.approx(99.61, abs=0.01)
    assert sefd_jy(ARTS, coherent=False) == pytest.approx(99.61 * 8**0.5, abs=0.03)
    assert sefd_jy(replace(ARTS, ndish=10)) == pytest.approx(99.61 * 8 / 10, abs=0.01)


def test_flux_density_of_a_pulse():
    # 10 x 99.61 Jy / sqrt(2 x 300 MHz x 1 ms)
    assert peak_flux_density_jy(10.0, 1e-3, ARTS) == pytest.approx(1.2860, abs=1e-4)
    assert peak_flux_density_jy(10.0, 4e-3, ARTS) == pytest.approx(1.2860 / 2, abs=1e-4)
    assert peak_flux_density_jy(10.0, 1e-3, ARTS, coherent=False) == pytest.approx(1.286 * 8**0.5, abs=1e-3)


@pytest.mark.parametrize("width_s", [0.0, -1e-3, float("nan")])
def test_width_of_a_pulse_has_to_be_positive(width_s):
    with pytest.raises(ValueError, match="width"):
        peak_flux_density_jy(10.0, width_s, ARTS)
