"""Processes that do tasks: deaths, processes that are stuck, and how everything ends."""

import os
import signal
import time
from pathlib import Path

import pytest

from darc.offline.workers import Processes, ThisProcess


def nothing():
    """Let the work go on."""


def double(task):
    return 2 * task


def die_of_seven(task):
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * task


def be_stuck_at_seven(task):
    folder, number = task
    if number == 7:
        (folder / str(os.getpid())).touch()
        signal.pause()
    return 2 * number


@pytest.mark.parametrize("workers", [ThisProcess(), Processes(1), Processes(3)])
def test_every_task_is_done_once_whoever_does_it(workers):
    assert sorted(workers.results(double, range(20), nothing)) == [(task, 2 * task) for task in range(20)]


def test_a_task_that_processes_die_of_costs_no_other_one():
    found = dict(Processes(2).results(die_of_seven, range(12), nothing))
    assert found.pop(7) is None and found == {task: 2 * task for task in range(12) if task != 7}


def test_a_task_that_processes_are_stuck_at_costs_no_other_one(tmp_path):
    def clock():
        # stands still until one is stuck, and jumps then
        return 1000.0 * len(list(tmp_path.iterdir()))

    tasks = [(tmp_path, number) for number in range(10)]
    found = dict(Processes(1, stuck_s=500.0, clock=clock).results(be_stuck_at_seven, tasks, nothing))
    assert found == {(_, number): None if number == 7 else 2 * number for _, number in tasks}


def test_the_work_ends_at_once_with_all_processes():
    pids = []

    def check():
        if pids:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        for _, pid in Processes(2).results(own_pid, range(100), check):
            pids.append(pid)
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.02)


def own_pid(_task):
    return os.getpid()
