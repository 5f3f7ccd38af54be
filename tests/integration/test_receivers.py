"""The stand-ins that listen, on real sockets: dada_dbevent, LOFAR, the mail server and the broker."""

import io
import smtplib
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from darc.errors import DARCError
from darc.simulation import dada_dbevent
from darc.simulation.broker import CometBroker
from darc.simulation.dada_dbevent import Crashed, DadaDBEvent, Dropped, Dump, RingBuffer
from darc.simulation.lofar_receiver import LOFARPacket, LOFARReceiver
from darc.simulation.mail_sink import MailSink

TIMEOUT_S = 10
UTC_START = datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC)

VOEVENT = b"""<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="2.0" role="test"
    xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
    ivorn="ivo://darc.test/stand-in#1">
  <Who><AuthorIVORN>ivo://darc.test/stand-in</AuthorIVORN><Date>2026-01-01T00:00:00</Date></Who>
</voe:VOEvent>
"""


def dada_message(start_s: int, end_s: int, utc_start: datetime = UTC_START) -> bytes:
    start, end = (f"{utc_start + timedelta(seconds=s):%Y-%m-%d-%H:%M:%S}" for s in (start_s, end_s))
    return f"N_EVENTS 1\n{utc_start:%Y-%m-%d-%H:%M:%S}\n{start} 000 {end} 000 56.8 12.5 25 35\n".encode()


def ring_buffer(age_s: float) -> RingBuffer:
    """A ring buffer whose first sample was written `age_s` ago."""
    return RingBuffer(UTC_START, observation_start_unix=time.time() - age_s)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("localhost", port), timeout=TIMEOUT_S)


def reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def send(port: int, message: bytes) -> bytes:
    """Send a message at once, close the sending side, return all that comes back."""
    with connect(port) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1024)


def test_dada_dbevent_dumps_closes_and_says_nothing() -> None:
    message = dada_message(5, 9)
    before = time.time()
    with DadaDBEvent(ring_buffer(12)) as receiver:
        assert send(receiver.port, message) == b""
        (received,) = receiver.received
    assert received.message == message
    assert before <= received.accepted_at <= received.completed_at <= time.time()
    (outcome,) = received.outcomes
    assert isinstance(outcome, Dump)
    assert (outcome.start_ms, outcome.end_ms) == (4096, 9216)


def test_a_malformed_message_ends_dada_dbevent() -> None:
    with DadaDBEvent(ring_buffer(12)) as receiver:
        send(receiver.port, b"N_EVENTS 2\n" + dada_message(5, 9).partition(b"\n")[2])
        assert receiver.wait_received(1, TIMEOUT_S)
        assert isinstance(receiver.received[0].outcomes[0], Crashed)
        assert receiver.buffer.state == "crashed"
        with pytest.raises(ConnectionRefusedError):
            connect(receiver.port)


def test_a_sender_that_breaks_off_ends_dada_dbevent() -> None:
    with DadaDBEvent(ring_buffer(12)) as receiver:
        with connect(receiver.port) as connection:
            reset_on_close(connection)
            connection.sendall(dada_message(5, 9)[:-3])
        assert receiver.wait_received(1, TIMEOUT_S)
        assert isinstance(receiver.received[0].outcomes[0], Crashed)


def test_a_slow_sender_holds_up_the_others() -> None:
    message = dada_message(5, 6)
    with DadaDBEvent(ring_buffer(12)) as receiver, connect(receiver.port) as slow:
        slow.sendall(message[:30])
        with connect(receiver.port) as quick:
            quick.sendall(dada_message(8, 9))
        assert not receiver.wait_received(1, 0.2)
        slow.sendall(message[30:])
        slow.shutdown(socket.SHUT_WR)
        assert receiver.wait_received(2, TIMEOUT_S)
        assert [record.message for record in receiver.received] == [message, dada_message(8, 9)]


