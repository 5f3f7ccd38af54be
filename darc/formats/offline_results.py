"""Result files of one beam from the processing after an observation.

| file                             | content                                                              |
| -------------------------------- | -------------------------------------------------------------------- |
| `CB<beam>_summary.yaml`          | numbers of candidates after each step, -1 where the step was not     |
|                                  | done; `problems` lists what went wrong, and is absent if nothing did |
| `CB<beam>_triggers.txt`          | the candidates that were kept, best first                            |
| `CB<beam>_candidates_summary.pdf`| plots of them                                                        |
| `CB<beam>_<pulsar>.pdf .png .npz`| a folded test pulsar: plot and numbers (or what prepfold writes)     |

Drift scans: `<calibration_dir>/<datetimesource>/CB<beam>_sefd.pdf .png .npz`.

The real-time processing has its own (`darc.formats.results`), in another folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

import yaml

from darc.formats.files import shown
from darc.formats.results import (
    ResultsError,
    best_first,
    parse_summary_content,
    summary_name,
    triggers_name,
)

__all__ = [
    "OfflineSummary",
    "OfflineTrigger",
    "build_summary",
    "build_triggers",
    "pages_name",
    "parse_summary",
    "parse_triggers",
    "summary_name",
    "triggers_name",
]

_COLUMNS = "# SNR DM Width T0 p"


@dataclass(frozen=True, kw_only=True)
class OfflineSummary:
    """Numbers of candidates of one beam after each step; -1: the step was not done.

    Attributes:
        ncand_raw: rows from AMBER
        ncand_trigger: clusters
        ncand_skipped: clusters that were not looked at in the data: no time, or no data
        ncand_abovethresh: extracted, with an S/N in the data above the limit
        ncand_classifier: kept
        problems: what went wrong, a line each
    """

    ncand_raw: int = -1
    ncand_trigger: int = -1
    ncand_skipped: int = -1
    ncand_abovethresh: int = -1
    ncand_classifier: int = -1
    problems: tuple[str, ...] = ()


#: Names of the numbers in a summary.
NUMBERS = tuple(field.name for field in fields(OfflineSummary) if field.name != "problems")


@dataclass(frozen=True, kw_only=True)
class OfflineTrigger:
    """A candidate that was kept.

    Attributes:
        snr: S/N in the data
        dm: DM in pc cm^-3
        width_ms: width of the pulse in ms
        time_s: arrival time at the top of the band in s from the start of the data
        probability: of a burst
        beam: synthesised beam, or tied-array beam
    """

    snr: float
    dm: float
    width_ms: float
    time_s: float
    probability: float
    beam: int


def pages_name(beam: int) -> str:
    """Return the name of a beam's file of plots."""
    return f"CB{beam:02d}_candidates_summary.pdf"


def build_summary(summary: OfflineSummary) -> str:
    """Return the content of a summary."""
    content: dict[str, Any] = {name: getattr(summary, name) for name in NUMBERS}
    if summary.problems:
        content["problems"] = list(summary.problems)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6)


def parse_summary(text: str) -> OfflineSummary | None:
    """Return the content of a summary; None if it is empty, by which an operator gives up a beam.

    Raises:
        ResultsError: not a summary, or a number is missing
    """
    content = parse_summary_content(text, NUMBERS)
    if not content:
        return None
    numbers, problems = {name: content[name] for name in NUMBERS}, content.get("problems", [])
    if not isinstance(problems, list) or not all(isinstance(problem, str) for problem in problems):
        raise ResultsError(f"problems of a summary have to be a list of texts, not {shown(problems)}")
    return OfflineSummary(**numbers, problems=tuple(problems))


def build_triggers(triggers: Iterable[OfflineTrigger], *, tied_array: bool = False) -> str:
    """Return the content of a list of kept candidates, the best one first.

    Args:
        triggers: the candidates
        tied_array: their beams are tied-array beams, not synthesised ones
    """
    rows = [
        f"{row.snr:.2f} {row.dm:.2f} {row.width_ms:.4f} {row.time_s:.4f} {row.probability:.2f} {row.beam}"
        for row in best_first(triggers)
    ]
    return "\n".join([_header(tied_array), *rows, ""])


def parse_triggers(text: str) -> tuple[list[OfflineTrigger], bool]:
    """Return the rows of a list of kept candidates, and whether their beams are tied-array beams.

    Raises:
        ResultsError: another header, or a row that is none; says which line
    """
    head, *lines = text.splitlines() or [""]
    kinds = {_header(tied_array): tied_array for tied_array in (False, True)}
    if head.strip() not in kinds:
        raise ResultsError(f"line 1 has to be {' or '.join(map(repr, kinds))}, not {shown(head)}")
    rows = [_row(number, line) for number, line in enumerate(lines, start=2) if line.strip()]
    return rows, kinds[head.strip()]


def _header(tied_array: bool) -> str:
    return f"{_COLUMNS} {'TAB' if tied_array else 'SB'}"


def _row(number: int, line: str) -> OfflineTrigger:
    try:
        *values, beam = line.split()
        snr, dm, width_ms, time_s, probability = map(float, values)
        if not all(map(isfinite, (snr, dm, width_ms, time_s, probability))):
            raise ValueError("not finite")
        return OfflineTrigger(
            snr=snr, dm=dm, width_ms=width_ms, time_s=time_s, probability=probability, beam=int(beam)
        )
    except ValueError as error:
        raise ResultsError(
            f"line {number} has to be the numbers {_COLUMNS[2:]} and a beam, not {shown(line)}"
        ) from error
