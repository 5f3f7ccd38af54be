"""When a node is well, and what it says of itself."""

from types import SimpleNamespace

import pytest

from darc.node.wellbeing import Wellbeing

STATES = {"amber_listener": "running", "processor": "failed"}


class Notified:
    """Stands in for systemd."""

    interval_s = 20.0

    def __init__(self):
        self.heard = []

    def ready(self, status):
        self.heard.append(("ready", status))

    def beat(self, status, *, well):
        self.heard.append(("beat", well))
        self.status = status

    def stopping(self):
        self.heard.append(("stopping", ""))


@pytest.fixture
def node():
    lives = {"port": True, "watcher": True}
    supervisor = SimpleNamespace(handles=STATES, status=STATES.get)
    book = SimpleNamespace(
        all=lambda: [SimpleNamespace(datetimesource="2026-11-22.B0329+54", state="running")]
    )
    notified = Notified()
    threads = {name: lambda name=name: lives[name] for name in lives}
    return Wellbeing(notified, "worker node arts001", supervisor, book, threads), notified, lives


def test_it_is_ready_once_and_beats_from_then_on(node):
    wellbeing, systemd, _ = node
    wellbeing.tell()
    wellbeing.tell()
    wellbeing.stopping()
    status = "worker node arts001: 1 of 2 services run; 2026-11-22.B0329+54 running"
    assert systemd.heard == [("ready", status), ("beat", True), ("beat", True), ("stopping", "")]


@pytest.mark.parametrize("thread", ["port", "watcher"])
def test_a_process_without_one_of_its_threads_is_not_well_and_says_so_once(node, caplog, thread):
    wellbeing, systemd, lives = node
    wellbeing.tell()
    lives[thread] = False
    wellbeing.tell()
    wellbeing.tell()
    assert systemd.heard[1:] == [("beat", True), ("beat", False), ("beat", False)]
    assert systemd.status.endswith(f"; ended by a defect: {thread}")
    assert caplog.messages == [f"ended by a defect: {thread}"]
