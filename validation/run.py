"""Run the validations and write docs/validation.md.

Usage: python -m validation.run [--short] [--jobs N] [NAME ...]

A validation is a module of this folder with a function `measure(short: bool) -> Section`. Each runs in a
process of its own, `--jobs` of them at once (2 unless said otherwise). `--short` takes one or two minutes and
leaves out most of the bursts. What ran in full is kept in `results.json` beside this file, one section each,
and the page is written from it as soon as all are there: one can be made anew without the others, and a run
that was interrupted goes on with the names of those that are missing. The exit code is 1 if a bound was
exceeded or a validation failed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from validation.mended import MENDED
from validation.result import Section, markdown

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "docs" / "validation.md"
RESULTS = FOLDER / "results.json"
LONGEST_S = 2700.0
#: Process groups of what runs.
RUNNING: set[int] = set()
HEADINGS = ("quantity", "reference", "found", "bound")
#: The longest first, so that the others fit beside it; then in the order of the page.
FIRST = "detection"
ORDER = (
    "grouping",
    "real_time",
    "detection",
    "snr_loss",
    "arrival_times",
    "sky",
    "dispersion",
    "galaxy",
    "formats",
)


class ValidationError(Exception):
    """A validation gave no result; the message says why."""


def validations() -> list[str]:
    """Return the names of the modules of this folder that have a function `measure`."""

    def measures(path: Path) -> bool:
        nodes = ast.parse(path.read_text()).body
        return any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in nodes)

    found = [path.stem for path in FOLDER.glob("*.py") if measures(path)]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def run(name: str, short: bool) -> Section:
    """Return the result of one validation, which runs in a process group of its own.

    Raises:
        ValidationError: it ended with an error, took too long, or gave something else

    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "section.json"
        command = [sys.executable, "-m", "validation.run", "--into", str(output), name]
        process = subprocess.Popen(
            [*command, *(["--short"] if short else [])],
            cwd=FOLDER.parent,
            stdout=sys.stderr,
            start_new_session=True,
            # each has one core; threads of numerical libraries would only disturb the others
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        RUNNING.add(process.pid)
        try:
            code = process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            raise ValidationError(f"took longer than {LONGEST_S:.0f} s") from None
        finally:
            end(process.pid)
            process.wait()
            RUNNING.discard(process.pid)
        if code != 0:
            raise ValidationError(f"ended with exit code {code}, see above")
        section = Section.from_dict(json.loads(output.read_text()))
    print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return section


def measured(name: str, short: bool) -> Section:
    """Run a validation in this process; return what it found, and how long it and its processes took."""
    start = time.monotonic()
    section: Section = importlib.import_module(f"validation.{name}").measure(short)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(each.ru_utime + each.ru_stime for each in used)
    made = f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}"
    return replace(section, made=made, seconds=(cpu_s, time.monotonic() - start))


def run_all(
    names: Sequence[str], short: bool, jobs: int
) -> tuple[dict[str, Section], dict[str, ValidationError]]:
    """Run validations, some at once; keep what ran in full; return the results and the failures."""
    sections, failures = {}, {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = {
            pool.submit(run, name, short): name for name in sorted(names, key=lambda name: name != FIRST)
        }
        try:
            for future in as_completed(futures):
                name = futures[future]
                try:
                    sections[name] = future.result()
                except ValidationError as error:
                    failures[name] = error
                    continue
                if not short:
                    keep(name, sections[name])
        finally:  # also at Ctrl-C, of which processes in groups of their own know nothing
            pool.shutdown(wait=False, cancel_futures=True)
            for group in list(RUNNING):
                end(group)
    return {name: sections[name] for name in names if name in sections}, failures


def end(group: int) -> None:
    """End all processes of a group, if there are any."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def shown(sections: Sequence[Section]) -> str:
    """Return the sections as text of the page."""
    parts = []
    for section in sections:
        parts += [f"## {section.title}", section.text]
        if section.checks:
            parts.append(markdown(HEADINGS, [check.cells() for check in section.checks]))
        for table in section.tables:
            parts += [f"{table.title}:", markdown(table.headings, table.rows)]
    return "\n\n".join(part.strip() for part in parts)


def keep(name: str, section: Section) -> None:
    """Note what ran in full, and write the page if no section of it is missing."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[name] = section.as_dict()
    known = [each for each in validations() if each in kept]
    RESULTS.write_text(json.dumps({each: kept[each] for each in known}, indent=1, default=float) + "\n")
    if known == validations():
        PAGE.write_text(page([Section.from_dict(kept[each]) for each in known]), encoding="utf-8")


def page(sections: Sequence[Section]) -> str:
    """Return all of the page."""
    number = sum(len(section.checks) for section in sections)
    passed = sum(check.passed for section in sections for check in section.checks)
    intro = (
        "What the system computes, compared with independent references. `make validate` writes this page, "
        "and fails if a bound is exceeded; `make validate ARGS=--short` is what `.ci/run` does. "
        f"{passed} of {number} comparisons are within their bounds."
    )
    cpu_s, took_s = (sum(section.seconds[i] for section in sections) for i in (0, 1))
    duration = markdown(
        ("section", "made", "CPU time (s)", "time (s)"),
        [
            *((s.title, s.made, *(f"{value:.0f}" for value in s.seconds)) for s in sections),
            ("all, two at once", "", f"{cpu_s:.0f}", f"{took_s / 2:.0f} or more"),
        ],
    )
    mended = markdown(
        ("found wrong", "mended", "test"), [(each.wrong, each.mended, each.test) for each in MENDED]
    )
    parts = ["# Validation", intro, shown(sections), "## How long it takes", duration]
    parts += ["## Found wrong and mended", mended]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run the named validations, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="validation.run", description="Are the numbers right?")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known := validations()))
    parser.add_argument("--short", action="store_true", help="a minute or two, with fewer bursts")
    parser.add_argument("--jobs", type=int, default=2, help="validations at once")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known):
        parser.error(f"no validation {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.into:
        options.into.write_text(
            json.dumps(measured(options.names[0], options.short).as_dict(), default=float)
        )
        return 0
    names = options.names or known
    sections, failures = run_all(names, options.short, options.jobs)
    print(shown(list(sections.values())))
    for name, failure in failures.items():
        print(f"FAILED {name}: {failure}")
    exceeded = [check for section in sections.values() for check in section.checks if not check.passed]
    for check in exceeded:
        print("EXCEEDED", " | ".join(check.cells()))
    return 1 if failures or exceeded else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
