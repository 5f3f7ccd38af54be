"""A line that AMBER flushes: how long it takes until a consumer of the listener has it.

As AMBER does, a writer flushes every row by itself to the files of three instances: single rows at irregular
moments, as noise makes them, and 20 in a row, as a burst does. The limit is what two bare processes need for
the same: one writes to a file, the other is woken by inotify and writes to a pipe, which wakes the first.
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from inotify_simple import INotify, flags

from benchmarks.listening import CONTEXT, Listening
from benchmarks.parsing import generate_lines
from darc.formats.amber import header
from darc.network.process_queue import ProcessQueue

TARGETS_MS = {"median": 5.0, "99th percentile": 20.0}
NINSTANCE = 3
#: Times at which something is written, mean interval between them in s; each tenth is a burst.
NWRITE, INTERVAL_S, BURST_EVERY, BURST_ROWS = 2500, 1 / 220, 10, 20
#: Times that the bare processes are measured.
NWAKE = 1000
#: Longest time in s for everything.
PATIENCE_S = 60.0


def measure() -> list[dict[str, object]]:
    """Return median and 99th percentile of the delay, over all rows and both consumers, in ms."""
    with tempfile.TemporaryDirectory() as name:
        delays_ms = listen(Path(name))
        limits_ms = wake(Path(name, "bare"))
    return [
        {
            "name": f"a flushed row to a consumer, {name}",
            "value": part(delays_ms),
            "unit": "ms",
            "target": TARGETS_MS[name],
            "better": "less",
            "limit": part(limits_ms),
        }
        for name, part in (("median", statistics.median), ("99th percentile", percentile_99))
    ]


def listen(folder: Path) -> list[float]:
    """Return the delays in ms of all rows at both consumers of a listener."""
    paths = [folder / f"CB00_step{step}.trigger" for step in range(1, NINSTANCE + 1)]
    for path in paths:
        path.write_text(header())
    with Listening(folder, note, NINSTANCE) as listening:
        listening.observe()
        for _ in range(2):  # headers at both consumers: everything runs
            assert listening.results.get(timeout=PATIENCE_S) == "ready"
        written = write(paths)
        for path in paths:
            with path.open("a") as file:
                file.write("end\n")
        delays_ms = []
        for _ in range(2):
            got = listening.results.get(timeout=PATIENCE_S)
            for written_ns, got_ns in zip(written, got, strict=True):
                delays_ms += [(end - begin) / 1e6 for begin, end in zip(written_ns, got_ns, strict=True)]
    return delays_ms


def note(lines: ProcessQueue, results: ProcessQueue) -> None:
    """Take lines and note when each was there, by instance; tell all when each instance has ended."""
    got: list[list[int]] = [[] for _ in range(NINSTANCE)]
    ended = 0
    while ended < NINSTANCE:
        message = lines.get()
        now_ns = time.monotonic_ns()
        number = len(message["trigger"])
        if message["trigger"][-1] == "end":
            ended, number = ended + 1, number - 1
        got[message["step"] - 1] += [now_ns] * number
        if sum(map(len, got)) == NINSTANCE:
            results.put("ready")
    results.put([times_ns[1:] for times_ns in got])


def write(paths: Sequence[Path]) -> list[list[int]]:
    """Write rows, each by itself, and return when each was flushed, by file."""
    source = random.Random(4)
    rows = iter([row.encode() for row in generate_lines(NWRITE * (1 + BURST_ROWS))])
    files = [path.open("ab", buffering=0) for path in paths]
    flushed: list[list[int]] = [[] for _ in paths]
    for number in range(NWRITE):
        time.sleep(source.expovariate(1 / INTERVAL_S))
        chosen = source.randrange(len(files))
        for _ in range(1 if number % BURST_EVERY else BURST_ROWS):
            flushed[chosen].append(time.monotonic_ns())
            files[chosen].write(next(rows))
    for file in files:
        file.close()
    return flushed


def wake(path: Path) -> list[float]:
    """Return the times in ms from a write to a file to the answer of a process that inotify wakes."""
    path.touch()
    reader, writer = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=answer, args=(path, writer), daemon=True)
    process.start()
    reader.recv_bytes()
    delays_ms = []
    with path.open("ab", buffering=0) as file:
        for _ in range(NWAKE):
            time.sleep(INTERVAL_S)
            begin_ns = time.monotonic_ns()
            file.write(b"x")
            reader.recv_bytes()
            delays_ms.append((time.monotonic_ns() - begin_ns) / 1e6)
    process.kill()
    process.join()
    return delays_ms


def answer(path: Path, writer: Connection) -> None:
    """Answer every write to a file; the least that a process can do."""
    with INotify() as notifier:
        notifier.add_watch(path, flags.MODIFY)
        writer.send_bytes(b"x")
        while os.read(notifier.fileno(), 4096):
            writer.send_bytes(b"x")


def percentile_99(values: Sequence[float]) -> float:
    """Return the value that 99 % do not exceed."""
    return statistics.quantiles(values, n=100)[98]


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
