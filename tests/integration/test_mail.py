"""Mails to a real mail server."""

import asyncio
import email
import email.policy
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from darc.network.mail import (
    MailError,
    MailRefusedError,
    MailSettings,
    MailTooLargeError,
    Refusal,
    build_mail,
    content_of,
    deliver,
    nobody_served,
    recipients_of,
)
from darc.network.mail_folder import MailFolder, SpooledMail
from darc.network.mail_spool import MailSpool

HOST = "127.0.0.1"
SENDER = "arts@example.org"


class Inbox:
    """Keeps the mails that the server takes; nobody lives at nowhere.example.org."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        #: addresses that are refused once
        self.busy: set[str] = set()
        self.takes_mail = threading.Event()
        self.takes_mail.set()
        self.is_asked = threading.Event()

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if address.endswith("@nowhere.example.org"):
            return "550 no such mailbox"
        if address in self.busy:
            self.busy.remove(address)
            return "450 mailbox busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        self.is_asked.set()
        while not self.takes_mail.is_set():
            await asyncio.sleep(0.01)
        self.envelopes.append(envelope)
        return "250 OK"

    def mail(self) -> EmailMessage:
        (mail,) = self.mails()
        return mail

    def mails(self) -> list[EmailMessage]:
        return [
            email.message_from_bytes(kept.content, policy=email.policy.default) for kept in self.envelopes
        ]

    def texts(self) -> list[str]:
        return [mail.get_body(("plain",)).get_content().strip() for mail in self.mails()]


class Server(Controller):
    """Server on a port that was bound beforehand, so that nobody else can take it."""

    def __init__(self, inbox: Inbox, **options: Any) -> None:
        self._bound = socket.socket()
        self._bound.bind((HOST, 0))  # until the server starts, nobody listens there
        super().__init__(inbox, HOST, self._bound.getsockname()[1], **options)

    @property
    def settings(self) -> MailSettings:
        return MailSettings(HOST, self.port, SENDER, timeout_s=20)

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self._bound, ssl=self.ssl_context)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def serve(inbox: Inbox) -> Iterator[Callable[..., MailSettings]]:
    with ExitStack() as stack:

        def start(**options: Any) -> MailSettings:
            server = Server(inbox, **options)
            server.start()
            stack.callback(server.stop)
            return server.settings

        yield start


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself."""
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = f"-subj /CN=localhost -addext subjectAltName=IP:{HOST}"
    try:
        subprocess.run(
            [*command.split(), *names.split(), "-keyout", str(path), "-out", str(path.with_suffix(".crt"))],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed: no certificate to test TLS with")
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
def login_file(tmp_path: Path) -> Path:
    path = tmp_path / "login"
    path.write_text("arts\nsecret\n")
    path.chmod(0o600)
    return path


def check_login(server, session, envelope, mechanism, data) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"arts", b"secret"), handled=False)


def mail(*to: str, **parts: Any) -> EmailMessage:
    return build_mail(
        "Results of B1933+16", f"ARTS <{SENDER}>", to or ("a@example.org",), "5 candidates", **parts
    )


def send(settings: MailSettings, message: EmailMessage) -> dict[str, Refusal]:
    return deliver(settings, recipients_of(message), content_of(message))


def with_(settings: MailSettings, **changes: Any) -> MailSettings:
    return MailSettings(**{**vars(settings), **changes})


def test_a_mail_arrives_with_all_its_parts(serve, inbox: Inbox, tmp_path: Path) -> None:
    plots = tmp_path / "CB00.pdf"
    plots.write_bytes(bytes(range(256)) * 1000)
    message = mail("a@example.org", "b@example.org", html="<p>5</p>", attachments=[plots])
    assert send(serve(), message) == {}
    assert (inbox.envelopes[0].mail_from, inbox.envelopes[0].rcpt_tos) == (
        SENDER,
        ["a@example.org", "b@example.org"],
    )
    assert inbox.mail()["Subject"] == "Results of B1933+16"
    assert inbox.mail().get_body(("html",)).get_content().strip() == "<p>5</p>"
    assert [part.get_content() for part in inbox.mail().iter_attachments()] == [plots.read_bytes()]


