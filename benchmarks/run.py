"""Run the benchmarks, print their figures as a table and keep them in results.json.

Usage: python -m benchmarks.run [NAME ...]

A benchmark is a module of this folder with a function `measure() -> list[dict]`; each of the dictionaries is
one figure:

    name    what was measured, as the table shows it
    value   what came out
    unit    its unit, as text
    target  what it has to reach
    better  "less" or "more": which side of the target is the good one
    limit   the physical or algorithmic bound, measured in the same run and in the same unit

Each benchmark runs in a process of its own. Names on the command line run only those, and leave results.json
as it was, so that all figures in it come from one run. The exit code is 1 if a benchmark failed; a target
that was not reached is shown, and is no failure.
"""

import ast
import contextlib
import importlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results.json"
LONGEST_S = 600.0
INTO = "--into"
HEADINGS = ("figure", "value", "target", "limit", "times from limit", "reached")


@dataclass(frozen=True)
class Figure:
    """One figure; the fields are those of the dictionaries of `measure`."""

    name: str
    value: float
    unit: str
    target: float
    better: str
    limit: float

    def __post_init__(self) -> None:
        numbers = (self.value, self.target, self.limit)
        if not all(isinstance(number, int | float) and 0 < number < math.inf for number in numbers):
            raise ValueError(f"{self.name}: value, target and limit must be positive numbers, not {numbers}")
        if self.better not in ("less", "more"):
            raise ValueError(f"{self.name}: better must be 'less' or 'more', not {self.better!r}")

    @property
    def reached(self) -> bool:
        """Return whether the value is at the target or on the good side of it."""
        return self.value <= self.target if self.better == "less" else self.value >= self.target

    @property
    def distance(self) -> float:
        """Return how many times worse than the limit the value is: 1 is at the limit."""
        return self.value / self.limit if self.better == "less" else self.limit / self.value

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the table's columns."""
        target = f"{'<=' if self.better == 'less' else '>='} {_text(self.target)}"
        reached = "yes" if self.reached else "NO"
        value = f"{_text(self.value)} {self.unit}"
        return self.name, value, target, _text(self.limit), f"{self.distance:.2f}", reached


class BenchmarkError(Exception):
    """A benchmark gave no figures; the message says why."""


def benchmarks() -> list[str]:
    """Return the names of the modules of this folder that have a function `measure`."""

    def measures(path: Path) -> bool:
        nodes = ast.parse(path.read_text()).body
        return any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in nodes)

    return sorted(path.stem for path in FOLDER.glob("*.py") if measures(path))


def run(name: str) -> list[Figure]:
    """Return the figures of one benchmark, which runs in a process group of its own.

    Raises:
        BenchmarkError: it ended with an error, took too long, or gave something else than figures

    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.run", INTO, str(output), name]
        # what it prints must not end up in the table
        process = subprocess.Popen(command, cwd=FOLDER.parent, stdout=sys.stderr, start_new_session=True)
        try:
            code = process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"took longer than {LONGEST_S:.0f} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code != 0:
            raise BenchmarkError(f"ended with exit code {code}, see above")
        try:
            return [Figure(**row) for row in json.loads(output.read_text())]
        except (TypeError, ValueError) as error:
            raise BenchmarkError(f"did not give figures: {error}") from None


def measure_into(output: str, name: str) -> None:
    """Write what a benchmark measures to a file: the part of `run` that happens in the other process."""
    rows = importlib.import_module(f"benchmarks.{name}").measure()
    Path(output).write_text(json.dumps(rows, default=float))


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows of texts as lines with aligned columns, the first of them to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{first:{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        for first, *rest in rows
    )


def write_results(figures: Sequence[Figure]) -> None:
    """Replace results.json at once."""
    aside = RESULTS.with_suffix(".new")
    aside.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    aside.replace(RESULTS)


def main(arguments: Sequence[str]) -> int:
    """Run the named benchmarks, or all; return the exit code."""
    if arguments and arguments[0] == INTO:
        measure_into(*arguments[1:])
        return 0
    known = benchmarks()
    if unknown := set(arguments) - set(known):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    failures: dict[str, BenchmarkError] = {}
    for name in arguments or known:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            figures += run(name)
        except BenchmarkError as error:
            failures[name] = error
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    print(table([HEADINGS, *(figure.cells() for figure in figures)]))
    for name, failure in failures.items():
        print(f"FAILED {name}: {failure}")
    if not arguments:
        write_results(figures)
    return 1 if failures else 0


def _text(number: float) -> str:
    return f"{number:,.0f}" if number >= 1e4 else f"{number:.4g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
