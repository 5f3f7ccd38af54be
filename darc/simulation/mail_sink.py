"""A mail server that keeps what it is sent: the observatory's mail host of the fake telescope."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from pathlib import Path

from darc.simulation.receiver import SocketReceiver

_FROM = re.compile(r"FROM:\s*<([^>]*)>", re.IGNORECASE)
_TO = re.compile(r"TO:\s*<([^>]+)>", re.IGNORECASE)


@dataclass(frozen=True)
class Envelope:
    """A mail as the client handed it over: addresses and the bytes of the message."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class SMTPDialogue:
    """One client's session, a line in, a reply out (RFC 5321, the commands of a submission).

    Args:
        deliver: called with each complete mail before the client is told that it is accepted.

    """

    GREETING = "220 DARC mail sink"

    def __init__(self, deliver: Callable[[Envelope], None]) -> None:
        self._deliver = deliver
        self._commands = {
            "EHLO": lambda _: self._reset("250-DARC\r\n250 8BITMIME"),
            "HELO": lambda _: self._reset("250 DARC"),
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": lambda _: self._reset("250 reset"),
            "NOOP": lambda _: "250 nothing done",
            "QUIT": self._quit,
        }
        self.finished = False
        self._reset("")

    def answer(self, line: bytes) -> str | None:
        """Reply to a line (without its end); None where none is due."""
        if self._content is not None:
            return self._take(line, self._content)
        verb, _, argument = line.decode("utf-8", "replace").partition(" ")
        command = self._commands.get(verb.upper())
        return "502 command not known" if command is None else command(argument)

    def _reset(self, reply: str) -> str:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._content: list[bytes] | None = None
        return reply

    def _mail(self, argument: str) -> str:
        path = _FROM.match(argument)
        if path is None:
            return "501 MAIL FROM:<address> expected"
        self._reset("")
        self._sender = path[1]
        return "250 sender accepted"

    def _rcpt(self, argument: str) -> str:
        path = _TO.match(argument)
        if self._sender is None:
            return "503 MAIL first"
        if path is None:
            return "501 RCPT TO:<address> expected"
        self._recipients.append(path[1])
        return "250 recipient accepted"

    def _data(self, _: str) -> str:
        if not self._recipients:
            return "503 RCPT first"
        self._content = []
        return "354 end with a line that holds one dot"

    def _quit(self, _: str) -> str:
        self.finished = True
        return "221 goodbye"

    def _take(self, line: bytes, content: list[bytes]) -> str | None:
        if line != b".":
            content.append(line.removeprefix(b"."))
            return None
        self._deliver(Envelope(self._sender or "", tuple(self._recipients), b"\r\n".join([*content, b""])))
        return self._reset("250 kept")


@dataclass(frozen=True)
class ReceivedMail:
    """A mail on disk.

    Attributes:
        arrived_at: unix time in s at which it was complete.
        path: the `.eml` file.
        envelope: sender, recipients and content.

    """

    arrived_at: float
    path: Path
    envelope: Envelope

    @property
    def subject(self) -> str:
        """Its subject, decoded."""
        headers = BytesParser(policy=policy.default).parsebytes(self.envelope.content, headersonly=True)
        return str(headers["subject"])


class MailSink(SocketReceiver[ReceivedMail]):
    """Takes every mail, from one client at a time, and stores it as `0001.eml` and so on.

    Args:
        folder: where the mails go; made if it is missing, what is in it stays.
        host, port, clock: as in `SocketReceiver`.

    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "localhost",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(host=host, port=port, clock=clock)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def _serve(self) -> None:
        while self._wait(self._socket):
            connection, _ = self._socket.accept()
            # a client that goes away ends its own session only
            with connection, contextlib.suppress(ConnectionError):
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        dialogue = SMTPDialogue(self._store)
        connection.sendall(f"{dialogue.GREETING}\r\n".encode())
        for line in self._lines(connection):
            reply = dialogue.answer(line)
            if reply is not None:
                connection.sendall(f"{reply}\r\n".encode())
            if dialogue.finished:
                return

    def _lines(self, connection: socket.socket) -> Iterator[bytes]:
        rest = b""
        while self._wait(connection):
            data = connection.recv(65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\r\n")
            yield from lines

    def _store(self, envelope: Envelope) -> None:
        arrived_at = self._clock()
        path = self._folder / f"{len(list(self._folder.glob('*.eml'))) + 1:04d}.eml"
        path.write_bytes(envelope.content)
        self._record(ReceivedMail(arrived_at, path, envelope))
