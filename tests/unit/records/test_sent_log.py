"""What is known of events after a crash."""

import errno
import json
import subprocess
import sys
from subprocess import PIPE

import pytest

from darc.records import sent_log
from darc.records.sent_log import Event, SentLog, SentLogError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sent" / "lofar_trigger.jsonl"


def event(unix=1000.0, test=False, **content):
    return Event.new(unix, test, content or {"packet": "99a0"}, {"dm": 56.8, "arrived": 5.0}, ["an item"])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_step_has_a_line_that_says_what_it_is_about(path):
    log, one = SentLog(path), event()
    log.write(one, sent_log.DECIDED, 1000.5)
    log.write(one, sent_log.SENT, 1001.0, "lofar:31662")
    first, second = lines(path)
    assert (first["outcome"], first["packet"], first["trigger"]["dm"]) == ("decided", "99a0", 56.8)
    assert (second["outcome"], second["packet"], second["reason"]) == ("sent", "99a0", "lofar:31662")
    assert first["time"].startswith("1970-01-01T00:16:40.5") and first["unix"] == 1000.5
    assert first["event"] == second["event"]


def test_after_a_crash_the_open_events_are_known_whole_and_in_order(path):
    log, events = SentLog(path), [event(unix=float(number)) for number in range(4)]
    for each in events:
        log.write(each, sent_log.DECIDED, 5.0)
    log.write(events[0], sent_log.SENT, 6.0)
    log.write(events[2], sent_log.SENDING, 6.0)
    assert SentLog(path).open_events() == [
        (events[1], sent_log.DECIDED),
        (events[2], sent_log.SENDING),
        (events[3], sent_log.DECIDED),
    ]


def test_what_was_sent_or_may_have_been_counts_failures_do_not_and_tests_by_themselves(path):
    log = SentLog(path)
    outcomes = (
        *(sent_log.SENT, sent_log.UNKNOWN, sent_log.WAITS, sent_log.FAILED, sent_log.REFUSED),
        *(sent_log.DISABLED, sent_log.EXPIRED),
    )
    for unix, outcome in enumerate(outcomes):
        log.write(event(unix=float(unix)), outcome, 0.0)
    log.write(event(unix=9.0, test=True), sent_log.SENT, 0.0)
    assert SentLog(path).times() == log.times() == [0.0, 1.0, 2.0]
    assert log.times(test=True) == [9.0]


def test_items_that_led_to_an_event_or_to_none_are_known(path):
    log = SentLog(path)
    log.write(event(), sent_log.DISABLED, 0.0)
    log.note(sent_log.EXPIRED, 0.0, "too old", items=["another"])
    log.note(sent_log.SWITCHED, 0.0, "enabled")
    assert SentLog(path).identities() == ["an item", "another"]


