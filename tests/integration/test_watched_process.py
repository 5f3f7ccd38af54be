"""Processes outlive the server that they were forked from, and are seen to."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from darc.processes.watched_process import UNSEEN, WatchedProcess

PATIENCE_S = 20.0


@pytest.fixture
def start() -> Iterator[Callable[..., WatchedProcess]]:
    processes = []

    def start(target: Callable[..., object], *arguments: object) -> WatchedProcess:
        process = WatchedProcess(target=target, args=arguments)
        process.start_method = "forkserver"
        process.start()
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.join(PATIENCE_S)


def kill_fork_server() -> None:
    pid = multiprocessing.forkserver._forkserver._forkserver_pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # that it has ended is left for multiprocessing to find


@pytest.mark.parametrize(("target", "argument", "code"), [(time.sleep, 0, 0), (sys.exit, 3, 3)])
def test_an_end_is_seen_with_its_exit_code(start, target, argument, code):
    process = start(target, argument)
    process.join(PATIENCE_S)
    assert not process.is_alive()
    assert process.exitcode == code


def test_a_process_outlives_the_server_it_was_forked_from_and_obeys(start):
    process = start(time.sleep, 60)
    kill_fork_server()
    other = start(time.sleep, 60)  # at which multiprocessing looks at all its children
    assert process.is_alive() and process.exitcode is None
    assert not multiprocessing.connection.wait([process.sentinel], 0)
    process.terminate()
    process.join(PATIENCE_S)
    assert not process.is_alive()
    assert process.exitcode == UNSEEN
    assert other.is_alive()


def test_a_killed_process_is_seen_to_be(start):
    process = start(time.sleep, 60)
    process.kill()
    assert multiprocessing.connection.wait([process.sentinel], PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL
