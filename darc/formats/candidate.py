"""Candidates: what was cut out of the data for one cluster, one HDF5 file per candidate.

| name                        | kind      | meaning                                                          |
| --------------------------- | --------- | ---------------------------------------------------------------- |
| data_freq_time              | data set  | (nfreq, ntime) float32, lowest frequency first, dedispersed      |
| data_dm_time                | data set  | (ndm, ntime) float32, rows in the order of dms                   |
| dms                         | attribute | (ndm,) DMs of data_dm_time in pc cm^-3                           |
| nfreq ntime ndm             | attribute | shapes of the data sets                                          |
| tsamp                       | attribute | sampling time of the filterbank in s                             |
| sb                          | attribute | synthesised beam                                                 |
| dm snr toa downsamp         | attribute | DM, S/N, arrival time in s, and width of the best boxcar in      |
|                             |           | samples of the filterbank, as found in the data                  |
| dm_amber ... downsamp_amber | attribute | the same four as AMBER gave them                                 |
| nsamp_bin                   | attribute | samples of the filterbank per bin of the data sets; absent in    |
|                             |           | files of other programs, whose bins are `downsamp` samples long  |
| prob_freqtime prob_dmtime   | attribute | probabilities of the two classifiers, once they have run         |

The bin with index ntime // 2 is centred on the arrival time. The best boxcar may be wider than a bin, or
narrower.

A file is made in memory, written beside its place and renamed, so that it is there complete or not at all.
Its metadata carry checksums (HDF5 1.10), so that damage is noticed where it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5s, h5t
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.files import read_bytes, write_complete

SUFFIX = ".hdf5"

#: No file and no data set is larger: room for several thousand DMs or channels by several thousand times.
_BYTES_MAX = 2**28
#: The first version with checksums throughout; newer ones shut out readers for no gain here.
_LIBVER = ("v110", "v110")
#: Limits of what can be meant: data (whose sums 32 bits have to hold), any number, a sampling time in s.
_DATA_MAX = 1e30
_NUMBER_MAX = 1e9
_TSAMP_MIN_S = 1e-9
_DATASETS = ("data_freq_time", "data_dm_time")
#: Fields that are numbers, by the name of their attribute, and their type.
_NUMBERS: dict[str, tuple[str, type[int] | type[float]]] = {
    "tsamp": ("tsamp_s", float),
    "sb": ("sb", int),
    "dm": ("dm", float),
    "snr": ("snr", float),
    "toa": ("toa_s", float),
    "downsamp": ("downsamp", int),
    "dm_amber": ("dm_amber", float),
    "snr_amber": ("snr_amber", float),
    "toa_amber": ("toa_amber_s", float),
    "downsamp_amber": ("downsamp_amber", int),
}
_PROBABILITIES = ("prob_freqtime", "prob_dmtime")
#: Fields that may be None, whose attribute is then absent, and their type.
_OPTIONAL: dict[str, type[int] | type[float]] = {"nsamp_bin": int} | dict.fromkeys(_PROBABILITIES, float)
#: What h5py raises on contents that make no sense.
_H5PY_ERRORS = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    OverflowError,
)


class CandidateError(DARCError):
    """A candidate that makes no sense, or a file that cannot be written or is not a complete candidate."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A candidate with its data.

    Attributes:
        data_freq_time: shape (nfreq, ntime), lowest frequency first, dedispersed to `dm`
        data_dm_time: shape (ndm, ntime)
        dms: shape (ndm,), DM in pc cm^-3 of each row of `data_dm_time`
        tsamp_s: sampling time of the filterbank
        sb: synthesised beam
        dm: dispersion measure in pc cm^-3
        snr: signal-to-noise ratio
        toa_s: arrival time in s from the start of the data, top of the band: the centre of bin ntime // 2
        downsamp: width of the best boxcar in samples of the filterbank
        dm_amber, snr_amber, toa_amber_s, downsamp_amber: the same as AMBER gave them
        nsamp_bin: samples of the filterbank per bin of the data; None: as many as `downsamp`
        prob_freqtime, prob_dmtime: probabilities of a burst; None before classification

    Raises:
        CandidateError: shapes that do not fit together, or a value that cannot be meant
    """

    data_freq_time: NDArray[np.float32]
    data_dm_time: NDArray[np.float32]
    dms: NDArray[np.float64]
    tsamp_s: float
    sb: int
    dm: float
    snr: float
    toa_s: float
    downsamp: int
    dm_amber: float
    snr_amber: float
    toa_amber_s: float
    downsamp_amber: int
    nsamp_bin: int | None = None
    prob_freqtime: float | None = None
    prob_dmtime: float | None = None

    def __post_init__(self) -> None:
        freq_time, dm_time, dms = self.data_freq_time.shape, self.data_dm_time.shape, self.dms.shape
        if not (len(freq_time) == len(dm_time) == 2 and freq_time[1] == dm_time[1] and dms == dm_time[:1]):
            raise CandidateError(
                f"shapes {freq_time} of data_freq_time, {dm_time} of data_dm_time and {dms} of dms "
                f"do not fit together: they have to be (nfreq, ntime), (ndm, ntime) and (ndm,)"
            )
        if 0 in (*freq_time, *dm_time):
            raise CandidateError(f"empty data: shapes {freq_time} and {dm_time}")
        for name, limit in (("data_freq_time", _DATA_MAX), ("data_dm_time", _DATA_MAX), ("dms", _NUMBER_MAX)):
            if not np.abs(getattr(self, name)).max() <= limit:
                raise CandidateError(f"{name} has values that are not within {limit:g}")
        for name, _ in _NUMBERS.values():
            if not abs(getattr(self, name)) <= _NUMBER_MAX:
                raise CandidateError(f"{name} is {getattr(self, name)}; it has to be within {_NUMBER_MAX:g}")
        if not (self.tsamp_s >= _TSAMP_MIN_S and self.downsamp >= 1):
            raise CandidateError(f"a pulse cannot last {self.downsamp} x {self.tsamp_s} s")
        if self.nsamp_bin is not None and not 1 <= self.nsamp_bin <= _NUMBER_MAX:
            raise CandidateError(f"nsamp_bin is {self.nsamp_bin}; it has to be from 1 to {_NUMBER_MAX:g}")
        for name in _PROBABILITIES:
            probability = getattr(self, name)
            if not (probability is None or 0 <= probability <= 1):
                raise CandidateError(f"{name} is {probability}; it has to be between 0 and 1")

    @property
    def width_s(self) -> float:
        """Width of the best boxcar in s."""
        return self.downsamp * self.tsamp_s

    @property
    def bin_s(self) -> float:
        """Length of a bin of the data in s."""
        return (self.nsamp_bin or self.downsamp) * self.tsamp_s

    @property
    def probability(self) -> float | None:
        """Probability that candidates are ranked by: that of the frequency-time classifier."""
        return self.prob_freqtime


def file_name(candidate: Candidate) -> str:
    """Return the name of a candidate's file."""
    return (
        f"TOA{candidate.toa_s:.4f}_DM{candidate.dm:.2f}_DS{candidate.downsamp:.0f}"
        f"_SNR{candidate.snr:.0f}{SUFFIX}"
    )


