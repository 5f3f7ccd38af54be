"""Many observations in a row on a worker node: nothing may grow with their number.

    python -m benchmarks.soak [--number 1000] [--processor]

Each observation has rows of AMBER with a burst in them, and is stopped. Memory, file descriptors and threads
of each service, and the number of processes, are looked at from time to time. It ends with exit code 1 if any
of them grew after the first fifth. With `--processor` the real-time processing runs, too, which takes seconds
for each observation.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from darc.definitions import ARTS
from darc.errors import DARCError
from darc.formats.amber import format_row, header
from darc.formats.parset import load_obs_config
from darc.network.command_client import send_command
from darc.network.command_protocol import Request
from darc.simulation.cluster import Cluster, worker
from darc.simulation.observation import Observation

BEAM = 0
SERVICES = ["amber_listener", "amber_clustering", "dada_trigger"]
#: Looks in all, and how many observations there are from one to the next at least.
NLOOK, BETWEEN_MIN = 10, 2
#: Growth of memory that is taken for that of caches: a share, and in MB.
GROWTH, GROWTH_MB = 0.05, 4.0
#: Files that happen to be open at a look or not.
OPEN_BY_CHANCE = 2
#: Time in s for what an observation leaves to end before a look.
CALM_S = 3.0
#: Longest time in s for an answer.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Usage:
    """What a service uses.

    Attributes:
        memory_mb: resident memory
        files: open file descriptors
        threads: number of threads
    """

    memory_mb: float
    files: int
    threads: int

    def grew_to(self, later: Usage) -> bool:
        """Whether a later look shows growth."""
        return (
            later.memory_mb > self.memory_mb * (1 + GROWTH) + GROWTH_MB
            or later.files > self.files + OPEN_BY_CHANCE
            or later.threads > self.threads
        )


class Soak:
    """A worker node that observes again and again.

    Args:
        folder: for all files
        processor: whether the real-time processing runs
    """

    def __init__(self, folder: Path, processor: bool) -> None:
        self.folder = folder
        services = [*SERVICES, "processor"] if processor else SERVICES
        settings: dict[str, Any] = {
            "darc_master": {
                "services_worker_mix": services,
                "services_master_mix": ["lofar_trigger"],
                "setup_time": 0.0,
            },
            "amber_clustering": {
                "galaxy_model": "none",
                "sb_filter": False,
                "galactic_dm_max": 100.0,
                "source_file": str(folder / "observation" / "controller" / "source_list.yaml"),
            },
            "processor": {"stop_delay": 0.0, "scavenger_interval": 1.0},
        }
        self.cluster = Cluster(folder / "cluster", (BEAM,), settings)

    def observe(self, number: int) -> None:
        """Observe once."""
        folder = self.folder / "observation"
        observation = Observation("soak", datetime.now(UTC), 600.0, beams=(BEAM,), number=number % 999 + 1)
        parset = observation.write(folder).workers[BEAM]
        amber = Path(load_obs_config(parset)["amber_dir"])
        amber.mkdir(parents=True, exist_ok=True)
        rows = [row(batch) for batch in range(10, 20)]
        for step in (1, 2, 3):
            (amber / f"CB{BEAM:02d}_step{step}.trigger").write_text("\n".join([header().rstrip(), *rows, ""]))
        for command in ("start_observation", "stop_observation"):
            self.ask(command, parset)

    def ask(self, command: str, parset: Path) -> None:
        """Give the worker node a command."""
        (entry,) = yaml.safe_load(self.cluster.site_file.read_text())["nodes"]["workers"]
        request = Request(command=command, payload=str(parset))
        reply = send_command(entry["address"], entry["port"], request, PATIENCE_S)
        if reply.status != "Success":
            raise DARCError(f"{command}: {reply.message}")

    def look(self) -> tuple[int, dict[str, Usage]]:
        """Return the number of processes, and what each service uses."""
        home = f"HOME={self.cluster.folder}\0".encode()
        found = [folder for folder in Path("/proc").glob("[0-9]*") if home in content(folder / "environ")]
        names = {
            pid: name
            for log in self.cluster.log_folder.glob(f"*.{worker(BEAM)}.log")
            for name, pid in re.findall(r" (\S+): started with process ID (\d+)", log.read_text())
        }
        return len(found), {names[folder.name]: usage(folder) for folder in found if folder.name in names}


def row(batch: int) -> str:
    """Return a row of a burst in the middle of a batch."""
    return format_row(
        beam=35,
        batch=batch,
        sample=500,
        integration_step=10,
        time_s=(batch * ARTS.samples_per_batch + 5000) * ARTS.tsamp_s,
        dm=500.0,
        snr=30.0,
    )


def content(path: Path) -> bytes:
    """Return what is in a file of a process, which may have ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def usage(folder: Path) -> Usage:
    """Return what a process uses."""
    status = content(folder / "status").decode()
    memory, threads = (re.search(rf"{key}:\s+(\d+)", status) for key in ("VmRSS", "Threads"))
    return Usage(
        float(memory[1]) / 1024 if memory else 0.0,
        len(list((folder / "fd").iterdir())),
        int(threads[1]) if threads else 0,
    )


def run(number: int, processor: bool, folder: Path) -> bool:
    """Observe many times; return whether nothing grew."""
    looks: list[tuple[int, dict[str, Usage]]] = []
    soak = Soak(folder, processor)
    every = max(BETWEEN_MIN, number // NLOOK)
    begin = time.monotonic()
    with soak.cluster:
        for done in range(1, number + 1):
            soak.observe(done)
            if done % every == 0:
                time.sleep(CALM_S)
                looks.append(soak.look())
                print(done, *show(looks[-1]), sep="  ", flush=True)
    print(f"{number} observations in {time.monotonic() - begin:.0f} s")
    (processes, first), (processes_after, last) = looks[len(looks) // 5], looks[-1]
    grown = [name for name in last if name in first and first[name].grew_to(last[name])]
    print(f"grown: {', '.join(grown) or 'nothing'}; processes {processes} -> {processes_after}")
    return not grown and processes_after <= processes


def show(look: tuple[int, dict[str, Usage]]) -> list[str]:
    """Return a look as text."""
    processes, services = look
    each = [
        f"{name} {u.memory_mb:.1f} MB {u.files} files {u.threads} threads" for name, u in services.items()
    ]
    return [f"{processes} processes", *each]


def main() -> int:
    """Take the options; return the exit code."""
    parser = argparse.ArgumentParser(description="Many observations in a row on a worker node.")
    parser.add_argument("--number", type=int, default=1000, help="how many")
    parser.add_argument("--processor", action="store_true", help="with the real-time processing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if run(options.number, options.processor, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
