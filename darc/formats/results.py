"""Result files of one beam, which other nodes and people read.

| file                         | content                                                                     |
| ---------------------------- | --------------------------------------------------------------------------- |
| `CB<beam>_summary.yaml`      | numbers of candidates after each step; -1 if no header came from AMBER      |
| `CB<beam>_triggers.txt`      | the candidates that were kept, best first                                   |
| `CB<beam>.pdf`               | plots of them (`darc.processor_tools.pages`)                                |
| `CB<beam>_pictures/<row>.png`| plots of the candidate in a row of that list (`processor_tools.pictures`)   |
| `grouped_pulses.singlepulse` | all clusters, in the order in which they were found                         |

A table has one header line and a row per line, fields separated by single spaces. What another node waits for
is written with `darc.formats.files.write_complete`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from math import inf, isfinite
from typing import Any, Protocol, TypeVar

from darc.errors import DARCError
from darc.formats.files import shown
from darc.formats.yaml_text import YAMLTextError, parse_yaml

#: First line of each table.
TRIGGERS_HEADER = "#cb snr dm time downsamp sb p"
PULSES_HEADER = "#snr dm time downsamp sb"

_WHOLE = ("cb", "downsamp", "sb")


class ResultsError(DARCError):
    """A result file is not as it has to be."""


class Ranked(Protocol):
    """What can be ranked."""

    @property
    def probability(self) -> float | None:
        """Probability of a burst; None if nobody judged it."""

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio."""


_RankedT = TypeVar("_RankedT", bound=Ranked)


def best_first(candidates: Iterable[_RankedT]) -> list[_RankedT]:
    """Order candidates by probability and then by S/N, the highest first; those nobody judged come last."""

    def rank(candidate: _RankedT) -> tuple[float, float]:
        probability = candidate.probability
        return (-inf if probability is None else probability, candidate.snr)

    return sorted(candidates, key=rank, reverse=True)


@dataclass(frozen=True)
class Summary:
    """Numbers of candidates of one beam, after each step.

    Attributes:
        ncand_raw: rows from AMBER
        ncand_post_clustering: clusters
        ncand_post_thresholds: extracted, with an S/N in the data above the limit
        ncand_post_classifier: kept
    """

    ncand_raw: int
    ncand_post_clustering: int
    ncand_post_thresholds: int
    ncand_post_classifier: int


#: Summary of a beam that no header of AMBER's came from.
NOTHING_CAME = Summary(-1, -1, -1, -1)


def pages_name(beam: int) -> str:
    """Return the name of a beam's file of plots."""
    return f"CB{beam:02d}.pdf"


def picture_name(beam: int, row: int) -> str:
    """Return the name, with its folder, of the picture of the candidate in a row of a beam's list, from 0."""
    return f"CB{beam:02d}_pictures/{row:03d}.png"


def summary_name(beam: int) -> str:
    """Return the name of a beam's summary."""
    return f"CB{beam:02d}_summary.yaml"


def build_summary(summary: Summary) -> str:
    """Return the content of a summary."""
    return "".join(f"{name}: {number}\n" for name, number in asdict(summary).items())


def parse_summary(text: str) -> Summary | None:
    """Return the content of a summary; None if it is empty, by which an operator gives up a beam.

    Raises:
        ResultsError: not a summary, or a number is missing
    """
    content = parse_summary_content(text, [field.name for field in fields(Summary)])
    return Summary(**{field.name: content[field.name] for field in fields(Summary)}) if content else None


def parse_summary_content(text: str, numbers: Iterable[str]) -> dict[str, Any]:
    """Return the content of a summary, with these numbers among it; nothing if it is empty.

    Raises:
        ResultsError: not a summary, or a number is missing
    """
    try:
        content = parse_yaml(text)
    except YAMLTextError as error:
        raise ResultsError(f"not a summary: {error}") from error
    found = {name: content.get(name) for name in numbers}
    if content and not all(type(number) is int and number >= -1 for number in found.values()):
        raise ResultsError(f"a summary needs the numbers {', '.join(found)}, not {shown(content)}")
    return content


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A cluster of triggers.

    Attributes:
        snr: signal-to-noise ratio
        dm: dispersion measure in pc cm^-3
        time_s: arrival time in s from the start of the data; written to 0.1 ms
        downsamp: width in samples
        sb: synthesised beam
    """

    snr: float
    dm: float
    time_s: float
    downsamp: int
    sb: int


@dataclass(frozen=True, kw_only=True)
class Trigger(Pulse):
    """A candidate that was kept.

    Attributes:
        cb: compound beam
        probability: probability of a burst
    """

    cb: int
    probability: float


def triggers_name(beam: int) -> str:
    """Return the name of a beam's list of kept candidates."""
    return f"CB{beam:02d}_triggers.txt"


def build_triggers(triggers: Iterable[Trigger]) -> str:
    """Return the content of a list of kept candidates; the best one comes first."""
    rows = [f"{row.cb:02d} {pulse_row(row)} {row.probability:.2f}" for row in best_first(triggers)]
    return "\n".join([TRIGGERS_HEADER, *rows, ""])


def parse_triggers(text: str) -> list[Trigger]:
    """Return the rows of a list of kept candidates, in the order of the text.

    Raises:
        ResultsError: another header, or a row that is none; says which line
    """
    return [
        Trigger(cb=int(cb), **_pulse_fields(pulse), probability=probability)
        for cb, *pulse, probability in _rows(text, TRIGGERS_HEADER)
    ]


def pulse_row(pulse: Pulse) -> str:
    """Return a cluster's row of `grouped_pulses.singlepulse`, without the end of the line."""
    return f"{pulse.snr:.2f} {pulse.dm:.2f} {pulse.time_s:.4f} {pulse.downsamp:.0f} {pulse.sb:.0f}"


def parse_pulses(text: str) -> list[Pulse]:
    """Return the clusters of `grouped_pulses.singlepulse`.

    Raises:
        ResultsError: another header, or a row that is none; says which line
    """
    return [Pulse(**_pulse_fields(row)) for row in _rows(text, PULSES_HEADER)]


def _pulse_fields(row: Sequence[float]) -> dict[str, Any]:
    snr, dm, time_s, downsamp, sb = row
    return {"snr": snr, "dm": dm, "time_s": time_s, "downsamp": int(downsamp), "sb": int(sb)}


def _rows(text: str, header: str) -> Iterator[list[float]]:
    """Check and split the rows of a table; the columns `cb`, `downsamp` and `sb` are whole numbers."""
    lines = text.splitlines()
    if not lines or lines[0].split() != header.split():
        raise ResultsError(f"line 1 has to be {header!r}, not {shown(lines[0] if lines else '')}")
    columns = header.lstrip("#").split()
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            row = [float(field) for field in line.split()]
        except ValueError:
            row = []
        whole = (value.is_integer() for value, column in zip(row, columns, strict=False) if column in _WHOLE)
        if len(row) != len(columns) or not all(map(isfinite, row)) or not all(whole):
            raise ResultsError(f"line {number} has to be the numbers {' '.join(columns)}, not {shown(line)}")
        yield row
