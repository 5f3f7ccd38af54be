"""The results of an observation through real processes: asked nodes, pages, and mails at a real server."""

import multiprocessing
import os
import re
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import yaml
from aiosmtpd.controller import Controller

from darc.formats.parset import load_obs_config
from darc.formats.results import Summary, Trigger, build_summary, build_triggers
from darc.network.command_protocol import Reply
from darc.network.command_server import CommandServer
from darc.network.process_queue import ProcessQueue
from darc.processor_master import ProcessorMasterManager
from darc.simulation.observation import Observation

TIMEOUT_S = 50
PDF = b"%PDF-1.7\n%%EOF\n"


def until(condition, what):
    """Wait until something holds, and return it."""
    end = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what()}"
        time.sleep(0.02)
    return found


class MailServer(Controller):
    """A mail server on a port that was bound beforehand, so that nobody else can take it."""

    def __init__(self):
        self._bound = socket.create_server(("127.0.0.1", 0))
        self.mails = []
        super().__init__(self, "127.0.0.1", self._bound.getsockname()[1])

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self._bound)

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


class MasterNode:
    """A master node of which only the service that reports runs; nodes of beams are command ports."""

    def __init__(self, folder, mail_port, node_port):
        self.folder = folder
        start = datetime.now(UTC) - timedelta(seconds=60)
        observation = Observation("FAKE", start, 20.48, beams=(0, 3))
        self.obs_config = load_obs_config(observation.write(folder / "observation").master)
        self.label, self.task_id = observation.date_time_source, observation.task_id
        self.results = folder / "results" / self.obs_config["date"] / self.label
        # nobody listens on the port of beam 3, and nobody else can have it
        self._taken = socket.socket()
        self._taken.bind(("127.0.0.1", 0))
        site = {
            "nodes": {
                "master": {"name": "here"},
                "workers": [
                    {"name": "node0", "beam": 0, "address": "127.0.0.1", "port": node_port},
                    {
                        "name": "node3",
                        "beam": 3,
                        "address": "127.0.0.1",
                        "port": self._taken.getsockname()[1],
                    },
                ],
            },
            "mail": {"host": "127.0.0.1", "port": mail_port, "sender": "darc@example.org"},
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 100.0},
            "darc_master": {"state_dir": str(folder / "state")},
            "processor": {"result_dir": str(folder / "results")},
            "processor_master": {
                "log_file": str(folder / "log"),
                "scavenger_interval": 0.2,
                "check_interval": 0.1,
                "max_wait_time": 1.0,
                "webdir": str(folder / "web"),
                "email_settings": {"to": "observers@example.org"},
            },
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(site))
        self.queue = ProcessQueue()
        self.run()

    def run(self):
        self.manager = ProcessorMasterManager(
            self.queue, config_file=self.folder / "config.yaml", node="here", start_method="forkserver"
        )
        self.manager.start()

    def start(self):
        self.queue.put({"command": "start_observation", "obs_config": self.obs_config}, timeout=5)

    def write(self, beam, *snrs):
        triggers = [
            Trigger(cb=beam, snr=snr, dm=56.77, time_s=1.5, downsamp=10, sb=35, probability=0.9)
            for snr in snrs
        ]
        self.results.mkdir(parents=True, exist_ok=True)
        for name, content in (
            (f"CB{beam:02d}.pdf", PDF),
            (f"CB{beam:02d}_triggers.txt", build_triggers(triggers).encode()),
            (f"CB{beam:02d}_summary.yaml", build_summary(Summary(9, 9, 9, len(snrs))).encode()),
        ):
            (self.results / name).write_bytes(content)

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def pids(self):
        return [int(pid) for pid in re.findall(r"is processed by process (\d+)", self.log())]

    def stop(self):
        self.queue.put("stop")
        self.manager.join(10)
        assert self.manager.exitcode == 0, self.log()

    def close(self):
        self.stop()
        self._taken.close()


@pytest.fixture
def mail():
    server = MailServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def worker():
    """The command port of a node whose processor works on what stands in the list."""
    tasks = []

    def answer(request):
        assert (request.service, request.command) == ("processor", "get_attr observations")
        return Reply("Success", {"ProcessorManager.observations": str(dict.fromkeys(tasks, "label"))})

    with CommandServer(("127.0.0.1", 0), answer, timeout_s=5.0) as server:
        server.tasks = tasks
        yield server


@pytest.fixture
def node(tmp_path, mail, worker):
    multiprocessing.set_forkserver_preload(["darc.processor_master"])
    node = MasterNode(tmp_path, mail.port, worker.address[1])
    worker.tasks.append(node.task_id)
    yield node
    node.close()


def test_an_observation_is_reported_although_a_node_is_gone_and_the_process_is_killed(node, mail):
    node.start()
    (pid,) = until(node.pids, node.log)
    (warning,) = until(lambda: mail.mails, node.log)
    assert "no results of CB03 from node3" in warning["Subject"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(node.pids()) == 2, node.log)
    # its node works on it, and it comes long after the time of the other one
    until(lambda: len(re.findall("node0: works on this observation", node.log())) > 12, node.log)
    node.write(0, 12.0, 34.0)
    report = until(lambda: next((m for m in mail.mails if "2 candidates" in m["Subject"]), None), node.log)
    assert report["Subject"] == f"{node.label}: 2 candidates, 1 of 2 beams missing"
    assert [part.get_filename() for part in report.iter_attachments()] == ["CB00.pdf"]
    assert "did not answer" in report.get_body(("plain",)).get_content()
    page = node.folder / "web" / node.obs_config["date"] / node.label / "index.html"
    assert "34.0" in page.read_text()
    assert Path(report.get_body(("plain",)).get_content().split("Page")[1].split()[0]) == page
    # what comes late is told, and then all is done
    node.write(3, 56.0)
    late = until(lambda: next((m for m in mail.mails if "late" in m["Subject"]), None), node.log)
    assert "CB03" in late["Subject"] and "56.0" in page.read_text()
    until(lambda: "is finished" in node.log(), node.log)
    assert not list((node.folder / "state" / "processor_master").iterdir())
    assert sum("2 candidates" in m["Subject"] for m in mail.mails) == 1


def test_a_service_that_was_stopped_goes_on_with_what_is_open_and_mails_it_once(node, mail):
    node.start()
    until(node.pids, node.log)
    node.stop()
    assert not mail.mails or "no results" in mail.mails[0]["Subject"]
    node.write(0), node.write(3)
    node.run()
    until(lambda: "is finished" in node.log(), node.log)
    node.start()  # once more, by an operator
    until(lambda: "are not mailed again" in node.log(), node.log)
    assert [m["Subject"] for m in mail.mails if "candidates" in m["Subject"]] == [
        f"{node.label}: 0 candidates"
    ]
