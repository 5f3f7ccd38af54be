"""Time to start: of the `darc` command, as a whole process, and of a worker until all its services answer.

The limits: an interpreter that starts and ends, and one that imports what no worker can do without, numpy and
astropy's times and coordinates.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from darc.errors import DARCError
from darc.network.command_client import send_command
from darc.network.command_protocol import Reply, Request
from darc.simulation.cluster import free_ports

COMMAND_ROUNDS = 21
NODE_ROUNDS = 5
NODE = "worker"
SERVICES = ["amber_listener", "amber_clustering", "dada_trigger", "processor"]
#: Pause in s between two questions whether all services run.
POLL_S = 0.01
PATIENCE_S = 60.0


def measure() -> list[dict[str, object]]:
    """Return the figures, medians of several runs."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (port,) = free_ports(1)
        site_file = home / "site.yaml"
        site_file.write_text(yaml.safe_dump(site(port)), encoding="utf-8")
        command = [*program("darc", "darc.control"), "--site-config", str(site_file), "--node", NODE]
        started_s = [time_to_start(home, site_file, port) for _ in range(NODE_ROUNDS)]
        with running_node(home, site_file):
            ask(port, "status")
            status_s = times(COMMAND_ROUNDS, [*command, "status"])
        version_s = times(COMMAND_ROUNDS, [*command, "--version"])
    bare_s = times(COMMAND_ROUNDS, [sys.executable, "-c", "pass"])
    libraries = "import numpy, astropy.time, astropy.coordinates"
    libraries_s = times(NODE_ROUNDS, [sys.executable, "-c", libraries])
    return [
        figure("darc --version, whole process", version_s, bare_s, 150.0, "ms"),
        figure("darc status, whole process", status_s, bare_s, 150.0, "ms"),
        figure("all services of a worker answer after its start", started_s, libraries_s, 2.0, "s"),
    ]


def site(port: int) -> dict[str, object]:
    """Return the configuration of a site that is one worker node with the services of real time."""
    return {
        "nodes": {"workers": [{"name": NODE, "beam": 0, "address": "127.0.0.1", "port": port}]},
        "darc_master": {"services_worker_mix": SERVICES},
        "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 100.0},
    }


def program(name: str, module: str) -> list[str]:
    """Return how to start a program: as it was installed, else from its module."""
    script = Path(sys.executable).with_name(name)
    return [str(script)] if script.exists() else [sys.executable, "-m", module]


@contextmanager
def running_node(home: Path, site_file: Path) -> Iterator[None]:
    """Run the node."""
    command = [*program("darc_service", "darc.darc_master"), "--config", str(site_file), "--node", NODE]
    with subprocess.Popen(command, env=os.environ | {"HOME": str(home)}) as process:
        try:
            yield
        finally:
            process.terminate()


def time_to_start(home: Path, site_file: Path, port: int) -> float:
    """Return the time in s from the start of a node until all its services have answered a question."""
    start = time.perf_counter()
    with running_node(home, site_file):
        while True:
            states = ask(port, "status").message
            assert isinstance(states, dict)
            if all(states[name] == "running" for name in SERVICES):
                break
            time.sleep(POLL_S)
        reply = ask(port, "get_attr service_name")
        if reply.status != "Success":
            raise DARCError(f"not all services answer: {reply.message}")
        return time.perf_counter() - start


def ask(port: int, command: str) -> Reply:
    """Ask the node, as soon as it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return send_command("127.0.0.1", port, Request(command=command, service="all"), PATIENCE_S)
        except DARCError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)


def times(rounds: int, command: Sequence[str]) -> list[float]:
    """Return the time in s of whole processes; one that is not counted warms up."""
    durations = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        durations.append(time.perf_counter() - start)
    return durations[1:]


def figure(
    name: str, value_s: list[float], limit_s: list[float], target: float, unit: str
) -> dict[str, object]:
    """Return a figure in its unit."""
    scale = {"s": 1.0, "ms": 1e3}[unit]
    return {
        "name": name,
        "value": statistics.median(value_s) * scale,
        "unit": unit,
        "target": target,
        "better": "less",
        "limit": statistics.median(limit_s) * scale,
    }


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
