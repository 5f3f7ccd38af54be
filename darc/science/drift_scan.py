"""Drift scans: sensitivity of the telescope by a source of known flux density that passes through its beam.

The power that is received while the source is outside of the beam is that of the system; with the source in
the middle of the beam, it is higher by the source's share. So the system-equivalent flux density is
SEFD = S x off / (on - off), with the flux density S of the source. This needs values that are proportional to
power: whatever the digitiser adds, its zero level, has to be subtracted before. A zero level that is not
subtracted makes the SEFD too high by off / (off - zero level).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError

Doubles = NDArray[np.float64]

#: Fewest times that a transit is fitted to.
NTIME_MIN = 12
#: Times and widths that are tried, in each round; each round looks closer by the factor.
_NTIME_TRIED, _NWIDTH_TRIED, _ROUNDS, _CLOSER = 60, 40, 5, 6.0
#: Narrowest beam that is tried, in steps of the times.
_WIDTH_MIN = 3.0
#: Times that are off by more than this many standard deviations are left out: interference.
_OUTLIER = 5.0
#: Times on either side with which one is compared before anything is fitted: flashes are shorter.
_AROUND = 3
_SIGMA_PER_MAD = 1.4826
#: exp(-_SHAPE x^2) is 1/2 at x = 1/2.
_SHAPE = 4 * log(2)


class DriftScanError(DARCError):
    """A drift scan cannot be evaluated."""


@dataclass(frozen=True)
class FluxModel:
    """Flux density of a calibrator: log10(S / Jy) is a polynomial in log10(frequency / GHz).

    Attributes:
        coefficients: of the polynomial, constant first.
        range_mhz: lowest and highest frequency for which it holds.

    """

    coefficients: tuple[float, ...]
    range_mhz: tuple[float, float]

    def flux_density_jy(self, freq_mhz: Doubles) -> Doubles:
        """Flux density in Jy at frequencies of any shape.

        Raises:
            DriftScanError: The model does not hold there.

        """
        low, high = self.range_mhz
        if freq_mhz.size and not (freq_mhz.min() >= low and freq_mhz.max() <= high):
            raise DriftScanError(
                f"the flux model holds from {low:g} to {high:g} MHz, the data have "
                f"{freq_mhz.min():.1f} to {freq_mhz.max():.1f} MHz"
            )
        exponent = np.polynomial.polynomial.polyval(np.log10(freq_mhz / 1e3), self.coefficients)
        return np.power(10.0, np.asarray(exponent, np.float64))


@dataclass(frozen=True, eq=False)
class Transit:
    """A source that passed through a beam, as it is seen in some bands.

    Attributes:
        time_s: When it was in the middle.
        fwhm_s: Full width at half maximum of the passage, in the middle of the band.
        snr: Rise of the power, averaged over the bands, in units of its uncertainty.
        off: Power without the source at that time, (nband,).
        rise: Power of the source then, (nband,).
        rise_error: Its uncertainty, (nband,).
        model: Power as fitted, (ntime, nband).

    """

    time_s: float
    fwhm_s: float
    snr: float
    off: Doubles
    rise: Doubles
    rise_error: Doubles
    model: Doubles

    def sefd_jy(self, flux_density_jy: Doubles) -> tuple[Doubles, Doubles]:
        """System-equivalent flux density in Jy and its uncertainty, (nband,); NaN where no source is seen.

        Args:
            flux_density_jy: Of the source, (nband,).

        """
        seen = self.rise > 2 * self.rise_error
        rise = np.where(seen, self.rise, np.nan)
        sefd = flux_density_jy * self.off / rise
        return sefd, sefd * self.rise_error / rise


@dataclass(frozen=True, eq=False)
class Scan:
    """A drift scan of one tied-array beam.

    Attributes:
        tab: the beam; None: the incoherent beam
        time_s: middle of each time, from the start of the data, (ntime,)
        freq_mhz: centre of each band, (nband,)
        power: in counts above the zero level, (ntime, nband)
        transit: the passage
        flux_density_jy: of the calibrator, (nband,)
        sefd_jy: system-equivalent flux density, (nband,)
        sefd_error_jy: its uncertainty, (nband,)
    """

    tab: int | None
    time_s: Doubles
    freq_mhz: Doubles
    power: Doubles
    transit: Transit
    flux_density_jy: Doubles
    sefd_jy: Doubles
    sefd_error_jy: Doubles

    @property
    def name(self) -> str:
        """Name of the beam."""
        return "incoherent beam" if self.tab is None else f"TAB {self.tab:02d}"


def band_averages(power: Doubles, usable: NDArray[np.bool_], nband: int) -> Doubles:
    """Average channels to bands; those without any usable channel are NaN.

    Args:
        power: Shape (..., nchan).
        usable: Channels that take part, (nchan,).
        nband: Number of bands.

    Returns:
        Shape (..., nband).

    """
    edges = -(-np.arange(nband) * len(usable) // nband)
    number = np.add.reduceat(usable.astype(np.float64), edges)
    total = np.add.reduceat(np.where(usable, power, 0.0), edges, axis=-1)
    average: Doubles = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return average


def gaussian_beam(
    time_s: Doubles, freq_mhz: Doubles, middle_s: float, fwhm_s: float, centre_mhz: float
) -> Doubles:
    """Response of a Gaussian beam, the width of which is proportional to the wavelength.

    Args:
        time_s: Times, (ntime,).
        freq_mhz: Frequencies, (nfreq,).
        middle_s: Time at which the source is in the middle.
        fwhm_s: Full width at half maximum at `centre_mhz`.
        centre_mhz: Frequency of that width.

    Returns:
        Shape (ntime, nfreq), 1 in the middle.

    """
    return np.asarray(
        np.exp(-_SHAPE * ((time_s[:, np.newaxis] - middle_s) / fwhm_s * (freq_mhz / centre_mhz)) ** 2)
    )


def fit_transit(time_s: Doubles, freq_mhz: Doubles, power: Doubles) -> Transit:
    """Fit a passage through a Gaussian beam, on a power that changes linearly with time, to a drift scan.

    Time and width of the passage come from all bands together, all else from each band on its own.

    Args:
        time_s: Equidistant times, ascending, (ntime,).
        freq_mhz: Centre of each band, (nband,).
        power: Power less the zero level, (ntime, nband); bands with NaN take no part.

    Raises:
        DriftScanError: There are too few times, no band with power, or nothing passes through.

    """
    good = np.isfinite(power).all(axis=0) & (np.median(power, axis=0) > 0)
    if len(time_s) < NTIME_MIN:
        raise DriftScanError(f"{len(time_s)} times are too few to fit a transit to: {NTIME_MIN} are needed")
    if not good.any():
        raise DriftScanError("no band has any power above the zero level")
    total = (power[:, good] / np.median(power[:, good], axis=0)).mean(axis=1)
    kept = _without_flashes(total)
    for _ in range(2):
        middle_s, fwhm_s = _find(time_s[kept], total[kept], time_s[1] - time_s[0])
        beam = gaussian_beam(time_s, freq_mhz, middle_s, fwhm_s, float(freq_mhz[good].mean()))
        (rise,), (error,), fitted = _linear(
            time_s, beam[:, good].mean(axis=1), total[:, np.newaxis], kept, middle_s
        )[1:]
        residual = total - fitted[:, 0]
        sigma = _SIGMA_PER_MAD * float(np.median(np.abs(residual[kept])))
        kept = np.abs(residual) <= _OUTLIER * sigma if sigma > 0 else kept
    if not (rise > 0 and error > 0):
        raise DriftScanError("nothing passes through the beam")
    off, rises, errors = np.full((3, len(freq_mhz)), np.nan)
    model = np.full(power.shape, np.nan)
    for band in np.flatnonzero(good):
        one = slice(band, band + 1)
        off[one], rises[one], errors[one], model[:, one] = _linear(
            time_s, beam[:, band], power[:, one], kept, middle_s
        )
    return Transit(middle_s, fwhm_s, float(rise / error), off, rises, errors, model)


def _without_flashes(total: Doubles) -> NDArray[np.bool_]:
    """Tell which times are no flash: higher than those around it by more than the source can be."""
    padded = np.pad(total, _AROUND, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1), axis=1)
    deviation = np.abs(total - around)
    sigma = _SIGMA_PER_MAD * float(np.median(deviation))
    return np.asarray(deviation <= float(np.ptp(around)) + _OUTLIER * sigma)


def _linear(
    time_s: Doubles, beam: Doubles, power: Doubles, kept: NDArray[np.bool_], middle_s: float
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return level at the middle, rise, its uncertainty, each (n,), and the fitted power, (ntime, n)."""
    terms = np.stack([np.ones_like(time_s), time_s - middle_s, beam], axis=1)
    inverse = np.linalg.pinv(terms[kept])
    solution = inverse @ power[kept]
    model = terms @ solution
    free = max(1, int(kept.sum()) - terms.shape[1])
    sigma = np.sqrt(((power - model)[kept] ** 2).sum(axis=0) / free)
    return solution[0], solution[2], sigma * sqrt(float((inverse[2] ** 2).sum())), model


