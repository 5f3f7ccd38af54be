"""Complete lines of a file that another program appends to."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.growing_file import BLOCK_BYTES, LineReader, wake_ups


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


def test_waking_up_ends_with_the_event(path):
    event = threading.Event()
    append(path, "a\n")
    looks = 0
    for _ in wake_ups(path, event, interval_s=30.0):
        looks += 1
        if looks == 3:
            event.set()
        append(path, "b\n")  # wakes the next look, long before the interval is over
    assert looks == 3
