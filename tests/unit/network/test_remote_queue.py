"""The sender of items to the master node, with a server that exists only here."""

import logging
import queue
import threading

import pytest

from darc.network.item_spool import ItemSpool
from darc.network.plain_data import PlainDataError
from darc.network.queue_server import QueueServer
from darc.network.remote_queue import (
    DeliveryUnknownError,
    ItemRefusedError,
    QueueUnavailableError,
    RemoteQueue,
)
from darc.network.retry import RetryPolicy

PATIENCE_S = 30.0


class FakeServer:
    """What a connection meets: takes items, or does what it was told to do instead."""

    def __init__(self):
        self.taken = queue.Queue()
        self.troubles = []  # exceptions for the next puts, in order
        self.reachable = threading.Event()
        self.attempts = threading.Semaphore(0)
        self.connections = 0
        self.silent = False  # without having ended its connections, as after a power cut
        self.reachable.set()

    def connect(self, server_class, address, authkey, timeout_s):
        self.attempts.release()
        if not self.reachable.is_set():
            raise QueueUnavailableError("nobody there")
        self.connections += 1
        self.silent = False
        return FakeConnection(self)


class FakeConnection:
    def __init__(self, server):
        self.server, self.number = server, server.connections

    def alive(self):
        return self.number == self.server.connections

    def answers(self):
        return self.alive() and not self.server.silent

    def put(self, item):
        if not self.answers():
            raise DeliveryUnknownError("it ended")
        if self.server.troubles:
            trouble = self.server.troubles.pop(0)
            if isinstance(trouble, DeliveryUnknownError):
                self.server.taken.put(item)
            raise trouble
        self.server.taken.put(item)

    def close(self):
        pass


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def clock():
    return Clock()


