"""AMBER's trigger files: what it found, one row per trigger, columns named in a header.

`AmberParser` reads them, `header` and `format_row` write them. Rows are parsed in blocks: numpy reads the
lines that look as AMBER writes them, a slower reader takes every other line by itself, so that a damaged
line costs itself and nothing else. Both give the same numbers, those of `float`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS, Instrument
from darc.formats.files import shown

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COMPACTED_COLUMNS = (
    "beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM compacted_DMs SNR"
)
PLAIN_COLUMNS = "beam_id batch_id sample_id integration_step time DM_id DM SNR"

#: The columns that are read, in the order of the internal arrays; the first four hold integers.
_NEEDED = ("beam_id", "batch_id", "sample_id", "integration_step", "time", "DM", "SNR")
_NINTEGER = 4
#: No number in a trigger file is negative or reaches this (AMBER's integers have 32 bits).
_TOO_LARGE = 2.0**31
#: Significant digits of the numbers AMBER prints (the default of a C++ stream).
_DIGITS = 6
#: Lines longer than this are damaged; real ones have less than 80 characters.
_LINE_MAX = 500
#: Block that is parsed at once, in bytes: hides the cost of a call, but still fits into the cache.
_BLOCK = 2**18
#: Fewer lines than this are read faster one by one.
_FEW_LINES = 30

_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_COMMENT_LINE = re.compile(rb"^#[^\n]*\n", re.MULTILINE)

#: Classes of characters: part of a plain number 0, space 1, end of line 2, anything else 3.
_CLASS = np.full(256, 3, np.uint8)
_CLASS[list(b"0123456789.")] = 0
_CLASS[list(b" \n")] = 1, 2
_ODD = 3
#: Longest number the fast reader takes: 15 digits and a dot are exact in double precision.
_TOKEN_MAX = 16
_POWERS_OF_TEN = 10.0 ** np.arange(_TOKEN_MAX)


@dataclass(frozen=True)
class AmberRows:
    """What a number of lines held; `batch` and `triggers` have one entry per row, in the order of the lines.

    Attributes:
        batch: AMBER's batch, shape (n,)
        triggers: DM (pc cm^-3), S/N, time (s from the start of the data, top of the band, start of the
            boxcar), width (native samples), SB index; shape (n, 5)
        malformed: number of lines that are neither a row nor a header
        first_malformed: the first of these, shortened; empty if there is none
        header_seen: whether the parser has met a header, in these lines or before
    """

    batch: Integers
    triggers: Floats
    malformed: int
    first_malformed: str
    header_seen: bool

    def __len__(self) -> int:
        return len(self.batch)


@dataclass(frozen=True)
class _Layout:
    """Number of columns, the positions of the needed ones, and whether rows are compacted."""

    ncolumn: int
    positions: tuple[int, ...]
    compacted: bool

    @classmethod
    def of(cls, names: Sequence[str]) -> _Layout | None:
        """Return the layout that column names define, or None if a needed column is not among them."""
        if not set(_NEEDED).issubset(names):
            return None
        positions = tuple(names.index(name) for name in _NEEDED)
        return cls(len(names), positions, "compacted_integration_steps" in names)


#: Without a header, the number of columns tells which form a row has.
_HEADERLESS = tuple(
    layout for names in (COMPACTED_COLUMNS, PLAIN_COLUMNS) if (layout := _Layout.of(names.split()))
)


class AmberParser:
    """Reader of one trigger file; remembers the file's header from one call to the next.

    Until a header comes, rows of 10 columns are read as the compacted form and rows of 8 as the plain one.
    A header may come anywhere, and counts until the next one. A line that starts with `#` and does not name
    every needed column is malformed, and changes nothing.

    In the plain form, `integration_step` does not include AMBER's downsampling. It is found from the rows:
    it is the whole number that makes their printed time agree with their sample. Before the first row that
    tells, it is taken to be 1.

    Args:
        instrument: sampling time and samples per batch of the data that AMBER reads
    """

    def __init__(self, instrument: Instrument = ARTS) -> None:
        self._instrument = instrument
        self._layouts: tuple[_Layout, ...] = _HEADERLESS
        self._downsampling = 1.0

    @property
    def header_seen(self) -> bool:
        """Whether a header has come."""
        return self._layouts is not _HEADERLESS

    def feed(self, lines: bytes | str | Sequence[str]) -> AmberRows:
        """Parse complete lines.

        Args:
            lines: bytes or text with any number of lines, or a sequence of lines with or without newlines;
                the last line may lack its newline. Anything is accepted: what is no row and no header is
                counted as malformed, empty lines are skipped.
        """
        parts: list[tuple[Integers, Floats]] = []
        malformed: list[bytes] = []
        for block in _blocks(_as_bytes(lines)):
            for body in self._bodies(block, malformed):
                parts.append(self._rows(body, malformed))
        return AmberRows(
            batch=np.concatenate([batch for batch, _ in parts] or [np.empty(0, np.int64)]),
            triggers=np.concatenate([triggers for _, triggers in parts] or [np.empty((0, 5))]),
            malformed=len(malformed),
            first_malformed=shown(malformed[0].decode("ascii", "backslashreplace")) if malformed else "",
            header_seen=self.header_seen,
        )

    def _bodies(self, block: bytes, malformed: list[bytes]) -> Iterator[bytes]:
        """Take in the headers of a block; yield what stands between them."""
        start = 0
        if b"#" in block:
            for comment in _COMMENT_LINE.finditer(block):
                yield block[start : comment.start()]
                start = comment.end()
                self._take_header(comment[0], malformed)
        yield block[start:]

    def _take_header(self, line: bytes, malformed: list[bytes]) -> None:
        names = line[1:].decode("ascii", "replace").split() if len(line) <= _LINE_MAX else []
        layout = _Layout.of(names)
        if layout is None:
            malformed.append(line[:_LINE_MAX].rstrip())
        else:
            self._layouts = (layout,)
            self._downsampling = 1.0

    def _rows(self, body: bytes, malformed: list[bytes]) -> tuple[Integers, Floats]:
        lines = _Lines(body)
        values = np.full((len(_NEEDED), len(lines)), np.nan)
        if len(lines) >= _FEW_LINES:
            for layout in self._layouts:
                lines.read_clean(layout, values)
        compacted = np.isin(lines.ntoken, [layout.ncolumn for layout in self._layouts if layout.compacted])
        blank = np.zeros(len(lines), bool)
        for index in np.flatnonzero(np.isnan(values[0])).tolist():
            fields = lines[index].split()
            blank[index] = not fields
            for layout in self._layouts:
                if len(fields) == layout.ncolumn:
                    values[:, index] = [_number(fields[position]) for position in layout.positions]
                    compacted[index] = layout.compacted
        valid = _valid(values)
        malformed.extend(lines[index][:_LINE_MAX] for index in np.flatnonzero(~valid & ~blank).tolist())
        beam, batch, _, step, _, dm, snr = values = values[:, valid]
        time_s, downsampling = self._exact_times(values, compacted[valid])
        return batch.astype(np.int64), np.stack([dm, snr, time_s, step * downsampling, beam], axis=1)

    def _exact_times(self, values: Floats, compacted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return times in s, exact where the other columns agree with the printed time, and downsampling."""
        _, batch, sample, step, printed_s, _, _ = values
        batch_start = batch * self._instrument.samples_per_batch
        tsamp_s = self._instrument.tsamp_s
        # one unit of the last printed digit: AMBER computes in single precision, and may round the wrong way
        slack_s = 1.01 * 10.0 ** (np.floor(np.log10(np.maximum(printed_s, 1e-30))) - (_DIGITS - 1))
        downsampling = np.ones(len(batch))
        if not compacted.all():
            offset = np.where(compacted, 0.0, sample * step)
            downsampling = self._find_downsampling(
                offset, printed_s / tsamp_s - batch_start, slack_s / tsamp_s
            )
            downsampling[compacted] = 1.0
        exact_s = (batch_start + sample * step * downsampling) * tsamp_s
        return np.where(np.abs(exact_s - printed_s) <= slack_s, exact_s, printed_s), downsampling

    def _find_downsampling(self, offset: Floats, printed: Floats, slack: Floats) -> Floats:
        """Return AMBER's downsampling for every row: of the last row, up to it, that tells.

        Args:
            offset: sample x integration of each row, which times the downsampling is its place in the batch
            printed: that place after the printed time, in native samples
            slack: uncertainty of `printed`
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, uncertainty = printed / offset, slack / offset
            whole = np.rint(ratio)
            tells = (uncertainty < 0.05) & (whole >= 1) & (np.abs(ratio - whole) <= uncertainty)
        last = np.maximum.accumulate(np.where(tells, np.arange(1, len(offset) + 1), 0))
        downsampling = np.concatenate(([self._downsampling], whole))[last]
        self._downsampling = float(downsampling[-1]) if len(downsampling) else self._downsampling
        return downsampling


class _Lines:
    """Text cut into lines and tokens, all newline-terminated.

    Attributes:
        ntoken: number of tokens of each line if single spaces separate them; 0 for a line with characters
            that AMBER does not normally write
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._characters = np.frombuffer(text, np.uint8)
        kinds = _CLASS[self._characters]
        separators = np.flatnonzero(kinds)
        kinds = kinds[separators]
        #: positions of all separators, after that of an imaginary one before the text
        self._separators = np.concatenate(([-1], separators))
        self._last = np.flatnonzero(kinds == 2)  # index of each line's last separator
        self._first = np.concatenate(([0], self._last[:-1] + 1)) if len(self._last) else self._last
        self.ntoken = self._last - self._first + 1
        odd = np.flatnonzero(kinds == _ODD)
        self.ntoken[np.searchsorted(self._last, odd)] = 0

    def __len__(self) -> int:
        return len(self._last)

    def __getitem__(self, index: int) -> bytes:
        start, end = self._separators[self._first[index]], self._separators[self._last[index] + 1]
        return self._text[start + 1 : end]

    def read_clean(self, layout: _Layout, values: Floats) -> None:
        """Fill in the columns of `values` for lines with this layout; a line it cannot read gets NaN."""
        chosen = np.flatnonzero(self.ntoken == layout.ncolumn)
        positions = np.array(layout.positions)[:, np.newaxis]
        for columns in (slice(_NINTEGER), slice(_NINTEGER, None)):  # integers are shorter than the others
            token = self._first[chosen] + positions[columns]
            values[columns, chosen] = self._plain_numbers(
                self._separators[token] + 1, self._separators[token + 1]
            )
        values[0, np.isnan(values).any(axis=0)] = np.nan

    def _plain_numbers(self, start: Integers, end: Integers) -> Floats:
        """Return the numbers, written with digits and at most one dot, between positions; NaN for others."""
        length = end - start
        usable = (length > 0) & (length <= _TOKEN_MAX)
        place = np.arange(length.max(initial=0, where=usable)).reshape(-1, *[1] * start.ndim)
        characters = self._characters[np.minimum(start + place, end)]
        digits = characters - np.uint8(ord("0"))  # wraps around for the characters below 0
        is_digit = digits < 10
        is_dot = characters == ord(".")
        mantissa = np.zeros(start.shape, np.int64)
        for digit, where in zip(digits, is_digit, strict=True):
            np.copyto(mantissa, mantissa * 10 + digit, where=where)
        ndot = is_dot.sum(axis=0, dtype=np.int8)
        ndecimal = (is_digit & np.logical_or.accumulate(is_dot, axis=0)).sum(axis=0, dtype=np.int8)
        usable &= (ndot == 0) | ((ndot == 1) & (length > 1))
        return np.where(usable, mantissa / _POWERS_OF_TEN[ndecimal % _TOKEN_MAX], np.nan)


