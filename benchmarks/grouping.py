"""Time to group triggers: a million of them, and those of one real observation.

The limit is a single `np.lexsort` of the same rows by two keys, which a straightforward grouping cannot do
without. (A sort by one integer is faster still, so that values below the limit are possible.)
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.science.clustering import Method, cluster

ROUNDS = 9
#: Duration in s of the observations.
DURATION_S = 300.0


def measure() -> list[dict[str, object]]:
    """Return the figures, medians of several runs."""
    many, few = million_triggers(), observed_triggers()
    return [
        figure("grouping of 10^6 triggers, 1 s windows", many, 0.3, window=1.0),
        figure("grouping of 10^6 triggers, 0.1 s windows", many, 0.3, window=0.1),
        figure("the same, linked groups, 0.5 s", many, 2.0, window=0.5, method="linked"),
        figure(f"grouping of an observation ({len(few)} triggers)", few, 2e-3, window=1.0),
        figure("the same, linked groups", few, 2e-2, window=1.0, method="linked"),
        figure("the same, with the SB filter", few, 2e-3, window=1.0, sb_filter=True),
    ]


def figure(
    name: str,
    triggers: NDArray[np.float64],
    target_s: float,
    *,
    window: float,
    sb_filter: bool = False,
    method: Method = "windows",
) -> dict[str, object]:
    """Measure one grouping and its limit, in ms."""
    _, snr, times, _, _ = np.ascontiguousarray(triggers.T)
    return {
        "name": name,
        "value": median_ms(partial(cluster, triggers, window=window, sb_filter=sb_filter, method=method)),
        "unit": "ms",
        "target": target_s * 1e3,
        "better": "less",
        "limit": median_ms(partial(np.lexsort, (snr, times))),
    }


def median_ms(function: Callable[[], object]) -> float:
    """Run a function several times, and once before that to warm up."""
    function()
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1e3


def million_triggers() -> NDArray[np.float64]:
    """Triggers at any DM, in the order in which several AMBER instances write: almost that of time."""
    random, n = np.random.default_rng(2), 10**6
    arrival = np.sort(random.uniform(0, DURATION_S, n)) + random.uniform(0, 1, n)
    return triggers_at(arrival, random.uniform(0, 3000, n), random)


def observed_triggers() -> NDArray[np.float64]:
    """Triggers of a real observation of the Crab pulsar; where it is absent, something like it.

    `$DARC_REFERENCE_DATA` names the folder that holds it.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DARC_REFERENCE_DATA", default))
    path = folder / "clustering" / "real_CB00_step1.npz"
    if path.is_file():
        with np.load(path) as content:
            return np.asarray(content["triggers"], dtype=np.float64)
    random = np.random.default_rng(3)
    bursts = np.sort(random.uniform(0, DURATION_S, 250)).repeat(10)[:2466]
    return triggers_at(np.round(bursts, 3), np.round(random.normal(57, 10, 2466), 1).clip(0), random)


def triggers_at(
    arrival_s: NDArray[np.float64], dm: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Add S/N, width and synthesised beam, as AMBER's are distributed."""
    n = len(dm)
    snr = 10 + random.exponential(3, n)
    width = random.choice([1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0], n)
    return np.column_stack([dm, snr, arrival_s, width, random.integers(0, 71, n)])


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
