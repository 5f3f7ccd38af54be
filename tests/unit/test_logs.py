"""What a line of a log says, where it goes, and how often a mishap is told."""

import json
import logging
import re
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from darc import logs
from darc.errors import DARCError


@pytest.fixture(autouse=True)
def root_logger():
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


def lines(path):
    return path.read_text().splitlines()


# disk full, and whoever makes room by moving logs away
@pytest.mark.parametrize("reason", ["full", "moved"])
def test_a_log_that_cannot_be_written_any_more_stops_nobody(tmp_path, capsys, reason):
    folder, elsewhere = tmp_path / "log", tmp_path / "elsewhere"
    logs.set_up_logging("here", "/dev/full" if reason == "full" else folder / "log")
    if reason == "moved":
        folder.rename(elsewhere)
        folder.write_text("a file where the folder should be")
    for number in range(3):
        logging.getLogger("anything").error("line %d", number)
    told = capsys.readouterr().err.splitlines()
    assert [line[-12:] for line in told] == ["here: line 0", "here: line 1", "here: line 2"]
    if reason == "moved":
        folder.unlink()
        logging.getLogger("anything").error("line 3")
        assert lines(folder / "log")[-1].endswith("here: line 3")


def test_a_line_says_when_how_grave_and_who(tmp_path):
    logs.set_up_logging("amber_listener", tmp_path / "a" / "b.log")
    logging.getLogger("anything").warning("no %s", "file")
    (line,) = lines(tmp_path / "a" / "b.log")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} WARNING amber_listener: no file", line)


@pytest.fixture
def elsewhere(monkeypatch):
    """A site whose clock is set back by an hour in autumn."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def test_a_line_has_the_time_in_utc_wherever_the_site_is(tmp_path, elsewhere):
    logs.set_up_logging("processor", tmp_path / "log")
    logging.getLogger("anything").error("a line")
    (line,) = lines(tmp_path / "log")
    apart = datetime.fromisoformat(line.split()[0]) - datetime.now(UTC).replace(tzinfo=None)
    assert abs(apart) < timedelta(minutes=30)


def test_lines_of_an_observation_name_it(tmp_path):
    logs.set_up_logging("dada_trigger", tmp_path / "log")
    logs.set_observation("2019-05-18-23:51:13.B1933+16")
    logging.info("sent")
    logs.set_observation(None)
    logging.info("idle")
    first, second = lines(tmp_path / "log")
    assert first.endswith(" dada_trigger [2019-05-18-23:51:13.B1933+16]: sent")
    assert second.endswith(" dada_trigger: idle")


def test_lines_of_an_observation_name_its_task_too_which_is_the_same_on_all_nodes(tmp_path):
    logs.set_up_logging("processor", tmp_path / "log")
    logs.set_observation("2019-05-18-23:51:13.B1933+16", "190518001")
    logging.info("one")
    logs.set_observation("190518001", "190518001")
    logging.info("without a name")
    with logs.observation_of_thread("other", "7"):
        logging.info("three")
    first, second, third = lines(tmp_path / "log")
    assert first.endswith(" processor [2019-05-18-23:51:13.B1933+16 190518001]: one")
    assert second.endswith(" processor [190518001]: without a name")
    assert third.endswith(" processor [other 7]: three")


def objects(path):
    return [json.loads(line) for line in lines(path)]


def test_on_request_a_line_is_an_object_for_programs(tmp_path):
    logs.set_up_logging("processor", tmp_path / "log", "info", "json", "arts001")
    logs.set_observation("2019-05-18-23:51:13.B1933+16", "190518001")
    logging.getLogger("any").warning("%d lines\nin \u00b5s", 2)
    logs.set_observation(None)
    logging.info("idle")
    first, second = objects(tmp_path / "log")
    assert datetime.fromisoformat(first.pop("time")).utcoffset() == timedelta(0)
    assert first == {
        "level": "WARNING",
        "service": "processor",
        "observation": "2019-05-18-23:51:13.B1933+16",
        "task_id": "190518001",
        "node": "arts001",
        "message": "2 lines\nin \u00b5s",
    }
    assert second["observation"] is second["task_id"] is None


def test_an_object_has_the_traceback_of_a_defect(tmp_path):
    logs.set_up_logging("processor", tmp_path / "log", "info", "json")
    try:
        raise ZeroDivisionError("by 0")
    except ZeroDivisionError:
        logging.exception("a defect")
    (line,) = objects(tmp_path / "log")
    assert line["message"] == "a defect" and line["exception"].endswith("ZeroDivisionError: by 0")


def test_only_what_is_grave_enough_is_logged(tmp_path):
    logs.set_up_logging("x", tmp_path / "log", "error")
    logging.warning("no")
    logging.error("yes")
    assert len(lines(tmp_path / "log")) == 1


def test_setting_it_up_again_replaces_what_was_there(tmp_path):
    logs.set_up_logging("parent", tmp_path / "parent")
    logs.set_up_logging("child", tmp_path / "child")
    logging.info("to the child's")
    assert lines(tmp_path / "parent") == [] and len(lines(tmp_path / "child")) == 1


def test_a_log_that_is_rotated_by_another_program_loses_nothing(tmp_path):
    logs.set_up_logging("x", tmp_path / "log")
    logging.info("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    logging.info("two")
    assert len(lines(tmp_path / "log.1")) == len(lines(tmp_path / "log")) == 1


def test_without_a_file_it_goes_to_standard_error(capsys):
    logs.set_up_logging("x", None)
    logging.info("hello")
    assert "x: hello" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DARCError, match=r"cannot write the log .*file/log: .*change x\.log_file"):
        logs.set_up_logging("x", tmp_path / "file" / "log")


# --- mishaps that come in bursts ---------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.fixture
def messages():
    return Messages()


@pytest.fixture
def burst(messages):
    logger = logging.Logger("burst")
    logger.addHandler(messages)
    return logs.Burst(logger, "bad lines", pause_s=10.0, clock=Clock())


# a storm of damaged lines must not become a storm in the log
def test_a_burst_is_logged_when_it_begins_and_when_it_has_ended(burst, messages):
    for number in range(1000):
        burst.clock.now = number * 0.01
        burst.count(3, f"line {number}")
        burst.tick()
    assert messages.texts == ["bad lines, the first of which: 'line 0'"]
    burst.clock.now += 10.1
    burst.tick()
    assert messages.texts[1:] == ["bad lines: 3000 in this burst, 3000 so far"]


def test_the_next_burst_is_told_again_with_the_total(burst, messages):
    for at in (0.0, 100.0):
        burst.clock.now = at
        burst.count(2, "x")
        burst.flush()
    assert messages.texts[-1] == "bad lines: 2 in this burst, 4 so far"


def test_without_mishaps_nothing_is_said(burst, messages):
    burst.tick()
    burst.flush()
    assert messages.texts == []


def test_an_example_is_shortened(burst, messages):
    burst.count(1, "x" * 100_000)
    assert len(messages.texts[0]) < 300


def test_each_thread_can_name_an_observation_of_its_own(tmp_path):
    logs.set_up_logging("offline_processing", tmp_path / "log")
    logs.set_observation("all")
    with logs.observation_of_thread("outer"):
        with logs.observation_of_thread("inner"):
            logging.info("1")
            other = threading.Thread(target=logging.info, args=("2",))
            other.start()
            other.join()
        logging.info("3")
    logging.info("4")
    logs.set_observation(None)
    assert [line.partition("offline_processing ")[2] for line in lines(tmp_path / "log")] == [
        "[inner]: 1", "[all]: 2", "[outer]: 3", "[all]: 4",
    ]  # fmt: skip