@pytest.mark.usefixtures("trusted")
def test_a_login_goes_through_starttls(serve, inbox: Inbox, tls, login_file: Path) -> None:
    settings = serve(tls_context=tls, require_starttls=True, auth_required=True, authenticator=check_login)
    send(with_(settings, tls="starttls", login_file=login_file), mail())
    assert inbox.mail()["Subject"] == "Results of B1933+16"


@pytest.mark.usefixtures("trusted")
def test_a_mail_goes_through_tls(serve, inbox: Inbox, tls) -> None:
    send(with_(serve(ssl_context=tls), tls="tls"), mail())
    assert inbox.mail()["Subject"] == "Results of B1933+16"


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_refused_and_not_shown(serve, inbox: Inbox, tls, login_file: Path) -> None:
    login_file.write_text("arts geheim")
    settings = serve(tls_context=tls, auth_required=True, authenticator=check_login)
    with pytest.raises(MailError, match=f"{HOST}:{settings.port} did not take the mail: 535") as refusal:
        send(with_(settings, tls="starttls", login_file=login_file), mail())
    assert "geheim" not in str(refusal.value)
    assert inbox.envelopes == []


def test_a_server_that_is_not_trusted_gets_nothing(serve, inbox: Inbox, tls, login_file: Path) -> None:
    settings = serve(tls_context=tls, auth_required=True, authenticator=check_login)
    with pytest.raises(MailError, match="certificate verify failed"):
        send(with_(settings, tls="starttls", login_file=login_file), mail())
    assert inbox.envelopes == []


def test_a_server_without_tls_is_not_spoken_to_in_the_clear(serve, inbox: Inbox) -> None:
    with pytest.raises(MailError, match="STARTTLS"):
        send(with_(serve(), tls="starttls"), mail())
    assert inbox.envelopes == []


@pytest.mark.parametrize("announces_limit", [True, False])
def test_a_refusal_for_the_size_is_told_from_others(
    serve, tmp_path: Path, announces_limit, monkeypatch
) -> None:
    if not announces_limit:
        monkeypatch.setattr("smtplib.SMTP.has_extn", lambda self, name: False)
    plots = tmp_path / "CB00.pdf"
    plots.write_bytes(bytes(100_000))
    with pytest.raises(MailTooLargeError, match="552"):
        send(serve(data_size_limit=50_000), mail(attachments=[plots]))


def test_a_recipient_that_is_refused_is_returned_and_the_others_served(serve, inbox: Inbox) -> None:
    refused = send(serve(), mail("a@example.org", "b@nowhere.example.org"))
    assert {who: why.reason for who, why in refused.items()} == {"b@nowhere.example.org": "no such mailbox"}
    assert inbox.envelopes[0].rcpt_tos == ["a@example.org"]


def test_who_reaches_nobody_is_told_why(serve) -> None:
    settings = serve()
    refused = send(settings, mail("b@nowhere.example.org"))
    assert "b@nowhere.example.org: no such mailbox" in str(nobody_served(settings, refused))


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MailError, match=re.escape(f"{HOST}:{port} did not take the mail: nobody listens")):
        send(MailSettings(HOST, port, SENDER), mail())


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server((HOST, 0)) as listener, pytest.raises(MailError, match="timed out"):
        send(MailSettings(HOST, listener.getsockname()[1], SENDER, timeout_s=0.1), mail())


@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "530 5.7.0 authentication required"])
def test_trouble_with_the_server_is_told_from_recipients_that_are_refused(
    serve, inbox: Inbox, monkeypatch, reply: str
) -> None:
    async def answer(self, server, session, envelope, address, options) -> str:
        if address.startswith("a") and reply.startswith("421"):
            envelope.rcpt_tos.append(address)
            return "250 OK"
        return reply

    monkeypatch.setattr(Inbox, "handle_RCPT", answer)
    with pytest.raises(MailError, match=reply) as trouble:
        send(serve(), mail("a@example.org", "b@example.org"))
    assert not isinstance(trouble.value, MailRefusedError)
    assert inbox.envelopes == []


