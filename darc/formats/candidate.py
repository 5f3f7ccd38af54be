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
Its metadata carry checksums (HDF5 1.10), so that damage is noticed where it is read. So it need not be forced
to disk, which would take longer than making it: only a power failure can damage it.

Attributes go through h5py's low-level interface: its mappings take several times as long as HDF5 itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5s, h5t
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.files import read_bytes, write_complete

SUFFIX = ".hdf5"

Floats = NDArray[np.float32]
#: Takes data_freq_time and data_dm_time, returns prob_freqtime and prob_dmtime.
Judge = Callable[[Floats, Floats], tuple[float, float]]

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
H5PY_ERRORS = (
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

    data_freq_time: Floats
    data_dm_time: Floats
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
            _check_values(name, getattr(self, name), limit)
        for name, _ in _NUMBERS.values():
            if not abs(getattr(self, name)) <= _NUMBER_MAX:
                raise CandidateError(f"{name} is {getattr(self, name)}; it has to be within {_NUMBER_MAX:g}")
        if not (self.tsamp_s >= _TSAMP_MIN_S and self.downsamp >= 1):
            raise CandidateError(f"a pulse cannot last {self.downsamp} x {self.tsamp_s} s")
        if self.nsamp_bin is not None and not 1 <= self.nsamp_bin <= _NUMBER_MAX:
            raise CandidateError(f"nsamp_bin is {self.nsamp_bin}; it has to be from 1 to {_NUMBER_MAX:g}")
        for name in _PROBABILITIES:
            if (probability := getattr(self, name)) is not None:
                _check_probability(name, probability)

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


def store_probabilities(path: Path, judge: Judge) -> tuple[float, float]:
    """Have a candidate's data judged, store the probabilities in its file, and return them.

    The file is read once and written once; its other attributes are neither looked at nor changed. Until the
    new file is complete, the old one stays.

    Raises:
        CandidateError: the file is damaged or cannot be written, or a probability is not between 0 and 1
    """
    content = read_bytes(path, _BYTES_MAX, CandidateError)
    try:
        judged, probabilities = _judged(content, judge)
    except CandidateError as error:
        raise CandidateError(f"{path}: {error}") from error
    write_complete(path, judged, CandidateError)
    return probabilities


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
    with h5py.File.in_memory(libver=_LIBVER) as file:
        for name in _DATASETS:
            file.create_dataset(name, data=getattr(candidate, name), dtype="<f4")
        root = h5g.open(file.id, b"/")
        for name, value in _attributes(candidate).items():
            _store(root, name, value)
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
    with _opened(content) as file, _damage_named():
        return _candidate(h5g.open(file.id, b"/"))


def _judged(content: bytes, judge: Judge) -> tuple[bytes, tuple[float, float]]:
    """Return a file's content with the probabilities of its data, and these."""
    with _opened(content) as file:
        with _damage_named():
            root = h5g.open(file.id, b"/")
            arrays = [_data(root, name) for name in _DATASETS]
        for name, array in zip(_DATASETS, arrays, strict=True):
            _check_values(name, array, _DATA_MAX)
        probabilities = judge(*arrays)
        with _damage_named():
            for name, probability in zip(_PROBABILITIES, probabilities, strict=True):
                _check_probability(name, probability)
                _store(root, name, np.array(probability, "<f8"))
            file.flush()
            return bytes(file.id.get_file_image()), probabilities


@contextmanager
def _damage_named() -> Iterator[None]:
    """Say what h5py's errors mean."""
    try:
        yield
    except H5PY_ERRORS as error:
        raise CandidateError(f"damaged, or no HDF5 file: {error}") from error


@contextmanager
def _opened(content: bytes) -> Iterator[h5py.File]:
    """Open a file's content in memory; damage can show as late as when it is closed."""
    if not content:  # which h5py would take for a new file
        raise CandidateError("damaged: it is empty")
    with _damage_named():
        file = h5py.File.in_memory(content, libver=_LIBVER)
    try:
        yield file
    finally:
        with _damage_named():
            file.close()


def _candidate(root: h5g.GroupID) -> Candidate:
    missing = [name for name in _DATASETS if not root.links.exists(name.encode())]
    missing += [name for name in ("dms", *_NUMBERS) if not h5a.exists(root, name.encode())]
    if missing:
        raise CandidateError(f"is no candidate: {', '.join(sorted(missing))} missing")
    fields: dict[str, Any] = {name: _data(root, name) for name in _DATASETS}
    fields["dms"] = _attribute(root, "dms")
    for name, (field, kind) in _NUMBERS.items():
        fields[field] = _number(name, _attribute(root, name), kind)
    for name, kind in _OPTIONAL.items():
        if h5a.exists(root, name.encode()):
            fields[name] = _number(name, _attribute(root, name), kind)
    return Candidate(**fields)


def _data(root: h5g.GroupID, name: str) -> Floats:
    dataset = h5d.open(root, name.encode())
    creation = dataset.get_create_plist()
    if (
        root.links.get_info(name.encode()).type != h5l.TYPE_HARD
        or creation.get_layout() == h5d.VIRTUAL
        or creation.get_external_count()
    ):
        raise CandidateError(f"is no candidate: {name} lies in another file")
    data = np.empty(_shape_within_limit(dataset), np.float32)
    dataset.read(h5s.ALL, h5s.ALL, data)
    return data


def _attribute(root: h5g.GroupID, name: str) -> NDArray[np.float64]:
    attribute = h5a.open(root, name.encode())
    value = np.empty(_shape_within_limit(attribute), np.float64)
    attribute.read(value)
    return value


def _shape_within_limit(thing: h5d.DatasetID | h5a.AttrID) -> tuple[int, ...]:
    shape: tuple[int, ...] = thing.shape
    if math.prod(shape) * 8 > _BYTES_MAX:
        raise CandidateError(f"is no candidate: its data would be larger than {_BYTES_MAX} bytes")
    return shape


def _store(root: h5g.GroupID, name: str, value: NDArray[np.float64 | np.int64]) -> None:
    """Set an attribute, in place of an older one."""
    if h5a.exists(root, name.encode()):
        h5a.delete(root, name.encode())
    space = h5s.create_simple(value.shape) if value.shape else h5s.create(h5s.SCALAR)
    h5a.create(root, name.encode(), h5t.py_create(value.dtype), space).write(value)


def _check_values(name: str, values: NDArray[np.floating], limit: float) -> None:
    if not np.abs(values).max(initial=0) <= limit:
        raise CandidateError(f"{name} has values that are not within {limit:g}")


def _check_probability(name: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise CandidateError(f"{name} is {probability}; it has to be between 0 and 1")


def _number(name: str, value: NDArray[np.float64], kind: type[int] | type[float]) -> int | float:
    number = float(value.item())
    if kind is int and not number.is_integer():
        raise CandidateError(f"{name} is {number}; it has to be a whole number")
    return kind(number)
