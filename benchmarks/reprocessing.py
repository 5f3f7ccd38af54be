"""How fast and in how much memory workers of dask process observations again, on this machine.

Eight beams of full size, as a small part of an observation of forty, each with 20 clusters per second of
data, 60 % of them like the first case of `benchmarks.candidate`, 30 % like the second, 10 % like the third.
All steps are done, from AMBER's rows to the results; workers have done a beam before the clock starts. It is
the throughput of many beams that is measured, not the time that one takes: a beam ends with steps that one
worker does alone, while the others are at other beams. Each worker has a core of its own; the scheduler and
this process share them.

The limit of the ratio is that of as many processes that do the same work without dask and know nothing of
each other: what the machine's cores, which share caches and memory, give. The limit of the speed are cores
that only read the same bytes and add them up, that of the memory a worker that has imported everything, with
the bytes of the largest cluster.
"""

import multiprocessing
import os
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from distributed import Client

from benchmarks.beam_load import MIXTURE, limit_per_s
from benchmarks.candidate import (
    CASES,
    DURATION_S,
    NODE,
    ROW,
    make_extractor,
    needed,
    peak_mb,
    write_beam,
)
from benchmarks.filterbank import NTAB
from darc.config import load_config
from darc.definitions import ARTS
from darc.formats.amber import format_row, header
from darc.formats.parset import load_obs_config
from darc.offline import process as serial
from darc.offline.dask_run import Outcome, connected, process_all
from darc.offline.plan import Account
from darc.offline.work import Work
from darc.offline.workers import ThisProcess
from darc.science.extraction import warm_up
from darc.simulation.amber_writer import trigger_file
from darc.simulation.observation import Observation

NCORE, NBEAM = 2, 8
CLUSTERS_PER_S, NSB = 20, 20
#: Time in s between two clusters of a synthesised beam: more than what is grouped.
SPACING_S = 0.6
TARGET_RATIO, TARGET_SPEED, TARGET_MB = 1.8, 1.0, 1000.0
#: Longest time in s that the processes of the limit take.
PATIENCE_S = 200.0
#: A process of the limit uses one core, as a worker does.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measure() -> list[dict[str, object]]:
    """Return ratio, speed and memory."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:NCORE])
    os.environ.update(ONE_THREAD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        works = write_works(folder)
        limit_speed = limit_per_s(folder) / CLUSTERS_PER_S
        largest_mb = needed(make_extractor(folder), len(CASES) - 1)[1] * ARTS.nchan / 1e6
        limit_ratio = NCORE * independent_s(works, 1) / independent_s(works, NCORE)
        (alone_s, _, _), (together_s, idle_mb, most_mb) = (run(works, number) for number in (1, NCORE))
    data_s = NBEAM * DURATION_S
    what = f"{CLUSTERS_PER_S} clusters per s"
    return [
        figure(
            f"throughput of {NCORE} workers over that of 1, {NBEAM} beams",
            alone_s / together_s,
            "",
            TARGET_RATIO,
            limit_ratio,
        ),
        figure(
            f"beam with {what}, processed again by {NCORE} workers",
            data_s / together_s,
            "x real time",
            TARGET_SPEED,
            limit_speed,
        ),
        figure(f"beam with {what}, by 1 worker", data_s / alone_s, "x real time", 0.5, limit_speed / NCORE),
        figure("peak memory of a worker", most_mb, "MB", TARGET_MB, idle_mb + largest_mb, "less"),
    ]


def figure(
    name: str, value: float, unit: str, target: float, limit: float, better: str = "more"
) -> dict[str, object]:
    """Return a row of the table."""
    return {"name": name, "value": value, "unit": unit, "target": target, "better": better, "limit": limit}


def write_works(folder: Path) -> list[Work]:
    """Write data and rows of the beams, which have the same data."""
    write_beam(folder)
    path = folder / "config.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    content["sb_generator"]["numsb"]["sc3"] = NSB
    (folder / "table").write_text((" ".join(map(str, ROW)) + "\n") * NSB)
    content["offline_processing"] = {
        "log_file": str(folder / "log"),
        "result_dir": str(folder / "results"),
        "snrmin_processing_local": 0.0,
        "dmgal_frac": 0.0,
    }
    content["amber_clustering"] = {"galaxy_model": "none", "galactic_dm_max": 50.0}
    path.write_text(yaml.safe_dump(content))
    config = load_config(path, NODE)
    beams = tuple(range(NBEAM))
    observation = Observation("NOISE", datetime(2026, 1, 1, tzinfo=UTC), DURATION_S, beams=beams)
    files = observation.write(folder)
    works = []
    for beam in beams:
        obs_config = load_obs_config(files.workers[beam]) | {"ntabs": NTAB}
        filterbank = Path(obs_config["output_dir"]) / "filterbank"
        filterbank.mkdir(parents=True)
        for tab in range(NTAB):
            (filterbank / f"CB{beam:02d}_{tab:02d}.fil").symlink_to(folder / f"filterbank/CB00_{tab:02d}.fil")
        trigger_file(files.amber_dirs[beam], beam, 1).write_text(header() + "".join(rows()))
        for step in range(2, observation.ninstance + 1):
            trigger_file(files.amber_dirs[beam], beam, step).write_text(header())
        works.append(Work.of(obs_config, config))
    return works


def rows() -> list[str]:
    """Return AMBER's rows of the clusters of a beam."""
    kinds = np.random.default_rng(1).permutation(np.repeat(range(len(CASES)), MIXTURE))
    found = []
    for number in range(CLUSTERS_PER_S * DURATION_S):
        dm, width, *_ = CASES[kinds[number % len(kinds)]]
        time_s = 0.1 + number // NSB * SPACING_S
        batch, rest_s = divmod(time_s, ARTS.batch_s)
        found.append(
            format_row(
                beam=number % NSB,
                batch=int(batch),
                sample=int(rest_s / ARTS.tsamp_s) // width,
                integration_step=width,
                time_s=time_s,
                dm=dm + number % 100 / 100,
                snr=10.0,
            )
        )
    return found


