"""What becomes of mails that the mail server does not take at once."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darc import metrics
from darc.config import load_config
from darc.errors import DARCError
from darc.network import mail_spool
from darc.network.mail import (
    MailError,
    MailRefusedError,
    MailSettings,
    MailTooLargeError,
    Refusal,
    build_mail,
)
from darc.network.mail_folder import MailFolder, SpooledMail
from darc.network.mail_spool import MailSpool, Postman, open_spool

SETTINGS = MailSettings("mail.example.org", 25, "arts@example.org")
AWAY = MailError("nobody listens")
LATER = MailRefusedError("450 busy", lasting=False)
NEVER = MailRefusedError("554 spam")


class Site:
    """A folder, a postman, a clock, and a mail server that answers as it is told."""

    def __init__(self, path: Path) -> None:
        self.now_s = 1e9
        self.folder = MailFolder(path / "mail", clock=lambda: int(self.now_s * 1e9))
        self.sent: list[tuple[str, tuple[str, ...]]] = []
        #: what is raised for a mail, or the recipients that are refused, by its text
        self.answers: dict[str, Exception | dict[str, Refusal]] = {}
        self.asked = 0
        self.postman = self.restart()

    def restart(self) -> Postman:
        self.postman = Postman(
            self.folder,
            SETTINGS,
            retry_interval_s=60.0,
            max_age_s=3600.0,
            logger=logging.getLogger("darc.test"),
            deliver=self.deliver,
            monotonic=lambda: self.now_s,
        )
        return self.postman

    def deliver(self, settings: MailSettings, recipients: Any, content: bytes) -> dict[str, Refusal]:
        self.asked += 1
        text = content.decode().strip()
        answer = self.answers.get(text, {})
        if isinstance(answer, Exception):
            raise answer
        self.sent.append((text, tuple(who for who in recipients if who not in answer)))
        return {who: answer[who] for who in recipients if who in answer}

    def add(self, text: str, *to: str, smaller: str = "") -> None:
        self.folder.add(SpooledMail(f"about {text}", to or ("a@b.org",), text.encode(), smaller.encode()))
        self.now_s += 1

    def go_round(self, after_s: float = 60.0) -> list[str]:
        self.now_s += after_s
        self.sent.clear()
        self.postman.go_round()
        return [text for text, _ in self.sent]

    def failed(self) -> list[str]:
        return sorted(
            SpooledMail.from_bytes(path.read_bytes()).message.decode()
            for path in (self.folder.path / "failed").glob("*.eml")
        )


@pytest.fixture
def site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Site:
    caplog.set_level(logging.INFO)
    return Site(tmp_path)


def test_mails_are_sent_once_the_oldest_first(site: Site) -> None:
    for text in ("first", "second", "third"):
        site.add(text)
    assert site.go_round() == ["first", "second", "third"]
    assert site.go_round() == []
    assert site.folder.waiting() == []


def test_while_the_server_is_away_everything_waits_and_keeps_its_order(site: Site, caplog) -> None:
    site.answers["first"] = AWAY
    site.add("first")
    site.add("second")
    assert site.go_round() == []
    site.add("third")
    site.postman.go_round()
    assert site.asked == 1
    del site.answers["first"]
    assert site.go_round() == ["first", "second", "third"]
    assert "mails wait: nobody listens; again in 60 s" in caplog.text
    assert "takes mails again" in caplog.text


def test_a_server_that_stays_away_is_logged_once(site: Site, caplog) -> None:
    site.answers["first"] = AWAY
    site.add("first")
    for _ in range(5):
        site.go_round()
    assert (site.asked, caplog.text.count("nobody listens")) == (5, 1)


def test_a_mail_that_is_refused_for_now_does_not_hold_up_the_others(site: Site) -> None:
    site.answers["first"] = LATER
    site.add("first")
    site.add("second")
    assert site.go_round() == ["second"]
    del site.answers["first"]
    assert site.go_round(after_s=1.0) == []
    assert site.go_round() == ["first"]


def test_mails_are_counted_once_it_is_known_what_became_of_them(site: Site) -> None:
    def counted() -> list[float]:
        return [metrics.TRIGGERS.labels("mail", each)._value.get() for each in (metrics.SENT, metrics.FAILED)]

    before = counted()
    site.answers.update(first=NEVER, second=LATER)
    for text in ("first", "second", "third"):
        site.add(text)
    site.go_round()
    assert [after - each for after, each in zip(counted(), before, strict=True)] == [1, 1]


def test_a_mail_that_is_refused_for_good_is_put_aside_with_the_reason(site: Site, caplog) -> None:
    site.answers["first"] = NEVER
    site.add("first")
    site.add("second")
    assert site.go_round() == ["second"]
    assert site.failed() == ["first"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'about first'" in record.getMessage() and "554 spam" in record.getMessage()


@pytest.mark.parametrize("answer", [AWAY, LATER])
def test_a_mail_is_given_up_when_it_is_too_old(site: Site, caplog, answer: Exception) -> None:
    site.answers["old"] = site.answers["young"] = answer
    site.add("old")
    site.now_s += 3000
    site.add("young")
    site.go_round()
    assert site.failed() == []
    site.go_round(after_s=700.0)
    assert site.failed() == ["old"]
    assert str(answer) in caplog.text
    site.answers.clear()
    assert site.go_round() == ["young"]


def test_a_mail_that_waited_through_a_long_stop_is_tried_before_it_is_too_old(site: Site) -> None:
    site.add("old")
    site.now_s += 1e6
    site.restart()
    assert site.go_round() == ["old"]


def test_a_mail_that_is_too_large_goes_in_its_smaller_form(site: Site) -> None:
    site.answers["with plots"] = MailTooLargeError("552 too large")
    site.add("with plots", smaller="without")
    assert site.go_round() == ["without"]
    assert (site.folder.waiting(), site.failed()) == ([], [])


def test_a_mail_that_is_too_large_and_has_no_smaller_form_is_put_aside(site: Site) -> None:
    site.answers["with plots"] = site.answers["without"] = MailTooLargeError("552 too large")
    site.add("with plots")
    site.add("with plots", smaller="without")
    assert site.go_round() == []
    assert site.failed() == ["with plots", "with plots"]


def test_recipients_that_are_refused_do_not_cost_the_others_their_mail(site: Site, caplog) -> None:
    site.answers["first"] = {"gone@b.org": Refusal(550, "no such mailbox")}
    site.add("first", "a@b.org", "gone@b.org")
    site.go_round()
    assert site.sent == [("first", ("a@b.org",))]
    assert "not sent to gone@b.org: 550 no such mailbox" in caplog.text
    assert (site.folder.waiting(), site.failed()) == ([], [])


def test_recipients_that_are_refused_for_now_get_their_mail_later_and_the_others_once(site: Site) -> None:
    busy, gone = Refusal(450, "mailbox busy"), Refusal(550, "no such mailbox")
    site.answers["first"] = {"busy@b.org": busy, "gone@b.org": gone}
    site.add("first", "a@b.org", "busy@b.org", "gone@b.org")
    site.go_round()
    assert site.sent == [("first", ("a@b.org",))]
    site.answers.clear()
    site.restart()
    site.go_round()
    assert site.sent == [("first", ("busy@b.org",))]


@pytest.mark.parametrize(("code", "failed"), [(550, ["first"]), (450, [])])
def test_a_mail_that_nobody_may_get_is_put_aside_and_one_for_later_waits(site: Site, code, failed) -> None:
    site.answers["first"] = {"a@b.org": Refusal(code, "no")}
    site.add("first")
    site.go_round()
    assert (site.failed(), len(site.folder.waiting())) == (failed, 1 - len(failed))


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, b"Subject: not ours\r\n\r\ntext"])
def test_a_damaged_file_costs_that_mail_only(site: Site, caplog, damage: bytes) -> None:
    for text in ("first", "second", "third"):
        site.add(text)
    path = site.folder.waiting()[1]
    path.write_bytes(damage)
    assert site.go_round() == ["first", "third"]
    assert (site.folder.path / "failed" / path.name).read_bytes() == damage
    assert path.name in caplog.text


def test_a_file_that_cannot_be_read_costs_that_mail_only(site: Site) -> None:
    site.add("first")
    (path,) = site.folder.waiting()
    path.unlink()
    path.mkdir()
    site.add("second")
    assert site.go_round() == ["second"]


def test_a_mail_that_cannot_be_removed_is_not_sent_again(site: Site, monkeypatch, caplog) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    site.add("first")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert site.go_round() == ["first"]
    assert site.go_round() == []
    assert "cannot be removed: Read-only file system" in caplog.text


def test_a_mail_in_the_hands_of_another_process_is_left_to_it(site: Site) -> None:
    site.add("first")
    with mail_spool.claimed(site.folder.waiting()[0]):
        assert site.go_round() == []
    assert site.go_round() == ["first"]


def test_a_round_that_has_to_end_leaves_the_rest_on_disk(site: Site) -> None:
    site.add("first")
    site.add("second")
    site.postman.go_round(lambda: bool(site.sent))
    assert [text for text, _ in site.sent] == ["first"]
    assert len(site.folder.waiting()) == 1


# --- a disk that is full -----------------------------------------------------------------------------------


@pytest.fixture
def full_disk(site: Site, monkeypatch) -> Callable[[bool], None]:
    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def fill(full: bool) -> None:
        if full:
            monkeypatch.setattr("darc.network.spool.os.fsync", fsync)
        else:
            monkeypatch.undo()

    fill(True)
    return fill


@pytest.mark.usefixtures("full_disk")
def test_a_mail_that_the_disk_does_not_take_is_sent_from_memory(site: Site) -> None:
    site.postman.keep(SpooledMail("about it", ("a@b.org",), b"unsaved"))
    assert site.go_round() == ["unsaved"]
    assert site.go_round() == []


def test_a_mail_in_memory_is_saved_once_there_is_room(site: Site, full_disk) -> None:
    site.answers["unsaved"] = AWAY
    site.postman.keep(SpooledMail("about it", ("a@b.org",), b"unsaved"))
    site.go_round()
    assert site.folder.waiting() == []
    full_disk(False)
    site.go_round()
    assert len(site.folder.waiting()) == 1
    site.answers.clear()
    site.restart()
    assert site.go_round() == ["unsaved"]


@pytest.mark.usefixtures("full_disk")
def test_of_a_mail_in_memory_each_recipient_gets_one(site: Site) -> None:
    site.answers["unsaved"] = {"busy@b.org": Refusal(450, "mailbox busy")}
    site.postman.keep(SpooledMail("about it", ("a@b.org", "busy@b.org"), b"unsaved"))
    site.go_round()
    assert site.sent == [("unsaved", ("a@b.org",))]
    site.answers["unsaved"] = NEVER
    site.go_round()
    site.answers.clear()
    assert site.go_round() == []


# --- the spool ---------------------------------------------------------------------------------------------


@pytest.fixture
def delivered(monkeypatch) -> list[str]:
    contents: list[str] = []

    def deliver(settings: MailSettings, recipients: Any, content: bytes) -> dict[str, Refusal]:
        contents.append(content.decode().partition("\r\n\r\n")[2].strip())
        return {}

    monkeypatch.setattr(mail_spool, "deliver", deliver)
    return contents


def spool(path: Path) -> MailSpool:
    logger = logging.getLogger("darc.test")
    return MailSpool(path, SETTINGS, retry_interval_s=60.0, max_age_s=60.0, logger=logger)


def message(text: str):
    return build_mail("Results", "arts@example.org", ["a@b.org"], text)


def test_what_is_put_in_is_sent_before_the_spool_closes(tmp_path: Path, delivered) -> None:
    mails = spool(tmp_path)
    for text in ("first", "second"):
        mails.put(message(text))
    mails.close(10.0)
    assert delivered == ["first", "second"]


def test_a_full_disk_is_an_error_that_names_it_and_the_mail_is_sent_all_the_same(
    tmp_path: Path, delivered, monkeypatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("darc.network.spool.os.fsync", fsync)
    mails = spool(tmp_path / "mail")
    with pytest.raises(DARCError, match=f"disk of {tmp_path}/mail: No space left on device; make room"):
        mails.put(message("first"))
    mails.close(10.0)
    assert delivered == ["first"]


def test_the_folder_and_the_times_are_those_of_the_configuration(tmp_path: Path, delivered) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"darc_master: {{state_dir: {tmp_path}/state}}\nmail: {{sender: arts@example.org}}\n")
    MailFolder(tmp_path / "state" / "mail").add(SpooledMail.of(message("waits since the last run")))
    mails = open_spool(load_config(config), logging.getLogger("darc.test"))
    mails.close(10.0)
    assert delivered == ["waits since the last run"]
