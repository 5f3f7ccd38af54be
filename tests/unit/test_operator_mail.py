"""What operators are told of a node that cannot help itself."""

from email import message_from_bytes, policy

import pytest

from darc.config import load_config
from darc.network.mail import MailError
from darc.operator_mail import OperatorMail


class Spool:
    """Where mails wait, without a thread or a disk."""

    def __init__(self):
        self.mails, self.full, self.closed = [], False, False

    def put(self, message):
        if self.full:
            raise MailError("no space left")
        self.mails.append(message_from_bytes(message.as_bytes(), policy=policy.default))

    def close(self, _timeout_s):
        self.closed = True


@pytest.fixture
def mail(tmp_path, monkeypatch):
    spool = Spool()
    monkeypatch.setattr("darc.network.mail_spool.open_spool", lambda *_: spool)

    def mail(to):
        (tmp_path / "site.yaml").write_text(
            f"nodes: {{workers: {{w: 0}}}}\ndarc_master: {{email_settings: {{to: {to}}}}}\n"
            "processor: {log_file: /var/log/darc/processor.log}\n"
        )
        operators = OperatorMail(load_config(tmp_path / "site.yaml", "w"))
        operators.spool = spool
        return operators

    return mail


def test_a_mail_says_which_service_is_given_up_why_and_where_to_look(mail):
    operators = mail("[night@example.org, day@example.org]")
    operators.given_up("processor", "killed by signal 9 (Killed)")
    operators.close()
    (message,) = operators.spool.mails
    assert message["to"] == "night@example.org, day@example.org"
    assert message["subject"] == "DARC: processor of w is given up"
    text = message.get_body().get_content()
    for part in ("killed by signal 9", "/var/log/darc/processor.log", "darc --service processor start"):
        assert part in text
    assert operators.spool.closed


def test_without_recipients_nothing_is_sent(mail):
    operators = mail("[]")
    operators.given_up("processor", "ended with exit code 1")
    operators.close()
    assert operators.spool.mails == []


def test_a_mail_that_cannot_be_kept_is_told(mail, caplog):
    operators = mail("[night@example.org]")
    operators.spool.full = True
    operators.given_up("processor", "ended with exit code 1")
    assert "no space left" in caplog.text