def _find(time_s: Doubles, total: Doubles, step_s: float) -> tuple[float, float]:
    """Return time and width of the passage that fits best, by trying ever closer to the best so far."""
    span_s = float(time_s[-1] - time_s[0])
    offset = time_s - time_s.mean()
    baseline, _ = np.linalg.qr(np.stack([np.ones_like(offset), offset / span_s], axis=1))
    left = total - baseline @ (baseline.T @ total)
    middles = np.linspace(time_s[0], time_s[-1], max(_NTIME_TRIED, min(len(time_s), 5 * _NTIME_TRIED)))
    widths = np.geomspace(min(_WIDTH_MIN * step_s, span_s), span_s, _NWIDTH_TRIED)
    half_s, ratio = middles[1] - middles[0], widths[1] / widths[0]
    middle_s = fwhm_s = 0.0
    for _ in range(_ROUNDS):
        _, middle_s, fwhm_s = max(
            _score(offset, left, baseline, middles, float(width), float(time_s.mean())) for width in widths
        )
        middles = np.clip(middle_s + half_s * np.linspace(-1, 1, 2 * int(_CLOSER) + 1), time_s[0], time_s[-1])
        widths = np.clip(fwhm_s * ratio ** np.linspace(-1, 1, 2 * int(_CLOSER) + 1), step_s, span_s)
        half_s, ratio = half_s / _CLOSER * 2, ratio ** (2 / _CLOSER)
    return middle_s, fwhm_s


