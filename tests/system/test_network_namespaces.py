"""A master node and a worker node as two hosts: in network namespaces of their own, whose link is cut."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from darc.definitions import ARTS
from darc.formats.amber import format_row, header
from darc.simulation.amber_writer import trigger_file
from darc.simulation.cluster import free_ports
from darc.simulation.observation import Observation

#: How long each cut lasts; the long form sets 30.
CUT_S = float(os.environ.get("DARC_TEST_CUT_S", "3"))
TIMEOUT_S = 60.0
ADDRESSES = {"master": "10.213.7.1", "worker": "10.213.7.2"}


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


def until(condition, what):
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return value


class Host:
    """A network namespace with one end of a link."""

    def __init__(self, node):
        self.node, self.name = node, f"darc-{node}-{os.getpid()}"
        self.link = f"d{node[0]}{os.getpid()}"

    def set(self, *arguments):
        answer = ip("-n", self.name, *arguments)
        assert answer.returncode == 0, answer.stderr

    def connect(self):
        self.set("link", "set", "lo", "up")
        self.set("address", "add", f"{ADDRESSES[self.node]}/24", "dev", self.link)
        self.set("link", "set", self.link, "up")

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, sys.executable, "-m", *command]


@pytest.fixture
def hosts():
    """Two namespaces, connected by a link; a test that may not make them is skipped."""
    if shutil.which("ip") is None:
        pytest.skip("network namespaces: no ip: apt-get install iproute2")
    hosts = {node: Host(node) for node in ADDRESSES}
    master, worker = hosts.values()
    try:
        for host in hosts.values():
            if (answer := ip("netns", "add", host.name)).returncode:
                pytest.skip(f"network namespaces are not allowed here: {answer.stderr.strip()}")
        ends = ("netns", master.name, "type", "veth", "peer", "name", worker.link, "netns", worker.name)
        if (answer := ip("link", "add", master.link, *ends)).returncode:
            pytest.skip(f"network namespaces cannot be connected here: {answer.stderr.strip()}")
        for host in hosts.values():
            host.connect()
        yield hosts
    finally:
        for host in hosts.values():
            ip("netns", "delete", host.name)


class Site:
    """Both nodes, and AMBER's file on the worker."""

    def __init__(self, folder, hosts):
        self.folder, self.hosts, self.nodes, self.batch = folder, hosts, [], 0
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        self.observation = Observation("SOMEWHERE", start, 299.008, ninstance=1)
        self.files = self.observation.write(folder)
        self.environment = {**os.environ, "HOME": str(folder)}
        self.site_file = folder / "config.yaml"
        self.site_file.write_text(yaml.safe_dump(self.settings()))
        self.amber = trigger_file(self.files.amber_dirs[0], 0, 1)
        self.amber.write_text(header())

    def settings(self):
        ports = free_ports(4)
        address = ADDRESSES["master"]
        return {
            "nodes": {
                "master": {"name": "master", "address": ADDRESSES["master"], "port": ports[0]},
                "workers": [
                    {"name": "worker", "beam": 0, "address": ADDRESSES["worker"], "port": ports[1]}
                ],
            },
            "darc_master": {
                "mode": "real-time",
                "services_master_rt": ["voevent_generator"],
                "services_worker_rt": ["amber_listener", "amber_clustering"],
                "address": "0.0.0.0",
                "payload_dirs": [str(self.folder)],
            },
            "amber_clustering": {
                "galaxy_model": "none", "galactic_dm_max": 20.0, "sb_filter": False,
                "source_file": str(self.files.source_list),
            },
            "lofar_trigger": {"server_port": ports[2], "server_address": address},
            "voevent_generator": {
                "server_port": ports[3], "server_address": address, "interval": 0.0, "send_events": True,
                "min_spacing": 0.0, "max_per_hour": None,
                # nobody listens there, so that the events stay in the order in which they came
                "broker_host": "127.0.0.1", "broker_port": ports[2],
            },
        }  # fmt: skip

    def start(self):
        for node, host in self.hosts.items():
            command = host.command("darc.darc_master", "--config", str(self.site_file), "--node", node)
            with (self.folder / f"{node}.out").open("wb") as output:
                process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
            self.nodes.append(process)
            # the master node first, since it makes the keys
            until(lambda: process.poll() is not None or self.runs(node), f"services of {node}")  # noqa: B023
            assert process.poll() is None, (self.folder / f"{node}.out").read_text()
        self.darc("worker", "--parset", str(self.files.workers[0]), "start_observation")

    def stop(self):
        for process in reversed(self.nodes):
            process.terminate()
        for process in self.nodes:
            process.wait(TIMEOUT_S)

    def darc(self, node, *arguments):
        command = self.hosts[node].command(
            "darc.control", "--site-config", str(self.site_file), "--node", node, *arguments
        )
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def runs(self, node):
        log = self.folder / "darc" / "log" / f"darc_master.{node}.log"
        number = 1 if node == "master" else 2
        return log.exists() and log.read_text().count("starting -> running") == number

    def burst(self, dm):
        """Have AMBER find a burst."""
        self.batch += 2
        time_s = self.batch * ARTS.batch_s
        row = format_row(
            beam=35, batch=self.batch, sample=0, integration_step=10, time_s=time_s, dm=dm, snr=60.0
        )
        with self.amber.open("a") as file:
            file.write(row + "\n")

    def decided(self):
        """DMs of the bursts that the master node knows of, in their order."""
        path = self.folder / "darc" / "state" / "master" / "sent" / "voevent_generator.jsonl"
        events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [event["trigger"]["dm"] for event in events if event["outcome"] == "decided"]

    def waiting(self):
        return len(list((self.folder / "darc/state/worker/outgoing/voevent_generator").glob("*.json")))

    def cut(self, node, *dms):
        """Cut the link of a node, have bursts found meanwhile, and mend it."""
        host = self.hosts[node]
        host.set("link", "set", host.link, "down")
        mended_at = time.monotonic() + CUT_S
        for number, dm in enumerate(dms, start=1):
            self.burst(dm)
            until(lambda: self.waiting() == number, "a trigger on the worker's disk")  # noqa: B023
        time.sleep(max(0.0, mended_at - time.monotonic()))
        host.set("link", "set", host.link, "up")


@pytest.fixture
def site(tmp_path, hosts):
    site = Site(tmp_path, hosts)
    try:
        site.start()
        yield site
    finally:
        site.stop()


def test_what_is_found_while_the_link_is_cut_arrives_in_order(site):
    site.burst(100.0)
    until(lambda: site.decided() == [100.0], "the first event")
    site.cut("worker", 110.0, 120.0)
    until(lambda: len(site.decided()) == 3, "what was found while the worker was away")
    site.cut("master", 130.0, 140.0)
    until(lambda: len(site.decided()) == 5, "what was found while the master node was away")
    site.burst(150.0)
    until(lambda: len(site.decided()) == 6, "the last event")
    assert site.decided() == [100.0, 110.0, 120.0, 130.0, 140.0, 150.0]
    until(lambda: site.waiting() == 0, "an empty queue on the worker's disk")
