"""Write the figures of results.json into the README, between its markers; `make bench` measures them.

Usage: python -m benchmarks.table
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.run import RESULTS, Figure

README = RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- figures: python -m benchmarks.table -->", "<!-- end of figures -->"
HEAD = ("figure", "measured", "target", "limit")
#: What the README shows, by the benchmark that measures it: `make bench ARGS=...`. All is in the reference.
SHOWN = {
    "throughput": ("AMBER's file to two consumers",),
    "tail": ("a flushed row to a consumer, 99th percentile",),
    "grouping": ("grouping of 10^6 triggers, 1 s windows",),
    "latency": ("flushed burst to dada_dbevent, median", "flushed burst to dada_dbevent, 99th percentile"),
    "queues": ("triggers from a worker to the master node",),
    "candidate": (
        "cluster to HDF5 file, DM 500, width 25, SB of 9 TABs",
        "peak memory of the extractor, DM 500, width 25, SB of 9 TABs",
    ),
    "beam_load": ("clusters extracted and classified on 2 cores",),
    "recovery": ("S/N recovered of bursts in noise, mean of 45 (DM 20-3000, width 1-100, S/N 10-50)",),
    "pages": ("page of 25 panels",),
    "startup": ("darc status, whole process",),
}


class MarkersError(Exception):
    """The README has no place for the figures."""


def figures(results: Path = RESULTS) -> list[Figure]:
    """Return all figures of the last run."""
    return [Figure(**row) for row in json.loads(results.read_text(encoding="utf-8"))]


def table(chosen: Iterable[Figure], commands: Mapping[str, str] | None = None) -> str:
    """Return figures as a table in Markdown; a target that was missed is said.

    Args:
        chosen: the figures
        commands: what measures each, by its name, as a further column
    """
    rows = [HEAD, ("---", *["---:"] * 3)]
    for figure in chosen:
        name, value, target, limit, *_ = figure.cells()
        rows.append((name, value.strip() + ("" if figure.reached else " (missed)"), target, limit))
    if commands is not None:
        named = (f"`{commands[row[0]]}`" for row in rows[2:])
        rows = [(*row, more) for row, more in zip(rows, ("`make bench`", "---", *named), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def filled(readme: str, found: Iterable[Figure]) -> str:
    """Return the README with the figures that it shows; one that was not measured is left out.

    Raises:
        MarkersError: it has no markers
    """
    by_name = {figure.name: figure for figure in found}
    commands = {name: f'ARGS="{module}"' for module, names in SHOWN.items() for name in names}
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise MarkersError(f"{README}: no lines {BEGIN} and {END}")
    text = table((by_name[name] for name in commands if name in by_name), commands)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    """Fill the README's table."""
    README.write_text(filled(README.read_text(encoding="utf-8"), figures()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
