"""The sky as the filterbanks of one compound beam show it: noise, bandpass, bursts, interference, in 8 bits.

Samples follow from the sky, the seed and their place alone: any block can be asked for, in any order, and a
block that is asked for in pieces is the same.

Levels are those of a radiometer: where the mean is m counts, two polarisations of a channel of ARTS, detected
over its sampling time, have an rms of m / sqrt(npol x channel width x sampling time) = m / sqrt(32). Both go
with the bandpass. So zero is 5.7 sigma below the mean everywhere, and 255 at least 9 sigma above it.

To keep up with a telescope, noise is not drawn anew: it is copied in short segments, each from a random place
of a tile that was drawn at the beginning. Delays over the band are longer than a segment beyond a DM of about
11, so that noise dedispersed there does not repeat itself; nor does it in boxcars longer than a segment. At
lower DMs there are no deviations beyond what a tile holds: 4 sigma. The variance of the sum over a segment is
too small by segment / tile, 0.8 %.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS, Instrument
from darc.simulation.beams import sb_table
from darc.simulation.signals import (
    Emission,
    Footprint,
    burst_extent,
    burst_footprint,
    emission_footprint,
)
from darc.simulation.sky import Burst, Sky

Floats = NDArray[np.float64]
Samples = NDArray[np.uint8]

#: counts where the bandpass is 1
NOISE_MEAN, NOISE_RMS = 80.0, 80.0 / math.sqrt(32)
#: samples of the segments that are copied from a tile of noise
_SEGMENT = 128
#: segments whose places are drawn together
_DRAWN_TOGETHER = 64
#: random numbers for rounding; a prime, so that they fall differently on each row
_NDITHER = 65_521
#: beams that see less of a source than this are left out
_FAINTEST = 0.01
_COUNT_MAX = 255
#: parts of the seed, to keep random numbers of different use apart
_TILE_SEED, _PLACE_SEED, _BANDPASS_SEED, _DITHER_SEED, _EMISSION_SEED = range(1, 6)


class FilterbankSky:
    """One compound beam's view of a sky.

    A source in the direction of a synthesised beam (SB) is, in each subband, in the TAB that the SB takes
    there (`darc.simulation.beams`); other TABs see it through the response of an equidistant array. Its S/N
    is that in the SB (`darc.simulation.signals.burst_footprint` says which). A source without a direction is
    alike in all TABs, with its S/N in the central SB. The incoherent beam sees all directions, with an S/N
    lower by the square root of the number of dishes.

    Args:
        sky: bursts and pulsars; its storms and noise are AMBER's rows only, and are not in the data.
        emissions: interference.
        seed: of noise, bandpass, pulses of pulsars.
        instrument: band, sampling time, TABs, SBs.
        tile_samples: length of a tile of noise; the tiles of all beams of ARTS take 330 MB.

    Attributes:
        instrument: the same.
        bursts: all bursts and pulses, ordered by time.
        emissions: interference.
        nbatch: number of whole batches.
        clipped: samples that bursts and interference brought above 255, in all blocks so far.

    """

    def __init__(
        self,
        sky: Sky,
        emissions: tuple[Emission, ...] = (),
        *,
        seed: int = 0,
        instrument: Instrument = ARTS,
        tile_samples: int = 16384,
    ) -> None:
        self.instrument = instrument
        self.bursts = sky.all_bursts(np.random.default_rng(seed))
        self.emissions = emissions
        self.nbatch = int(sky.duration_s / instrument.batch_s + 1e-6)
        self.clipped = 0
        self._seed = seed
        self._tile_samples = tile_samples
        self._signals: tuple[Burst | Emission, ...] = (*self.bursts, *emissions)
        extents = np.array([self._extent(signal) for signal in self._signals], np.int64).reshape(-1, 2)
        self._first, self._last = extents.T
        self._near: dict[int, Footprint] = {}

    @cached_property
    def gain(self) -> Floats:
        """Bandpass of each TAB and, last, of the incoherent beam, shape (ntab + 1, nchan)."""
        return bandpass(self.instrument, np.random.default_rng((self._seed, _BANDPASS_SEED)))

    def prepare(self) -> None:
        """Draw the noise now; else the first block does."""
        _ = self._tiles, self._dither

    def block(self, tab: int | None, first: int, nsample: int) -> Samples:
        """Return samples as the file of a TAB has them.

        Args:
            tab: TAB; None: the incoherent beam
            first: number of the first sample
            nsample: how many

        Returns:
            shape (nsample, nchan), highest frequency first

        """
        beam = self.instrument.ntab if tab is None else tab
        samples = self._noise(beam, first, nsample)
        near = np.flatnonzero((self._first < first + nsample) & (self._last > first)).tolist()
        # what later blocks do not need is forgotten
        known = self._near
        self._near = footprints = {i: known[i] if i in known else self._footprint(i) for i in near}
        for i, footprint in footprints.items():
            signal = self._signals[i]
            sb = signal.sb if isinstance(signal, Burst) else None
            level = self.gain[beam] * self._response(sb)[beam] * NOISE_RMS
            self.clipped += self._add(samples, first, footprint, level)
        return samples

    @cached_property
    def _tiles(self) -> Samples:
        """Noise of each beam, shape (ntab + 1, tile + segment, nchan)."""
        rng = np.random.default_rng((self._seed, _TILE_SEED))
        # the same for all: they take it from different places
        drawn = rng.standard_normal((self._tile_samples, self.instrument.nchan), np.float32)
        noise = np.concatenate([drawn, drawn[:_SEGMENT]])
        tiles = np.empty((len(self.gain), *noise.shape), np.uint8)
        for tile, gain in zip(tiles, self.gain.astype(np.float32), strict=True):
            counts = gain * (np.float32(NOISE_MEAN) + np.float32(NOISE_RMS) * noise)
            tile[:] = np.clip(np.rint(counts, out=counts), 0, _COUNT_MAX, out=counts)
        return tiles

    @cached_property
    def _dither(self) -> NDArray[np.float32]:
        return np.random.default_rng((self._seed, _DITHER_SEED)).random(_NDITHER, np.float32)

    @cached_property
    def _table(self) -> NDArray[np.intp]:
        """TAB of each SB and channel, shape (nsb, nchan), highest frequency first."""
        return channel_table(self.instrument)

    def _noise(self, beam: int, first: int, nsample: int) -> Samples:
        samples = np.empty((nsample, self.instrument.nchan), np.uint8)
        drawn, places = -1, np.empty(0, np.int64)
        done = 0
        while done < nsample:
            segment, begin = divmod(first + done, _SEGMENT)
            if segment // _DRAWN_TOGETHER != drawn:
                drawn = segment // _DRAWN_TOGETHER
                rng = np.random.default_rng((self._seed, _PLACE_SEED, beam, drawn))
                places = rng.integers(self._tile_samples, size=_DRAWN_TOGETHER)
            count = min(_SEGMENT - begin, nsample - done)
            place = places[segment % _DRAWN_TOGETHER] + begin
            samples[done : done + count] = self._tiles[beam, place : place + count]
            done += count
        return samples

    def _extent(self, signal: Burst | Emission) -> tuple[int, int]:
        if isinstance(signal, Burst):
            return burst_extent(signal, self.instrument)
        start = signal.start_s / self.instrument.tsamp_s
        return math.floor(start), math.ceil(start + signal.duration_s / self.instrument.tsamp_s) + 1

    def _footprint(self, number: int) -> Footprint:
        signal = self._signals[number]
        if isinstance(signal, Burst):
            sb = self.instrument.nsynthesised_beam // 2 if signal.sb is None else signal.sb
            gain = self.gain[self._table[sb], np.arange(self.instrument.nchan)]
            return burst_footprint(signal, self.instrument, gain)
        rng = np.random.default_rng((self._seed, _EMISSION_SEED, number))
        return emission_footprint(signal, self.instrument, rng)

    def _response(self, sb: int | None) -> Floats:
        """Return the part of a signal that each beam sees in each channel, shape (ntab + 1, nchan)."""
        instrument = self.instrument
        response = np.ones((instrument.ntab + 1, instrument.nchan))
        if sb is not None:
            response[:-1] = tab_response(instrument, self._table[sb])
            response[-1] = instrument.ndish**-0.5
        return response

    def _add(self, samples: Samples, first: int, footprint: Footprint, level: Floats) -> int:
        """Add a signal to a block that begins at sample `first`; return how many samples were clipped.

        Counts are rounded up or down at random, in proportion, or a faint signal would round to nothing.
        """
        nsample, nchan = samples.shape
        seen = level[footprint.channels] > _FAINTEST * NOISE_RMS * self.gain.min()
        begin = footprint.first[seen] - first
        if not begin.size:
            return 0
        within = slice(max(0, -begin.max()), max(0, min(footprint.signal.shape[1], nsample - begin.min())))
        signal = footprint.signal[seen, within]
        row = begin[:, None] + within.start + np.arange(signal.shape[1])
        inside = (row >= 0) & (row < nsample)
        channel = np.broadcast_to(footprint.channels[seen][:, None], row.shape)[inside]
        row = row[inside]
        added = (signal * level[footprint.channels[seen], None].astype(np.float32))[inside]
        added += self._dither[((row + first) * nchan + channel) % _NDITHER]
        counts = samples[row, channel] + added.astype(np.int64)
        samples[row, channel] = np.minimum(counts, _COUNT_MAX)
        return int(np.count_nonzero(counts > _COUNT_MAX))


def channel_table(instrument: Instrument) -> NDArray[np.intp]:
    """Return the TAB that each SB uses in each channel, highest frequency first, shape (nsb, nchan)."""
    subband = np.arange(instrument.nchan)[::-1] * instrument.nsubband // instrument.nchan
    return sb_table(instrument)[:, subband]


def tab_response(instrument: Instrument, tab: NDArray[np.intp]) -> Floats:
    """Return the part of a source's power that each TAB sees.

    N dishes at equal distances have the response (sin(N pi x) / (N sin(pi x)))^2 at x of the period after
    which it repeats (the array factor; Thompson, Moran & Swenson 2017, ch. 5); TABs divide that period. With
    the TABs and dishes of ARTS, neighbours of the source's own TAB see 17 % of it, the next ones 5 %.

    Args:
        instrument: number of TABs and dishes
        tab: in which a source is, shape (n,)

    Returns:
        shape (ntab, n)

    """
    distance = np.pi * ((np.arange(instrument.ntab)[:, None] - tab) % instrument.ntab) / instrument.ntab
    own = distance == 0
    sine = np.where(own, 1.0, np.sin(distance))
    power: Floats = (np.sin(instrument.ndish * distance) / (instrument.ndish * sine)) ** 2
    return np.where(own, 1.0, power)


def bandpass(instrument: Instrument, rng: np.random.Generator) -> Floats:
    """Return gains around 1 of each TAB and the incoherent beam: 0.5 to 1.2, shape (ntab + 1, nchan).

    They fall off at both ends of the band, and each beam has its own standing wave and level per subband.
    """
    position = (np.arange(instrument.nchan) + 0.5) / instrument.nchan
    nbeam = instrument.ntab + 1
    phase = rng.uniform(0, 2 * np.pi, (nbeam, 1))
    standing_wave = 0.08 * np.sin(2 * np.pi * position * instrument.bandwidth_mhz / 17.0 + phase)
    steps = 0.05 * rng.standard_normal((nbeam, instrument.nsubband)).clip(-2, 2)
    subband = (position * instrument.nsubband).astype(np.intp)
    edge = 1 - 0.4 * np.exp(-np.minimum(position, 1 - position) / 0.02)
    gain: Floats = edge * (1 + standing_wave + steps[:, subband])
    return gain
