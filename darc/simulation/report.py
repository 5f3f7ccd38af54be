"""The table at the end of the demo."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from darc.science.selection import read_verdict
from darc.simulation.cluster import worker
from darc.simulation.outcome import Outcome, Row, Sighting
from darc.simulation.processed import Found, problem
from darc.simulation.receivers import LOFAR, VOEVENT, Receivers, iquv
from darc.simulation.scenario import Injection

HEADINGS = (
    "",
    "CB",
    "S/N",
    "DM",
    "time (s)",
    "clustered: S/N",
    "DM",
    "IQUV (ms)",
    "LOFAR (ms)",
    "VOEvent (ms)",
    "",
)
PROCESSED_HEADINGS = ("", "CB", "S/N injected", "recovered", "time error (ms)", "probability", "page", "")
FILES = {
    "logs": "cluster/darc/log",
    "VOEvents": "broker/events",
    "mails": "mail",
    "site": "cluster/config.yaml",
}

Clusters = dict[int, list[Sighting]]


def clustered(log_folder: Path, beams: Sequence[int]) -> Clusters:
    """Return the clusters that the log of each beam's node shows.

    Args:
        log_folder: folder of the logs
        beams: compound beams
    """
    found: Clusters = {beam: [] for beam in beams}
    for beam in beams:
        log = log_folder / f"amber_clustering.{worker(beam)}.log"
        for line in log.read_text(encoding="utf-8").splitlines():
            if (verdict := read_verdict(line)) is not None:
                snr, dm, time_s = verdict
                found[beam].append(Sighting("clusters", time_s, dm, math.nan, snr))
    return found


def print_report(outcome: Outcome, receivers: Receivers, clusters: Clusters, counts: dict[str, str]) -> None:
    """Print what was injected, what was clustered, where it arrived, and where the files are.

    Args:
        outcome: comparison of what was injected with what arrived
        receivers: the receivers
        clusters: what the log of each beam's node shows
        counts: what each worker node has counted
    """
    print("\nInjected, clustered, and told to whom how many ms after AMBER had written its last line")
    print("(of which LOFAR and VOEvent wait 1000 ms for triggers of other beams):\n")
    _print_columns([HEADINGS, *(_cells(row, clusters) for row in outcome.rows)])
    print()
    problems = [f"NOT EXPECTED: {sighting}" for sighting in outcome.unexplained]
    problems += [f"PROBLEM: {found}" for found in receivers.problems()]
    for line in problems:
        print(line)
    for node, text in counts.items():
        print(f"{node}: {text}")
    for name, latency in _by_kind(outcome.rows).items():
        print(f"{name}: median {statistics.median(latency):.0f} ms, longest {max(latency):.0f} ms")
    mails = [mail for mail in receivers.mail.received if "LOFAR" in mail.subject]
    print(f"e-mails about triggers to LOFAR: {len(mails)}")


def print_processed(found: Mapping[Injection, Found | None]) -> None:
    """Print what the processor made of each burst."""
    if found:
        print("\nCut out of the data, classified and plotted:\n")
        _print_columns([PROCESSED_HEADINGS, *(_processed_cells(*item) for item in found.items())])


def _processed_cells(injection: Injection, found: Found | None) -> tuple[str, ...]:
    label = (injection.label, f"{injection.beam:02d}", f"{injection.burst.snr:.1f}")
    if found is None:
        return (*label, "-", "-", "-", "-", problem(injection, found) or "ok")
    probability = "-" if found.probability is None else f"{found.probability:.2f}"
    page = "not kept" if found.page is None else str(found.page)
    return (
        *label,
        f"{found.snr:.1f}",
        f"{found.toa_error_ms:+.2f}",
        probability,
        page,
        problem(injection, found) or "ok",
    )


def print_end(folder: Path, shown: Mapping[str, Path], good: bool) -> None:
    """Print where the files are, and whether everything was right."""
    print(f"\nfiles: {folder}")
    for what, where in FILES.items():
        print(f"  {what:9} {folder / where}")
    for what, path in shown.items():
        print(f"  {what:9} {path}")
    print(
        "\nEverything arrived where it should, and nothing else did."
        if good
        else "\nNOT all is as it should be."
    )


def _cells(row: Row, clusters: Clusters) -> tuple[str, ...]:
    expected = row.expectation
    mine = [cluster for cluster in clusters[expected.beam] if expected.matches(cluster)]
    best = max(mine, key=lambda cluster: cluster.snr or 0.0, default=None)
    return (
        expected.label,
        f"{expected.beam:02d}",
        f"{expected.snr:.1f}",
        f"{expected.dm:.1f}",
        f"{expected.time_s:.2f}",
        "-" if best is None else f"{best.snr:.1f}",
        "-" if best is None else f"{best.dm:.1f}",
        *(_latency(row, name) for name in (iquv(expected.beam), LOFAR, VOEVENT)),
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
