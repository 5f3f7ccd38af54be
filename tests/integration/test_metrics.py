"""Metrics of a real master with real services, as Prometheus reads them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from darc.formats.amber import format_row, header
from darc.network.command_client import send_command
from darc.network.command_protocol import Request
from darc.simulation.cluster import free_ports
from darc.simulation.observation import Observation

PATIENCE_S = 30.0
SERVICES = ["amber_listener", "amber_clustering"]
LINES = "darc_amber_lines_total step=1"


def eventually(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.1)  # a scrape is work for those who start, too
    return value


class Node:
    """A worker node whose metrics are served."""

    def __init__(self, home: Path) -> None:
        self.command_port, self.metrics_port = free_ports(2)
        entry = {"name": "w", "beam": 0, "address": "127.0.0.1", "port": self.command_port}
        settings = {
            "services_worker_mix": SERVICES,
            "metrics_port": self.metrics_port,
            "restart_backoff_min": 0.1,
            "restart_limit": 10,
        }
        site = {
            "nodes": {"workers": [entry]},
            "darc_master": settings,
            "amber_clustering": {
                "galaxy_model": "none",
                "galactic_dm_max": 100.0,
                "sb_filter": False,
                "source_file": str(home / "sources.yaml"),
            },
        }
        (home / "sources.yaml").write_text("pulsars: {}\nfrbs: {}\naliases: {}\n")
        (home / "site.yaml").write_text(yaml.safe_dump(site))
        command = [
            sys.executable,
            "-m",
            "darc.darc_master",
            "--config",
            str(home / "site.yaml"),
            "--node",
            "w",
        ]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DARC_")}
        with (home / "out").open("wb") as output:
            self.process = subprocess.Popen(
                command, env=kept | {"HOME": str(home)}, stdout=output, stderr=output
            )

    def ask(self, command: str, payload: object = None) -> Any:
        request = Request(command=command, payload=None if payload is None else str(payload))
        answer = send_command("127.0.0.1", self.command_port, request, PATIENCE_S)
        assert answer.status == "Success", answer
        return answer.message

    def pids(self) -> dict[str, int]:
        return {name: service["pid"] for name, service in self.ask("details")["services"].items()}

    def scrape(self) -> dict[str, float]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=PATIENCE_S
            ) as reply:
                text = reply.read().decode()
        except OSError:
            return {}  # it does not listen yet
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        assert {sample.labels.pop("node") for sample in samples} == {"w"}
        return {
            " ".join(
                [each.name, *(f"{name}={value}" for name, value in sorted(each.labels.items()))]
            ): each.value
            for each in samples
        }

    def wait_for(self, wanted: dict[str, float]) -> dict[str, float]:
        return eventually(lambda: (now := self.scrape()).items() >= wanted.items() and now, str(wanted))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    started = Node(tmp_path)
    yield started
    started.process.terminate()
    started.process.wait(PATIENCE_S)


UP = {f"darc_service_up service={name}": 1.0 for name in SERVICES}


def test_lines_are_counted_also_by_services_that_are_killed(node, tmp_path):
    before = node.wait_for(UP)
    assert before["darc_triggers_total kind=iquv outcome=failed"] == 0
    start = datetime.now(UTC) - timedelta(seconds=1)
    files = Observation("B0531+21", start, duration_s=60.0).write(tmp_path / "observation")
    node.ask("start_observation", files.workers[0])
    triggers = files.amber_dirs[0] / "CB00_step1.trigger"
    row = format_row(beam=35, batch=0, sample=100, integration_step=1, time_s=0.008192, dm=500.0, snr=20.0)
    triggers.write_text(header() + row * 9)
    sent = {"darc_decisions_total limit=send receiver=iquv": 1.0, "darc_batches_total": 1.0}
    counted = node.wait_for({LINES: 10.0, "darc_amber_rows_total": 9.0, **sent})
    assert counted["darc_observations state=running"] == 1
    assert eventually(lambda: node.scrape().get("darc_seconds_behind"), "the delay") < 2 * PATIENCE_S
    assert abs(counted["darc_observation_end_time_seconds"] - start.timestamp() - 60) < 3

    for name, pid in node.pids().items():
        os.kill(pid, signal.SIGKILL)
        node.wait_for({f"darc_service_restarts_total service={name}": 1.0})
    # the new listener reads the file from its beginning
    after = node.wait_for({LINES: 20.0, **UP})
    assert all(after[name] >= value for name, value in counted.items() if "_total" in name)
    figures = node.ask("details")["figures"]
    assert figures['darc_amber_lines_total{step="1"}'] == 20
    node.ask("abort_observation", files.workers[0])
    eventually(lambda: node.scrape()["darc_observations state=running"] == 0, "no observation")


def test_a_client_that_says_nothing_holds_up_nobody(node):
    node.wait_for(UP)
    with socket.create_connection(("127.0.0.1", node.metrics_port), PATIENCE_S):
        assert node.scrape()
    node.process.terminate()
    assert node.process.wait(PATIENCE_S) == 0
    assert node.scrape() == {}