def run(works: list[Work], number: int) -> tuple[float, float, float]:
    """Process the beams with a number of workers.

    Returns:
        time in s, and the highest peak memory of a worker in MB before and afterwards
    """
    with connected(None, number) as client:
        client.run(warm_up)
        client.run(import_all)
        before_mb = max(client.run(peak_mb).values())
        process(works[:number], client)
        start = time.perf_counter()
        process(works, client)
        return time.perf_counter() - start, before_mb, max(client.run(peak_mb).values())


def import_all() -> None:
    """Import what the steps need."""
    import matplotlib.backends.backend_pdf
    import onnxruntime

    assert matplotlib and onnxruntime


def process(works: list[Work], client: Client) -> None:
    """Process beams from the start.

    Raises:
        RuntimeError: something went wrong
    """
    outcomes: list[Outcome] = []
    process_all(works, client, outcomes.append, again=["amber"])
    for outcome in outcomes:
        numbers = outcome.account.numbers
        if not outcome.good or numbers.get("ncand_abovethresh") != CLUSTERS_PER_S * DURATION_S:
            raise RuntimeError(f"{outcome.error or outcome.account.problems}: {numbers}")


# --- the limit of the ratio --------------------------------------------------------------------------------


def independent_s(works: list[Work], number: int) -> float:
    """Return the time in s that processes which know nothing of each other take, each for its share of beams.

    Args:
        works: the beams; a process does as many of them as if there were `NCORE`
        number: how many processes there are
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(number + 1)
    shares = [works[first::NCORE] for first in range(number)]
    processes = [
        context.Process(target=process_share, args=(share, barrier), daemon=True) for share in shares
    ]
    for each in processes:
        each.start()
    barrier.wait(PATIENCE_S)
    start = time.perf_counter()
    barrier.wait(PATIENCE_S)
    duration_s = time.perf_counter() - start
    for each in processes:
        each.join()
    return duration_s


def process_share(works: list[Work], barrier: Barrier) -> None:
    """Process beams one after the other, when everybody else has done one, too."""
    process_serially(works[0])
    barrier.wait(PATIENCE_S)
    for work in works:
        process_serially(work)
    barrier.wait(PATIENCE_S)


def process_serially(work: Work) -> None:
    """Process a beam from the start in this process."""
    serial.process(work, Account(), again=["amber"], workers=ThisProcess())


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
