"""What is written down of an event, and when."""

import logging

import pytest

from darc import metrics
from darc.errors import DARCError
from darc.events.sender import EventSender
from darc.network.ordered_sender import Waiting
from darc.network.retry import RetryPolicy
from darc.records.sent_log import SENDING, SENT, UNKNOWN, Event, SentLog, SentLogError


class KilledError(BaseException):
    """The process ends here."""


class Receiver:
    """One that must not be sent anything twice, and whose mails are counted."""

    unreachable = DARCError

    def __init__(self, dies=False, repeat=False):
        self.sent, self.mails, self.dies, self.repeat = [], 0, dies, repeat
        self.away = ""

    def objection(self, event):
        return None

    def transmit(self, event):
        if self.away:
            raise DARCError(self.away)
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


def test_one_that_recognises_what_comes_twice_is_sent_it_again_after_a_death(tmp_path, event):
    SentLog(tmp_path / "sent").write(event, SENDING, 1000.0)
    receiver = Receiver(repeat=True)
    successor = sender(tmp_path, receiver)
    successor.start()
    successor.close(20.0)
    assert receiver.sent == [event.key] and outcomes(tmp_path) == []


def test_what_waits_is_counted_until_it_is_sent_or_given_up(tmp_path, event):
    def unsent():
        return metrics.UNSENT.labels("lofar")._value.get()

    waiting = sender(tmp_path, Receiver())
    for number in (1, 2):
        waiting.put(Event.new(1000.0, True, {}, {}, ()))
        assert unsent() == number
    waiting._attempt(Waiting(event, 0.0))
    assert unsent() == 1
    waiting._expire(Waiting(event, 0.0), "too old")
    assert unsent() == 0


def test_a_receiver_that_is_away_is_told_of_once_and_again_after_it_was_there(tmp_path, event, caplog):
    receiver = Receiver()
    waiting = sender(tmp_path, receiver)
    for away in ("refused", "refused", "", "refused"):
        receiver.away = away
        assert waiting._attempt(Waiting(event, 0.0)) == (not away)
    assert [record.getMessage() for record in caplog.records] == ["event waits: refused"] * 2
    assert "waits" in (tmp_path / "sent").read_text()
