"""What the status website makes of what nodes answer, and when it writes what. Nodes are stand-ins."""

import json
import queue

import lxml.html
import pytest
import yaml

from darc.errors import DARCError
from darc.formats.node_details import NodeDetails, ServiceDetails
from darc.network.command_protocol import encode_reply, parse_reply
from darc.network.sweep import NodeError
from darc.status_website import MASTER, StatusWebsite

NOW = 1_795_348_800.0
SITE = {
    "nodes": {"master": {"name": "m", "address": "10.0.0.1"}, "workers": {"w0": 0, "w1": 1, "w2": 2}},
    "darc_master": {"services_worker_mix": ["dada_trigger", "processor"]},
}


def details(name, **services):
    states = {service: ServiceDetails(state) for service, state in services.items()}
    return NodeDetails(name, "worker", time=NOW, services=states).as_message()


class Cluster:
    """Answers what a test lays down."""

    def __init__(self):
        self.details, self.logs, self.asked = {}, {}, []

    def sweep(self, nodes, request, timeout_s, fallback=None, key_file=None):
        if fallback is not None:
            return {name: self._reply(self.details.get(name)) for name in nodes}
        self.asked.append({name: request[name].service for name in nodes})
        return {name: self._reply(self.logs.get(name)) for name in nodes}

    def _reply(self, message):
        if message is None:
            return NodeError("nobody listens there")
        return parse_reply(encode_reply("Success", message))


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr("darc.status_website.sweep", cluster.sweep)
    return cluster


@pytest.fixture
def make(tmp_path, cluster):
    def make(**settings):
        folders = {"web_dir": str(tmp_path / "web"), "log_file": str(tmp_path / "log")}
        path = tmp_path / "site.yaml"
        path.write_text(yaml.safe_dump(SITE | {"status_website": folders | settings}))
        service = StatusWebsite(queue.Queue(), config_file=path, node="m", control_queue=queue.Queue())
        service.clock = lambda: NOW
        return service

    return make


def published(service):
    return json.loads((service.web_dir / "status.json").read_text())


def page(service):
    return (service.web_dir / "index.html").read_text()


def test_a_round_shows_all_nodes_of_the_configuration(make, cluster):
    cluster.details = {
        "w0": details("w0", dada_trigger="running"),
        "w1": details("w1", dada_trigger="failed"),
    }
    service = make()
    service._round(0)
    nodes = published(service)["nodes"]
    assert {name: node["state"] for name, node in nodes.items()} == {
        "m": "unknown",
        "w0": "good",
        "w1": "bad",
        "w2": "unknown",
    }
    assert nodes["w2"]["services"] == {"dada_trigger": "unknown", "processor": "unknown"}
    assert nodes["w2"]["reason"] == "nobody listens there"
    assert (nodes["w0"]["last_answer"], nodes["w2"]["last_answer"]) == (NOW, None)
    assert all(f"node-{name}" in page(service) for name in nodes)


@pytest.mark.parametrize("nonsense", ["hello", {"services": 7}, {"error": "Invalid command: status"}, [[]]])
def test_nonsense_of_a_node_shows_as_such_for_that_node_only(make, cluster, nonsense):
    cluster.details = {"w0": details("w0", dada_trigger="running"), "w1": nonsense}
    service = make()
    service._round(0)
    nodes = published(service)["nodes"]
    assert (nodes["w0"]["state"], nodes["w1"]["state"]) == ("good", "bad")
    assert "nonsense" in nodes["w1"]["reason"]


def test_a_node_of_an_older_version_is_shown_by_its_status(make, cluster):
    cluster.details = {"w0": {"dada_trigger": "running", "observations": {}}}
    service = make()
    service._round(0)
    assert published(service)["nodes"]["w0"]["state"] == "good"


def test_a_round_fetches_one_log_of_each_node_that_answers_and_links_it(make, cluster):
    cluster.details = {"w0": details("w0", dada_trigger="running")}
    cluster.logs = {"w0": {"path": "/w0.log", "lines": ["one", "two", "<script>alert(1)</script>"]}}
    service = make(log_lines=2)
    for number in range(3):
        service._round(number)
    assert cluster.asked == [{"w0": None}, {"w0": "dada_trigger"}, {"w0": None}]
    log = (service.web_dir / "logs" / "w0-dada_trigger.html").read_text()
    assert "two" in log
    assert "one" not in log.split("<pre")[1]
    assert "<script>alert" not in log
    for name in ("dada_trigger", MASTER):
        assert f"logs/w0-{name}.html" in page(service)


@pytest.mark.parametrize("nonsense", ["hello", {"path": 1}, {"path": "/x", "lines": [1]}])
def test_a_log_that_is_none_is_left_out(make, cluster, nonsense):
    cluster.details = {"w0": details("w0", dada_trigger="running")}
    cluster.logs = {"w0": nonsense}
    service = make()
    service._round(0)
    assert not (service.web_dir / "logs").exists()


def test_links_of_all_pages_lead_to_files(make, cluster):
    cluster.details = {"w0": details("w0", dada_trigger="running")}
    cluster.logs = {"w0": {"path": "/w0.log", "lines": ["one"]}}
    service = make()
    for number in range(2):
        service._round(number)
    for path in service.web_dir.rglob("*.html"):
        for link in lxml.html.fromstring(path.read_text()).xpath("//@href | //@src"):
            if not link.startswith("#"):
                assert (path.parent / link).is_file(), f"{link} in {path}"


def test_the_last_page_says_that_the_website_is_offline(make, cluster):
    service = make()
    service._round(0)
    service.cleanup()
    assert "The status website is offline" in page(service)
    assert published(service) == {"written": NOW, "offline": True}


def test_a_round_that_ends_after_the_stop_does_not_hide_that_the_website_is_offline(
    make, cluster, monkeypatch
):
    service = make()
    statuses = service.get_status()

    def stopped_meanwhile():
        service._terminate()
        service.cleanup()
        return statuses

    monkeypatch.setattr(service, "get_status", stopped_meanwhile)
    service._round(0)
    assert "The status website is offline" in page(service)


def test_a_page_appears_complete_or_not_at_all(make, cluster):
    service = make()
    service._round(0)
    assert not list(service.web_dir.rglob("*.part"))


def test_what_cannot_be_written_is_said_once(make, cluster, tmp_path, caplog, monkeypatch):
    (tmp_path / "web").write_text("a file where the folder should be")
    service = make()
    pauses = []
    monkeypatch.setattr(service, "_pause", pauses.append)
    monkeypatch.setattr(service, "_is_stopping", lambda: len(pauses) == 3)
    service._keep_asking()
    assert sum("no new status page" in record.message for record in caplog.records) == 1


def test_a_colour_that_is_none_is_refused(make):
    with pytest.raises(DARCError, match=r"status_website\.colour_good = 'green; x'"):
        make(colour_good="green; x").publish_status({})


def test_the_template_is_what_stands_around_the_status():
    header, footer = StatusWebsite.get_template()
    assert header.startswith("<!doctype html>")
    assert footer.rstrip().endswith("</html>")


def test_a_command_is_executed_when_there_is_one(make):
    service = make()
    service.check_command()
    service.source_queue.put({"command": "get_attr", "attribute": "interval", "id": 5})
    service.check_command()
    answer = service.control_queue.get(timeout=1)
    assert (answer["status"], answer["message"]) == ("Success", {"StatusWebsite.interval": "10.0"})
