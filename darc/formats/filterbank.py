"""SIGPROC filterbank files: the header, and samples of less than a byte.

A file is a header and then the samples: all channels of the first time, all channels of the next, and so on,
little-endian, without padding. The header is a sequence of keys in any order between two marks:

| part           | bytes                                                              |
| -------------- | ------------------------------------------------------------------ |
| text           | length in bytes (int32), then that many bytes                      |
| begin          | text `HEADER_START`                                                |
| key and value  | text with the key, then the value: int32, float64, text, ...       |
| end            | text `HEADER_END`; the samples begin at the next byte              |

| key                         | value   | meaning                                                        |
| --------------------------- | ------- | -------------------------------------------------------------- |
| nchans nbits                | int32   | channels; bits per sample (1, 2, 4, 8, 16 unsigned; 32 float)  |
| fch1 foff                   | float64 | centre of the first channel, step to the next one, MHz         |
| tsamp tstart                | float64 | sampling time in s; time of the first sample, MJD (UTC)        |
| nifs nbeams ibeam           | int32   | polarisations; beams of the instrument; which of them it is    |
| src_raj src_dej             | float64 | J2000 position, written as the numbers hhmmss.s and ddmmss.s   |
| source_name rawdatafile     | text    | the source; the file that this one was made from               |
| data_type                   | int32   | 1 for a filterbank                                             |
| machine_id telescope_id     | int32   | numbers that SIGPROC gave to back ends and telescopes          |
| az_start za_start           | float64 | azimuth and zenith angle at the start, degrees                 |
| barycentric pulsarcentric   | int32   | whether times are referred to the barycentre, to a pulsar      |
| nsamples nbins              | int32   | samples in the file (files grow: not believed); profile bins   |
| npuls                       | int64   | number of pulses folded                                        |
| refdm period                | float64 | DM the data are dedispersed to; folding period in s            |
| signed                      | int8    | whether samples are signed (then not read here)                |

Of several channels in one byte, the first has the lowest bits. Source: Lorimer, SIGPROC v4.3, sigproc.h,
read_header.c and pack_unpack.c.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.files import shown

#: No header is longer than this: room for all keys and the longest texts; real ones have some 350 bytes.
HEADER_BYTES_MAX = 2**14

#: Type of the samples, once unpacked, for each number of bits.
SAMPLE_TYPES: Mapping[int, np.dtype[np.generic]] = {
    **dict.fromkeys((1, 2, 4, 8), np.dtype(np.uint8)),
    16: np.dtype("<u2"),
    32: np.dtype("<f4"),
}

Value = int | float | str

_START, _END = "HEADER_START", "HEADER_END"
#: SIGPROC's limit for a key; and a limit for other texts, which may be paths.
_KEY_MAX = 80
_TEXT_MAX = 4096
_TEXT = "text"
_LENGTH = struct.Struct("<i")

#: Layout of the value of each key.
_LAYOUTS: Mapping[str, str] = {
    **dict.fromkeys(("source_name", "rawdatafile"), _TEXT),
    **dict.fromkeys(("nchans", "nbits", "nifs", "nbeams", "ibeam", "data_type"), "<i"),
    **dict.fromkeys(("machine_id", "telescope_id", "barycentric", "pulsarcentric"), "<i"),
    **dict.fromkeys(("nsamples", "nbins"), "<i"),
    **dict.fromkeys(("fch1", "foff", "tsamp", "tstart", "src_raj", "src_dej"), "<d"),
    **dict.fromkeys(("az_start", "za_start", "refdm", "period"), "<d"),
    "npuls": "<q",
    "signed": "<b",
}

_REQUIRED: Mapping[str, str] = {
    "nchans": "nchan",
    "nbits": "nbit",
    "fch1": "fch1_mhz",
    "foff": "foff_mhz",
    "tsamp": "tsamp_s",
    "tstart": "tstart_mjd",
}
_OPTIONAL = ("source_name", "nifs", "nbeams", "ibeam", "data_type", "machine_id", "telescope_id")
#: Fields of `FilterbankHeader` that a key fills; other keys go to `extra`.
_FIELDS: Mapping[str, str] = {
    **_REQUIRED,
    "src_raj": "src_raj_hhmmss",
    "src_dej": "src_dej_ddmmss",
    **dict(zip(_OPTIONAL, _OPTIONAL, strict=True)),
}

#: Limits beyond which a value cannot be meant: channels, MHz, s, MJD.
_NCHAN_MAX = 2**20
_FREQ_MAX_MHZ = 1e7
_FREQ_STEP_MIN = 1e-12  # relative to the frequency
_TSAMP_MAX_S = 1e4
_MJD_MAX = 1e6
_NIFS_MAX = 4


class FilterbankError(DARCError):
    """A filterbank file or header is not as it has to be."""


class FilterbankTruncatedError(FilterbankError):
    """A filterbank file ends before it should; one that is being written may be complete later."""


@dataclass(frozen=True)
class FilterbankHeader:
    """What the header of a filterbank file says.

    Attributes:
        nchan: number of channels
        nbit: bits per sample: 1, 2, 4, 8 and 16 are unsigned integers, 32 floating-point numbers
        fch1_mhz: centre of the channel that is stored first
        foff_mhz: step from one channel's centre to the next; negative: highest frequency first
        tsamp_s: sampling time
        tstart_mjd: time of the first sample (UTC)
        source_name: name of the source
        src_raj_hhmmss, src_dej_ddmmss: position (J2000), digits as in SIGPROC: 53432.1 is 5 h 34 min 32.1 s
        nifs: number of polarisations or Stokes parameters
        nbeams, ibeam: number of beams, and which of them this is
        data_type: 1 for a filterbank
        machine_id, telescope_id: SIGPROC's numbers of back end and telescope; 0 for one without
        extra: other keys of SIGPROC that the header has
        header_bytes: position of the first sample in the file; 0 for a header that was not read from one

    Raises:
        FilterbankError: a value that cannot be meant

    """

    nchan: int
    nbit: int
    fch1_mhz: float
    foff_mhz: float
    tsamp_s: float
    tstart_mjd: float
    source_name: str = ""
    src_raj_hhmmss: float = 0.0
    src_dej_ddmmss: float = 0.0
    nifs: int = 1
    nbeams: int = 1
    ibeam: int = 0
    data_type: int = 1
    machine_id: int = 0
    telescope_id: int = 0
    extra: Mapping[str, Value] = field(default_factory=dict, hash=False)
    header_bytes: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        last_mhz = self.fch1_mhz + (self.nchan - 1) * self.foff_mhz
        step_min_mhz = _FREQ_STEP_MIN * self.fch1_mhz
        checks = (
            ("nchan", 1 <= self.nchan <= _NCHAN_MAX, f"1 to {_NCHAN_MAX}"),
            ("nbit", self.nbit in SAMPLE_TYPES, f"one of {', '.join(map(str, SAMPLE_TYPES))}"),
            ("nifs", 1 <= self.nifs <= _NIFS_MAX, f"1 to {_NIFS_MAX}"),
            ("tsamp_s", 0 < self.tsamp_s <= _TSAMP_MAX_S, f"above 0 and at most {_TSAMP_MAX_S:g} s"),
            ("tstart_mjd", 0 <= self.tstart_mjd <= _MJD_MAX, f"0 to {_MJD_MAX:g}"),
            ("fch1_mhz", 0 < self.fch1_mhz <= _FREQ_MAX_MHZ, f"above 0 and at most {_FREQ_MAX_MHZ:g} MHz"),
            ("foff_mhz", abs(self.foff_mhz) >= step_min_mhz, "a step that tells channels apart"),
            ("foff_mhz", 0 < last_mhz <= _FREQ_MAX_MHZ, "such that all frequencies are positive and finite"),
        )
        for name, fine, allowed in checks:
            if not fine:
                raise FilterbankError(f"{name} is {shown(getattr(self, name))}; it has to be {allowed}")
        if self.nchan * self.nbit % 8:
            raise FilterbankError(f"{self.nchan} channels of {self.nbit} bits do not fill whole bytes")
        if self.extra.get("signed"):
            raise FilterbankError("signed samples are not supported; convert the file to unsigned ones")

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the samples; those of less than a byte are unpacked to uint8."""
        return SAMPLE_TYPES[self.nbit]

    @property
    def bytes_per_sample(self) -> int:
        """Bytes in the file of one time sample of all channels (and polarisations)."""
        return self.nifs * self.nchan * self.nbit // 8

    @property
    def freqs_mhz(self) -> NDArray[np.float64]:
        """Centres of the channels in the order of the file, shape (nchan,)."""
        return self.fch1_mhz + self.foff_mhz * np.arange(self.nchan, dtype=np.float64)

    def nsample(self, file_bytes: int) -> int:
        """Return the number of complete time samples in a file of this size."""
        return max(0, file_bytes - self.header_bytes) // self.bytes_per_sample


