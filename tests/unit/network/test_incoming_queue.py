"""What a service has accepted, over its end."""

import logging
import queue

import pytest

from darc.network.incoming_queue import IncomingQueue
from darc.network.item_spool import ItemSpool

logger = logging.getLogger("test")


class Clock:
    now_s = 1000.0

    def __call__(self):
        return int(self.now_s * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Open the queue, as each process does."""

    def opened(known=(), **options):
        spool = ItemSpool(tmp_path / "items", "test", logger, clock)
        return IncomingQueue(spool, known=known, max_age_s=60.0, logger=logger, **options)

    return opened


def item(number, **more):
    return {"dm": float(number), "arrived": 5.0, **more}


def taken(incoming):
    incoming.close()
    return [accepted.item["dm"] for accepted in iter(incoming.take, None)]


def test_what_was_accepted_and_not_settled_comes_first_after_a_restart(opened):
    before = opened()
    for number in (1, 2, 3):
        before.put(item(number))
    before.settle([before.take()])
    before.take()
    after = opened()
    after.put(item(4))
    assert taken(after) == [2, 3, 4]


def test_what_is_too_old_after_a_restart_is_told_with_its_age(opened, clock, tmp_path):
    opened().put(item(1))
    clock.now_s += 61
    dropped = []
    after = opened(dropped=lambda accepted, age_s: dropped.append((accepted.item["dm"], age_s)))
    assert taken(after) == []
    assert dropped == [(1.0, pytest.approx(61, abs=1e-6))]
    assert list((tmp_path / "items").iterdir()) == []


def test_an_item_of_a_worker_counts_once_however_often_it_comes(opened):
    before = opened()
    before.put(item(1))
    before.put(item(1, arrived=9.0))
    after = opened()
    after.put(item(1))
    after.put(item(2))
    assert taken(after) == [1, 2]


def test_what_was_decided_on_before_a_crash_is_not_decided_on_again(opened):
    before = opened()
    for each in (item(1), {"dm": 2.0}, item(3)):
        before.put(each)
    known = [before.take().identity, before.take().identity]
    after = opened(known)
    after.put(item(1))
    assert taken(after) == [3]


def test_another_program_may_put_the_same_twice(opened):
    incoming = opened()
    for _ in range(2):
        incoming.put({"dm": 1.0})
    assert taken(incoming) == [1, 1]


def test_another_program_may_take_items_which_are_then_gone(opened):
    incoming = opened()
    incoming.put(item(1))
    assert not incoming.empty()
    assert incoming.get(timeout=0) == item(1)
    with pytest.raises(queue.Empty):
        incoming.get(timeout=0)
    assert taken(opened()) == []


def test_one_too_many_is_refused_and_leaves_nothing(opened):
    incoming = opened(max_items=1)
    incoming.put(item(1))
    with pytest.raises(queue.Full):
        incoming.put(item(2), timeout=0)
    incoming.take()
    incoming.put(item(2), timeout=0)
    assert taken(opened()) == [1, 2]


def test_where_the_disk_takes_nothing_an_item_is_accepted_all_the_same(opened, tmp_path, caplog):
    (tmp_path / "items").touch()
    incoming = opened()
    incoming.put(item(1))
    assert taken(incoming) == [1]
    assert "in memory only" in caplog.text
