"""From the flush of a burst's last line to the message at dada_dbevent, with all services of a worker node.

AMBER's three instances flush the rows of each batch of data, every row by itself and each instance a little
later than the one before; a burst is in the rows of all three, among noise. Batches follow each other faster
than in reality, but slower than they settle. The limit is the settling time, in which nobody can know whether
more rows come, and a bare message to the same receiver.
"""

import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.tail import percentile_99
from benchmarks.worker_node import Feed, WorkerNode
from darc.definitions import ARTS
from darc.simulation.amber import Amber, SearchPlan
from darc.simulation.dada_dbevent import DadaDBEvent, ReceivedMessage, parse_message
from darc.simulation.sky import Burst, Sky

TARGETS_MS = {"median": 150.0, "99th percentile": 300.0}
NBURST, NOISE_ROWS_PER_S = 110, 20.0
#: Batch of the first burst: a window that begins before the data would not tell its time.
FIRST = 3
#: Seconds of data per second, so that there are 0.34 s from batch to batch.
SPEED = 3.0
#: Seconds of data after the end of a batch at which each instance writes its rows.
LATENCY_S = (0.5, 0.55, 0.65)
#: Instances that search interleaved DMs, so that each of them sees every burst.
PLANS = tuple(SearchPlan(500.0 + 0.2 * instance, 0.6, 2048) for instance in range(len(LATENCY_S)))
#: Seconds from the start of a dumped window to its trigger, and how exactly a burst's time is found.
WINDOW_BEFORE_S, TOLERANCE_S = 2.048, 0.2
#: Longest time in s after the last row for a message to arrive, and for one that is sent to be read.
PATIENCE_S = 5.0


def measure() -> list[dict[str, object]]:
    """Return median and 99th percentile of the latency in ms."""
    bursts = random_bursts()
    sky = Sky((FIRST + NBURST + 1) * ARTS.batch_s, bursts, noise_rows_per_s=NOISE_ROWS_PER_S)
    amber = Amber(sky, plans=PLANS)
    feed = Feed(amber.headers, list(amber))
    with tempfile.TemporaryDirectory() as folder, WorkerNode(Path(folder), sky.duration_s) as node:
        settling_ms = node.config.amber_clustering.settling_time * 1e3
        flushed = node.write(feed, SPEED, LATENCY_S)
        node.dada.wait_received(NBURST, PATIENCE_S)
        latencies_ms = latencies(bursts, flushed, node.dada.received)
        bare_ms = [send(node.dada) for _ in range(NBURST)]
    return [
        {
            "name": f"flushed burst to dada_dbevent, {name}",
            "value": part(latencies_ms),
            "unit": "ms",
            "target": TARGETS_MS[name],
            "better": "less",
            "limit": settling_ms + part(bare_ms),
        }
        for name, part in (("median", statistics.median), ("99th percentile", percentile_99))
    ]


def random_bursts() -> tuple[Burst, ...]:
    """Return bursts that lead to a dump, one in each batch."""
    random = np.random.default_rng(6)
    times_s = (FIRST + np.arange(NBURST) + random.uniform(0.2, 0.8, NBURST)) * ARTS.batch_s
    dms = random.uniform(600.0, 1600.0, NBURST)
    return tuple(Burst(float(time_s), float(dm), 40.0, 5) for time_s, dm in zip(times_s, dms, strict=True))


def latencies(
    bursts: Sequence[Burst], flushed: dict[int, float], received: Sequence[ReceivedMessage]
) -> list[float]:
    """Return the times in ms from the last line of each burst to the last message that tells of it."""
    arrivals = [
        (event.start_ms / 1e3 + WINDOW_BEFORE_S, record.completed_at)
        for record in received
        for event in parse_message(record.message)[1]
    ]
    found = []
    for burst in bursts:
        arrived = [at for time_s, at in arrivals if abs(time_s - burst.time_s) < TOLERANCE_S]
        if not arrived:
            raise RuntimeError(f"no message tells of {burst}")
        found.append((max(arrived) - flushed[int(burst.time_s / ARTS.batch_s)]) * 1e3)
    return found


def send(dada: DadaDBEvent) -> float:
    """Return the time in ms that a bare message takes to the receiver."""
    number, message = len(dada.received), dada.received[0].message
    begin = time.time()
    with socket.create_connection((dada.host, dada.port)) as connection:
        connection.sendall(message)
    dada.wait_received(number + 1, PATIENCE_S)
    return (dada.received[-1].completed_at - begin) * 1e3


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.4g})".format_map(row))
