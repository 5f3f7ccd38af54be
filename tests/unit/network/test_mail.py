"""Mails are built here and parsed back."""

import email
import email.policy
import html
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.network.mail import MailError, build_mail, read_login
from darc.network.mail_folder import SpooledMail

SENDER = "ARTS <arts@example.org>"
TO = ["observer@example.org", "Second Observer <second@example.org>"]


HEADERS = {"From", "To", "Subject", "Date", "Message-ID"}


def parsed_back(mail: EmailMessage) -> EmailMessage:
    return email.message_from_bytes(mail.as_bytes(), policy=email.policy.default)


def test_a_mail_with_all_parts_is_read_back(tmp_path: Path) -> None:
    plot = tmp_path / "CB00.pdf"
    plot.write_bytes(b"%PDF-1.4\r\n\x00\xff")
    unknown = tmp_path / "results.hdf5x"
    unknown.write_bytes(b"\x89HDF")
    written = datetime(2019, 5, 18, 23, 51, 12, tzinfo=UTC)
    mail = parsed_back(
        build_mail(
            "Ergebnis für B1933+16",
            SENDER,
            TO,
            "2 Kandidaten, 3 µs\n",
            html="<p>2 Kandidaten</p>",
            attachments=[plot, unknown],
            date=written,
        )
    )
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, ", ".join(TO), "Ergebnis für B1933+16")
    assert mail["Date"].datetime == written
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail.get_body(("plain",)).get_content() == "2 Kandidaten, 3 µs\n"
    assert mail.get_body(("html",)).get_content() == "<p>2 Kandidaten</p>\n"
    assert [
        (part.get_filename(), part.get_content_type(), part.get_content()) for part in mail.iter_attachments()
    ] == [
        ("CB00.pdf", "application/pdf", b"%PDF-1.4\r\n\x00\xff"),
        ("results.hdf5x", "application/octet-stream", b"\x89HDF"),
    ]


#: Names of sources as nobody would give them, and as an observation could have them.
HOSTILE = (
    "<script>alert(1)</script>",
    """'"; DROP TABLE sources; --""",
    "$(reboot) `reboot` && reboot | reboot",
    "{{ 7 * 7 }} {% raw %} %s %n {0}",
    "../../etc/passwd",
    "PSR J0437\N{MINUS SIGN}4715 \N{GREEK SMALL LETTER MU} \N{TELESCOPE} \N{RIGHT-TO-LEFT OVERRIDE}x",
    "long " * 400 + "name",
    "x" * 2000,
    '"quoted" <b@example.org>, (comment) \\',
    ".",
)


def through_the_spool(mail: EmailMessage) -> EmailMessage:
    """Return a mail as it arrives after it has waited on disk."""
    kept = SpooledMail.from_bytes(SpooledMail.of(mail).to_bytes())
    return email.message_from_bytes(kept.message, policy=email.policy.default)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_an_observation_are_shown_as_they_are(name: str) -> None:
    mail = through_the_spool(build_mail(name, SENDER, TO, name, html=f"<p>{html.escape(name)}</p>"))
    assert (mail["Subject"], mail["To"]) == (name, ", ".join(TO))
    assert mail.get_body(("plain",)).get_content().splitlines() == [name]
    assert html.unescape(mail.get_body(("html",)).get_content().strip()) == f"<p>{name}</p>"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("R1\n.\nQUIT", "R1 . QUIT"),
        ("R1\r\n\r\n<p>x</p>", "R1 <p>x</p>"),
        ("R1\u2028\x85\x0bBcc: x@y", "R1 Bcc: x@y"),
        ("R1\x00\x1b[31m", "R1 [31m"),
        ("R1 \udcff\ud800", "R1 ??"),
        ("\n", ""),
    ],
)
def test_what_no_header_can_hold_is_left_out_of_the_subject_only(name: str, shown: str) -> None:
    mail = through_the_spool(build_mail(name, SENDER, TO, f"source: {name}\nDM: 56.8"))
    assert mail["Subject"] == shown
    assert set(mail.keys()) - {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"} == HEADERS
    assert mail.get_content().splitlines()[-1] == "DM: 56.8"


def test_characters_that_mail_servers_refuse_are_not_sent() -> None:
    mail = build_mail("R1", SENDER, TO, "a\x00b\x1b[31m\tc\n", html="<p>\x00</p>")
    assert through_the_spool(mail).get_body(("plain",)).get_content() == "a\ufffdb\ufffd[31m\tc\n"
    assert b"\x00" not in SpooledMail.of(mail).message


@pytest.mark.parametrize(
    "subject",
    [
        "B1933\nBcc: all@example.org",
        "B1933\r\nBcc: all@example.org",
        "=?utf-8?q?B1933=0ABcc:_all@example.org?=",
    ],
)
def test_a_subject_cannot_add_a_header(subject: str) -> None:
    mail = parsed_back(build_mail(subject, SENDER, TO, "text"))
    assert mail["Bcc"] is None
    assert "all@example.org" in mail["Subject"]


@given(st.text(), st.text())
def test_any_subject_and_text_give_a_mail_with_the_same_headers(subject: str, text: str) -> None:
    mail = parsed_back(build_mail(subject, SENDER, TO, text))
    names = {name for name in mail if name != "MIME-Version" and not name.startswith("Content-")}
    assert names == HEADERS


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=200))
def test_a_subject_of_printable_characters_comes_back(subject: str) -> None:
    assert parsed_back(build_mail(subject, SENDER, TO, ""))["Subject"] == subject.replace("=?", "= ?")


@pytest.mark.parametrize(("sender", "to"), [(SENDER, []), ("a@b\nBcc: x@y", TO), (SENDER, ["a@b\nBcc: x@y"])])
def test_addresses_that_are_none_are_refused(sender: str, to: list[str]) -> None:
    with pytest.raises(MailError):
        build_mail("subject", sender, to, "text")


def test_an_attachment_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MailError, match=r"CB07\.pdf"):
        build_mail("subject", SENDER, TO, "text", attachments=[tmp_path / "CB07.pdf"])


@pytest.mark.parametrize("content", ["arts pass word", "arts\npass word\n", "  arts \r\npass word\r\n"])
def test_a_login_is_read_from_one_line_or_two(tmp_path: Path, content: str) -> None:
    path = tmp_path / "login"
    path.write_text(content)
    path.chmod(0o600)
    assert read_login(path) == ("arts", "pass word")


@pytest.mark.parametrize("content", [b"", b"arts\n", b"arts\npass\nmore\n", b"\xff\xfe"])
def test_a_login_file_with_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "login"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(MailError, match="login"):
        read_login(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o610])
def test_a_login_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "login"
    path.write_text("arts secret")
    path.chmod(mode)
    with pytest.raises(MailError, match=f"chmod 600 {path}") as refusal:
        read_login(path)
    assert "secret" not in str(refusal.value)


def test_a_login_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MailError, match="nowhere"):
        read_login(tmp_path / "nowhere")
