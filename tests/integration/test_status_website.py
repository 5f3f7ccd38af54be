"""The status website as a process of its own, with nodes that answer over real connections."""

import json
import socket
import time

import pytest
import yaml

from darc.formats.node_details import NodeDetails, ServiceDetails
from darc.network.command_protocol import Reply
from darc.network.command_server import CommandServer
from darc.network.process_queue import ProcessQueue
from darc.status_website import StatusWebsite

DEADLINE_S = 20.0


def answer(request):
    if request.command == "log":
        return Reply("Success", {"path": "/x.log", "lines": ["a line"]})
    services = {"dada_trigger": ServiceDetails("running")}
    return Reply("Success", NodeDetails("w0", "worker", services=services).as_message())


@pytest.fixture
def site(tmp_path):
    with (
        CommandServer(("127.0.0.1", 0), answer, timeout_s=5.0) as server,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        workers = [
            {"name": "w0", "beam": 0, "address": "127.0.0.1", "port": server.address[1]},
            {"name": "w1", "beam": 1, "address": "127.0.0.1", "port": silent.getsockname()[1]},
        ]
        settings = {
            "web_dir": str(tmp_path / "web"),
            "log_file": str(tmp_path / "log"),
            "interval": 0.05,
            # the service ends at once also while it waits for an answer
            "timeout": 2.0,
        }
        path = tmp_path / "site.yaml"
        path.write_text(yaml.safe_dump({"nodes": {"workers": workers}, "status_website": settings}))
        yield path


def until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_asks_writes_answers_meanwhile_and_leaves_an_offline_page(site, tmp_path):
    web, questions, answers = tmp_path / "web", ProcessQueue(), ProcessQueue()
    service = StatusWebsite(questions, config_file=site, node="w0", control_queue=answers)
    service.start()
    try:
        until((web / "status.json").exists)
        nodes = json.loads((web / "status.json").read_text())["nodes"]
        assert {name: node["state"] for name, node in nodes.items()} == {"w0": "good", "w1": "unknown"}
        until((web / "logs" / "w0-darc_master.html").exists)
        questions.put({"command": "get_attr", "attribute": "interval", "id": 1})
        assert answers.get(timeout=DEADLINE_S)["status"] == "Success"
        service.terminate()
        service.join(DEADLINE_S)
        assert service.exitcode == 0
        assert "The status website is offline" in (web / "index.html").read_text()
    finally:
        if service.is_alive():
            service.kill()
            service.join()
        service.close()
        questions.close()
        answers.close()
