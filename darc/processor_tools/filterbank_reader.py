"""Samples of filterbank files that may still be growing: of one file, or of a synthesised beam (SB).

The reader of a file and that of an SB have the same attributes and the same `read`. Files are mapped, and
only the part that is asked for: an SB takes a few hundred bytes from each row of several files, which are
copied once, from the kernel's cache to their place. Reading with `pread` would copy all channels of these
files first and takes twice the time. A mapping ends with the last array that uses it, so that the memory a
process needs does not grow with what it has read.

A file that is too short when `read` is called is an error. One that is shortened while its samples are in use
ends the process, as with every mapped file (SIGBUS).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from darc.formats.filterbank import (
    HEADER_BYTES_MAX,
    FilterbankError,
    FilterbankHeader,
    FilterbankTruncatedError,
    parse_header,
    unpack_samples,
)
from darc.science.beams import SubbandError, channel_ranges

#: Fields of the header in which all TABs of a compound beam agree, beside the time of the start.
_GEOMETRY = ("nchan", "nbit", "fch1_mhz", "foff_mhz", "tsamp_s")
_S_PER_DAY = 86400


class FilterbankMissingError(FilterbankError):
    """A filterbank file is not there; one of an observation that has just begun may come later."""


class FilterbankGeometryError(FilterbankError):
    """Channels, bits, frequencies or times of a file are not as they have to be."""


class FilterbankReader(AbstractContextManager["FilterbankReader"]):
    """Samples of one file, such as a TAB or the incoherent beam.

    Args:
        path: file to read; its header has to be complete

    Attributes:
        path: of the file
        header: what its header says

    Raises:
        FilterbankMissingError: there is no such file
        FilterbankTruncatedError: the file ends within its header
        FilterbankGeometryError: the file has more than one polarisation
        FilterbankError: the file cannot be opened or is no filterbank

    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with ExitStack() as stack:
            self._stream = stack.enter_context(_opened(self.path))
            self.header = _read_header(self.path, self._stream)
            stack.pop_all()  # stays open

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; arrays that were read from it stay valid."""
        self._stream.close()

    @property
    def freqs_mhz(self) -> NDArray[np.float64]:
        """Centres of the channels, in the order of the samples, shape (nchan,)."""
        return self.header.freqs_mhz

    @property
    def nsample(self) -> int:
        """Number of complete time samples in the file now."""
        return self.header.nsample(os.fstat(self._stream.fileno()).st_size)

    def read(self, start: int, nsample: int) -> NDArray[Any]:
        """Return samples of all channels.

        Args:
            start: first time sample
            nsample: number of time samples, at least 1

        Returns:
            shape (nsample, nchan), channels in the order of the file, read-only; of the file's own type, and
            uint8 for less than 8 bits. Not copied from 8 bits on.

        Raises:
            FilterbankTruncatedError: the file does not have these samples (yet)

        """
        samples = channels(self.window(start, nsample), self.header.nbit, 0, self.header.nchan)
        samples.flags.writeable = False
        return samples

    def window(self, start: int, nsample: int) -> NDArray[Any]:
        """Return samples as the file holds them, mapped: as `read`, but less than 8 bits stay packed.

        Raises:
            FilterbankTruncatedError: the file does not have these samples (yet)
            ValueError: there are no such samples in any file
        """
        if start < 0 or nsample < 1:
            raise ValueError(f"{nsample} samples from sample {start} on: neither can be read")
        if start + nsample > self.nsample:
            raise FilterbankTruncatedError(
                f"{self.path}: has {self.nsample} samples; {start} to {start + nsample - 1} were asked for, "
                "so it is still being written or was cut short"
            )
        header = self.header
        shape = nsample, header.bytes_per_sample // header.dtype.itemsize
        offset = header.header_bytes + start * header.bytes_per_sample
        return np.memmap(self._stream, header.dtype, "r", offset, shape).view(np.ndarray)


class TiedArrayBeams(AbstractContextManager["TiedArrayBeams"]):
    """Files of the TABs of a compound beam, each opened when it is needed first, and memory for their SBs.

    Args:
        paths: file of each TAB, in the order of their numbers; they need not exist yet

    """

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self._paths = tuple(map(Path, paths))
        self._readers: dict[int, FilterbankReader] = {}
        self._memory = np.empty(0, np.uint8)

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files; they are opened again when they are needed."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def reader(self, tab: int) -> FilterbankReader:
        """Return the reader of a TAB.

        Raises:
            FilterbankGeometryError: there is no such TAB, or its file differs from the one opened first
            FilterbankError: as `FilterbankReader`

        """
        if tab not in self._readers:
            self._readers[tab] = self._open(tab)
        return self._readers[tab]

    def _open(self, tab: int) -> FilterbankReader:
        if not 0 <= tab < len(self._paths):
            raise FilterbankGeometryError(f"there is no TAB {tab} among {len(self._paths)} filterbank files")
        with ExitStack() as stack:
            reader = stack.enter_context(FilterbankReader(self._paths[tab]))
            first = next(iter(self._readers.values()), reader)
            _require_same_geometry(reader, first)
            stack.pop_all()  # stays open
        return reader

    def memory(self, nsample: int, header: FilterbankHeader) -> NDArray[Any]:
        """Return an array of shape (nsample, nchan), the memory of which is used again by the next call."""
        needed = nsample * header.nchan * header.dtype.itemsize
        if len(self._memory) < needed:
            self._memory = np.empty(needed, np.uint8)
        return self._memory[:needed].view(header.dtype).reshape(nsample, header.nchan)


class SynthesisedBeamReader:
    """Samples of one SB, put together from just the channels that it takes from each TAB.

    Args:
        tabs: files of the TABs
        row: TAB of each subband, lowest frequency first, shape (nsubband,)

    Attributes:
        header: of the TAB of the lowest subband; the others have the same geometry

    Raises:
        FilterbankGeometryError: the channels do not fill the subbands, a TAB is not there, or TABs differ
        FilterbankError: as `FilterbankReader`

    """

    def __init__(self, tabs: TiedArrayBeams, row: NDArray[np.intp]) -> None:
        self._tabs = tabs
        first = tabs.reader(int(row[0]))
        self.header = first.header
        try:
            ranges = channel_ranges(row, first.header.nchan, highest_first=first.header.foff_mhz < 0)
        except SubbandError as error:
            raise FilterbankGeometryError(f"{first.path}: {error}") from error
        #: each TAB with its ranges of channels: a file is mapped once per read
        self._parts = [
            (tabs.reader(tab), [part for part in ranges if part.tab == tab])
            for tab in sorted({part.tab for part in ranges})
        ]

    @property
    def freqs_mhz(self) -> NDArray[np.float64]:
        """Centres of the channels, in the order of the samples, shape (nchan,)."""
        return self.header.freqs_mhz

    @property
    def nsample(self) -> int:
        """Number of time samples that are complete in all files it needs."""
        return min(reader.nsample for reader, _ in self._parts)

    def read(self, start: int, nsample: int) -> NDArray[Any]:
        """Return samples of all channels; they are valid until the next SB of the same files is read.

        Args:
            start: first time sample
            nsample: number of time samples, at least 1

        Returns:
            as `FilterbankReader.read`, copied once

        Raises:
            FilterbankTruncatedError: a file does not have these samples (yet)

        """
        beam = self._tabs.memory(nsample, self.header)
        for reader, ranges in self._parts:
            window = reader.window(start, nsample)
            for _, first, stop in ranges:
                beam[:, first:stop] = channels(window, self.header.nbit, first, stop)
        beam.flags.writeable = False
        return beam


def channels(window: NDArray[Any], nbit: int, start: int, stop: int) -> NDArray[Any]:
    """Return channels `start` to `stop` - 1 of samples as a file holds them, unpacked if they are packed."""
    if nbit >= 8:
        return window[:, start:stop]
    per_byte = 8 // nbit
    first, end = start // per_byte, -(-stop // per_byte)
    skipped = start - first * per_byte
    return unpack_samples(window[:, first:end], nbit)[:, skipped : skipped + stop - start]


def _opened(path: Path) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would wait for its writer
            raise FilterbankError(f"{path}: this is not a regular file; check the path")
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise FilterbankMissingError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise FilterbankError(f"{path}: cannot be opened: {error.strerror}") from error


def _read_header(path: Path, stream: BinaryIO) -> FilterbankHeader:
    try:
        header = parse_header(stream.read(HEADER_BYTES_MAX))
    except FilterbankError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise FilterbankError(f"{path}: cannot be read: {error.strerror}") from error
    if header.nifs != 1:
        raise FilterbankGeometryError(f"{path}: has {header.nifs} polarisations; only one can be read")
    return header


def _require_same_geometry(reader: FilterbankReader, first: FilterbankReader) -> None:
    """Raise an error that names both files if their samples do not belong together."""
    one, other = reader.header, first.header
    different = [name for name in _GEOMETRY if getattr(one, name) != getattr(other, name)]
    if abs(one.tstart_mjd - other.tstart_mjd) * _S_PER_DAY > other.tsamp_s / 2:
        different.append("tstart_mjd")
    if different:
        values = ", ".join(
            f"{name} {getattr(one, name)} instead of {getattr(other, name)}" for name in different
        )
        raise FilterbankGeometryError(f"{reader.path}: does not fit {first.path}: {values}")
