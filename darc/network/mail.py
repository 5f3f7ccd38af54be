"""Mails to observers: written, and handed to a mail server."""

from __future__ import annotations

import mimetypes
import os
import re
import smtplib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from darc.errors import DARCError
from darc.network.sockets import CONNECTION_ERRORS, explain

if TYPE_CHECKING:
    from darc.config.sections import Mail

_TOO_LARGE = 552  # RFC 5321, and RFC 1870 for sizes announced beforehand


class MailError(DARCError):
    """A mail cannot be written, or the mail server did not take it."""


class MailTooLargeError(MailError):
    """The mail server takes no mail of this size; one with fewer attachments may go through."""


@dataclass(frozen=True)
class MailSettings:
    """The mail server and how to speak to it.

    Attributes:
        host: Name of the server; with TLS its certificate has to be for this name.
        port: Its port, usually 25, 587 (`starttls`) or 465 (`tls`).
        sender: Address that the mails come from.
        tls: From the first byte (`tls`), after a first exchange in the clear (`starttls`), or not at all.
        login_file: File with user and password, on one line or two, that nobody but its owner can read.
        timeout_s: Longest wait for each answer of the server.
    """

    host: str
    port: int
    sender: str
    tls: Literal["none", "starttls", "tls"] = "none"
    login_file: Path | None = None
    timeout_s: float = 30.0


def mail_settings(section: Mail) -> MailSettings:
    """Take the settings from the section `mail` of the configuration."""
    return MailSettings(
        host=section.host,
        port=section.port,
        sender=section.sender,
        tls=section.tls,
        login_file=section.login_file,
        timeout_s=section.timeout,
    )


def build_mail(
    subject: str,
    sender: str,
    to: Iterable[str],
    text: str,
    *,
    html: str | None = None,
    attachments: Iterable[Path] = (),
    date: datetime | None = None,
) -> EmailMessage:
    """Write a mail.

    Names from an observation may stand in the subject and the bodies: they are shown as they are, but cannot
    add headers. The message ID lets the reader's side recognise a mail that was sent twice.

    Args:
        subject: Subject; white space and control characters in it become single spaces.
        sender: Address it comes from.
        to: Addresses of the recipients.
        text: Body as plain text.
        html: The same as HTML, for readers that show it.
        attachments: Files to attach.
        date: When it was written, with a time zone; default now.

    Raises:
        MailError: There is no recipient, an address is not one, or an attachment cannot be read.
    """
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = ", ".join(to)
    except ValueError as error:
        raise MailError(f"not a mail address: {error}; check sender and recipients") from error
    if not message["To"]:
        raise MailError(f"nobody to send the mail {subject!r} to: give at least one address")
    message["Subject"] = _one_line(subject)
    message["Date"] = format_datetime(date or datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2] or "localhost")
    message.set_content(_encodable(text))
    if html is not None:
        message.add_alternative(_encodable(html), subtype="html")
    for path in attachments:
        _attach(message, path)
    return message


def send_mail(settings: MailSettings, message: EmailMessage) -> dict[str, str]:
    """Hand a mail to the mail server.

    Returns:
        Recipients that the server refused, with its reason; the others are served.

    Raises:
        MailTooLargeError: The server refused it for its size.
        MailError: The server cannot be reached, is not trusted, or refused the login, the sender, the mail or
            all recipients; or the login file is not fit for use.
    """
    login = None if settings.login_file is None else read_login(settings.login_file)
    try:
        with _connect(settings) as server:
            if login is not None:
                server.login(*login)
            refused = server.send_message(message, from_addr=settings.sender)
    except smtplib.SMTPResponseException as error:
        kind = MailTooLargeError if error.smtp_code == _TOO_LARGE else MailError
        raise kind(_problem(settings, f"{error.smtp_code} {_reason(error.smtp_error)}")) from error
    except smtplib.SMTPRecipientsRefused as error:
        reasons = "; ".join(f"{who}: {_reason(why[1])}" for who, why in error.recipients.items())
        raise MailError(_problem(settings, f"it refused every recipient ({reasons})")) from error
    except CONNECTION_ERRORS as error:
        raise MailError(_problem(settings, explain(error))) from error
    return {who: _reason(why[1]) for who, why in refused.items()}


def read_login(path: Path) -> tuple[str, str]:
    """Read user and password from a file that holds `user password`, or a line for each.

    Raises:
        MailError: It cannot be read, holds something else, or others than its owner may read or change it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise MailError(f"login file {path} is open to others (mode {mode:o}): chmod 600 {path}")
            content = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MailError(f"login file {path} cannot be read: {error}") from error
    login = re.fullmatch(r"(\S+)\s+(.+)", content)
    if login is None:
        raise MailError(f"login file {path} has to hold user and password, on one line or two")
    return login[1], login[2]


def _connect(settings: MailSettings) -> smtplib.SMTP:
    if settings.tls == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=settings.timeout_s, context=context)
    server = smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)
    if settings.tls == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except (OSError, ValueError):
            server.close()
            raise
    return server


def _attach(message: EmailMessage, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MailError(f"attachment {path} cannot be read: {error}") from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    maintype, _, subtype = kind.partition("/")
    message.add_attachment(content, maintype=maintype, subtype=subtype, filename=_one_line(path.name))


def _one_line(text: str) -> str:
    """Text for a header: no line break, no control character, nothing that reads as encoded already."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", _encodable(text)).strip().replace("=?", "= ?")


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _problem(settings: MailSettings, reason: str) -> str:
    return f"mail server {settings.host}:{settings.port} did not take the mail: {reason}"


def _reason(answer: bytes | str) -> str:
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())
