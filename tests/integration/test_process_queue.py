"""The queue between real processes, which are killed."""

import itertools
import multiprocessing
import queue
import random
import signal
import threading
import time

import pytest

from darc.network.process_queue import ProcessQueue

#: multiprocessing's own queue would hang here for good; this is only how long a test waits before it says so
PATIENCE_S = 60.0
METHODS = ("forkserver", "spawn", "fork")


@pytest.fixture
def process_queue():
    opened = ProcessQueue()
    yield opened
    opened.close()


@pytest.fixture
def start():
    """Start a process by the given method; those left over are killed."""
    started = []

    def start(target, *args, method="forkserver"):
        process = multiprocessing.get_context(method).Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()


def kill(process):
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def write_forever(process_queue, name, size):
    for number in itertools.count():
        process_queue.put((name, number, b"x" * size))


def forward(source, sink):
    while True:
        sink.put(source.get())


@pytest.mark.parametrize("method", METHODS)
def test_children_of_every_start_method_read_and_write(process_queue, start, method):
    answers = ProcessQueue()
    start(forward, process_queue, answers, method=method)
    for item in ("line", ["row"] * 100_000):
        process_queue.put(item)
        assert answers.get(timeout=PATIENCE_S) == item
    answers.close()


def test_a_forked_writer_and_its_parent_are_not_mixed_up(process_queue, start):
    process_queue.put(b"p" * 200_000)  # from here on both would count their items alike
    assert len(process_queue.get_nowait()) == 200_000
    child = start(write_forever, process_queue, b"x", 200_000, method="fork")
    parent = threading.Thread(
        target=lambda: [process_queue.put((b"p", n, b"p" * 200_000)) for n in range(20)]
    )
    parent.start()
    received = {b"x": 0, b"p": 0}
    while min(received.values()) < 20:
        name, number, data = process_queue.get(timeout=PATIENCE_S)
        assert (number, data.strip(name)) == (received[name], b"")
        received[name] += 1
    parent.join()
    kill(child)
    assert process_queue.incomplete_items == process_queue.orphaned_fragments == 0


def test_killed_writers_stop_nobody_and_the_others_keep_their_order(process_queue, start):
    """A shared lock would stay held by the first writer that is killed while it puts."""
    rng = random.Random(1)
    start(write_forever, process_queue, "survivor", 150_000)
    received = {"survivor": -1}
    for generation in range(15):
        victim = start(write_forever, process_queue, generation, 1_000_000)
        received[generation] = -1
        for _ in range(rng.randrange(4, 12)):
            take(process_queue, received)
        kill(victim)
        before = received["survivor"]
        while received["survivor"] < before + 3:
            take(process_queue, received)
    assert process_queue.incomplete_items + process_queue.orphaned_fragments <= 15


def take(process_queue, received):
    name, number, data = process_queue.get(timeout=PATIENCE_S)
    assert number == received[name] + 1, f"{name} lost or repeated an item"
    assert data.strip(b"x") == b""
    received[name] = number


@pytest.mark.parametrize("size", [100, 300_000])
def test_the_successor_of_a_killed_reader_goes_on_with_what_was_not_read(process_queue, start, size):
    """A shared lock would stay held by a reader that is killed while it waits in get."""
    rng, output = random.Random(2), ProcessQueue()
    start(write_forever, process_queue, "writer", size)
    last, lost = -1, 0
    for _ in range(12):
        reader = start(forward, process_queue, output)
        for _ in range(rng.randrange(1, 10)):
            _, number, _ = output.get(timeout=PATIENCE_S)
            assert number > last, "out of order"
            lost += number - last - 1
            last = number
        kill(reader)
        while not output.empty():
            last, lost = drain(output, last, lost)
    # what a reader had in hand: one item read and one half read
    assert lost <= 24
    output.close()


def drain(output, last, lost):
    try:
        _, number, _ = output.get_nowait()
    except queue.Empty:  # the rest of an item whose writer was killed
        return last, lost
    assert number > last, "out of order"
    return number, lost + number - last - 1


def test_items_wait_while_no_reader_lives(process_queue, start):
    writer = start(write_forever, process_queue, "writer", 10)
    deadline = time.monotonic() + PATIENCE_S
    while process_queue.pending_bytes() < 10_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(writer)
    expected = 0
    while not process_queue.empty():
        assert process_queue.get_nowait()[1] == expected
        expected += 1
    assert expected > 50
