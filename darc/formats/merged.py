"""All candidates of a beam in one HDF5 file, as the classification and astronomers read them.

| data set           | shape                | content                                                        |
| ------------------ | -------------------- | -------------------------------------------------------------- |
| `data_freq_time`   | (n, nfreq, ntime)    | float32, lowest frequency first, dedispersed                   |
| `data_dm_time`     | (n, ndm, ntime)      | float32                                                        |
| `params`           | (n, 5)               | float64: S/N, DM in pc cm^-3, width of the best boxcar in      |
|                    |                      | samples, arrival time in s, sampling time in s                 |
| `sb` or `tab`      | (n,)                 | int32: synthesised, or tied-array beam                         |
| `ntriggers_skipped`| (1,)                 | int64: clusters that were not looked at                        |

The names of these that are stored, and that of the last one, are configuration. Candidates are in the order
in which they are given. Data are written and read block by block: memory does not grow with their number.

HDF5 ends the process (SIGSEGV) when it closes a file whose last parts the disk had no room for. So the room
for each block is taken before HDF5 writes it, and a full disk is an error like any other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.candidate import H5PY_ERRORS, Candidate
from darc.formats.files import written_aside

#: Candidates that are written or read together.
BLOCK = 64
#: Room that is taken beside the data of a block, in bytes: for headers, and the index of the blocks.
_REST_BYTES = 2**20

#: No block is larger in bytes; those of the largest candidates have some 100 MB.
_BLOCK_BYTES_MAX = 2**31


class MergedError(DARCError):
    """A file of merged candidates cannot be written, or is none."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some candidates of a file, of each the same number of rows.

    Attributes:
        data_freq_time: shape (n, nfreq, ntime)
        data_dm_time: shape (n, ndm, ntime)
        params: S/N, DM, width in samples, arrival time in s, sampling time in s; shape (n, 5)
        beams: synthesised or tied-array beam, shape (n,)
    """

    data_freq_time: NDArray[np.float32]
    data_dm_time: NDArray[np.float32]
    params: NDArray[np.float64]
    beams: NDArray[np.int32]


def write(
    path: Path,
    candidates: Iterable[Candidate],
    shapes: tuple[tuple[int, int], tuple[int, int]],
    *,
    keys: Collection[str],
    skipped: tuple[str, int],
    tied_array: bool = False,
) -> int:
    """Write a file, which appears complete or not at all; return the number of candidates.

    Args:
        path: the file
        candidates: read once, a block at a time
        shapes: shapes of the two arrays of a candidate: (nfreq, ntime) and (ndm, ntime)
        keys: names of the data sets that are wanted; those that do not apply are no error
        skipped: name of the number of clusters that were not looked at, and this number
        tied_array: the beams of the candidates are tied-array beams

    Raises:
        MergedError: it cannot be written, or a candidate has another shape; says which
    """
    layout: dict[str, tuple[tuple[int, ...], str]] = {
        "data_freq_time": (shapes[0], "<f4"),
        "data_dm_time": (shapes[1], "<f4"),
        "params": ((5,), "<f8"),
        "tab" if tied_array else "sb": ((), "<i4"),
    }
    with written_aside(path, MergedError) as aside:
        with h5py.File(aside, "w") as file:
            _take_room(file, 0)
            for name, (shape, dtype) in layout.items():
                if name in keys:
                    chunks, most = (BLOCK, *shape), (None, *shape)
                    file.create_dataset(name, (0, *shape), dtype, maxshape=most, chunks=chunks)
            number, rest = 0, iter(candidates)
            while block := list(islice(rest, BLOCK)):
                _take_room(file, sum(math.prod(each.chunks) * each.dtype.itemsize for each in file.values()))
                _append(file, number, _block(block, shapes, number))
                number += len(block)
            file.create_dataset(skipped[0], data=np.array([skipped[1]], "<i8"))
            file.flush()
            size = file.id.get_filesize()
        os.truncate(aside, size)
    return number


def _block(candidates: list[Candidate], shapes: tuple[tuple[int, int], tuple[int, int]], first: int) -> Block:
    for index, one in enumerate(candidates, start=first):
        if (one.data_freq_time.shape, one.data_dm_time.shape) != shapes:
            raise MergedError(
                f"candidate {index} has data of shape {one.data_freq_time.shape} and "
                f"{one.data_dm_time.shape} instead of {shapes[0]} and {shapes[1]}"
            )
    return Block(
        np.stack([one.data_freq_time for one in candidates]),
        np.stack([one.data_dm_time for one in candidates]),
        np.array([(one.snr, one.dm, one.downsamp, one.toa_s, one.tsamp_s) for one in candidates]),
        np.array([one.sb for one in candidates], np.int32),
    )


def _take_room(file: h5py.File, data_bytes: int) -> None:
    """Have the disk keep room for data that will be written next, and for what HDF5 adds to them.

    Raises:
        OSError: there is none
    """
    with Path(file.filename).open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.id.get_filesize() + data_bytes + _REST_BYTES)


def _append(file: h5py.File, start: int, block: Block) -> None:
    columns = {"sb": "beams", "tab": "beams"}
    for name, dataset in file.items():
        rows = getattr(block, columns.get(name, name))
        dataset.resize(start + len(rows), axis=0)
        dataset[start:] = rows


def _dataset(file: h5py.File, name: str, size: int) -> Any:
    """Return a data set of this very file, of which so many rows fit into the memory."""
    dataset = file[name]
    if (
        not isinstance(file.get(name, getlink=True), h5py.HardLink)
        or not isinstance(dataset, h5py.Dataset)
        or dataset.is_virtual
        or dataset.external
    ):
        raise MergedError(f"{file.filename}: {name} is no data set of this file")
    if math.prod((size, *dataset.shape[1:])) * dataset.dtype.itemsize > _BLOCK_BYTES_MAX:
        raise MergedError(f"{file.filename}: the shape of {name}, {dataset.shape}, cannot be meant")
    return dataset


def read_blocks(path: Path, size: int = BLOCK) -> Iterator[Block]:
    """Give the candidates of a file, some at a time.

    Args:
        path: the file
        size: number of candidates per block

    Raises:
        MergedError: there is no such file, it lacks a data set, or it is damaged
    """
    try:
        with h5py.File(path, "r") as file:
            beams = "tab" if "tab" in file else "sb"
            names = ("data_freq_time", "data_dm_time", "params", beams)
            if missing := [name for name in names if name not in file]:
                raise MergedError(f"{path}: {', '.join(missing)} missing; see keys_data of the configuration")
            datasets = [_dataset(file, name, size) for name in names]
            if len({len(dataset) for dataset in datasets}) != 1:
                raise MergedError(f"{path}: damaged: its data sets differ in length")
            for start in range(0, len(datasets[0]), size):
                yield Block(*(dataset[start : start + size] for dataset in datasets))
    except H5PY_ERRORS as error:
        raise MergedError(f"{path}: cannot be read, damaged, or no HDF5 file: {error}") from error
