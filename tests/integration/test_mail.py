"""Mails to a real mail server."""

import email
import email.policy
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from darc.network.mail import MailError, MailSettings, MailTooLargeError, build_mail, send_mail

HOST = "127.0.0.1"
SENDER = "arts@example.org"


class Inbox:
    """Keeps the mails that the server takes; nobody lives at nowhere.example.org."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        if address.endswith("@nowhere.example.org"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        self.envelopes.append(envelope)
        return "250 OK"

    def mail(self) -> EmailMessage:
        (envelope,) = self.envelopes
        return email.message_from_bytes(envelope.content, policy=email.policy.default)


class Server(Controller):
    """Server on a port that was bound beforehand, so that nobody else can take it."""

    def __init__(self, inbox: Inbox, **options: Any) -> None:
        self._bound = socket.create_server((HOST, 0))
        super().__init__(inbox, HOST, self._bound.getsockname()[1], **options)

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
            return MailSettings(HOST, server.port, SENDER, timeout_s=20)

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


def with_(settings: MailSettings, **changes: Any) -> MailSettings:
    return MailSettings(**{**vars(settings), **changes})


def test_a_mail_arrives_with_all_its_parts(serve, inbox: Inbox, tmp_path: Path) -> None:
    plots = tmp_path / "CB00.pdf"
    plots.write_bytes(bytes(range(256)) * 1000)
    message = mail("a@example.org", "b@example.org", html="<p>5</p>", attachments=[plots])
    assert send_mail(serve(), message) == {}
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
    send_mail(with_(settings, tls="starttls", login_file=login_file), mail())
    assert inbox.mail()["Subject"] == "Results of B1933+16"


@pytest.mark.usefixtures("trusted")
def test_a_mail_goes_through_tls(serve, inbox: Inbox, tls) -> None:
    send_mail(with_(serve(ssl_context=tls), tls="tls"), mail())
    assert inbox.mail()["Subject"] == "Results of B1933+16"


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_refused_and_not_shown(serve, inbox: Inbox, tls, login_file: Path) -> None:
    login_file.write_text("arts geheim")
    settings = serve(tls_context=tls, auth_required=True, authenticator=check_login)
    with pytest.raises(MailError, match=f"{HOST}:{settings.port} did not take the mail: 535") as refusal:
        send_mail(with_(settings, tls="starttls", login_file=login_file), mail())
    assert "geheim" not in str(refusal.value)
    assert inbox.envelopes == []


def test_a_server_that_is_not_trusted_gets_nothing(serve, inbox: Inbox, tls, login_file: Path) -> None:
    settings = serve(tls_context=tls, auth_required=True, authenticator=check_login)
    with pytest.raises(MailError, match="certificate verify failed"):
        send_mail(with_(settings, tls="starttls", login_file=login_file), mail())
    assert inbox.envelopes == []


def test_a_server_without_tls_is_not_spoken_to_in_the_clear(serve, inbox: Inbox) -> None:
    with pytest.raises(MailError, match="STARTTLS"):
        send_mail(with_(serve(), tls="starttls"), mail())
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
        send_mail(serve(data_size_limit=50_000), mail(attachments=[plots]))


def test_a_recipient_that_is_refused_is_returned_and_the_others_served(serve, inbox: Inbox) -> None:
    refused = send_mail(serve(), mail("a@example.org", "b@nowhere.example.org"))
    assert refused == {"b@nowhere.example.org": "no such mailbox"}
    assert inbox.envelopes[0].rcpt_tos == ["a@example.org"]


def test_a_mail_that_reaches_nobody_is_an_error(serve) -> None:
    with pytest.raises(MailError, match=r"b@nowhere\.example\.org: no such mailbox"):
        send_mail(serve(), mail("b@nowhere.example.org"))


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MailError, match=re.escape(f"{HOST}:{port} did not take the mail: nobody listens")):
        send_mail(MailSettings(HOST, port, SENDER), mail())


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server((HOST, 0)) as listener, pytest.raises(MailError, match="timed out"):
        send_mail(MailSettings(HOST, listener.getsockname()[1], SENDER, timeout_s=0.1), mail())