def parse_header(data: bytes) -> FilterbankHeader:
    """Read the header at the beginning of a file.

    Args:
        data: the first bytes of a file; what follows the header is not looked at. `HEADER_BYTES_MAX` bytes
            suffice.

    Raises:
        FilterbankTruncatedError: the bytes end within the header
        FilterbankError: no filterbank, a key that SIGPROC does not have, or a value that cannot be meant

    """
    start = _encoded_text(_START)
    if not data.startswith(start[: len(data)]):
        raise FilterbankError("this is no filterbank: it does not begin with HEADER_START")
    cursor = _Cursor(data[:HEADER_BYTES_MAX], len(start))
    values: dict[str, Value] = {}
    while (key := cursor.take_text(_KEY_MAX)) != _END:
        if key not in _LAYOUTS:
            raise FilterbankError(f"the header has the key {shown(key)}, which is none of SIGPROC's")
        values[key] = cursor.take_value(_LAYOUTS[key])
    if missing := [key for key in _REQUIRED if key not in values]:
        raise FilterbankError(f"the header lacks {', '.join(missing)}")
    known: dict[str, Any] = {name: values.pop(key) for key, name in _FIELDS.items() if key in values}
    return FilterbankHeader(**known, extra=values, header_bytes=cursor.position)


def build_header(header: FilterbankHeader) -> bytes:
    """Return the bytes of a header, which the samples are to follow; its `header_bytes` is not used.

    Raises:
        FilterbankError: a key of `extra` that SIGPROC does not have, or a value that does not fit its type

    """
    values: dict[str, Value] = {key: getattr(header, name) for key, name in _FIELDS.items()}
    if not header.source_name:
        del values["source_name"]  # sigpyproc takes an empty text for the end of the file
    if unknown := [key for key in header.extra if key not in _LAYOUTS or key in values]:
        raise FilterbankError(f"{shown(unknown[0])} cannot stand among the extra keys of a header")
    parts = [_encoded_text(_START)]
    for key, value in (values | dict(header.extra)).items():
        parts += [_encoded_text(key), _encoded_value(key, value)]
    return b"".join([*parts, _encoded_text(_END)])


