"""What a node tells of itself: disks and the ends of log files."""

import os
import struct
from types import SimpleNamespace

import pytest
import yaml

from darc.config import load_config
from darc.errors import DARCError
from darc.formats.node_details import LastTrigger
from darc.node.report import disks, last_lines, last_triggers, log_tail, node_details


@pytest.fixture
def config(tmp_path):
    site = tmp_path / "site.yaml"
    log_file = str(tmp_path / "processor.log")
    content = {"processor": {"log_file": log_file}, "status_website": {"log_lines": 2}}
    site.write_text(yaml.safe_dump(content))
    return load_config(site)


def test_the_log_of_a_service_is_told_by_its_last_lines(config, tmp_path):
    path = tmp_path / "processor.log"
    path.write_text("one\ntwo\nthree\n")
    assert log_tail(config, "processor") == {"path": str(path), "lines": ["two", "three"]}


@pytest.mark.parametrize(("new", "lines"), [("three\n", ["two", "three"]), (None, ["one", "two"])])
def test_what_was_moved_away_a_while_ago_is_told_too(config, tmp_path, new, lines):
    (tmp_path / "processor.log.1").write_text("one\ntwo\n")
    if new is not None:
        (tmp_path / "processor.log").write_text(new)
    assert log_tail(config, "processor")["lines"] == lines


@pytest.mark.parametrize("service", ["../../etc/passwd", "all", "logging", ""])
def test_only_logs_that_the_configuration_names_are_told(config, service):
    with pytest.raises(DARCError, match="Invalid service"):
        log_tail(config, service)


def test_a_log_that_is_not_there_is_said_to_be(config):
    with pytest.raises(DARCError, match=r"processor.log: there is no such log yet"):
        log_tail(config, "processor")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\x0bb\xe2\x80\xa8c\n", ["a\x0bb\u2028c"]),
        (b"\xff<script>\n", ["\ufffd<script>"]),
    ],
)
def test_lines_are_told_as_they_are(tmp_path, content, lines):
    path = tmp_path / "x.log"
    path.write_bytes(content)
    assert last_lines(path, 10) == lines


def test_no_more_than_the_end_of_a_huge_file_is_read(tmp_path):
    path = tmp_path / "x.log"
    with path.open("wb") as stream:
        stream.truncate(1 << 32)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\nlast but one\nlast\n")
    assert last_lines(path, 10, max_bytes=100)[-2:] == ["last but one", "last"]
    assert last_lines(path, 10, max_bytes=12) == ["last"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.log")
    with pytest.raises(DARCError, match="no such log"):
        last_lines(tmp_path / "x.log", 10)


def test_a_disk_is_told_once_also_before_its_folders_are_there(tmp_path):
    folders = [("results", tmp_path / "not" / "yet"), ("state", tmp_path)]
    ((label, disk),) = disks(folders).items()
    assert label == "results, state"
    assert disk.path == str(tmp_path / "not" / "yet")
    assert 0 <= disk.free_bytes <= disk.total_bytes


def test_the_last_trigger_of_a_kind_comes_with_what_became_of_it():
    def name(kind, outcome):
        return f'darc_trigger_last_time_seconds{{kind="{kind}",outcome="{outcome}"}}'

    figures = {
        name("iquv", "sent"): 100.0,
        name("iquv", "refused"): 120.0,
        name("lofar", "disabled"): 0.0,
        'darc_triggers_total{kind="mail",outcome="sent"}': 7.0,
    }
    assert last_triggers(figures) == {"iquv": LastTrigger(120.0, "refused")}


def test_damaged_figures_cost_only_themselves(config, tmp_path, caplog):
    folder = tmp_path / "home" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_processor-0.db").write_bytes(struct.pack("<iii92x", 80, 0, 10_000))
    supervisor = SimpleNamespace(handles={})
    master = config.darc_master.model_copy(update={"state_dir": tmp_path / "home"})
    damaged = config.model_copy(update={"darc_master": master})
    details = node_details(damaged, supervisor, [], up_since=1.0, now=2.0)
    assert (details.figures, details.time) == ({}, 2.0)
    assert "cannot be read" in caplog.text