def test_an_event_in_the_future_blocks_dada_dbevent_until_the_data_exist() -> None:
    buffer = ring_buffer(4.8)
    with DadaDBEvent(buffer) as receiver:
        for message in (dada_message(3, 5), dada_message(5, 6)):
            with connect(receiver.port) as connection:
                connection.sendall(message)
        assert receiver.wait_received(2, TIMEOUT_S)
        first, second = receiver.received
    (dump,) = first.outcomes
    assert isinstance(dump, Dump)
    assert second.accepted_at >= buffer.complete_at(dump)
    assert isinstance(second.outcomes[0], Dropped)


@pytest.mark.parametrize("sent", [b"", b"N_EVENTS", dada_message(5000, 6000)])
def test_dada_dbevent_can_be_closed_at_any_time(sent: bytes) -> None:
    with DadaDBEvent(ring_buffer(12)) as receiver, connect(receiver.port) as connection:
        connection.sendall(sent)
        if sent.endswith(b"\n"):
            connection.shutdown(socket.SHUT_WR)
            assert receiver.wait_received(1, TIMEOUT_S)
    assert_gone(receiver.port)


def assert_gone(port: int) -> None:
    """The port is free and no thread of a receiver is left."""
    with socket.create_server(("localhost", port)):
        pass
    receivers = {DadaDBEvent.__name__, LOFARReceiver.__name__}
    assert [thread for thread in threading.enumerate() if thread.name in receivers] == []


def test_dada_dbevent_runs_alone_and_ends_with_an_error_when_it_crashes() -> None:
    command = [sys.executable, "-m", "darc.simulation.dada_dbevent", "--utc-start", "2019-05-18-23:51:13"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline().rsplit(" ", 1)[1])
        send(port, dada_message(5, 9))
        assert "data are kept from" in process.stdout.readline()
        send(port, b"")
        assert process.stdout.readline().startswith("crashed")
        assert process.wait(TIMEOUT_S) == 1


def test_a_crash_is_told_also_when_it_comes_while_something_else_is(monkeypatch) -> None:
    class Told(io.StringIO):
        """Sends an empty message, and has it received, while the outcome of the first one is printed."""

        def write(self, text: str) -> int:
            if text.startswith("listening"):
                self.port = int(text.rsplit(" ", 1)[1])
                send(self.port, dada_message(5, 9))
            elif "data are kept from" in text:
                send(self.port, b"")
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", told := Told())
    assert dada_dbevent.main(["--utc-start", "2019-05-18-23:51:13"]) == 1
    assert told.getvalue().splitlines()[-1].startswith("crashed")


