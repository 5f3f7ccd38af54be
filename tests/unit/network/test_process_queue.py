"""The queue between processes, as far as one process shows it."""

import os
import pickle
import queue
import select
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.network.process_queue import FragmentAssembler, ProcessQueue

LARGE = 300_000


@pytest.fixture
def process_queue():
    opened = ProcessQueue()
    yield opened
    opened.close()


@pytest.fixture
def small_queue():
    """A queue that holds a few fragments."""
    opened = ProcessQueue(buffer_bytes=8192)
    yield opened
    opened.close()


def fill(full):
    count = 0
    while True:
        try:
            full.put_nowait(count)
        except queue.Full:
            return count
        count += 1


@pytest.mark.parametrize(
    "item", [None, "line", {"command": "stop"}, ["row"] * 1000, b"x" * 65536, "y" * LARGE, b"z" * 3_000_000]
)
def test_what_is_put_comes_out(process_queue, item):
    process_queue.put(item)
    assert process_queue.get() == item
    assert process_queue.empty()


def test_items_come_in_the_order_of_their_writer_whatever_their_size(process_queue):
    items = [i if i % 3 else str(i) * LARGE for i in range(8)]
    for item in items:
        process_queue.put(item)
    assert [process_queue.get() for _ in items] == items


@given(st.integers(65000, 66000))
def test_sizes_around_that_of_a_fragment(size):
    process_queue = ProcessQueue()
    process_queue.put(b"x" * size)
    assert len(process_queue.get_nowait()) == size
    process_queue.close()


def test_an_empty_queue_says_so(process_queue):
    with pytest.raises(queue.Empty):
        process_queue.get_nowait()
    with pytest.raises(queue.Empty):
        process_queue.get(timeout=0.001)


def test_a_full_queue_says_so_and_keeps_what_it_has(small_queue):
    count = fill(small_queue)
    with pytest.raises(queue.Full):
        small_queue.put("late", timeout=0.001)
    assert [small_queue.get_nowait() for _ in range(count)] == list(range(count))
    assert small_queue.empty()


def test_a_put_that_gave_up_halfway_leaves_nothing_that_is_read_as_an_item(small_queue):
    with pytest.raises(queue.Full):
        small_queue.put(b"a" * LARGE, timeout=0.001)
    with pytest.raises(queue.Empty):
        small_queue.get_nowait()
    for item in ("small", b"b" * 6000, "last"):
        small_queue.put_nowait(item)
    assert [small_queue.get() for _ in range(3)] == ["small", b"b" * 6000, "last"]
    assert small_queue.incomplete_items == 1


def test_an_item_whose_beginning_went_to_a_reader_that_died_is_skipped(process_queue):
    process_queue.put(b"a" * LARGE)
    process_queue.put("next")
    with socket.socket(fileno=os.dup(process_queue.fileno())) as dead_reader:
        dead_reader.recv(65536)
    assert process_queue.get_nowait() == "next"
    assert process_queue.orphaned_fragments == 4


def test_pieces_of_two_items_are_never_joined_even_if_what_lies_between_was_lost(small_queue):
    with pytest.raises(queue.Full):
        small_queue.put(b"a" * LARGE, timeout=0.001)
    lost = small_queue.pending_bytes() // 4096  # fragments of this queue
    with pytest.raises(queue.Empty):
        small_queue.get_nowait()
    writer = threading.Thread(target=small_queue.put, args=(b"b" * 4080 * lost,))
    writer.start()
    with socket.socket(fileno=os.dup(small_queue.fileno())) as dead_reader:
        for _ in range(lost):
            dead_reader.recv(65536)
    writer.join()
    with pytest.raises(queue.Empty):
        small_queue.get_nowait()


def test_put_waits_for_room_and_get_for_an_item(small_queue):
    items = [b"x" * LARGE, *range(2000)]
    writer = threading.Thread(target=lambda: [small_queue.put(item) for item in items])
    writer.start()
    assert [small_queue.get(timeout=30) for _ in items] == items
    writer.join()


def test_threads_of_one_process_share_the_queue(process_queue):
    def write(name):
        for number in range(20):
            process_queue.put((name, number, b"x" * (100_000 if number % 2 else 10)))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for writer in writers:
        writer.start()
    received = [process_queue.get(timeout=30)[:2] for _ in range(60)]
    for writer in writers:
        writer.join()
    for name in "abc":
        assert [number for who, number in received if who == name] == list(range(20))


def test_it_can_be_waited_for(process_queue):
    assert select.select([process_queue], [], [], 0)[0] == []
    process_queue.put("item")
    assert select.select([process_queue], [], [], 0)[0] == [process_queue]


def test_pending_bytes_grow_with_what_waits(process_queue):
    assert process_queue.pending_bytes() == 0
    process_queue.put(b"x" * 1000)
    assert 1000 < process_queue.pending_bytes() < 1100


def test_a_closed_queue_refuses_and_closes_twice(process_queue):
    process_queue.close()
    process_queue.close()
    for use in (process_queue.get_nowait, process_queue.empty, lambda: process_queue.put(1)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_it_is_handed_over_only_at_the_start_of_a_process(process_queue):
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(process_queue)


def test_what_cannot_be_pickled_is_refused_at_once(process_queue):
    with pytest.raises((pickle.PicklingError, AttributeError)):
        process_queue.put(lambda: None)
    assert process_queue.empty()


@given(st.data())
def test_interleaved_writers_each_get_their_items_through(data):
    sizes = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    left = {writer: list(range(size)) for writer, size in enumerate(sizes)}
    assembler, done = FragmentAssembler(), {}
    while left:
        writer = data.draw(st.sampled_from(sorted(left)))
        index = left[writer].pop(0)
        item = assembler.add(writer, 7, index, sizes[writer], memoryview(bytes([writer, index])))
        if not left[writer]:
            del left[writer]
            done[writer] = item
        else:
            assert item is None
    assert done == {w: b"".join(bytes([w, i]) for i in range(size)) for w, size in enumerate(sizes)}
    assert assembler.incomplete_items == assembler.orphaned_fragments == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), max_size=40))
def test_fragments_in_any_order_never_make_an_item_of_mixed_origin(fragments):
    assembler = FragmentAssembler()
    for writer, number, index in fragments:
        item = assembler.add(writer, number, index, 4, memoryview(bytes([writer, number, index])))
        assert item is None or item == b"".join(bytes([writer, number, i]) for i in range(4))


def test_items_of_dead_writers_hold_a_bounded_amount_of_memory():
    assembler = FragmentAssembler(max_bytes=1000)
    for writer in range(100):
        assert assembler.add(writer, 0, 0, 2, memoryview(b"x" * 100)) is None
    assert assembler.incomplete_items == 90
    assert assembler.add(99, 0, 1, 2, memoryview(b"y")) == b"x" * 100 + b"y"