@pytest.fixture
def predecessor(path):
    """Another process that acts on the log, and the function that ends it."""
    code = f"""
import sys
from pathlib import Path
from darc.records.sent_log import SentLog
log = SentLog(Path({str(path)!r}), alone=True)
print("has it", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout.readline() == b"has it\n"
        yield process
        process.kill()


# a packet was sent twice: by a service whose master was killed, and by the next one, which knew that it waits
def test_who_acts_on_what_waits_first_waits_for_the_end_of_another_one(path, predecessor, monkeypatch):
    def wait(_):
        SentLog(path).write(event(), sent_log.SENT, 0.0)
        predecessor.kill()
        predecessor.wait()

    monkeypatch.setattr("darc.records.predecessor.time.sleep", wait)
    log = SentLog(path, alone=True)
    assert len(log.times()) == 1
    log.close()


def test_who_acts_on_what_waits_does_not_begin_while_another_one_does(path, predecessor, monkeypatch):
    monkeypatch.setattr("darc.records.predecessor.PREDECESSOR_S", 0.0)
    with pytest.raises(SentLogError, match="another process"):
        SentLog(path, alone=True)
    assert SentLog(path).open_events() == []  # who only looks need not wait


def test_a_log_without_a_folder_or_without_locks_can_be_taken_over(path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("darc.records.sent_log.fcntl.lockf", no_locks)
    SentLog(path, alone=True).close()
    path.parent.joinpath("lofar_trigger.lock").unlink()
    path.parent.rmdir()
    path.parent.touch()
    SentLog(path.parent / "none" / "x", read=False, alone=True).close()


def test_a_line_that_was_written_in_part_costs_only_itself(path):
    one, two = event(unix=1.0), event(unix=2.0)
    SentLog(path).write(one, sent_log.SENT, 0.0)
    with path.open("a") as stream:
        stream.write('{"time": "20')
    SentLog(path).write(two, sent_log.SENT, 0.0)
    assert SentLog(path).times() == [1.0, 2.0]


@pytest.mark.parametrize("line", ["", "5", "[]", "{}", '{"event": 3}', '{"event": "a", "decided": 1}', "\0"])
def test_whatever_else_stands_there_is_passed_over(path, line):
    path.parent.mkdir()
    path.write_text(line + "\n")
    assert SentLog(path).open_events() == []


def test_what_cannot_be_written_is_an_error_that_says_what_follows(path):
    log = SentLog(path)
    path.parent.touch()
    with pytest.raises(SentLogError, match="nothing is sent that is not written there"):
        log.write(event(), sent_log.DECIDED, 0.0)
    assert log.open_events() == []


def test_a_line_is_on_disk_before_the_next_step(path, monkeypatch):
    synced = []
    monkeypatch.setattr("darc.records.sent_log.os.fsync", lambda _: synced.append(path.read_text()))
    SentLog(path).write(event(), sent_log.SENDING, 0.0)
    assert '"sending"' in synced[0]


def test_months_of_events_take_a_limited_memory_and_stay_in_the_file(path, monkeypatch):
    monkeypatch.setattr("darc.records.sent_log._MAX_EVENTS", 5)
    log = SentLog(path)
    waiting = event()
    log.write(waiting, sent_log.WAITS, 0.0)
    for number in range(30):
        log.write(event(unix=float(number)), sent_log.SENT, 0.0)
    assert len(log.times()) <= 11 and log.times()[-1] == 29.0
    assert [each for each, _ in log.open_events()] == [waiting]
    assert len(lines(path)) == 31


def test_months_of_items_that_led_to_no_event_take_a_limited_memory(path, monkeypatch):
    monkeypatch.setattr("darc.records.sent_log._MAX_IDENTITIES", 5)
    log = SentLog(path)
    for number in range(20):
        log.note(sent_log.FAILED, 0.0, "no packet can be made of it", items=[str(number)])
    latest = [str(number) for number in range(15, 20)]
    assert log.identities() == SentLog(path).identities() == latest


# the limits count what was sent within an hour, however much was refused meanwhile
def test_refusals_do_not_push_out_of_memory_what_was_sent(path, monkeypatch):
    monkeypatch.setattr("darc.records.sent_log._MAX_EVENTS", 5)
    log = SentLog(path)
    for number in range(3):
        log.write(event(unix=float(number)), sent_log.SENT, 0.0)
    for _ in range(30):
        log.write(event(), sent_log.REFUSED, 0.0)
    assert log.times() == [0.0, 1.0, 2.0]
    assert len(log.identities()) <= 1 and len(log._outcomes) <= 11


def test_an_hour_of_refusals_of_all_beams_is_read_after_a_restart(path):
    wordy = {"dm": 400.0} | {f"key{number}": 1.23456789012345 for number in range(30)}
    log = SentLog(path)
    log.write(event(unix=1.0), sent_log.SENT, 1.0)
    refused = Event.new(2.0, False, {"packet": "99a0"}, wordy, [f"{number:016x}" for number in range(40)])
    log.write(refused, sent_log.REFUSED, 2.0, "10 within the last hour, max_per_hour is 10")
    with path.open("a") as stream:
        stream.write(f"{json.dumps(lines(path)[-1])}\n" * 3600)
    assert SentLog(path).times() == [1.0]


def test_of_a_long_file_only_the_end_is_read(path, monkeypatch):
    monkeypatch.setattr("darc.records.sent_log._READ_BYTES", 2000)
    log = SentLog(path)
    for number in range(50):
        log.write(event(unix=float(number)), sent_log.SENT, 0.0)
    times = SentLog(path).times()
    assert 0 < len(times) < 10 and times[-1] == 49.0
