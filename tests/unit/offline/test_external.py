"""Programs of others: what becomes of those that do not do what they should."""

import itertools
import os
import sys

import pytest

from darc.offline.external import ExternalError, run
from darc.offline.plan import Interrupted
from darc.processes.forks import prepare_forks


def python(code):
    return [sys.executable, "-c", code]


def test_a_program_runs_in_its_folder_and_its_output_is_returned(tmp_path):
    folder = tmp_path / "new"
    said = run(python("import os, sys; print(os.getcwd()); print('x', file=sys.stderr)"), folder, 60)
    assert said.split() == [str(folder), "x"]


def test_a_program_in_python_may_import_from_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setattr("multiprocessing.set_forkserver_preload", lambda _: None)
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: None)
    prepare_forks([])
    (tmp_path / "helper.py").write_text("print('found')")
    assert run(python("import helper"), tmp_path, 60).strip() == "found"


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ExternalError, match="no-such-program cannot be run: No such file"):
        run(["no-such-program"], tmp_path, 60)


def test_a_program_that_fails_is_named_with_what_it_said(tmp_path):
    with pytest.raises(ExternalError, match="ended with code 3: the disk is full"):
        run(python("import sys; print('the disk is full'); sys.exit(3)"), tmp_path, 60)


def test_a_program_that_hangs_is_killed_at_its_time_limit(tmp_path):
    clock = itertools.count(0.0, 20.0)
    with pytest.raises(ExternalError, match="did not end within 50 s: killed"):
        run(python("import time; time.sleep(1000)"), tmp_path, 50, clock=lambda: next(clock))


def test_a_program_is_killed_when_the_work_is_to_end(tmp_path):
    def end():
        raise Interrupted

    with pytest.raises(Interrupted):
        run(python("import time; time.sleep(1000)"), tmp_path, 1000, end)


def test_output_that_is_no_text_does_no_harm(tmp_path):
    assert run(python("import os; os.write(1, bytes(range(256)))"), tmp_path, 60)


# what a program writes went to the disk and to the memory, all of it
def test_a_program_that_writes_without_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("darc.offline.external.OUTPUT_BYTES_MAX", 10**6)
    with pytest.raises(ExternalError, match="wrote more than 1000000 bytes to its outputs: killed"):
        run(python("while True: print('x' * 1000)"), tmp_path, 20)


def test_of_a_long_output_the_end_is_returned(tmp_path):
    said = run(python("print('x' * 10**6 + ' the end')"), tmp_path, 60)
    assert said.endswith("x the end\n") and len(said) < 10**5