def _score(
    offset: Doubles, left: Doubles, baseline: Doubles, middles: Doubles, fwhm_s: float, zero_s: float
) -> tuple[float, float, float]:
    """Return how well the best of some times fits for a width, that time, and the width."""
    beams = np.exp(-_SHAPE * ((offset - (middles[:, np.newaxis] - zero_s)) / fwhm_s) ** 2)
    beams -= (beams @ baseline) @ baseline.T
    norms = np.sqrt((beams**2).sum(axis=1))
    fits = np.divide(beams @ left, norms, out=np.zeros_like(norms), where=norms > 1e-9)
    best = int(fits.argmax())
    return float(fits[best]), float(middles[best]), fwhm_s


def centres(freq_mhz: Doubles, usable: NDArray[np.bool_], nband: int) -> Doubles:
    """Return the mean frequency of the usable channels of each band; of all where none is, (nband,)."""
    own = band_averages(freq_mhz, usable, nband)
    return np.where(np.isfinite(own), own, band_averages(freq_mhz, np.ones_like(usable), nband))


def polynomial_model(coefficients: Sequence[float], range_mhz: Sequence[float]) -> FluxModel:
    """Make a flux model of plain lists."""
    low, high = range_mhz
    return FluxModel(tuple(map(float, coefficients)), (float(low), float(high)))