class DropCount(logging.Handler):
    """Lets a test wait until an item was given up."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.dropped = threading.Semaphore(0)

    def emit(self, record):
        self.dropped.release()

    def wait(self, count):
        for _ in range(count):
            assert self.dropped.acquire(timeout=PATIENCE_S)


@pytest.fixture
def drops():
    handler = DropCount()
    logger = logging.getLogger("darc.network.remote_queue")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def make(server, clock):
    made = []

    def make(**options):
        options = {"retry": RetryPolicy(first_s=0.001, factor=1, max_s=0.001), "clock": clock, **options}
        remote = RemoteQueue(
            QueueServer, ("master", 5201), "secret key", name="triggers", connect=server.connect, **options
        )
        made.append(remote)
        return remote

    yield make
    for remote in made:
        remote.close(0)


def taken(server, count):
    return [server.taken.get(timeout=PATIENCE_S)["n"] for _ in range(count)]


def put(remote, *numbers):
    for number in numbers:
        remote.put({"n": number})


def test_items_arrive_in_order_and_the_log_says_so(make, server, caplog):
    caplog.set_level(logging.INFO)
    remote = make()
    put(remote, *range(5))
    assert taken(server, 5) == [0, 1, 2, 3, 4]
    remote.close()
    assert (remote.delivered, remote.dropped, remote.waiting) == (5, 0, 0)
    assert caplog.text.count("triggers: delivered after") == 5


def test_items_wait_in_order_while_the_server_is_away(make, server):
    server.reachable.clear()
    remote = make()
    put(remote, 1, 2, 3)
    for _ in range(5):
        assert server.attempts.acquire(timeout=PATIENCE_S)
    put(remote, 4)
    server.reachable.set()
    assert taken(server, 4) == [1, 2, 3, 4]


def test_an_outage_is_reported_once_not_at_every_attempt(make, server, caplog):
    server.reachable.clear()
    remote = make()
    put(remote, 1)
    for _ in range(5):
        assert server.attempts.acquire(timeout=PATIENCE_S)
    server.reachable.set()
    taken(server, 1)
    remote.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "triggers: nobody there"
    ]


def test_a_failed_put_is_repeated_before_the_next_item(make, server):
    server.troubles = [QueueUnavailableError("full")] * 5
    put(make(), 1, 2)
    assert taken(server, 2) == [1, 2]


def test_a_connection_that_ended_while_idle_is_renewed_without_losing_an_item(make, server):
    remote = make(repeat=False)
    put(remote, 1)
    taken(server, 1)
    server.connections += 1  # the old connection is no longer that of the server
    put(remote, 2)
    assert taken(server, 1) == [2]


# the first trigger of each worker was lost after a power cut of the master node, however long ago that was
def test_what_must_not_arrive_twice_is_not_risked_on_a_connection_that_does_not_answer(make, server):
    remote = make(repeat=False)
    put(remote, 1)
    taken(server, 1)
    server.silent = True
    put(remote, 2)
    assert taken(server, 1) == [2]
    assert remote.dropped == 0


def test_items_that_became_too_old_are_dropped_and_named(make, server, clock, caplog):
    server.reachable.clear()
    remote = make(max_age_s=5)
    put(remote, 1)
    for _ in range(3):
        assert server.attempts.acquire(timeout=PATIENCE_S)
    clock.now = 6
    put(remote, 2)
    server.reachable.set()
    assert taken(server, 1) == [2]
    remote.close()
    assert remote.dropped == 1
    assert "triggers: dropped after 6.000 s, older than 5 s: {'n': 1}" in caplog.text


def test_beyond_the_limit_the_oldest_are_dropped_and_named(make, server, drops, caplog):
    server.reachable.clear()
    remote = make(max_items=2, retry=RetryPolicy(first_s=3600, max_s=3600))
    put(remote, 0)
    for _ in range(2):  # when it starts, and for this item
        assert server.attempts.acquire(timeout=PATIENCE_S)
    put(remote, 1, 2, 3)
    drops.wait(1)
    server.reachable.set()
    remote.close(PATIENCE_S)
    left = taken(server, 2 + (remote.dropped == 1))
    assert left[-2:] == [2, 3]
    assert "more than 2 wait: {'n': 1}" in caplog.text or "more than 2 wait: {'n': 0}" in caplog.text


def test_a_refused_item_is_dropped_and_the_next_one_sent(make, server, caplog):
    server.troubles = [ItemRefusedError("dm has to be a number")]
    remote = make()
    put(remote, 1, 2)
    assert taken(server, 1) == [2]
    assert remote.dropped == 1
    assert "dm has to be a number: {'n': 1}" in caplog.text


@pytest.mark.parametrize(("repeat", "expected"), [(True, [1, 1, 2]), (False, [1, 2])])
def test_an_item_that_may_have_arrived_is_repeated_only_where_that_is_allowed(make, server, repeat, expected):
    server.troubles = [DeliveryUnknownError("no answer")]
    remote = make(repeat=repeat)
    put(remote, 1, 2)
    assert taken(server, len(expected)) == expected
    remote.close()
    assert server.taken.empty()


def test_when_the_policy_gives_up_what_waits_is_dropped_and_what_comes_later_tried_anew(
    make, server, drops, caplog
):
    remote = make(retry=RetryPolicy(first_s=0.001, attempts=3))
    server.troubles = [QueueUnavailableError("full")] * 3
    put(remote, 1)
    drops.wait(1)
    put(remote, 2)
    assert taken(server, 1) == [2]
    assert "no further attempts: {'n': 1}" in caplog.text


def test_close_sends_what_waits(make, server):
    server.reachable.clear()
    remote = make(retry=RetryPolicy(first_s=3600, max_s=3600))
    put(remote, 1, 2, 3)
    assert server.attempts.acquire(timeout=PATIENCE_S)
    assert server.attempts.acquire(timeout=PATIENCE_S)
    server.reachable.set()
    remote.close(PATIENCE_S)
    assert taken(server, 3) == [1, 2, 3]


def test_close_gives_up_when_its_time_is_over_and_names_what_is_lost(make, server, drops, caplog):
    server.reachable.clear()
    remote = make()
    put(remote, 1, 2)
    remote.close(0.01)
    drops.wait(2)
    for number in (1, 2):
        assert f"{{'n': {number}}}" in caplog.text
    with pytest.raises(ValueError, match="closed"):
        put(remote, 3)


def test_an_item_is_sent_as_it_was_when_it_was_put(make, server):
    server.reachable.clear()
    item = {"n": 1}
    remote = make()
    remote.put(item)
    item["n"] = 2
    server.reachable.set()
    assert taken(server, 1) == [1]


def test_what_the_server_would_not_read_is_refused_at_once(make):
    with pytest.raises(PlainDataError):
        make().put({"n": object()})


# --- items on disk -----------------------------------------------------------------------------------------


@pytest.fixture
def spool(tmp_path):
    """The spool of a queue, opened by each process anew."""
    logger = logging.getLogger("darc.network.remote_queue")
    return lambda: ItemSpool(tmp_path / "outgoing", "triggers", logger)


def test_what_waits_when_a_process_ends_is_sent_by_the_next_in_order(make, server, spool, caplog):
    server.reachable.clear()
    before = make(spool=spool())
    put(before, 1, 2)
    before.close(PATIENCE_S)
    assert "dropped" not in caplog.text
    server.reachable.set()
    after = make(spool=spool())
    put(after, 3)
    assert taken(server, 3) == [1, 2, 3]
    after.close()
    assert spool().left_by_others() == []


def test_what_waited_for_too_long_over_a_restart_is_dropped_with_its_age(
    make, server, tmp_path, drops, caplog
):
    long_ago = ItemSpool(tmp_path, "triggers", logging.getLogger("test"), lambda: 10**9)
    long_ago.keep({"n": 1}, durable=True)
    remote = make(spool=ItemSpool(tmp_path, "triggers", logging.getLogger("test"), lambda: 71 * 10**9))
    put(remote, 2)
    assert taken(server, 1) == [2]
    assert "triggers: dropped after 70.000 s, older than 60 s: {'n': 1}" in caplog.text


@pytest.mark.parametrize(("repeat", "expected"), [(True, [1, 2]), (False, [2])])
def test_what_may_have_arrived_before_a_crash_is_repeated_only_where_that_is_allowed(
    make, server, spool, caplog, repeat, expected
):
    crashed = spool()
    crashed.mark_begun(crashed.keep({"n": 1}, durable=True), True)
    remote = make(spool=spool(), repeat=repeat)
    put(remote, 2)
    assert taken(server, len(expected)) == expected
    remote.close()
    assert remote.dropped == 2 - len(expected)
    assert ("it may have arrived and must not arrive twice: {'n': 1}" in caplog.text) == (not repeat)


def test_while_an_item_is_being_put_the_disk_says_so_unless_it_may_be_repeated(make, server, spool, tmp_path):
    seen = []
    server.taken.put = lambda item: seen.append(
        [path.suffixes for path in (tmp_path / "outgoing").glob("*.json")]
    )
    for repeat in (False, True):
        remote = make(spool=spool(), repeat=repeat)
        put(remote, 1)
        remote.close()
    assert seen == [[[".begun", ".json"]], [[".json"]]]


def test_an_item_that_certainly_was_not_put_may_be_repeated_after_a_crash(make, server, spool):
    server.troubles = [QueueUnavailableError("full")] * 1000
    remote = make(spool=spool(), repeat=False)
    put(remote, 1)
    for _ in range(2):
        assert server.attempts.acquire(timeout=PATIENCE_S)
    remote.close(PATIENCE_S)
    server.troubles = []
    make(spool=spool(), repeat=False)
    assert taken(server, 1) == [1]


def test_a_disk_that_takes_nothing_costs_no_item(make, server, spool, tmp_path, caplog):
    (tmp_path / "outgoing").touch()
    remote = make(spool=spool())
    put(remote, 1)
    assert taken(server, 1) == [1]
    assert "in memory only" in caplog.text


def test_what_a_process_that_still_ends_has_is_sent_once_it_has_ended(make, server, spool):
    ending = spool()
    assert ending.claim(wait=False)
    ending.keep({"n": 1}, durable=True)
    remote = make(spool=spool())
    put(remote, 2)
    assert taken(server, 1) == [2]
    ending.release()
    assert taken(server, 1) == [1]
