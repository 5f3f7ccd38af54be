"""The page of what was measured, from the results of the last run of the benchmarks."""

from __future__ import annotations

from benchmarks import table

INTRODUCTION = """\
# Measured figures

All figures of the last `make bench`, each with the target that it has to reach and a physical or algorithmic
limit, measured in the same run. What each is, stands in `benchmarks/`.
"""


def page() -> str:
    """Return the page as Markdown."""
    return f"{INTRODUCTION}\n{table.table(table.figures())}\n"