def write(path_or_folder: Path, candidate: Candidate) -> Path:
    """Store a candidate and return the path of its file.

    An older file of that name is replaced; by its name it holds the same burst.

    Args:
        path_or_folder: the file, which ends in `.hdf5`; or a folder, for `file_name` in it
        candidate: what to store

    Raises:
        CandidateError: it could not be written; names the disk that is full
    """
    is_file = path_or_folder.suffix == SUFFIX
    path = path_or_folder if is_file else path_or_folder / file_name(candidate)
    write_complete(path, build(candidate), CandidateError)
    return path


def set_probabilities(path: Path, freqtime: float, dmtime: float) -> None:
    """Store the probabilities in a candidate's file; until that is complete the old file stays.

    Raises:
        CandidateError: the file is damaged or cannot be written, or a probability is not between 0 and 1
    """
    write(path, replace(read(path), prob_freqtime=freqtime, prob_dmtime=dmtime))


def read(path: Path) -> Candidate:
    """Return the candidate of a file.

    Raises:
        CandidateError: the file is absent, damaged, or holds something else; says which file and why
    """
    content = read_bytes(path, _BYTES_MAX, CandidateError)
    try:
        return parse(content)
    except CandidateError as error:
        raise CandidateError(f"{path}: {error}") from error


def build(candidate: Candidate) -> bytes:
    """Return the content of a candidate's file."""
    # half the time of attributes set one by one through h5py's mapping: a fourth of a short extraction
    with h5py.File.in_memory(libver=_LIBVER) as file:
        for name in _DATASETS:
            file.create_dataset(name, data=getattr(candidate, name), dtype="<f4")
        root = file["/"].id
        for name, value in _attributes(candidate).items():
            space = h5s.create_simple(value.shape) if value.shape else h5s.create(h5s.SCALAR)
            h5a.create(root, name.encode(), h5t.py_create(value.dtype), space).write(value)
        file.flush()
        return bytes(file.id.get_file_image())


