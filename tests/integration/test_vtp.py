"""VOEvents to a real broker, Comet."""

import itertools
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from darc.network.vtp import Receipt, TransportError, send_voevent

BROKER_IVORN = "ivo://example.org/broker"
NUMBERS = itertools.count(1)


@dataclass
class Comet:
    """A running broker and the folder in which it keeps the events that it accepted."""

    host: str
    port: int
    events: Path


@pytest.fixture(scope="module")
def comet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    folder = tmp_path_factory.mktemp("comet")
    events = folder / "events"
    events.mkdir()
    command = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "comet"]
    # the port that it took stands in the log, which tells it if verbose
    options = ["--verbose", "--receive", "--receive-port=0", "--author-whitelist=127.0.0.0/8", "--save-event"]
    places = [f"--local-ivo={BROKER_IVORN}", f"--eventdb={folder}", f"--save-event-directory={events}"]
    with subprocess.Popen(
        [*command, *options, *places], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if listening := re.search(r"VOEventReceiverFactory.* starting on (\d+)", line):
                    yield Comet("127.0.0.1", int(listening[1]), events)
                    break
            else:
                pytest.fail("Comet ended before it listened")
        finally:
            process.terminate()


@pytest.fixture
def peer() -> Iterator[Callable[[bytes | None], tuple[str, int]]]:
    """Something on a port that answers a client with some bytes and closes; or never answers, for None."""
    with ExitStack() as stack:

        def start(answer: bytes | None) -> tuple[str, int]:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve_one() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer or b"")

            if answer is not None:
                thread = threading.Thread(target=serve_one)
                thread.start()
                stack.callback(thread.join)
            return listener.getsockname()

        yield start


def voevent(what: str = "<What/>") -> bytes:
    """Write a VOEvent with an identifier of its own."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
        <voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" version="2.0" role="test"
                     ivorn="ivo://example.org/darc#FRB{next(NUMBERS)}">
          <Who><AuthorIVORN>ivo://example.org/contact</AuthorIVORN><Date>2019-05-18T23:51:12</Date></Who>
          {what}
        </voe:VOEvent>""".encode()


def test_a_valid_event_is_accepted_and_kept(comet: Comet) -> None:
    document = voevent()
    assert send_voevent(comet.host, comet.port, document, timeout_s=20) == Receipt(True, "", BROKER_IVORN)
    # Comet stores an event after it has acknowledged it, and serves the next one in between
    send_voevent(comet.host, comet.port, document, timeout_s=20)
    assert document in [path.read_bytes() for path in comet.events.iterdir()]


def test_the_same_event_again_is_refused_with_the_reason(comet: Comet) -> None:
    document = voevent()
    send_voevent(comet.host, comet.port, document, timeout_s=20)
    receipt = send_voevent(comet.host, comet.port, document, timeout_s=20)
    assert (receipt.accepted, receipt.by) == (False, BROKER_IVORN)
    assert "Previously seen" in receipt.reason and receipt.is_known


def test_an_invalid_event_is_refused_with_the_reason(comet: Comet) -> None:
    receipt = send_voevent(comet.host, comet.port, voevent("<Whatever/>"), timeout_s=20)
    assert not receipt.accepted
    assert "Whatever" in receipt.reason


def test_what_is_no_xml_is_not_answered(comet: Comet) -> None:
    with pytest.raises(TransportError, match=f"{comet.port}: it closed the connection"):
        send_voevent(comet.host, comet.port, b"no event", timeout_s=20)


def test_a_broker_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{port}: nobody listens"):
        send_voevent("127.0.0.1", port, voevent(), timeout_s=20)


@pytest.mark.parametrize(
    ("host", "complaint"),
    [("no.host.invalid", "unknown host"), ("a..b", "label|unknown"), ("a\0b", "null|unknown")],
)
def test_a_host_that_does_not_exist_is_an_error(host: str, complaint: str) -> None:
    with pytest.raises(TransportError, match=complaint):
        send_voevent(host, 8098, voevent(), timeout_s=20)


def test_a_broker_that_never_answers_is_given_up(peer) -> None:
    with pytest.raises(TransportError, match="no answer in time"):
        send_voevent(*peer(None), voevent(), timeout_s=0.1)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "closed the connection"),
        (b"\0\0\0\x40<Transport", "closed the connection"),
        (b"\xff\xff\xff\xff<", "4294967295 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n", "check that this is a broker's port"),
        (b"\0\0\0\x04nope", "not XML"),
    ],
)
def test_an_answer_of_something_else_is_an_error(peer, answer: bytes, complaint: str) -> None:
    host, port = peer(answer)
    with pytest.raises(TransportError, match=f"{host}:{port}.*{complaint}"):
        send_voevent(host, port, voevent(), timeout_s=20)
