"""What a validation gives: comparisons with a reference, and tables that show more than one number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        quantity: what was compared
        reference: with what
        value: the largest error found, or the share or number that was reached
        bound: what it may be at most
        unit: of both
        at_least: the bound is what it has to be at least

    """

    quantity: str
    reference: str
    value: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Return whether the value is within the bound; one that is no number is not."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the table's columns."""
        sign = ">=" if self.at_least else "<="
        unit = f" {self.unit}" if self.unit else ""
        verdict = "" if self.passed else " **exceeded**"
        return (
            self.quantity,
            self.reference,
            f"{number(self.value)}{unit}",
            f"{sign} {number(self.bound)}{unit}{verdict}",
        )


@dataclass(frozen=True)
class Table:
    """Figures that are shown; nothing depends on them."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """What one validation found.

    Attributes:
        title: heading of its part of the page
        text: how it was done
        checks: comparisons
        tables: further figures
        made: day and Python version of the run
        seconds: CPU time and time it took

    """

    title: str
    text: str
    checks: list[Check]
    tables: list[Table] = field(default_factory=list)
    made: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Section:
        """Read plain data."""
        checks = [Check(**check) for check in data["checks"]]
        tables = [Table(**table) for table in data["tables"]]
        return cls(data["title"], data["text"], checks, tables, data["made"], tuple(data["seconds"]))


def number(value: float) -> str:
    """Return a number with as many digits as are needed."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def share(passed: NDArray[np.bool_]) -> str:
    """Return a share with its error; that of none or all is the one of half a burst."""
    if not passed.size:
        return ""
    mean = float(passed.mean())
    inner = min(max(mean, 0.5 / passed.size), 1 - 0.5 / passed.size)
    return f"{mean:.3f} ± {np.sqrt(inner * (1 - inner) / passed.size):.3f}"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
