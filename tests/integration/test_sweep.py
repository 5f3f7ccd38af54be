"""All nodes of a cluster are asked at once, over real connections."""

import contextlib
import socket
import subprocess
import sys
import threading

import pytest

from darc.errors import DARCError
from darc.network.command_protocol import Reply, Request
from darc.network.command_server import CommandServer
from darc.network.sweep import NodeError, sweep

STATUS = Request(service="all", command="status")
UNKNOWN_HOST = "no-such-host.invalid"
TIMEOUT_S = 20.0


def answer(request):
    if request.command == "details":
        raise DARCError("Invalid command: details")
    return Reply("Success", {"asked": request.command, "service": str(request.service)})


@pytest.fixture
def server():
    with CommandServer(("127.0.0.1", 0), answer, timeout_s=5.0) as running:
        yield running


@pytest.fixture
def silent_ports():
    """Five ports that accept connections and never answer."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        yield [listener.getsockname()[1] for listener in listeners]


@pytest.fixture
def refusing_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


# one dead node making a status sweep wait for its time-out, times forty
def test_all_nodes_are_asked_at_once():
    all_asked = threading.Barrier(5)

    def answer_when_all_are_asked(request):
        all_asked.wait(TIMEOUT_S)
        return answer(request)

    with CommandServer(("127.0.0.1", 0), answer_when_all_are_asked, timeout_s=TIMEOUT_S) as server:
        replies = sweep({f"node{i}": server.address for i in range(5)}, STATUS, timeout_s=TIMEOUT_S)
    assert [reply.status for reply in replies.values()] == ["Success"] * 5


def test_a_round_of_a_cluster_with_dead_nodes_has_the_answers_of_all_others(
    server, silent_ports, refusing_port
):
    silent = {f"silent{i}": ("127.0.0.1", port) for i, port in enumerate(silent_ports)}
    others = {"refusing": ("127.0.0.1", refusing_port), "unknown": (UNKNOWN_HOST, 51000)}
    alive = {f"alive{i:02d}": server.address for i in range(33)}
    nodes = silent | others | alive
    replies = sweep(nodes, STATUS, timeout_s=0.7)
    assert list(replies) == list(nodes)
    for name in alive:
        assert replies[name] == Reply("Success", {"asked": "status", "service": "all"})
    assert all("no answer in time" in replies[name].reason for name in silent)
    assert "nobody listens there" in replies["refusing"].reason
    assert isinstance(replies["unknown"], NodeError)


def test_each_node_may_be_asked_something_else(server):
    nodes = {"a": server.address, "b": server.address}
    requests = {name: Request(command="log", service=f"service of {name}") for name in nodes}
    replies = sweep(nodes, requests, timeout_s=5.0)
    assert {name: reply.message["service"] for name, reply in replies.items()} == {
        "a": "service of a",
        "b": "service of b",
    }


def test_a_node_of_an_older_version_is_asked_what_it_knows(server):
    replies = sweep({"old": server.address}, Request(command="details"), timeout_s=5.0, fallback=STATUS)
    assert replies["old"].message["asked"] == "status"


def test_nonsense_of_one_node_is_an_error_of_that_node(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nodes = {"web": listener.getsockname(), "good": server.address}

        def talk():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        replies = sweep(nodes, STATUS, timeout_s=5.0)
        thread.join()
    assert "check the port" in replies["web"].reason
    assert replies["good"].status == "Success"


def test_the_command_line_can_afford_to_import_it():
    heavy = "{'numpy', 'astropy', 'pydantic', 'jinja2'}"
    code = (
        f"import sys, darc.network.sweep, darc.formats.node_details; assert not {heavy} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