def _attributes(candidate: Candidate) -> dict[str, NDArray[np.float64 | np.int64]]:
    nfreq, ntime = candidate.data_freq_time.shape
    numbers: dict[str, int | float] = {"nfreq": nfreq, "ntime": ntime, "ndm": len(candidate.dms)}
    numbers |= {name: kind(getattr(candidate, field)) for name, (field, kind) in _NUMBERS.items()}
    for name, kind in _OPTIONAL.items():
        if (number := getattr(candidate, name)) is not None:
            numbers[name] = kind(number)
    return {"dms": np.ascontiguousarray(candidate.dms, dtype="<f8")} | {
        name: np.array(number, dtype="<i8" if isinstance(number, int) else "<f8")
        for name, number in numbers.items()
    }


def parse(content: bytes) -> Candidate:
    """Return the candidate of a file's content.

    Raises:
        CandidateError: it is damaged, or something else
    """
    if not content:  # which h5py would take for a new file
        raise CandidateError("damaged: it is empty")
    try:
        with h5py.File.in_memory(content) as file:
            attributes = dict(file.attrs)
            datasets = {name: file[name] for name in _DATASETS if name in file}
            if missing := {*_DATASETS, "dms", *_NUMBERS} - datasets.keys() - attributes.keys():
                raise CandidateError(f"is no candidate: {', '.join(sorted(missing))} missing")
            if any(dataset.nbytes > _BYTES_MAX for dataset in datasets.values()):
                raise CandidateError(f"is no candidate: its data would be larger than {_BYTES_MAX} bytes")
            arrays = {name: np.asarray(dataset[()], np.float32) for name, dataset in datasets.items()}
        return _candidate(arrays, attributes)
    except _H5PY_ERRORS as error:
        raise CandidateError(f"damaged, or no HDF5 file: {error}") from error


def _candidate(arrays: dict[str, NDArray[np.float32]], attributes: dict[str, Any]) -> Candidate:
    fields: dict[str, Any] = dict(arrays, dms=np.asarray(attributes["dms"], np.float64))
    for name, (field, kind) in _NUMBERS.items():
        fields[field] = _number(name, attributes[name], kind)
    for name, kind in _OPTIONAL.items():
        if name in attributes:
            fields[name] = _number(name, attributes[name], kind)
    return Candidate(**fields)


def _number(name: str, value: Any, kind: type[int] | type[float]) -> int | float:
    number = float(np.asarray(value).item())
    if kind is int and not number.is_integer():
        raise CandidateError(f"{name} is {number}; it has to be a whole number")
    return kind(number)