@pytest.mark.parametrize(
    ("reply", "kind", "lasting"),
    [
        ("451 4.7.1 come back later", MailRefusedError, False),
        ("554 5.7.1 looks like spam", MailRefusedError, True),
        ("554 5.3.4 message too big", MailTooLargeError, True),
    ],
)
def test_a_mail_that_is_refused_says_whether_for_good(
    serve, monkeypatch, reply: str, kind: type, lasting: bool
) -> None:
    async def answer(self, server, session, envelope) -> str:
        return reply

    monkeypatch.setattr(Inbox, "handle_DATA", answer)
    with pytest.raises(MailRefusedError, match=reply) as refusal:
        send(serve(), mail())
    assert (type(refusal.value), refusal.value.lasting) == (kind, lasting)


def test_a_size_that_is_refused_for_every_recipient_is_told_from_others(serve, monkeypatch) -> None:
    async def answer(self, server, session, envelope, address, options) -> str:
        return "552 5.3.4 message too big"

    monkeypatch.setattr(Inbox, "handle_RCPT", answer)
    with pytest.raises(MailTooLargeError):
        send(serve(), mail())


def test_a_mail_that_was_taken_is_not_failed_by_the_farewell(serve, inbox: Inbox, monkeypatch) -> None:
    monkeypatch.setattr("aiosmtpd.smtp.SMTP.smtp_QUIT", refuse_to_part)
    assert send(serve(), mail()) == {}
    assert len(inbox.envelopes) == 1


async def refuse_to_part(server, argument) -> None:
    await server.push("421 busy")
    server.transport.close()


# --- mails that wait ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mail"


@pytest.fixture
def spool(folder: Path) -> Iterator[Callable[[MailSettings], MailSpool]]:
    with ExitStack() as stack:

        def open_it(settings: MailSettings) -> MailSpool:
            logger = logging.getLogger("darc.test")
            spool = MailSpool(folder, settings, retry_interval_s=0.02, max_age_s=3600.0, logger=logger)
            stack.callback(spool.close, 20.0)
            return spool

        yield open_it


def numbered(number: int, **parts: Any) -> EmailMessage:
    return build_mail(f"Results {number}", SENDER, ["a@example.org"], str(number), **parts)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def waiting(folder: Path) -> list[Path]:
    return MailFolder(folder).waiting()


#: Opens the spool of a folder, puts mails in, says so, and lives until it is killed.
PROGRAM = """
import logging, sys
from pathlib import Path
from darc.network.mail import MailSettings, build_mail
from darc.network.mail_spool import MailSpool
folder, port, *numbers = sys.argv[1:]
settings = MailSettings("127.0.0.1", int(port), "arts@example.org", timeout_s=20)
logger = logging.getLogger()
spool = MailSpool(Path(folder), settings, retry_interval_s=0.02, max_age_s=3600.0, logger=logger)
for number in numbers:
    spool.put(build_mail(f"Results {number}", settings.sender, ["a@example.org"], number))
print("ready", flush=True)
sys.stdin.read()
spool.close(20.0)
"""


