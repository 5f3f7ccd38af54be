"""From AMBER's file to both consumers: how many lines per second the listener passes on.

A real listener reads a file, two processes take its lines from a queue each and count them. The limit is
one process that reads the same file and cuts it into lines.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.listening import Listening
from benchmarks.parsing import generate_lines
from darc.formats.amber import header
from darc.network.process_queue import ProcessQueue

TARGET = 400_000.0
#: Lines of the file: some, and how often they are repeated, which makes no difference here.
NDISTINCT, REPEATS = 100_000, 12
NLINE = 1 + NDISTINCT * REPEATS
ROUNDS = 7
#: Longest time in s for one round.
PATIENCE_S = 60.0


def measure() -> list[dict[str, object]]:
    """Return the figure, the median of several runs, in lines per second."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "CB00_step1.trigger")
        path.write_text(header() + "".join(generate_lines(NDISTINCT)) * REPEATS)
        with Listening(path.parent, count) as listening:
            durations = [listen(listening) for _ in range(ROUNDS)]
        limits = [read(path) for _ in range(ROUNDS)]
    return [
        {
            "name": "AMBER's file to two consumers",
            "value": NLINE / statistics.median(durations),
            "unit": "lines/s",
            "target": TARGET,
            "better": "more",
            "limit": NLINE / statistics.median(limits),
        }
    ]


def listen(listening: Listening) -> float:
    """Return the time in s from the start of an observation to the last line at the last consumer."""
    start_ns = time.monotonic_ns()
    listening.observe()
    ends_ns: list[int] = [listening.results.get(timeout=PATIENCE_S) for _ in range(2)]
    return (max(ends_ns) - start_ns) / 1e9


def count(lines: ProcessQueue, results: ProcessQueue) -> None:
    """Take all lines of the file, again and again, and tell when the last one was there."""
    while True:
        number = 0
        while number < NLINE:
            number += len(lines.get()["trigger"])
        results.put(time.monotonic_ns())


def read(path: Path) -> float:
    """Return the time in s that reading the file in blocks and cutting it into lines takes."""
    start_s = time.perf_counter()
    number = 0
    with path.open("rb", buffering=0) as file:
        while block := os.read(file.fileno(), 1 << 20):
            number += len(block.split(b"\n")) - 1
    assert number == NLINE
    return time.perf_counter() - start_s


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:,.0f} {unit} (limit {limit:,.0f})".format_map(row))
