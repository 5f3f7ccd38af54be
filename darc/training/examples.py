"""Candidates with their labels: what networks are trained, calibrated and measured with."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.files import write_complete
from darc.science.extraction import Candidate
from darc.science.network_input import network_input

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: What the networks take, by their names: rows and times.
SHAPES = {"freqtime": (32, 64), "dmtime": (64, 64)}


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled candidates, one element of each array per candidate.

    Attributes:
        freqtime: what the frequency-time network sees, (n, 32, 64)
        dmtime: what the DM-time network sees, (n, 64, 64)
        burst: whether it is one
        kind: what it is, in a word or two
        snr: S/N in the extracted data
        dm: DM in pc cm^-3
        width_s: width of a burst, at infinite frequency and without scattering; else of the best boxcar
        injected_snr: S/N that a burst was made with; NaN where that is not known
        centred: a burst is where the extraction put the centre; True for everything else
        departure: over how many widths of the detection the distance of a sweep from its track extends, as
            far as that is known; NaN for all else
    """

    freqtime: Floats
    dmtime: Floats
    burst: Flags
    kind: NDArray[np.str_]
    snr: Doubles
    dm: Doubles
    width_s: Doubles
    injected_snr: Doubles
    centred: Flags
    departure: Doubles

    def __len__(self) -> int:
        return len(self.burst)

    def images(self, name: str) -> Floats:
        """Return what the network of that name sees."""
        images: Floats = getattr(self, name)
        return images

    def where(self, chosen: Flags | NDArray[np.intp]) -> Examples:
        """Return some of them."""
        return Examples(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Example:
    """One candidate with its label; the attributes are those of `Examples`."""

    candidate: Candidate
    kind: str
    burst: bool
    dm: float
    width_s: float
    injected_snr: float = np.nan
    centred: bool = True
    departure: float = np.nan


def collect(examples: Sequence[Example]) -> Examples:
    """Put candidates together."""
    return Examples(
        np.array([network_input(one.candidate.data_freq_time, SHAPES["freqtime"]) for one in examples]),
        np.array([network_input(one.candidate.data_dm_time, SHAPES["dmtime"]) for one in examples]),
        np.array([one.burst for one in examples]),
        np.array([one.kind for one in examples]),
        np.array([one.candidate.snr for one in examples]),
        np.array([one.dm for one in examples]),
        np.array([one.width_s for one in examples]),
        np.array([one.injected_snr for one in examples]),
        np.array([one.centred for one in examples]),
        np.array([one.departure for one in examples]),
    )


def joined(parts: Iterable[Examples]) -> Examples:
    """Put sets together."""
    sets = list(parts)
    return Examples(*(np.concatenate([getattr(one, f.name) for one in sets]) for f in fields(Examples)))


#: Draws so many candidates; the same for the same seed.
Draw = Callable[[int, tuple[int, ...]], Examples]
#: Candidates that are drawn together.
SHARD = 1000


@dataclass(frozen=True)
class Drawing:
    """Candidates to be drawn.

    Attributes:
        draw: draws them; a function of a module, so that another process can call it
        name: what they are for
        number: how many
        seed: of all of them; those of another name are others
        keep: folder in which they are kept, and found the next time; None: nowhere
    """

    draw: Draw
    name: str
    number: int
    seed: int
    keep: Path | None = None

    def examples(self, jobs: int) -> Examples:
        """Draw them in several processes; how many these are does not change what is drawn."""
        shards = range(-(-self.number // SHARD))
        if jobs == 1:
            return joined(map(self.shard, shards))
        with ProcessPoolExecutor(jobs, get_context("spawn")) as processes:
            return joined(processes.map(self.shard, shards))

    def shard(self, index: int) -> Examples:
        """Return a part of them: what is kept, or what is drawn now."""
        size = min(SHARD, self.number - index * SHARD)
        path = self.keep and self.keep / f"{self.name}-{self.seed}-{index}-{size}.npz"
        if path and path.exists():
            with np.load(path) as file:
                return Examples(**file)
        drawn = self.draw(size, (self.seed, zlib.crc32(self.name.encode()), index))
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            np.savez(content, **vars(drawn))
            write_complete(path, content.getvalue(), DARCError)
        return drawn
