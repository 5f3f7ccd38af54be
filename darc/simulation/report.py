"""The table at the end of the demo."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

from darc.simulation.outcome import Outcome, Row
from darc.simulation.receivers import LOFAR, VOEVENT, Receivers

CONFIG = "cluster/config.yaml"
HEADINGS = ("burst", "time (s)", "DM", "IQUV (ms)", "LOFAR (ms)", "VOEvent (ms)", "")


def print_report(outcome: Outcome, receivers: Receivers, clusters: dict[str, str], folder: Path) -> None:
    """Print what was injected and where it arrived, and where the files are."""
    print("\nWhat arrived, and how many milliseconds after AMBER had written its last line:\n")
    _print_columns([HEADINGS, *(_cells(row) for row in outcome.rows)])
    for sighting in outcome.unexplained:
        print(f"NOT EXPECTED: {sighting}")
    for problem in receivers.problems():
        print(f"PROBLEM: {problem}")
    print()
    for node, counts in clusters.items():
        print(f"{node}: {' '.join(counts.split())}")
    for name, latency in _by_kind(outcome.rows).items():
        print(f"{name}: median {statistics.median(latency):.0f} ms, longest {max(latency):.0f} ms")
    mails = len(receivers.mail.received)
    print(f"e-mails about triggers to LOFAR: {mails}")
    print(f"\nfiles: {folder}")
    for what, where in (
        ("logs", "cluster/darc/log"),
        ("VOEvents", "broker"),
        ("mails", "mail"),
        ("site", CONFIG),
    ):
        print(f"  {what:9} {folder / where}")
    good = outcome.good and not receivers.problems()
    print(
        "\nEverything arrived where it should, and nothing else did."
        if good
        else "\nNOT all is as it should be."
    )


def _cells(row: Row) -> tuple[str, ...]:
    expected = row.expectation
    iquv = next((name for name in (*row.latency_ms, *expected.receivers) if name.startswith("IQUV")), "IQUV")
    told = [_latency(row, name) for name in (iquv, LOFAR, VOEVENT)]
    return (
        expected.label,
        f"{expected.time_s:.2f}",
        f"{expected.dm:g}",
        *told,
        "ok" if row.good else "WRONG",
    )


def _latency(row: Row, receiver: str) -> str:
    if receiver in row.missing:
        return "MISSING"
    if receiver in row.uncalled:
        return "NOT WANTED"
    latency = row.latency_ms.get(receiver, math.nan)
    return "-" if math.isnan(latency) else f"{latency:.0f}"


def _by_kind(rows: tuple[Row, ...]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, latency in row.latency_ms.items():
            if not math.isnan(latency):
                found.setdefault(name.split()[0], []).append(latency)
    return found


def _print_columns(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = (
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())
