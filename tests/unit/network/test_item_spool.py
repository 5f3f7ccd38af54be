"""Items on disk while they wait."""

import errno
import logging
import threading

import pytest

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
def spool(tmp_path, clock):
    return lambda: ItemSpool(tmp_path / "items", "test", logger, clock)


def test_the_next_process_finds_items_in_order_with_their_age(spool, clock):
    first = spool()
    for number in range(3):
        first.keep({"n": number, "dm": 56.791}, durable=False)
    clock.now_s += 5
    kept = spool().left_by_others()
    assert [item.value for item in kept] == [{"n": number, "dm": 56.791} for number in range(3)]
    assert [item.age_s for item in kept] == pytest.approx([5, 5, 5], abs=1e-6)
    assert first.left_by_others() == []


def test_what_is_settled_is_gone_and_what_was_begun_is_known(spool):
    first = spool()
    done, begun, back = (first.keep({"n": number}, durable=True) for number in range(3))
    first.remove(done)
    first.mark_begun(begun, True)
    first.mark_begun(back, True)
    first.mark_begun(back, False)
    assert [(item.value["n"], item.begun) for item in spool().left_by_others()] == [(1, True), (2, False)]


@pytest.mark.parametrize("damage", [b"", b'{"dm": 56.', b"\0" * 20, b"[1]"], ids=repr)
def test_what_is_damaged_is_put_aside_and_costs_only_itself(spool, tmp_path, caplog, damage):
    first = spool()
    first.keep({"n": 0}, durable=True).path.write_bytes(damage)
    first.keep({"n": 1}, durable=True)
    assert [item.value["n"] for item in spool().left_by_others()] == [1]
    assert "a damaged item is not sent" in caplog.text
    assert len(list((tmp_path / "items" / "failed").iterdir())) == 1


def test_a_disk_that_takes_nothing_is_logged(spool, tmp_path, caplog):
    (tmp_path / "items").touch()
    assert spool().keep({"n": 0}, durable=True) is None
    assert "in memory only" in caplog.text


def test_an_item_is_made_durable_once(spool, monkeypatch):
    synced = []
    first = spool()
    file = first.keep({"n": 0}, durable=False)
    monkeypatch.setattr("darc.network.item_spool.os.fsync", synced.append)
    for _ in range(2):
        first.make_durable(file)
    assert len(synced) == 2  # the file and its folder


def test_one_process_at_a_time_sends_what_others_left(spool):
    first, second = spool(), spool()
    assert first.claim(wait=False)
    assert not second.claim(wait=False)
    waiter = threading.Thread(target=second.claim, kwargs={"wait": True})
    waiter.start()
    first.release()
    waiter.join()
    assert not first.claim(wait=False)
    second.release()


def test_on_a_file_system_without_locks_items_are_sent_all_the_same(spool, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("darc.network.item_spool.fcntl.flock", no_locks)
    only = spool()
    assert only.claim(wait=False)
    only.release()
    assert "No locks available" in caplog.text


def test_nobody_else_can_read_them(spool, tmp_path):
    file = spool().keep({"n": 0}, durable=True)
    assert file.path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "items").stat().st_mode & 0o077 == 0
