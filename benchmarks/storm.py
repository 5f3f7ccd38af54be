"""A storm of interference on a worker node: what its services need, what they find, and when they are done.

    python -m benchmarks.storm [--rows 100000] [--seconds 60]

Three instances of AMBER write rows of interference, at low DM and just above the threshold at all others,
each flushed by itself; before, during and after them bursts. It shows the peak of each process's memory, the
delay from the last row of a burst's batch to its dump, and how long after the storm clustering and processor
have all rows processed. This is no figure of the README's table: it takes minutes.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.latency import latencies
from benchmarks.worker_node import BEAM, WorkerNode
from darc import metrics_store
from darc.definitions import ARTS
from darc.metrics import reading
from darc.simulation.amber import ROW, Amber, Chunk, SearchPlan, format_rows
from darc.simulation.cluster import worker
from darc.simulation.sky import Burst, Sky

NINSTANCE = 3
LATENCY_S = (0.5, 0.55, 0.65)
PLANS = tuple(SearchPlan(500.0 + 0.2 * instance, 0.6, 2048) for instance in range(NINSTANCE))
#: Batches without interference before and after the storm, and batches from burst to burst.
CALM, BURST_EVERY = 5, 4
#: Longest time in s after the storm for everything to be processed.
PATIENCE_S = 180.0
LOOK_S = 1.0


@dataclass(frozen=True)
class StormFeed:
    """What AMBER writes: the rows of bursts, and with them, for some time, those of interference.

    Attributes:
        amber: finds the bursts
        rows_per_s: rows of interference per second of all instances together
        batches: batches with interference
    """

    amber: Amber
    rows_per_s: float
    batches: range

    @property
    def headers(self) -> tuple[bytes, ...]:
        """Headers of the files."""
        return self.amber.headers

    def __iter__(self) -> Iterator[Chunk]:
        """Give the chunks; what interference there is, is made on the way."""
        rng = np.random.default_rng(3)
        number = round(self.rows_per_s * ARTS.batch_s / NINSTANCE)
        for chunk in self.amber:
            if chunk.batch in self.batches:
                noise = format_rows(interference(rng, chunk.batch, number))
                yield Chunk(chunk.batch, chunk.instance, noise + chunk.lines)
            else:
                yield chunk


def interference(rng: np.random.Generator, batch: int, number: int) -> NDArray[np.void]:
    """Return rows of one batch: bright ones at low DM, faint ones at any."""
    rows = np.zeros(number, ROW)
    names = ROW.names or ()
    sb, batches, sample, steps, width, time_s, _, dm, _, snr = (rows[name] for name in names)
    bright = rng.random(number) < 0.5
    sb[:], batches[:], steps[:], width[:] = rng.integers(0, ARTS.nsynthesised_beam, number), batch, 10, 10
    sample[:] = rng.integers(0, ARTS.samples_per_batch // 10, number)
    time_s[:] = (batch * ARTS.samples_per_batch + sample * 10) * ARTS.tsamp_s
    dm[:] = np.where(bright, rng.uniform(0, 10, number), rng.uniform(0, 2000, number))
    snr[:] = np.where(bright, rng.uniform(8, 50, number), rng.uniform(8, 9.5, number))
    return rows


class Watch:
    """Notes the peak of the memory of all processes of a node, while in a `with` block.

    Args:
        home: folder that is their home
    """

    def __init__(self, home: Path) -> None:
        self._mark = f"HOME={home}\0".encode()
        self.peaks_mb: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(LOOK_S):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if self._mark in (folder / "environ").read_bytes():
                        status = (folder / "status").read_text()
                        self._note(folder.name, status)
                except OSError:
                    continue

    def _note(self, pid: str, status: str) -> None:
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        if peak:
            self.peaks_mb[pid] = float(peak[1]) / 1024


def names_of(logs: Path) -> dict[str, str]:
    """Return what each process is, by its ID, from the logs."""
    pattern = re.compile(r" INFO +(\S+(?: \w+ \d+)?)\S*(?: \[.*?\])?: started with process ID (\d+)")
    return {pid: name for log in logs.glob("*.log") for name, pid in pattern.findall(log.read_text())}


def processed(figures: dict[str, float]) -> tuple[int, int]:
    """Return how many rows the clustering and the processor have read."""
    raw = next((value for name, value in figures.items() if "candidates" in name and "raw" in name), 0.0)
    return int(figures.get("darc_amber_rows_total", figures.get("darc_amber_rows", 0.0))), int(raw)


def run(rows_per_s: float, seconds: float, folder: Path) -> None:
    """Let the storm pass over a node, and show what came of it."""
    nbatch = round(seconds / ARTS.batch_s)
    storm = range(CALM, CALM + nbatch)
    rng = np.random.default_rng(6)
    number = np.arange(2, storm.stop + CALM - 2, BURST_EVERY)
    bursts = tuple(
        Burst(float((batch + rng.uniform(0.2, 0.8)) * ARTS.batch_s), float(rng.uniform(600, 1600)), 40.0, 5)
        for batch in number
    )
    sky = Sky((storm.stop + CALM) * ARTS.batch_s, bursts, noise_rows_per_s=20.0)
    feed = StormFeed(Amber(sky, plans=PLANS), rows_per_s, storm)
    total = sum(len(chunk.lines) for chunk in feed)
    with WorkerNode(folder, sky.duration_s) as node, Watch(folder / "cluster") as watch:
        flushed = node.write(feed, 1.0, LATENCY_S)  # type: ignore[arg-type]
        end = time.time()
        figures = metrics_store.folder_in(node.cluster.folder / "darc" / "state" / worker(BEAM))
        done_s = wait_until_processed(figures, total, end)
        node.dada.wait_received(len(bursts), 1.0)
        delays_ms = {}
        for burst in bursts:
            try:
                (delays_ms[burst],) = latencies([burst], flushed, node.dada.received)
            except RuntimeError:
                print(f"not found: {burst}")
        names = names_of(node.cluster.log_folder)
    show(total, len(bursts), list(delays_ms.values()), done_s, watch, names)


def wait_until_processed(figures: Path, total: int, end: float) -> dict[str, float]:
    """Return the time in s after the last row at which each consumer had all of them."""
    done_s: dict[str, float] = {}
    while len(done_s) < 2 and time.time() - end < PATIENCE_S:
        for name, rows in zip(("clustering", "processor"), processed(reading(figures)), strict=True):
            if rows >= total:
                done_s.setdefault(name, time.time() - end)
        time.sleep(LOOK_S)
    if len(done_s) < 2:
        print(f"not done: {processed(reading(figures))} of {total}")
    return done_s


def show(
    total: int,
    nburst: int,
    delays_ms: list[float],
    done_s: dict[str, float],
    watch: Watch,
    names: dict[str, str],
) -> None:
    """Print the outcome."""
    print(f"{total} rows, {len(delays_ms)} of {nburst} bursts found")
    if delays_ms:
        median_ms, longest_ms = statistics.median(delays_ms), max(delays_ms)
        print(f"delay to the dump: median {median_ms:.0f} ms, longest {longest_ms:.0f} ms")
    for name, seconds in done_s.items():
        print(f"{name}: all rows processed {seconds:.1f} s after the last one was written")
    for pid, peak in sorted(watch.peaks_mb.items(), key=lambda item: -item[1])[:8]:
        print(f"{peak:7.0f} MB  {names.get(pid, 'process ' + pid)}")


def main() -> None:
    """Take the options."""
    parser = argparse.ArgumentParser(description="A storm of interference on a worker node.")
    parser.add_argument("--rows", type=float, default=1e5, help="rows per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the storm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(options.rows, options.seconds, Path(folder))


if __name__ == "__main__":
    main()
