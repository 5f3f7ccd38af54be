"""Files that wait to be sent, and mails in them."""

import email
import email.policy
import errno
import fcntl
import os
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darc.network.mail import MailError, build_mail
from darc.network.mail_folder import MailFolder, SpooledMail
from darc.network.spool import claimed


def message(subject: str = "Results") -> EmailMessage:
    return build_mail(subject, "arts@example.org", ["a@example.org", "B <b@example.org>"], "3 µs\n")


@pytest.fixture
def folder(tmp_path: Path) -> MailFolder:
    return MailFolder(tmp_path / "state" / "mail")


def subjects(folder: MailFolder) -> list[str]:
    return [SpooledMail.from_bytes(path.read_bytes()).subject for path in folder.waiting()]


def test_a_mail_is_read_back_as_it_was_written() -> None:
    mail = SpooledMail.of(message(), message("Smaller"))
    assert SpooledMail.from_bytes(mail.to_bytes()) == mail
    assert mail.recipients == ("a@example.org", "b@example.org")
    assert mail_of(mail.message)["Subject"] == "Results"
    assert mail_of(mail.smaller)["Subject"] == "Smaller"


def mail_of(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def test_a_file_is_one_that_mail_programs_can_show(tmp_path: Path) -> None:
    plot = tmp_path / "CB00.pdf"
    plot.write_bytes(b"%PDF")
    full = build_mail("Results", "a@b", ["c@d"], "5 candidates", html="<p>5</p>", attachments=[plot])
    shown = mail_of(SpooledMail.of(full, message("Smaller")).to_bytes())
    assert shown["Subject"] == "Results"
    assert shown.get_body(("plain",)).get_content().strip() == "5 candidates"
    assert [part.get_filename() for part in shown.iter_attachments()] == ["CB00.pdf"]


def test_hidden_recipients_get_the_mail_and_stay_hidden() -> None:
    with_hidden = message()
    with_hidden["Bcc"] = "c@example.org"
    mail = SpooledMail.of(with_hidden)
    assert mail.recipients == ("a@example.org", "b@example.org", "c@example.org")
    assert b"c@example.org" not in mail.message
    assert with_hidden["Bcc"] == "c@example.org"


def test_a_mail_to_nobody_is_refused() -> None:
    with pytest.raises(MailError, match="nobody"):
        SpooledMail.of(EmailMessage())


def test_a_mail_is_written_with_characters_that_every_server_takes() -> None:
    written = SpooledMail.of(
        build_mail("µs", "a@b", ["c@d"], "µs é \U0001f52d\n" * 50, html="<p>µs</p>")
    ).message
    assert written.isascii()
    assert written.count(b"\n") == written.count(b"\r\n") == written.count(b"\r")


@given(st.data())
def test_a_damaged_file_is_told_from_a_mail(data: st.DataObject) -> None:
    whole = SpooledMail("Results", ("a@b.org",), b"Subject: Results\r\n\r\ntext", b"less").to_bytes()
    body = whole.index(b"\r\n") + 2
    cut = data.draw(st.integers(0, len(whole) - 1))
    place = data.draw(st.integers(body, len(whole) - 1))
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for damaged in (whole[:cut], flipped, whole + b"x"):
        with pytest.raises(MailError):
            SpooledMail.from_bytes(damaged)


@given(st.binary(max_size=100))
@example(b"X-DARC-Spool: []\r\n")
@example(b'X-DARC-Spool: {"smaller": "x"}\r\n')
def test_a_file_with_anything_else_is_no_mail(data: bytes) -> None:
    with pytest.raises(MailError):
        SpooledMail.from_bytes(data)


def test_mails_wait_in_the_order_of_their_arrival_even_if_the_clock_is_set_back(tmp_path: Path) -> None:
    times = iter([3_000, 1_000, 9_000])
    folder = MailFolder(tmp_path, clock=lambda: next(times))
    for subject in "abc":
        folder.add(SpooledMail.of(message(subject)))
    assert subjects(folder) == ["a", "b", "c"]


def test_only_the_owner_may_read_the_mails(folder: MailFolder) -> None:
    folder.add(SpooledMail.of(message()))
    (path,) = folder.waiting()
    folder.put_aside(path)
    (aside,) = (folder.path / "failed").iterdir()
    modes = [place.stat().st_mode & 0o777 for place in (folder.path, aside.parent, aside)]
    assert modes == [0o700, 0o700, 0o600]


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    MailFolder(tmp_path).add(SpooledMail.of(message()))
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_mail_that_the_disk_does_not_take_leaves_nothing(folder: MailFolder, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("darc.network.spool.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.add(SpooledMail.of(message()))
    assert list(folder.path.iterdir()) == []


def test_what_is_half_written_does_not_wait_and_goes_when_it_is_old(folder: MailFolder) -> None:
    folder.path.mkdir(parents=True)
    old, fresh = folder.path / ".0001-a.eml.part", folder.path / ".0002-b.eml.part"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (0, 0))
    folder.tidy(3600.0)
    assert folder.waiting() == []
    assert (old.exists(), fresh.exists()) == (False, True)


def test_a_folder_that_is_not_there_yet_is_empty(folder: MailFolder) -> None:
    assert folder.waiting() == []


def test_a_mail_is_claimed_once_at_a_time(folder: MailFolder) -> None:
    folder.add(SpooledMail.of(message()))
    (path,) = folder.waiting()
    with claimed(path) as first, claimed(path) as second:
        assert first is not None and second is None
    with claimed(path) as third:
        assert third is not None


def test_a_mail_on_a_file_system_without_locks_is_sent_all_the_same(
    folder: MailFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    folder.add(SpooledMail.of(message()))
    monkeypatch.setattr("darc.network.spool.fcntl.flock", no_locks)
    (path,) = folder.waiting()
    with claimed(path) as file:
        assert file is not None


def test_a_process_that_was_forked_meanwhile_does_not_keep_a_mail_claimed(folder: MailFolder) -> None:
    folder.add(SpooledMail.of(message()))
    (path,) = folder.waiting()
    with claimed(path) as file:
        inherited = os.dup(file.fileno())
    with claimed(path) as again:
        assert again is not None
    os.close(inherited)


def test_a_mail_that_was_sent_or_written_anew_meanwhile_is_not_claimed(
    folder: MailFolder, monkeypatch
) -> None:
    folder.add(SpooledMail.of(message()))
    (path,) = folder.waiting()
    lock = fcntl.flock

    def meanwhile(change):
        def flock(file, how):
            if how & fcntl.LOCK_EX:
                change()
            lock(file, how)

        return flock

    for change in (lambda: folder.replace(path, SpooledMail.of(message("anew"))), path.unlink):
        monkeypatch.setattr("darc.network.spool.fcntl.flock", meanwhile(change))
        with claimed(path) as file:
            assert file is None
