"""A drift scan as the filterbanks show it: a source of known flux density passes through the beam."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from darc.science.drift_scan import FluxModel, gaussian_beam
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.signals import channel_freqs_mhz

_COUNT_MAX = 255
_DITHER_SEED = 6
#: random numbers for rounding; a prime, so that they fall differently on each row
_NDITHER = 65_521


@dataclass(frozen=True)
class DriftingSource:
    """A source that passes through the beam.

    Attributes:
        flux: its flux density.
        sefd_jy: system-equivalent flux density of all beams.
        time_s: when it is in the middle, from the start of the data.
        fwhm_s: how long it takes from half to half of the beam's response, in the middle of the band.

    """

    flux: FluxModel
    sefd_jy: float
    time_s: float
    fwhm_s: float


class DriftSky:
    """A sky with a source so bright that it adds to the noise, alike in all beams.

    Both the mean and the rms of the data grow by the source's share, as power does.

    Args:
        sky: what there is besides.
        source: the source.
        zero_level: counts that the digitiser adds to all values.

    Attributes:
        instrument: that of the sky.
        nbatch: number of whole batches.
        clipped: samples brought above 255, in all blocks so far.

    """

    def __init__(self, sky: FilterbankSky, source: DriftingSource, zero_level: int = 0) -> None:
        self.instrument, self.nbatch, self.clipped = sky.instrument, sky.nbatch, 0
        self._sky, self._source, self._zero_level = sky, source, zero_level

    @cached_property
    def _share(self) -> NDArray[np.float64]:
        """Power of the source in the middle, relative to that of the system, (nchan,)."""
        return self._source.flux.flux_density_jy(channel_freqs_mhz(self.instrument)) / self._source.sefd_jy

    @cached_property
    def _dither(self) -> NDArray[np.float64]:
        return np.random.default_rng(_DITHER_SEED).random(_NDITHER)

    def prepare(self) -> None:
        """Do what takes long."""
        self._sky.prepare()

    def block(self, tab: int | None, first: int, nsample: int) -> NDArray[np.uint8]:
        """Return samples as the file of a TAB, or of the incoherent beam, has them, (nsample, nchan)."""
        freqs_mhz = channel_freqs_mhz(self.instrument)
        time_s = np.asarray((first + np.arange(nsample) + 0.5) * self.instrument.tsamp_s, np.float64)
        source = self._source
        beam = gaussian_beam(time_s, freqs_mhz, source.time_s, source.fwhm_s, float(freqs_mhz.mean()))
        counts = self._sky.block(tab, first, nsample) * (1 + self._share * beam) + self._zero_level
        # rounded up or down at random: the mean stays as it is, however small the source's share
        place = (first + np.arange(nsample))[:, np.newaxis] * freqs_mhz.size + np.arange(freqs_mhz.size)
        counts = np.floor(counts + self._dither[place % _NDITHER])
        self.clipped += int(np.count_nonzero(counts > _COUNT_MAX))
        samples: NDArray[np.uint8] = np.minimum(counts, _COUNT_MAX).astype(np.uint8)
        return samples
