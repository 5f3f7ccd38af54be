"""Mails to those who receive the results."""

import logging

import pytest

from darc.network.mail import MailError
from darc.reporting.post import Post


class Spool:
    def __init__(self):
        self.mails, self.closed = [], None

    def put(self, message, *, smaller=None):
        if self.mails is None:
            raise MailError("no space left on device")
        self.mails.append((message, smaller))

    def close(self, timeout_s):
        self.closed = timeout_s


@pytest.fixture
def spool():
    return Spool()


def post(spool, to=("observers@example.org",)):
    return Post(spool, "darc@example.org", to, logging.getLogger("test"))


def names(message):
    return [part.get_filename() for part in message.iter_attachments()]


def test_plots_are_attached_and_a_mail_without_them_is_at_hand(spool, tmp_path):
    (tmp_path / "CB00.pdf").write_bytes(b"%PDF")
    post(spool).put("subject", "text\n", html="<p>text</p>", plots=[tmp_path / "CB00.pdf"])
    ((message, smaller),) = spool.mails
    assert message["Subject"] == "subject" and message["To"] == "observers@example.org"
    assert names(message) == ["CB00.pdf"] and names(smaller) == []
    assert "not attached" in smaller.get_body(("plain",)).get_content()
    assert "<p>text</p>" in smaller.get_body(("html",)).get_content()


def test_plots_that_cannot_be_read_do_not_stop_the_mail(spool, tmp_path, caplog):
    post(spool).put("subject", "text\n", plots=[tmp_path / "CB00.pdf"])
    ((message, smaller),) = spool.mails
    assert names(message) == [] and smaller is None and "CB00.pdf" in caplog.text


def test_without_recipients_there_is_no_mail(spool):
    post(spool, to=()).put("subject", "text")
    assert spool.mails == []


@pytest.mark.parametrize("to", [("no address at all\n",), ("observers@example.org",)])
def test_a_mail_that_cannot_be_queued_is_told(spool, caplog, to):
    spool.mails = None
    post(spool, to).put("results", "text")
    assert "results" in caplog.text and any(record.levelname == "ERROR" for record in caplog.records)


def test_the_end_is_limited_in_time(spool):
    post(spool).close(3.0)
    assert spool.closed == 3.0
