"""What is found of other nodes, the mail server and the broker. Nobody is asked."""

import socket

import pytest
import yaml

from darc import __version__
from darc.config import load_config
from darc.errors import DARCError
from darc.installation import others
from darc.installation.findings import Grade
from darc.network.command_protocol import Reply
from darc.network.sweep import NodeError

OK, WARNING, WRONG = Grade
NOW = 1.8e9


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def load(node="m", **sections):
        nodes = {"master": {"name": "m", "address": "10.0.0.1"}, "workers": {"w": 0, "v": 1}}
        (tmp_path / "site.yaml").write_text(yaml.safe_dump({"nodes": nodes} | sections))
        return load_config(tmp_path / "site.yaml", node)

    return load


def details(**changes):
    return Reply("Success", {
        "node": "w",
        "role": "worker",
        "version": __version__,
        "time": NOW,
        "services": {"processor": {"state": "running"}},
        **changes,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "grade", "text"),
    [
        (details(), OK, f"w:1: version {__version__}, 1 services run"),
        (details(version="0.1"), WRONG, "version 0.1, here"),
        (details(time=NOW - 20.0), WRONG, "its clock differs by -2"),
        (details(services={"processor": {"state": "failed"}}), WARNING, "processor failed"),
        (NodeError("nobody listens there"), WRONG, "nobody listens there; `systemctl"),
        (Reply("Error", {"error": "needs a proof"}), WRONG, "needs a proof"),
        (Reply("Success", "hello"), WRONG, "w:1: "),
    ],
)
def test_nodes_are_judged_by_what_they_answer(reply, grade, text):
    (found,) = others.judged({"w": reply}, {"w": ("w", 1)}, NOW - 2.0, NOW + 2.0)
    assert (found.grade, found.subject) == (grade, "node w") and text in found.text


def test_the_master_node_asks_all_and_a_worker_the_master_node(config, monkeypatch):
    asked = []
    monkeypatch.setattr(others, "sweep", lambda nodes, *_, **__: asked.append(sorted(nodes)) or {})
    for node in ("m", "w"):
        list(others.nodes(config(node), 1.0))
    assert asked == [["v", "w"], ["m"]]


def test_a_cluster_without_worker_nodes_may_be_meant_so(config):
    (found,) = others.nodes(config(nodes={"master": {"name": "m"}}), 1.0)
    assert found.grade is WARNING and "nodes.workers" in found.text


def test_a_host_of_lofar_that_nobody_knows_is_wrong(config, monkeypatch):
    def look_up(host, *_, **__):
        if host != "lofar.example.org":
            raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(others.socket, "getaddrinfo", look_up)
    assert list(others.lofar(config())) == []
    (known,) = others.lofar(config(lofar_trigger={"lofar_host": "lofar.example.org"}))
    assert known.grade is OK and "`darc lofar_enable`" in known.text and "tests" in known.text
    (unknown,) = others.lofar(config(lofar_trigger={"lofar_host": "lofr.example.org", "send_events": True}))
    assert unknown.grade is WRONG and "lofar_trigger.lofar_host" in unknown.text


def test_a_command_port_for_this_host_only_is_wrong_in_a_cluster(config):
    assert [f.grade for f in others.reachable(config())] == [WRONG]
    (found,) = others.reachable(config(darc_master={"address": "0.0.0.0"}))
    assert found.grade is WARNING and "payload_dirs" in found.text
    assert list(others.reachable(config(darc_master={"address": "0.0.0.0", "payload_dirs": ["/p"]}))) == []


def test_the_mail_server_is_asked_if_anybody_is_to_be_told(config, monkeypatch):
    def server(settings):
        raise DARCError(f"{settings.host} is away")

    monkeypatch.setattr(others, "check_server", server)
    assert [f.grade for f in others.mail(config())] == [WARNING]
    told = config(processor_master={"email_settings": {"to": "a@b"}})
    assert [f.grade for f in others.mail(told)] == [WARNING, WRONG]
    assert list(others.mail(config("w"))) == []


def test_without_a_broker_there_is_nothing_to_check(config):
    assert list(others.broker(config())) == []
