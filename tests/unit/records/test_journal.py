"""The journal of intents: what a successor finds in it, whatever happened to its predecessor."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.records import journal as module
from darc.records.journal import Intent, Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "intents"


def test_an_intent_is_open_for_the_successor_until_it_is_settled(path: Path) -> None:
    first = Journal(path)
    first.intend("iquv", "a", {"dm": 56.7})
    first.intend("lofar", "b", {})
    first.settle("a", "sent")
    first.settle("never intended", "sent")
    assert Journal(path).open_intents() == first.open_intents() == [Intent("lofar", "b", {})]


def test_nothing_is_written_before_something_is_intended(path: Path) -> None:
    assert Journal(path).open_intents() == []
    assert not path.exists()


def test_an_intent_takes_the_place_of_an_open_one_with_its_key(path: Path) -> None:
    journal = Journal(path)
    for number in (1, 2):
        journal.intend("iquv", "a", {"number": number})
    assert Journal(path).open_intents() == [Intent("iquv", "a", {"number": 2})]


@settings(max_examples=30)
@given(st.data())
def test_a_line_that_was_written_in_part_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("state") / "intents"
    journal = Journal(path)
    journal.intend("iquv", "a", {"name": "a"})
    whole = path.stat().st_size
    journal.intend("iquv", "b", {"name": "b"})
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(whole, len(content) - 2))])
    successor = Journal(path)
    successor.intend("iquv", "c", {})
    assert [intent.key for intent in Journal(path).open_intents()] == ["a", "c"]


def test_lines_that_are_damaged_are_counted_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Journal(path).intend("iquv", "a", {})
    with path.open("a") as stream:
        stream.write('no JSON\n{"settled": "a"}\n')
    assert [intent.key for intent in Journal(path).open_intents()] == ["a"]
    assert ": 2 lines passed over" in caplog.text


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_a_file_of_anything_is_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("state") / "intents"
    path.write_bytes(content)
    journal = Journal(path)
    journal.intend("iquv", "a", {})
    assert Journal(path).open_intents()[-1].key == "a"


def test_what_is_settled_does_not_stay_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_BYTES", 2000)
    monkeypatch.setattr(module, "MEMORY", 10)
    journal = Journal(path)
    journal.intend("lofar", "open", {})
    for number in range(200):
        journal.intend("iquv", str(number), {})
        journal.settle(str(number), "sent")
    assert path.stat().st_size < 2200
    assert [intent.key for intent in Journal(path).open_intents()] == ["open"]


def test_the_latest_that_is_settled_is_still_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", 2)
    journal = Journal(path)
    for key in "abc":
        journal.intend("iquv", key, {})
        journal.settle(key, "sent")
    journal.intend("iquv", "open", {})
    for _ in range(2):  # the first one writes the file anew
        journal = Journal(path)
        assert [key for key in ("a", "b", "c", "open", "d") if journal.knows(key)] == ["b", "c", "open"]


def test_a_disk_that_takes_nothing_stops_nobody_and_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "intents"
    journal = Journal(path)
    path.parent.write_text("a file where the folder should be")
    journal.intend("iquv", "a", {})
    assert len(caplog.records) == 1
    journal.intend("iquv", "b", {})
    assert [intent.key for intent in journal.open_intents()] == ["a", "b"]
    assert len(caplog.records) == 1
    path.parent.unlink()
    journal.intend("iquv", "c", {})
    assert [intent.key for intent in Journal(path).open_intents()] == ["a", "b", "c"]


def test_a_write_that_failed_half_way_does_not_damage_what_follows(path: Path) -> None:
    journal = Journal(path)
    journal.intend("iquv", "a", {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 15, limits[1]))
    try:
        journal.intend("iquv", "b", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes().endswith(b'\n{"intent": {"ki')
    journal.intend("iquv", "c", {})
    assert [intent.key for intent in Journal(path).open_intents()] == ["a", "b", "c"]


def test_lines_are_added_to_the_file_which_is_not_written_anew_each_time(path: Path) -> None:
    Journal(path).intend("iquv", "a", {})
    journal = Journal(path)
    file = path.stat().st_ino
    journal.intend("iquv", "b", {})
    journal.settle("a", "sent")
    assert path.stat().st_ino == file


def test_one_that_has_much_that_is_open_is_seldom_written_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_BYTES", 1000)
    journal = Journal(path)
    anew = []
    monkeypatch.setattr(module, "write_complete", lambda *_, **__: anew.append(path))
    for number in range(100):
        journal.intend("iquv", str(number), {})
    assert len(anew) == 3


def test_threads_share_it(path: Path) -> None:
    journal = Journal(path)

    def work(name: str) -> None:
        for number in range(20):
            journal.intend("iquv", f"{name}{number}", {})
            if number % 2:
                journal.settle(f"{name}{number}", "sent")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i.key for i in Journal(path).open_intents()} == {
        f"{n}{k}" for n in "abc" for k in range(0, 20, 2)
    }
