"""Complete lines of a file that another program appends to."""

import errno
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.growing_file import BLOCK_BYTES, CATCH_UP_BYTES, Continuation, LineReader, wake_ups


def read_all(reader):
    lines = []
    while (block := reader.peek()) is not None:
        lines += block.lines
        reader.advance()
    return lines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "CB00_step1.trigger"


@pytest.fixture
def reader(path):
    reader = LineReader(path)
    yield reader
    reader.close()


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_a_file_that_does_not_exist_yet_has_no_lines(path, reader):
    assert reader.peek() is None
    append(path, "a\n")
    assert read_all(reader) == ["a"]


# a half-written last line must not be read as a trigger
def test_a_line_is_read_when_it_is_complete(path, reader):
    append(path, "1 2 3\n4 5")
    assert read_all(reader) == ["1 2 3"]
    append(path, " 6\n")
    assert read_all(reader) == ["4 5 6"]


def test_a_block_stays_until_it_was_delivered(path, reader):
    append(path, "a\nb\n")
    assert reader.peek() is reader.peek()
    reader.advance()
    assert reader.peek() is None


def test_the_last_block_says_that_there_is_no_more(path, reader):
    append(path, "x" * 60 + "\n")
    assert reader.peek().at_end
    reader.advance()
    append(path, ("y" * 60 + "\n") * (BLOCK_BYTES // 30))
    ends = []
    while (block := reader.peek()) is not None:
        ends.append(block.at_end)
        reader.advance()
    assert ends[-1] and not any(ends[:-1]) and len(ends) > 1


# a file that is replaced while it is read
def test_a_replaced_file_is_read_to_its_end_then_the_new_one(path, reader, tmp_path):
    append(path, "old 1\n")
    assert read_all(reader) == ["old 1"]
    append(path, "old 2\n")
    (tmp_path / "new").write_text("new 1\n")
    (tmp_path / "new").rename(path)
    assert read_all(reader) == ["old 2", "new 1"]
    assert reader.restarts == 1


# a file that is truncated while it is read
def test_a_truncated_file_is_read_from_its_first_byte(path, reader):
    append(path, "a long first line\n")
    read_all(reader)
    path.write_text("new\n")
    assert read_all(reader) == ["new"]
    assert reader.restarts == 1


def test_a_removed_file_is_waited_for(path, reader):
    append(path, "a\n")
    assert read_all(reader) == ["a"]
    path.unlink()
    assert read_all(reader) == []
    append(path, "b\n")
    assert read_all(reader) == ["b"]


def test_a_line_without_end_does_not_hold_up_the_rest(path, reader):
    append(path, "x" * (BLOCK_BYTES + 10) + "\ngood\n")
    assert read_all(reader)[-1] == "good"


def test_bytes_that_are_no_text_are_passed_on_as_rubbish(path, reader):
    path.write_bytes(b"\xff\xfe\n1 2\n")
    assert read_all(reader)[1] == "1 2"


@given(st.lists(st.text("ab 1.#", max_size=9), min_size=1), st.integers(1, 7))
def test_lines_come_whole_and_in_order_however_they_are_written(tmp_path_factory, lines, step):
    path = tmp_path_factory.mktemp("grow") / "f"
    reader = LineReader(path)
    text = "".join(line + "\n" for line in lines)
    got = []
    for start in range(0, len(text), step):
        append(path, text[start : start + step])
        got += read_all(reader)
    reader.close()
    assert got == lines


def test_after_an_error_a_reader_goes_on_where_it_was(path, reader, monkeypatch):
    append(path, "a\n")
    assert read_all(reader) == ["a"]
    append(path, "b\n")
    with monkeypatch.context() as patch:
        patch.setattr("darc.growing_file.os.pread", lambda *_: os.read(-1, 1))
        with pytest.raises(OSError, match="descriptor"):
            reader.peek()
    block = reader.peek()
    assert (block.lines, block.place.begin) == (["b"], 2)


def test_what_takes_the_place_of_something_unreadable_is_read_from_its_beginning(path, reader):
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        reader.peek()
    path.rmdir()
    append(path, "a\n")
    assert read_all(reader) == ["a"]


# the system gives a user a limited number of watches: without one, AMBER's files have to be read all the same
@pytest.mark.parametrize("missing", ["INotify", "INotify.add_watch"])
def test_a_file_that_the_kernel_does_not_watch_is_looked_at_at_intervals(path, monkeypatch, missing):
    def none_left(*_):
        raise OSError(errno.ENOSPC, "none left")

    monkeypatch.setattr(f"darc.growing_file.{missing}", none_left)
    append(path, "a\n")
    event, looks = threading.Event(), 0
    for _ in wake_ups(path, event, interval_s=0.001):
        looks += 1
        if looks == 3:
            event.set()
    assert looks == 3


# the first look may come before AMBER has made its file
@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_written_after_a_look_leads_to_another_one_at_once(path, is_there):
    if is_there:
        append(path, "a\n")
    event, looks = threading.Event(), []

    def follow():
        for _ in wake_ups(path, event, interval_s=120.0):
            looks.append(path.read_text() if path.exists() else "")
            if len(looks) == 3:
                event.set()
            append(path, "b\n")

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    follower.join(20.0)
    assert not follower.is_alive(), "it waits for the interval"
    assert looks == ["a\n" * is_there + "b\n" * number for number in range(3)]


# --- a consumer that is told of blocks ---------------------------------------------------------------------


def consume(continuation, blocks):
    """Return the lines that a consumer gets who is told of some blocks, and reads what it lacks."""
    lines = []
    for block in blocks:
        if continuation.take(block.place):
            lines += block.lines
        while continuation.behind:
            lines += continuation.read()
    return lines


def blocks_of(path):
    reader, blocks = LineReader(path), []
    while (block := reader.peek()) is not None:
        blocks.append(block)
        reader.advance()
    reader.close()
    return blocks


@given(st.data())
def test_a_consumer_gets_each_line_once_whatever_it_is_told(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("amber") / "CB00_step1.trigger"
    lines, told, first = [], [], LineReader(path)
    readers = [first]
    for number in range(data.draw(st.integers(1, 6))):
        lines.append(f"line {number}")
        append(path, f"line {number}\n")
        if data.draw(st.booleans()):
            readers.append(LineReader(path))  # who tells has died
        while (block := readers[-1].peek()) is not None:
            told.append(block)
            readers[-1].advance()
    kept = [block for block in told[:-1] if data.draw(st.booleans())]
    assert consume(Continuation(path), [*kept, told[-1]]) == lines
    for reader in readers:
        reader.close()


def test_a_successor_reads_what_is_there_without_being_told(path):
    append(path, "a\nb\nhalf")
    successor = Continuation(path)
    successor.look()
    assert consume(successor, []) == []
    lines = successor.read()
    assert (lines, successor.behind) == (["a", "b"], True)
    assert (successor.read(), successor.behind) == ([], False)
    append(path, " of c\n")
    assert consume(successor, blocks_of(path)) == ["half of c"]


def test_a_file_that_is_not_there_yet_leaves_nothing_to_catch_up(path):
    successor = Continuation(path)
    successor.look()
    assert not successor.behind


def test_much_is_read_in_parts(path):
    append(path, "x" * 99 + "\n")
    append(path, ("y" * 99 + "\n") * (2 * CATCH_UP_BYTES // 100))
    successor, parts = Continuation(path), []
    successor.look()
    while successor.behind:
        parts.append(len(successor.read()))
    assert sum(parts) == 1 + 2 * CATCH_UP_BYTES // 100
    assert len(parts) >= 2


# a file that is replaced or truncated while it is followed
@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_begins_anew_is_taken_from_its_beginning(path, reader, tmp_path, replaced):
    consumer = Continuation(path)
    append(path, "a long first line\n")
    assert consume(consumer, [reader.peek()]) == ["a long first line"]
    reader.advance()
    if replaced:
        append(tmp_path / "new", "new\n")
        (tmp_path / "new").rename(path)
    else:
        path.write_text("new\n")
    assert consume(consumer, [reader.peek()]) == ["new"]
    # who tells has died; the next one knows of no truncation
    assert consume(consumer, blocks_of(path)) == []
    append(path, "more\n")
    assert consume(consumer, blocks_of(path)) == ["more"]


def test_what_was_missed_in_a_file_that_was_replaced_is_lost_and_said(path, tmp_path):
    append(path, "a\nb\n")
    (block,) = blocks_of(path)
    consumer = Continuation(path)
    assert not consumer.take(block.place._replace(begin=2))
    append(tmp_path / "new", "new\n")
    (tmp_path / "new").rename(path)
    with pytest.raises(OSError, match="another file"):
        consumer.read()
    assert not consumer.behind
    assert consume(consumer, blocks_of(path)) == ["new"]