def _as_bytes(lines: bytes | str | Sequence[str]) -> bytes:
    if not isinstance(lines, bytes | str):
        lines = "\n".join([line.rstrip("\n") for line in lines])
    data = lines if isinstance(lines, bytes) else lines.encode("utf-8", "replace")
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _blocks(data: bytes) -> Iterator[bytes]:
    """Cut newline-terminated data into blocks of whole lines."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", min(start + _BLOCK, len(data)) - 1) + 1
        yield data[start:end]
        start = end


def _number(field: bytes) -> float:
    """Return the value of a field; NaN if it is no number."""
    return float(field) if len(field) <= _LINE_MAX and _NUMBER.fullmatch(field) else np.nan


def _valid(values: Floats) -> NDArray[np.bool_]:
    """Return which columns of `values` can be a row of AMBER."""
    integers = values[:_NINTEGER]
    plausible = (values >= 0) & (values < _TOO_LARGE)
    plausible[:_NINTEGER] &= integers == np.floor(integers)
    plausible[_NEEDED.index("integration_step")] &= values[_NEEDED.index("integration_step")] >= 1
    return np.asarray(plausible.all(axis=0))


def header(*, compacted: bool = True) -> str:
    """Return the header line that AMBER writes when it opens a file."""
    return f"# {COMPACTED_COLUMNS if compacted else PLAIN_COLUMNS}\n"


def format_row(
    *,
    beam: int,
    batch: int,
    sample: int,
    integration_step: int,
    time_s: float,
    dm: float,
    snr: float,
    dm_id: int = 0,
    compacted_integration_steps: int = 1,
    compacted_dms: int = 1,
    compacted: bool = True,
) -> str:
    """Return a line as AMBER writes it, with its 6 significant digits.

    Args:
        beam: SB index
        batch: batch of data
        sample: sample in the batch, counted after downsampling and integration
        integration_step: width in native samples; in the plain form, without the downsampling
        time_s: time of the start of the boxcar in s
        dm: dispersion measure in pc cm^-3
        snr: signal-to-noise ratio
        dm_id: index of the DM
        compacted_integration_steps: number of integration steps that were merged into this row
        compacted_dms: number of DMs that were merged into this row
        compacted: which of the two forms to write
    """
    if compacted:
        step, dms = f"{integration_step} {compacted_integration_steps}", f"{dm:g} {compacted_dms}"
    else:
        step, dms = f"{integration_step}", f"{dm:g}"
    return f"{beam} {batch} {sample} {step} {time_s:g} {dm_id} {dms} {snr:g}\n"
