"""What is written down of an event, and when."""

import logging

import pytest

from darc import metrics
from darc.errors import DARCError
from darc.event_sender import EventSender
from darc.network.retry import RetryPolicy
from darc.sent_log import SENDING, SENT, UNKNOWN, Event, SentLog, SentLogError


class KilledError(BaseException):
    """The process ends here."""


class Receiver:
    """One that must not be sent anything twice, and whose mails are counted."""

    unreachable, repeat = DARCError, False

    def __init__(self, dies=False):
        self.sent, self.mails, self.dies = [], 0, dies

    def objection(self, event):
        return None

    def transmit(self, event):
        self.sent.append(event.key)
        return "somebody"

    def after_sending(self, event):
        self.mail()

    def lost_sight_of(self, event):
        self.mail()

    def mail(self):
        if self.dies:
            raise KilledError
        self.mails += 1


@pytest.fixture
def event():
    return Event.new(1000.0, True, {}, {}, ())


def sender(folder, receiver, events=None):
    events = events or SentLog(folder / "sent")
    return EventSender(
        "event", "lofar", receiver, events, retry=RetryPolicy(first_s=1.0), max_age_s=60.0,
        logger=logging.getLogger("test"), clock=lambda: 1000.0, monotonic=lambda: 0.0,
    )  # fmt: skip


def outcomes(folder):
    return [outcome for _, outcome in SentLog(folder / "sent").open_events()]


def test_an_event_is_announced_then_sent(tmp_path, event):
    receiver = Receiver()
    sender(tmp_path, receiver).deliver(event)
    assert receiver.sent == [event.key] and receiver.mails == 1
    assert [word in (tmp_path / "sent").read_text() for word in (SENDING, SENT)] == [True, True]


# disk full
def test_an_event_that_cannot_be_written_down_is_not_sent_and_counts_as_given_up(tmp_path, event):
    def failed():
        return metrics.TRIGGERS.labels("lofar", metrics.FAILED)._value.get()

    (tmp_path / "sent").mkdir()  # where the log should be
    receiver, before = Receiver(), failed()
    events = SentLog(tmp_path / "sent", read=False)
    with pytest.raises(SentLogError):
        sender(tmp_path, receiver, events).put(event)
    assert failed() == before + 1 and receiver.sent == []


# a mail that is lost because its event is settled when the process is killed
def test_who_is_killed_before_the_mail_leaves_it_to_the_next_process(tmp_path, event):
    with pytest.raises(KilledError):
        sender(tmp_path, Receiver(dies=True)).deliver(event)
    assert outcomes(tmp_path) == [SENDING]
    with pytest.raises(KilledError):
        sender(tmp_path, Receiver(dies=True)).start()
    assert outcomes(tmp_path) == [SENDING]
    successor = Receiver()
    last = sender(tmp_path, successor)
    last.start()
    last.close(0.0)
    assert successor.mails == 1 and successor.sent == []
    assert outcomes(tmp_path) == [] and UNKNOWN in (tmp_path / "sent").read_text()
