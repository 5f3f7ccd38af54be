"""Mails to observers: written, and handed to a mail server."""

from __future__ import annotations

import contextlib
import copy
import mimetypes
import os
import re
import smtplib
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, make_msgid, parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from darc.errors import DARCError
from darc.network.sockets import CONNECTION_ERRORS, explain

if TYPE_CHECKING:
    from darc.config.sections import Mail

#: Replies that are about the client or the session, so that every mail would get them: the server closes
#: (RFC 5321), or wants a login, another one or encryption (RFC 4954).
_SESSION_CODES = (421, 530, 534, 535, 538)


class MailError(DARCError):
    """A mail cannot be written, or the mail server did not take it."""


class MailRefusedError(MailError):
    """The mail server refused this very mail; others may go through.

    Attributes:
        lasting: Whether it would be refused again.
    """

    def __init__(self, message: str, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class MailTooLargeError(MailRefusedError):
    """The mail server takes no mail of this size; one with fewer attachments may go through."""


@dataclass(frozen=True)
class Refusal:
    """Why the mail server refused a recipient, a sender or a mail: code and text of its reply."""

    code: int
    reason: str

    @classmethod
    def of(cls, code: int, text: bytes | str) -> Refusal:
        """Take it from a reply as smtplib has it."""
        return cls(code, _one_line(text.decode(errors="replace") if isinstance(text, bytes) else text))

    @property
    def lasting(self) -> bool:
        """Whether the server would refuse it again (RFC 5321, 4.2.1)."""
        return self.code >= 500

    @property
    def for_size(self) -> bool:
        """Whether the mail is too large (RFC 5321, RFC 1870; RFC 3463 for the number in the text)."""
        return self.code == 552 or (self.lasting and self.reason.startswith("5.3.4"))

    def __str__(self) -> str:
        return f"{self.code} {self.reason}"


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
    message.set_content(_body(text))
    if html is not None:
        message.add_alternative(_body(html), subtype="html")
    for path in attachments:
        _attach(message, path)
    return message


def recipients_of(message: EmailMessage) -> tuple[str, ...]:
    """Return the addresses that a mail goes to.

    Raises:
        MailError: There is none, or one that mail servers do not know how to take.
    """
    fields = [str(field) for name in ("To", "Cc", "Bcc") for field in message.get_all(name, [])]
    addresses = tuple(dict.fromkeys(address for _, address in getaddresses(fields) if address))
    if not addresses or not all(address.isascii() for address in addresses):
        raise MailError(f"cannot send a mail to {', '.join(fields) or 'nobody'}: check its recipients")
    return addresses


def content_of(message: EmailMessage) -> bytes:
    """Return a mail as it is sent: 7-bit characters only, which every server takes.

    Raises:
        MailError: It holds what no mail can carry.
    """
    shown = copy.copy(message)
    del shown["Bcc"]
    try:
        return shown.as_bytes(policy=policy.SMTP.clone(cte_type="7bit"))
    except ValueError as error:
        raise MailError(f"mail {str(message['Subject'])!r} cannot be written: {error}") from error


def deliver(settings: MailSettings, recipients: Sequence[str], content: bytes) -> dict[str, Refusal]:
    """Hand the content of a mail to the mail server, for some recipients.

    Returns:
        Recipients that the server refused, which may be all of them; the others are served.

    Raises:
        MailTooLargeError: The server refused it for its size.
        MailRefusedError: It refused the sender or the mail.
        MailError: The server cannot be reached, is not trusted, or refused the login; or the login file is
            not fit for use.
    """
    login = None if settings.login_file is None else read_login(settings.login_file)
    try:
        with _session(settings) as server:
            if login is not None:
                server.login(*login)
            answers = server.sendmail(settings.sender, recipients, content)
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        raise _refused(settings, Refusal.of(error.smtp_code, error.smtp_error)) from error
    except smtplib.SMTPRecipientsRefused as error:
        return _nobody(settings, _refusals(error.recipients))
    except smtplib.SMTPResponseException as error:
        raise MailError(_problem(settings, str(Refusal.of(error.smtp_code, error.smtp_error)))) from error
    except CONNECTION_ERRORS as error:
        raise MailError(_problem(settings, explain(error))) from error
    return _refusals(answers)


def check_server(settings: MailSettings) -> str:
    """Greet the mail server, and log in if that is configured, without sending anything.

    Returns:
        what it answered

    Raises:
        MailError: it cannot be reached, refuses us, or the login file cannot be used
    """
    login = None if settings.login_file is None else read_login(settings.login_file)
    try:
        with _session(settings) as server:
            server.ehlo_or_helo_if_needed()
            if login is not None:
                server.login(*login)
    except smtplib.SMTPResponseException as error:
        raise MailError(_problem(settings, str(Refusal.of(error.smtp_code, error.smtp_error)))) from error
    except CONNECTION_ERRORS as error:
        raise MailError(_problem(settings, explain(error))) from error
    return f"{settings.host}:{settings.port} answers{' and accepts the login' if login else ''}"


def nobody_served(settings: MailSettings, refused: dict[str, Refusal]) -> MailRefusedError:
    """Return the error that says that every recipient was refused, and why."""
    reasons = "; ".join(f"{who}: {why.reason}" for who, why in refused.items())
    lasting = all(why.lasting for why in refused.values())
    return MailRefusedError(_problem(settings, f"it refused every recipient ({reasons})"), lasting)


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


@contextlib.contextmanager
def _session(settings: MailSettings) -> Iterator[smtplib.SMTP]:
    server = _connect(settings)
    try:
        yield server
    finally:
        # the mail is taken or refused by now: a farewell that fails changes nothing about it
        with contextlib.suppress(*CONNECTION_ERRORS):
            server.quit()
        server.close()


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


def _body(text: str) -> str:
    """Text for a body: characters that some mail servers refuse are shown as being there, not sent."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", _encodable(text))


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _refusals(answers: Mapping[str, tuple[int, bytes]]) -> dict[str, Refusal]:
    return {who: Refusal.of(*answer) for who, answer in answers.items()}


def _nobody(settings: MailSettings, refused: dict[str, Refusal]) -> dict[str, Refusal]:
    """Return why no recipient is served, unless the reason is not about the recipients."""
    for why in refused.values():
        # a server that closes (421) leaves smtplib with a list of those only that it had come to
        if why.code in _SESSION_CODES or why.for_size:
            raise _refused(settings, why)
    return refused


def _refused(settings: MailSettings, refusal: Refusal) -> MailError:
    message = _problem(settings, str(refusal))
    if refusal.code in _SESSION_CODES:
        return MailError(message)
    return MailTooLargeError(message) if refusal.for_size else MailRefusedError(message, refusal.lasting)


def _problem(settings: MailSettings, reason: str) -> str:
    return f"mail server {settings.host}:{settings.port} did not take the mail: {reason}"
