"""What systemd is told over its socket, and by whom."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from darc.systemd_notify import Notifier


@pytest.fixture
def systemd():
    """The socket of a service manager; its path is short, as such paths have to be."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(Path(folder, "notify")))
        server.setblocking(False)
        yield server


def told(server):
    found = []
    while True:
        try:
            found.append(server.recv(4096).decode())
        except BlockingIOError:
            return found


def environment(server, **more):
    return {"NOTIFY_SOCKET": server.getsockname(), "WATCHDOG_USEC": "60000000", **more}


def test_the_life_of_a_process(systemd):
    notifier = Notifier(environment(systemd))
    notifier.ready("2 services run")
    notifier.beat("2 services run", well=True)
    notifier.beat("1 service\nruns", well=True)
    notifier.stopping()
    assert told(systemd) == [
        "READY=1\nSTATUS=2 services run",
        "WATCHDOG=1",
        "WATCHDOG=1\nSTATUS=1 service runs",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_the_watchdog_hears_nothing_of_a_process_that_is_not_well(systemd):
    notifier = Notifier(environment(systemd))
    notifier.beat("lost", well=False)
    notifier.beat("lost", well=False)
    assert told(systemd) == ["STATUS=lost"]


def test_beats_come_three_times_as_often_as_they_have_to(systemd):
    assert Notifier(environment(systemd)).interval_s == pytest.approx(20.0)
    assert Notifier({"NOTIFY_SOCKET": systemd.getsockname()}).interval_s is None


def test_a_watchdog_that_waits_for_another_process_gets_no_beats(systemd):
    other = environment(systemd, WATCHDOG_PID=str(os.getpid() + 1))
    notifier = Notifier(other)
    notifier.beat("", well=True)
    assert notifier.interval_s is None and told(systemd) == []


def test_no_process_that_is_started_speaks_for_this_one(systemd):
    inherited = environment(systemd, WATCHDOG_PID="1", HOME="/")
    Notifier(inherited)
    assert inherited == {"HOME": "/"}


def test_an_abstract_address_begins_with_a_nul():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        name = f"darc-test-{os.getpid()}"
        server.bind("\0" + name)
        Notifier({"NOTIFY_SOCKET": "@" + name}).stopping()
        assert server.recv(100).startswith(b"STOPPING=1")


@pytest.mark.parametrize("address", [{}, {"NOTIFY_SOCKET": "/nobody/listens"}])
def test_nothing_happens_where_nobody_listens(address):
    notifier = Notifier(dict(address))
    notifier.ready("up")
    notifier.stopping()