def pack_samples(samples: NDArray[np.generic], nbit: int) -> NDArray[np.generic]:
    """Return samples as a file holds them.

    Args:
        samples: shape (..., nchan); they have to fit into `nbit` bits
        nbit: bits per sample, one of `SAMPLE_TYPES`

    Returns:
        shape (..., nchan), from 8 bits on; else uint8, shape (..., nchan * nbit / 8)

    """
    whole = np.ascontiguousarray(samples, SAMPLE_TYPES[nbit])
    if nbit >= 8:
        return whole
    return reduce(
        np.bitwise_or, (whole[..., i :: 8 // nbit] << shift for i, shift in enumerate(_shifts(nbit)))
    )


def unpack_samples(packed: NDArray[np.uint8], nbit: int) -> NDArray[np.uint8]:
    """Return the samples of 1, 2 or 4 bits in bytes.

    Args:
        packed: shape (..., n)
        nbit: bits per sample, less than 8

    Returns:
        shape (..., n * 8 / nbit)

    """
    return np.take(_unpacked_bytes(nbit), packed).view(np.uint8)


@cache
def _unpacked_bytes(nbit: int) -> NDArray[np.unsignedinteger[Any]]:
    """Return the samples of each byte, side by side in one integer, so that one look-up gives them all."""
    samples = np.arange(256, dtype=np.uint8)[:, np.newaxis] >> _shifts(nbit) & np.uint8(2**nbit - 1)
    return samples.view(f"u{8 // nbit}")[:, 0]


def _shifts(nbit: int) -> NDArray[np.uint8]:
    return np.arange(0, 8, nbit, dtype=np.uint8)


class _Cursor:
    """Reads a header's bytes from a position on.

    Attributes:
        position: of the next byte

    """

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def take_value(self, layout: str) -> Value:
        """Return the next value."""
        if layout == _TEXT:
            return self.take_text(_TEXT_MAX)
        value: int | float = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return value

    def take_text(self, max_bytes: int) -> str:
        """Return the next text, without NULs that fill it up."""
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if not 0 <= length <= max_bytes:
            raise FilterbankError(f"the header is damaged: a text of {length} bytes at byte {self.position}")
        return self._take(length).decode("utf-8", "replace").rstrip("\0")

    def _take(self, nbyte: int) -> bytes:
        start, self.position = self.position, self.position + nbyte
        if self.position > len(self._data):
            if len(self._data) == HEADER_BYTES_MAX:
                raise FilterbankError(f"the header does not end within {HEADER_BYTES_MAX} bytes")
            raise FilterbankTruncatedError(f"the header is cut off after {len(self._data)} bytes")
        return self._data[start : self.position]


def _encoded_text(text: str) -> bytes:
    content = text.encode()
    return _LENGTH.pack(len(content)) + content


def _encoded_value(key: str, value: Value) -> bytes:
    layout = _LAYOUTS[key]
    try:
        if layout != _TEXT:
            return struct.pack(layout, value)
        text = _encoded_text(str(value))
    except (struct.error, OverflowError, UnicodeEncodeError) as error:
        raise FilterbankError(f"{key} cannot be {shown(value)}: {error}") from error
    if len(text) > _TEXT_MAX + _LENGTH.size:
        raise FilterbankError(f"{key} is too long: at most {_TEXT_MAX} bytes")
    return text
