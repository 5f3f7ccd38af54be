"""Sensitivity of the array and flux density of a pulse, from the radiometer equation.

See Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, appendix A1.4.
"""

from __future__ import annotations

from math import pi, sqrt

from darc.definitions import BOLTZMANN_J_PER_K, JANSKY, Instrument


def gain_k_per_jy(instrument: Instrument, ndish: int | None = None) -> float:
    """Gain in K/Jy of dishes whose signals are added coherently.

    One dish has G = efficiency x pi x (diameter / 2)^2 / (2 k_B).

    Args:
        instrument: Dishes.
        ndish: Number of dishes; None: all that are in use.

    """
    area_m2 = instrument.aperture_efficiency * pi * (instrument.dish_diameter_m / 2) ** 2
    dishes = instrument.ndish if ndish is None else ndish
    return dishes * area_m2 * JANSKY / (2 * BOLTZMANN_J_PER_K)


def sefd_jy(instrument: Instrument, coherent: bool = True) -> float:
    """System-equivalent flux density in Jy of the dishes in use: Tsys / (G x ndish^beta).

    Args:
        instrument: Dishes and system temperature.
        coherent: Signals are added coherently (tied-array and synthesised beams, beta 1), not their powers
            (incoherent beam, beta 1/2).

    """
    dishes = instrument.ndish if coherent else sqrt(instrument.ndish)
    return instrument.system_temperature_k / (gain_k_per_jy(instrument, 1) * dishes)


def peak_flux_density_jy(snr: float, width_s: float, instrument: Instrument, coherent: bool = True) -> float:
    """Peak flux density in Jy of a pulse: snr x SEFD / sqrt(npol x bandwidth x width).

    Args:
        snr: S/N of the pulse, matched to its width.
        width_s: Width of the pulse in s.
        instrument: Dishes, system temperature, bandwidth and number of summed polarisations.
        coherent: See `sefd_jy`.

    Raises:
        ValueError: The width is not positive.

    """
    if not width_s > 0:
        raise ValueError(f"the width of a pulse must be positive, not {width_s} s")
    samples = instrument.npol * instrument.bandwidth_mhz * 1e6 * width_s
    return snr * sefd_jy(instrument, coherent) / sqrt(samples)