@contextmanager
def process(folder: Path, settings: MailSettings, *numbers: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that uses the folder; at the end of the block it is told to end."""
    arguments = [str(folder), str(settings.port), *map(str, numbers)]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        yield running


def test_mails_wait_for_a_server_that_is_away_and_arrive_in_order(
    spool, inbox: Inbox, folder, caplog
) -> None:
    server = Server(inbox)
    mails = spool(server.settings)
    for number in range(3):
        mails.put(numbered(number))
    until(lambda: "nobody listens there" in caplog.text)
    assert len(waiting(folder)) == 3
    server.start()
    try:
        until(lambda: not waiting(folder))
    finally:
        server.stop()
    assert inbox.texts() == ["0", "1", "2"]


def test_no_mail_is_lost_when_the_process_is_killed(serve, spool, inbox: Inbox, folder) -> None:
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        away = MailSettings(HOST, bound.getsockname()[1], SENDER)
        with process(folder, away, 0, 1, 2) as killed:
            killed.kill()
    assert len(waiting(folder)) == 3
    spool(serve()).close(20.0)
    assert inbox.texts() == ["0", "1", "2"]
    assert waiting(folder) == []


def test_a_mail_is_sent_once_by_two_processes(serve, spool, inbox: Inbox, folder) -> None:
    inbox.takes_mail.clear()
    settings = serve()
    with process(folder, settings, 0):
        inbox.is_asked.wait(20)
        spool(settings).close(20.0)  # its round passes the mail, which the other process is sending
        assert len(waiting(folder)) == 1
        inbox.takes_mail.set()
        until(lambda: not waiting(folder))
    assert inbox.texts() == ["0"]


def test_many_mails_are_sent_once_each_by_two_processes(serve, spool, inbox: Inbox, folder) -> None:
    settings = serve()
    files = MailFolder(folder)
    for number in range(30):
        files.add(SpooledMail.of(numbered(number)))
    with process(folder, settings):
        spool(settings)
        until(lambda: not waiting(folder))
    assert sorted(inbox.texts(), key=int) == [str(number) for number in range(30)]


def test_a_mail_that_a_killed_process_was_sending_is_sent_again_under_its_id(
    serve, spool, inbox: Inbox, folder
) -> None:
    inbox.takes_mail.clear()
    settings = serve()
    with process(folder, settings, 0) as killed:
        inbox.is_asked.wait(20)
        written = SpooledMail.from_bytes(waiting(folder)[0].read_bytes()).message
        killed.kill()
    inbox.takes_mail.set()
    spool(settings)
    until(lambda: not waiting(folder))
    assert {kept.content for kept in inbox.envelopes} == {written}


def test_a_mail_too_large_for_the_server_arrives_without_its_plots(serve, spool, inbox, tmp_path) -> None:
    plots = tmp_path / "CB00.pdf"
    plots.write_bytes(bytes(100_000))
    mails = spool(serve(data_size_limit=50_000))
    mails.put(numbered(1, attachments=[plots]), smaller=numbered(1))
    until(lambda: inbox.envelopes)
    assert list(inbox.mail().iter_attachments()) == []


def test_recipients_that_are_busy_get_their_mail_later_and_nobody_gets_two(
    spool, serve, inbox: Inbox
) -> None:
    inbox.busy = {"b@example.org"}
    mails = spool(serve())
    mails.put(mail("a@example.org", "b@example.org", "c@nowhere.example.org"))
    until(lambda: len(inbox.envelopes) == 2)
    assert [kept.rcpt_tos for kept in inbox.envelopes] == [["a@example.org"], ["b@example.org"]]
    assert len({mail["Message-ID"] for mail in inbox.mails()}) == 1


@pytest.mark.usefixtures("trusted")
def test_mails_wait_while_the_login_is_refused(
    serve, spool, inbox: Inbox, tls, login_file: Path, caplog, folder
) -> None:
    login_file.write_text("arts geheim")
    settings = serve(tls_context=tls, require_starttls=True, auth_required=True, authenticator=check_login)
    mails = spool(with_(settings, tls="starttls", login_file=login_file))
    mails.put(numbered(1))
    until(lambda: "535" in caplog.text)
    login_file.write_text("arts secret")
    until(lambda: not waiting(folder))
    assert inbox.texts() == ["1"]
    assert "geheim" not in caplog.text


def test_a_mail_that_is_refused_is_put_aside_and_the_next_arrives(serve, spool, inbox: Inbox, folder) -> None:
    mails = spool(serve())
    mails.put(mail("b@nowhere.example.org"))
    mails.put(numbered(1))
    until(lambda: inbox.envelopes)
    assert len(list((folder / "failed").iterdir())) == 1
    assert inbox.texts() == ["1"]
