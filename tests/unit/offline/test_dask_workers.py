"""What a worker of a dask cluster does, and what the command says where there is none: no cluster."""

import logging
import sys

import pytest

from darc.errors import DARCError
from darc.offline.command import main
from darc.offline.dask_workers import do_task

_logger = logging.getLogger("darc.offline")


def talk(name, *more):
    _logger.info("one %s", name)
    _logger.debug("two")
    if more:
        raise more[0]
    return name.upper()


def test_a_task_returns_its_result_and_what_it_logged():
    result, error, records = do_task(talk, ("a",), logging.INFO, None)
    assert (result, error) == ("A", None)
    assert [record["msg"] for record in records] == ["one a"]
    made = logging.makeLogRecord(records[0])
    assert (made.name, made.getMessage(), made.levelname) == ("darc.offline", "one a", "INFO")


def test_a_task_that_fails_returns_why_with_what_it_logged():
    result, error, records = do_task(talk, ("a", DARCError("no disk")), logging.DEBUG, None)
    assert result is None and str(error) == "no disk" and len(records) == 2


def test_a_defect_is_not_taken_for_a_failure():
    with pytest.raises(ZeroDivisionError):
        do_task(talk, ("a", ZeroDivisionError()), logging.INFO, 60.0)


def test_the_log_of_a_worker_is_as_it_was_after_a_task():
    darc = logging.getLogger("darc")
    before = darc.level, darc.propagate, list(darc.handlers)
    do_task(talk, ("a",), logging.DEBUG, None)
    assert (darc.level, darc.propagate, darc.handlers) == before


@pytest.mark.parametrize("arguments", [["--dask"], ["--scheduler", "tcp://127.0.0.1:1"]])
def test_without_the_extra_the_command_says_what_to_install(arguments, monkeypatch, tmp_path, capsys):
    site = tmp_path / "config.yaml"
    site.write_text(f"offline_processing: {{log_file: {tmp_path / 'log'}}}")
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "darc.offline.dask_run", raising=False)
    monkeypatch.delitem(sys.modules, "darc.offline.dask_workers", raising=False)
    assert main(["some.parset", "--site-config", str(site), *arguments]) == 1
    assert "pip install 'darc[dask]'" in capsys.readouterr().err
