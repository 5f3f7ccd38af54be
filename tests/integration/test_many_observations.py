"""Observations in a row leave nothing behind in the services; benchmarks/soak.py shows it for a thousand."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from darc.amber_clustering import AMBERClustering
from darc.amber_listener import AMBERListener
from darc.dada_trigger import DADATrigger
from darc.formats.amber import format_row, header
from darc.formats.parset import load_obs_config
from darc.network.process_queue import ProcessQueue
from darc.simulation.observation import Observation

LONGEST_S = 50.0
START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)


class Services:
    """The services from AMBER's files to the dumps, as processes."""

    def __init__(self, folder):
        self.folder = folder
        site_file = folder / "site.yaml"
        site_file.write_text(
            yaml.safe_dump(
                {
                    "nodes": {"workers": {"here": 0}},
                    "darc_master": {"state_dir": str(folder / "state")},
                    "amber_listener": {"log_file": str(folder / "log"), "interval": 0.05},
                    "amber_clustering": {
                        "log_file": str(folder / "log"),
                        "galaxy_model": "none",
                        "galactic_dm_max": 100.0,
                        "source_file": str(folder / "controller" / "source_list.yaml"),
                        "thresh_iquv": {"interval": 0.0},
                    },
                    "dada_trigger": {"log_file": str(folder / "log"), "send_timeout": 1.0},
                }
            )
        )
        self.queues = [ProcessQueue() for _ in range(3)]
        self.control = ProcessQueue()
        following = [*self.queues[1:], None]
        self.services = [
            kind(source, target, control_queue=self.control, config_file=site_file, node="here",
                 start_method="forkserver", **more)
            for kind, source, target, more in zip(
                (AMBERListener, AMBERClustering, DADATrigger), self.queues, following,
                ({}, {"connect_vo": False, "connect_lofar": False}, {}), strict=True,
            )
        ]  # fmt: skip
        for service in self.services:
            service.start()

    def observe(self, number):
        observation = Observation("somewhere", START, 299.008, ninstance=1, number=number)
        obs_config = load_obs_config(observation.write(self.folder).workers[0])
        amber = Path(obs_config["amber_dir"])
        amber.mkdir(parents=True, exist_ok=True)
        rows = [
            format_row(beam=35, batch=batch, sample=5, integration_step=10, time_s=1.024 * batch + 0.1,
                       dm=400.0, snr=30.0)
            for batch in range(5, 8)
        ]  # fmt: skip
        (amber / "CB00_step1.trigger").write_text("\n".join([header().rstrip(), *rows, ""]))
        for command in ("start_observation", "stop_observation"):
            message = {"command": command, "obs_config": obs_config, "reload_conf": True, "resume": False}
            for source in self.queues:
                source.put(message, timeout=LONGEST_S)

    def wait(self, number):
        """Wait until each service has seen the end of so many observations."""
        end, log = time.monotonic() + LONGEST_S, self.folder / "log"
        while not log.exists() or log.read_text().count("stopping the observation") < 3 * number:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)

    def used(self):
        """Files and threads of each service."""
        return [
            [sum(1 for _ in Path(f"/proc/{service.pid}", of).iterdir()) for of in ("fd", "task")]
            for service in self.services
        ]

    def close(self):
        for service, source in zip(self.services, self.queues, strict=True):
            source.put("stop")
            service.join(LONGEST_S)
        for each in (*self.queues, self.control):
            each.close()


@pytest.fixture
def services(tmp_path):
    services = Services(tmp_path)
    yield services
    services.close()


def test_observations_in_a_row_leave_no_files_and_no_threads_behind(services):
    for number in range(1, 6):
        services.observe(number)
    services.wait(5)
    before = services.used()
    for number in range(6, 26):
        services.observe(number)
    services.wait(25)
    # what happens to be open at a look: a log that is written, AMBER's file until its end is seen
    assert all(
        now <= then + 2
        for pair in zip(before, services.used(), strict=True)
        for then, now in zip(*pair, strict=True)
    )
