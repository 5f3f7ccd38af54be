"""Files of mails that wait: one per mail, complete or not there at all, sent by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import BinaryIO

from darc.network.mail import MailError, content_of, recipients_of

_LABEL = b"X-DARC-Spool: "
_NAME = re.compile(r"([0-9]+).*\.eml", re.ASCII)


@dataclass(frozen=True)
class SpooledMail:
    """A mail that waits.

    Attributes:
        subject: For the log.
        recipients: Those that it still has to reach.
        message: The mail as it is sent.
        smaller: What is sent in its place if the server refuses its size; empty: nothing.
    """

    subject: str
    recipients: tuple[str, ...]
    message: bytes
    smaller: bytes = b""

    @classmethod
    def of(cls, message: EmailMessage, smaller: EmailMessage | None = None) -> SpooledMail:
        """Take it from a message.

        Raises:
            MailError: It has no recipients, or holds what no mail can carry.
        """
        return cls(
            subject=str(message["Subject"]),
            recipients=recipients_of(message),
            message=content_of(message),
            smaller=b"" if smaller is None else content_of(smaller),
        )

    def to_bytes(self) -> bytes:
        """Write it as a file: the message below one more header line, so that mail programs can show it."""
        body = self.message + self.smaller
        label = {
            "subject": self.subject,
            "recipients": self.recipients,
            "smaller": len(self.smaller),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        return b"%s%s\r\n%s" % (_LABEL, json.dumps(label).encode(), body)

    @classmethod
    def from_bytes(cls, data: bytes) -> SpooledMail:
        """Read what `to_bytes` wrote.

        Raises:
            MailError: It is something else, or damaged.
        """
        first, _, body = data.partition(b"\r\n")
        try:
            label = json.loads(first.removeprefix(_LABEL))
            size = len(body) - label["smaller"]
            undamaged = label["sha256"] == hashlib.sha256(body).hexdigest()
            mail = cls(str(label["subject"]), tuple(label["recipients"]), body[:size], body[size:])
        except (ValueError, KeyError, TypeError) as error:
            raise MailError("the file holds no mail of ours") from error
        if not undamaged or not mail.recipients:
            raise MailError("the file is damaged")
        return mail


class MailFolder:
    """Files of mails, of which each is complete or not there at all.

    Args:
        path: The folder; made, for its owner only, when there is a first mail.
        clock: Unix time in ns.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._clock = clock
        self._newest_ns = 0
        self._lock = threading.Lock()

    def add(self, mail: SpooledMail) -> None:
        """Append a mail.

        Raises:
            OSError: The disk did not take it.
        """
        with self._lock:
            self._newest_ns = max(self._newest_ns + 1, self._clock())
            name = f"{self._newest_ns:020d}-{secrets.token_hex(4)}.eml"
        _make_private(self.path)
        self.replace(self.path / name, mail)

    def replace(self, path: Path, mail: SpooledMail) -> None:
        """Write a mail at a path of this folder, where there may be another version of it.

        Raises:
            OSError: The disk did not take it; what was there is unchanged.
        """
        aside = path.with_name(f".{path.name}.part")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, with its mode set from the start)
                file.write(mail.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        _sync(self.path)

    def waiting(self) -> list[Path]:
        """Return the files of all mails, the oldest first.

        Raises:
            OSError: The folder cannot be read.
        """
        try:
            return sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def put_aside(self, path: Path) -> Path:
        """Move a mail to where nobody sends it, and return its place.

        Raises:
            OSError: The disk does not let us.
        """
        place = self.path / "failed" / path.name
        _make_private(place.parent)
        path.rename(place)
        return place

    def age_s(self, path: Path) -> float:
        """Seconds since a mail was put in."""
        name = _NAME.fullmatch(path.name)
        return (self._clock() - int(name[1])) / 1e9 if name else 0.0

    def tidy(self, older_than_s: float) -> None:
        """Remove what processes that were killed while they wrote have left."""
        with contextlib.suppress(OSError):
            for path in self.path.glob(".*.part"):
                if self._clock() / 1e9 - path.stat().st_mtime > older_than_s:
                    path.unlink()


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[BinaryIO | None]:
    """Open a mail that nobody else sends meanwhile; None: another process has it, or has sent it.

    Raises:
        OSError: It cannot be opened.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        try:
            # between opening and locking another process may have sent it, or written it anew
            yield file if _is_at(path, file) else None
        finally:
            # said aloud: a process forked meanwhile would keep the lock as long as it lives
            fcntl.flock(file, fcntl.LOCK_UN)


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _sync(folder: Path) -> None:
    """Have a new name outlive a power cut, where the file system can promise that."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)
