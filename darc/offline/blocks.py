"""A filterbank file from its beginning to its end, in blocks of limited size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from darc.offline.plan import Account
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.filterbank_reader import FilterbankGeometryError, FilterbankReader
from darc.science.dedispersion import Band


def open_filterbank(beam: ObservedBeam, path: Path) -> FilterbankReader:
    """Open a file of an observation; whoever calls closes it.

    Raises:
        FilterbankError: it cannot be read, or is not of this observation
    """
    reader = FilterbankReader(path)
    if differences := beam.differences(band_of(reader)):
        reader.close()
        raise FilterbankGeometryError(f"{path}: not the data of this observation: {', '.join(differences)}")
    return reader


def band_of(reader: FilterbankReader) -> Band:
    """Return the channels and the sampling time of a file."""
    header = reader.header
    return Band(header.fch1_mhz, header.foff_mhz, header.nchan, header.tsamp_s)


def blocks(
    reader: FilterbankReader, nsample: int, account: Account, step: str
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Give the first sample of each block, and the block, (up to nsample, nchan).

    A remainder of less than half a block belongs to the last one.

    Args:
        reader: the file
        nsample: samples of a block
        account: is told how far it is, and ends it
        step: name of the step for that

    Raises:
        Interrupted: the work was ended from outside
    """
    total = reader.nsample
    number = max(1, round(total / nsample)) if total else 0
    for block in range(number):
        account.check()
        account.report(step, block, number)
        first = block * nsample
        yield first, reader.read(first, total - first if block == number - 1 else nsample)
