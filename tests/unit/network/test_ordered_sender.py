"""The order in which things are handed on, and what becomes of those that are not."""

import queue
import threading
import time

import pytest

from darc.network.ordered_sender import OrderedSender
from darc.network.retry import RetryPolicy

PATIENCE_S = 30.0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Taker:
    """Takes what is handed on, unless it is away."""

    def __init__(self):
        self.taken, self.dropped, self.left = queue.Queue(), queue.Queue(), queue.Queue()
        self.here, self.attempts = threading.Event(), threading.Semaphore(0)
        self.here.set()
        self.clock = Clock()
        self.made = []

    def attempt(self, entry):
        self.attempts.release()
        if self.here.is_set():
            self.taken.put(entry.item)
        return self.here.is_set()

    def sender(self, **options):
        options = {"retry": RetryPolicy(first_s=0.001, max_s=0.001), "max_age_s": 10.0, **options}
        sender = OrderedSender(
            "test",
            self.attempt,
            lambda entry, reason: self.dropped.put((entry.item, reason)),
            lambda entry: self.left.put(entry.item),
            clock=self.clock,
            **options,
        )
        self.made.append(sender)
        return sender


@pytest.fixture
def taker():
    taker = Taker()
    yield taker
    for sender in taker.made:
        sender.close(PATIENCE_S if taker.here.is_set() else 0)


def got(items, number):
    return [items.get(timeout=PATIENCE_S) for _ in range(number)]


def test_what_was_left_earlier_goes_first_unless_it_is_too_old(taker):
    sender = taker.sender()
    sender.put("new")
    sender.put_first([("too old", 11.0), ("old", 9.0), ("less old", 8.0)])
    sender.start()
    assert got(taker.taken, 3) == ["old", "less old", "new"]
    assert got(taker.dropped, 1) == [("too old", "older than 10 s")]


def test_what_came_meanwhile_waits_behind_what_is_tried_again(taker):
    taker.here.clear()
    sender = taker.sender()
    sender.start()
    sender.put(1)
    for _ in range(3):
        assert taker.attempts.acquire(timeout=PATIENCE_S)
    sender.put(2)
    taker.here.set()
    assert got(taker.taken, 2) == [1, 2]


def test_one_who_is_not_patient_leaves_at_its_end_what_is_not_taken(taker):
    taker.here.clear()
    sender = taker.sender(patient=False, retry=RetryPolicy(first_s=3600, max_s=3600))
    for item in (1, 2, 3):
        sender.put(item)
    sender.start()
    assert taker.attempts.acquire(timeout=PATIENCE_S)
    sender.close(PATIENCE_S)
    assert sorted(got(taker.left, 3)) == [1, 2, 3]
    assert taker.taken.empty() and taker.dropped.empty()


# the attempt that fails may have begun before, while the receiver was away
def test_whoever_closes_has_what_waits_tried_once_more(taker):
    def fail_while_being_closed(entry):
        closing.start()
        while not sender._closing:
            time.sleep(0.001)
        taker.here.set()
        sender._attempt = taker.attempt
        return False

    taker.here.clear()
    sender = taker.sender(patient=False)
    sender._attempt = fail_while_being_closed
    closing = threading.Thread(target=sender.close, args=(PATIENCE_S,))
    sender.put("item")
    sender.start()
    assert got(taker.taken, 1) == ["item"]
    closing.join(PATIENCE_S)
    assert taker.left.empty()