def test_lofar_receives_valid_and_invalid_datagrams_in_order() -> None:
    valid = bytes.fromhex("99a0 5c2cfc28 0109 0238") + b"S"
    before = time.time()
    with (
        LOFARReceiver() as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for datagram in (valid, valid + bytes(100), b""):
            sender.sendto(datagram, ("localhost", receiver.port))
        assert receiver.wait_received(3, TIMEOUT_S)
        good, long, empty = receiver.received
    assert good.packet == LOFARPacket(1546452008, 265, 56.8, test=False)
    assert good.raw == valid
    assert good.error is None
    assert before <= good.arrived_at <= time.time()
    assert (long.packet, long.error) == (None, "111 bytes instead of 11")
    assert (empty.packet, empty.error) == (None, "0 bytes instead of 11")


def mail(body: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "A trigger"
    message["From"] = "arts@telescope.test"
    message["To"] = "astronomer@home.test, operator@telescope.test"
    message.set_content(body)
    return message


def test_mails_are_stored_as_they_were_sent(tmp_path: Path) -> None:
    before = time.time()
    with (
        MailSink(tmp_path / "mail") as sink,
        smtplib.SMTP("localhost", sink.port, timeout=TIMEOUT_S) as client,
    ):
        client.send_message(mail("DM 56.8\n.\n..and a line with two dots\n"))
        client.noop()
        client.send_message(mail("the second: \u03b1 \u2192 \u03b2\n"))
        first, second = sink.received
    assert first.envelope.sender == "arts@telescope.test"
    assert first.envelope.recipients == ("astronomer@home.test", "operator@telescope.test")
    assert b"\r\nDM 56.8\r\n.\r\n..and a line with two dots\r\n" in first.envelope.content
    assert before <= first.arrived_at <= second.arrived_at <= time.time()
    assert [path.name for path in sorted((tmp_path / "mail").iterdir())] == ["0001.eml", "0002.eml"]
    assert first.path.read_bytes() == first.envelope.content


def test_a_mail_dialogue_out_of_order_is_refused(tmp_path: Path) -> None:
    with MailSink(tmp_path) as sink, smtplib.SMTP("localhost", sink.port, timeout=TIMEOUT_S) as client:
        codes = [
            client.docmd(command)[0]
            for command in (
                *("HELO me", "RCPT TO:<b@c>", "MAIL FROM:a@b", "MAIL FROM:<a@b>", "DATA", "RCPT TO:<>"),
                *("RCPT TO:<b@c>", "RSET", "DATA", "VRFY <b@c>"),
            )
        ]
        assert codes == [250, 503, 501, 250, 503, 501, 250, 250, 503, 502]
        assert sink.received == []


def test_a_client_that_vanishes_does_not_end_the_mail_sink(tmp_path: Path) -> None:
    with MailSink(tmp_path) as sink:
        with connect(sink.port) as client:
            reset_on_close(client)
            client.sendall(b"EHLO me\r\nMAIL FROM:<a@b>\r\n")
        with smtplib.SMTP("localhost", sink.port, timeout=TIMEOUT_S) as client:
            client.send_message(mail("still there"))
        assert len(sink.received) == 1


def test_closing_frees_the_ports_with_clients_still_connected(tmp_path: Path) -> None:
    with MailSink(tmp_path) as sink, LOFARReceiver() as lofar, connect(sink.port):
        pass
    assert_gone(sink.port)
    with LOFARReceiver(port=lofar.port):
        pass


def receiver_on(name: str, port: int, folder: Path) -> AbstractContextManager[object]:
    if name == "dada":
        return DadaDBEvent(ring_buffer(12), port=port)
    return MailSink(folder, port=port)


@pytest.mark.parametrize("name", ["dada", "mail"])
def test_a_port_in_use_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    with socket.create_server(("localhost", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(DARCError, match=f"port {port}"), receiver_on(name, port, tmp_path):
            pass


def submit(port: int, document: bytes) -> bytes:
    """Hand a VOEvent to a broker (VOEvent Transport Protocol) and return its answer."""
    with connect(port) as connection, connection.makefile("rb") as stream:
        connection.sendall(struct.pack(">I", len(document)) + document)
        (length,) = struct.unpack(">I", stream.read(4))
        return stream.read(length)


def test_the_broker_keeps_what_it_accepts_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = time.time()
    with CometBroker(tmp_path / "broker") as broker:
        assert b'role="ack"' in submit(broker.port, VOEVENT)
        assert b'role="nak"' in submit(broker.port, VOEVENT)
        assert b'role="nak"' in submit(broker.port, VOEVENT.replace(b"<Who>", b"<Whom/><Who>"))
        (document,) = broker.received
    assert document.content == VOEVENT == document.path.read_bytes()
    # file times are those of the last clock tick
    assert before - 0.1 <= document.arrived_at <= time.time()
    with pytest.raises(ConnectionRefusedError):
        connect(broker.port)
    assert not list((tmp_path / "broker" / "run").iterdir())


def test_a_document_that_is_being_written_is_not_shown(tmp_path: Path) -> None:
    broker = CometBroker(tmp_path)
    for name in ("events", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "events" / "ivo__a_b1").write_text("whole")
    (tmp_path / "events" / "ivo__a_b2").write_text("")
    (tmp_path / "run" / "ivo__a_b2-lock").symlink_to("4711")
    assert [document.path.name for document in broker.received] == ["ivo__a_b1"]


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.create_server(("localhost", 0)) as other:
        broker = CometBroker(tmp_path, other.getsockname()[1])
        with pytest.raises(DARCError, match=r"Comet ended with exit code 1; .*comet\.log"), broker:
            pass


def test_without_comet_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DARCError, match=r"pip install 'darc\[demo\]'"), CometBroker(tmp_path):
        pass
