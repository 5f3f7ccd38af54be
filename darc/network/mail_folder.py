"""Files of mails that wait."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from darc.network.mail import MailError, content_of, recipients_of
from darc.network.spool import SpoolFolder

_LABEL = b"X-DARC-Spool: "


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


class MailFolder(SpoolFolder):
    """Mails that wait.

    Args:
        path: The folder; made, for its owner only, when there is a first mail.
        clock: Unix time in ns.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(path, ".eml", clock)

    def add(self, mail: SpooledMail) -> None:
        """Append a mail.

        Raises:
            OSError: The disk did not take it.
        """
        self.append(mail.to_bytes())

    def replace(self, path: Path, mail: SpooledMail) -> None:
        """Write a mail in place of another version of it.

        Raises:
            OSError: The disk did not take it; what was there is unchanged.
        """
        self.overwrite(path, mail.to_bytes())
