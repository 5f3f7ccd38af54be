"""Real data: candidates that are none, and bursts injected into data and into noise that is like these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.filterbank import HEADER_BYTES_MAX, FilterbankError, parse_header, unpack_samples
from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s
from darc.science.extraction import Candidate
from darc.training import second_sky
from darc.training.examples import Examples

#: Candidates that are taken from a file at different times and DMs, and bursts that are injected into it.
NCANDIDATE, NINJECTED = 50, 200
#: No more of a file is read (bytes), and the delay over the band is at most this part of that.
_BYTES_MAX, _SWEEP_PART = 2**28, 0.95


@dataclass(frozen=True, eq=False)
class RealData:
    """What was made of a file of real data.

    Attributes:
        name: of the file
        described: band and length, in words
        candidates: what is extracted from it at any time and DM, bursts or not
        injected: bursts injected into it
        in_noise: the same bursts, injected into noise with the level and scatter of its channels
        number: how many were injected; those that are missing above were below the S/N limit
    """

    name: str
    described: str
    candidates: tuple[Candidate, ...]
    injected: Examples
    in_noise: Examples
    number: int


def read(path: Path, seed: int) -> RealData:
    """Extract candidates from a filterbank file without bursts, and inject some.

    Raises:
        DARCError: it is no filterbank file, or too short
    """
    data, band = samples(path)
    duration_s = len(data) * band.tsamp_s
    bottom = band.top_mhz - band.nchan * band.channel_width_mhz
    dm_max = _SWEEP_PART * duration_s / float(delay_s(1.0, bottom, band.top_mhz))
    injected, in_noise = (
        second_sky.inject(there, band, NINJECTED, seed, 0.8 * dm_max)
        for there in (data, second_sky.noise_like(data, seed))
    )
    described = (
        f"{band.nchan} channels from {bottom:.0f} to {band.top_mhz:.0f} MHz, {duration_s:.1f} s, samples of "
        f"{band.tsamp_s * 1e3:g} ms, DM up to {dm_max:.0f}"
    )
    candidates = tuple(second_sky.search(data, band, NCANDIDATE, seed, dm_max))
    return RealData(path.name, described, candidates, injected, in_noise, NINJECTED)


def samples(path: Path) -> tuple[NDArray[np.uint8], Band]:
    """Return the data of a file, highest frequency first, and their band.

    Raises:
        DARCError: it is no filterbank file, or of a kind that is not used here
    """
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES_MAX)
    except OSError as error:
        raise DARCError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        header = parse_header(content[:HEADER_BYTES_MAX])
    except FilterbankError as error:
        raise DARCError(f"{path}: {error}") from error
    if header.nbit > 8 or header.foff_mhz > 0:
        raise DARCError(f"{path}: only data of up to 8 bits with the highest frequency first are used here")
    raw = np.frombuffer(content, np.uint8, offset=header.header_bytes)
    levels = unpack_samples(raw, header.nbit) if header.nbit < 8 else raw
    nsample = len(levels) // header.nchan
    data = levels[: nsample * header.nchan].reshape(nsample, header.nchan)
    return np.ascontiguousarray(data), Band(header.fch1_mhz, header.foff_mhz, header.nchan, header.tsamp_s)
