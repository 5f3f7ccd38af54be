"""When a log is moved away, and to where."""

from types import SimpleNamespace

import pytest

from darc.config import load_config
from darc.log_rotation import INTERVAL_S, LogRotation, log_files, rotate


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "processor.arts001.log"
    path.write_text("12345")
    return path


def names(path):
    return {each.name.removeprefix(path.name): each.read_text() for each in path.parent.iterdir()}


def test_a_log_is_left_alone_until_it_is_too_long(log):
    assert not rotate(log, 5, 2) and names(log) == {"": "12345"}
    assert rotate(log, 4, 2) and names(log) == {".1": "12345"}


def test_so_many_old_logs_are_kept_the_newest_first(log):
    for text in ("first", "second", "third"):
        log.write_text(text)
        rotate(log, 0, 2)
    assert names(log) == {".1": "third", ".2": "second"}


def test_a_service_that_has_not_written_yet_has_nothing_to_rotate(tmp_path):
    assert not rotate(tmp_path / "none.log", 0, 1)


def config(log, size):
    return SimpleNamespace(
        logging=SimpleNamespace(rotate_size=size, rotate_keep=1),
        darc_master=SimpleNamespace(log_file=log),
        services=[],
    )


def test_logs_are_looked_at_now_and_then(log):
    now = [100.0]
    rotation = LogRotation(lambda: now[0])
    assert rotation.keep(config(log, 1)) == INTERVAL_S and not log.exists()
    log.write_text("more")
    now[0] += INTERVAL_S - 1
    assert rotation.keep(config(log, 1)) == 1.0 and log.exists()
    now[0] += 1
    assert rotation.keep(config(log, 1)) == INTERVAL_S and not log.exists()


def test_logs_that_another_program_rotates_are_left_to_it(log):
    assert LogRotation().keep(config(log, None)) is None and log.exists()


def test_a_log_that_cannot_be_moved_is_told_and_holds_up_nothing(log, caplog):
    (log.parent / f"{log.name}.1").mkdir()
    LogRotation().keep(config(log, 1))
    assert "is not rotated" in caplog.text and log.exists()


def test_the_logs_are_those_of_the_services_of_this_node(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    site = tmp_path / "site.yaml"
    site.write_text("nodes: {workers: {w: 0}}\ndarc_master: {services_worker_mix: [processor]}\n")
    found = [path.name for path in log_files(load_config(site, "w"))]
    assert found == ["darc_master.w.log", "processor.w.log"]
