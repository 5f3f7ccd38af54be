"""A cluster in which processes are killed: nodes that come up again, and what kills them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from darc.errors import DARCError
from darc.network.command_client import send_command
from darc.network.command_protocol import Reply, Request
from darc.simulation.cluster import Cluster

#: Time in s after which a node that ended is started again.
RESTART_S = 1.0
#: Longest time in s for a node to answer, and for all services of all nodes to run after the last kill.
ANSWER_S, RECOVERY_S = 10.0, 60.0
#: Longest time in s that processes outlive the master of their node.
ORPHANS_S = 20.0
#: A processor that dies a third time in an observation is given up, as its data may be the cause: no more.
KILLS_MAX = 2

_STARTED = re.compile(
    r" INFO +([a-z_ ]+?)(?: \d+)?(?: \[.*\])?: started with process ID (\d+)$", re.MULTILINE
)
_SLICE_S = 0.2
#: What the master of a node is called.
NODE = "darc_service"


class RestartedCluster(Cluster):
    """A cluster whose nodes are started again when they end, as systemd does.

    Other than systemd, nobody ends what a dead master has left: its services have to do that by themselves.
    """

    def __enter__(self) -> Self:
        """Start all nodes."""
        super().__enter__()
        nodes = yaml.safe_load(self.site_file.read_text(encoding="utf-8"))["nodes"]
        self._ports = {node["name"]: node["port"] for node in (nodes["master"], *nodes["workers"])}
        self._end = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="restarts nodes")
        self._keeper.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Stop all nodes."""
        if hasattr(self, "_keeper"):
            self._end.set()
            self._keeper.join()
        super().__exit__(*exception)

    def _keep(self) -> None:
        while not self._end.wait(_SLICE_S):
            for node in [node for node, each in self._processes.items() if each.poll() is not None]:
                if not self._end.wait(RESTART_S):
                    self.start(node)

    def ask(self, node: str, command: str, service: str | None = None, payload: Path | None = None) -> Reply:
        """Ask a node.

        Raises:
            DARCError: it does not answer
        """
        request = Request(command=command, service=service, payload=str(payload) if payload else None)
        return send_command("127.0.0.1", self._ports[node], request, ANSWER_S)

    def wait_until_all_run(self) -> float:
        """Wait until all services of all nodes run, and return how long that took in s.

        Raises:
            DARCError: they do not within some time
        """
        begin = time.monotonic()
        while states := {node: state for node in self.nodes if (state := self._trouble(node))}:
            if time.monotonic() > begin + RECOVERY_S:
                raise DARCError(f"not all services run {RECOVERY_S:g} s after the last kill: {states}")
            time.sleep(_SLICE_S)
        return time.monotonic() - begin

    def _trouble(self, node: str) -> Any:
        try:
            message = self.ask(node, "details").message
        except DARCError as error:
            return str(error)
        if not isinstance(message, dict):
            return message
        return {
            name: each["state"] for name, each in message["services"].items() if each["state"] != "running"
        }

    def processes(self) -> dict[int, str]:
        """Return the processes of all nodes by ID, each with what it is."""
        lines, parents = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            # it may end meanwhile
            with contextlib.suppress(OSError):
                if f"DARC_CONFIG={self.site_file}\0".encode() in (folder / "environ").read_bytes():
                    pid = int(folder.name)
                    lines[pid] = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
                    parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        names = self._names() | {pid: NODE for pid, line in lines.items() if "darc.darc_master" in line}
        return {pid: _kind(line, names.get(pid), parents.get(pid) in names) for pid, line in lines.items()}

    def _names(self) -> dict[int, str]:
        """Return what processes say they are, by ID."""
        texts = [log.read_text(encoding="utf-8", errors="replace") for log in self.log_folder.glob("*.log*")]
        return {int(pid): name for text in texts for name, pid in _STARTED.findall(text)}

    def wait_for_orphans(self) -> list[str]:
        """Wait until no process is left after the end of all nodes, and return those that do not end."""
        deadline = time.monotonic() + ORPHANS_S
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(_SLICE_S)
        return sorted(left.values())


def _kind(line: str, name: str | None, forked_by_us: bool) -> str:
    """Return what a process is, from its command line, what it says it is, and whether its parent said so."""
    if "resource_tracker" in line:
        return "resource tracker"
    return name or ("fork server" if forked_by_us else "process that starts")


@dataclass(frozen=True)
class Kill:
    """A process that was killed."""

    what: str
    time_unix: float


class Killer:
    """Kills random processes of a cluster.

    Args:
        cluster: the cluster
        rng: draws moments and processes

    Attributes:
        kills: what was killed, in its order
    """

    def __init__(self, cluster: RestartedCluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self.kills: list[Kill] = []

    def observe(self, number: int, start_unix: float, end_unix: float) -> None:
        """Kill some processes at random moments of an observation, and return when it is over."""
        killed: Counter[str] = Counter()
        for moment in sorted(self._rng.uniform(start_unix, end_unix) for _ in range(number)):
            time.sleep(max(0.0, moment - time.time()))
            killed[self._kill(killed)] += 1
        time.sleep(max(0.0, end_unix - time.time()))

    def _kill(self, killed: Counter[str]) -> str:
        while True:
            found = sorted((what, pid) for pid, what in self._cluster.processes().items())
            within = [each for each in found if not _given_up(each[0]) or killed[each[0]] < KILLS_MAX]
            if within:
                # each kind as often, however many there are of it
                what = self._rng.choice(sorted({kind for kind, _ in within}))
                pid = self._rng.choice([number for kind, number in within if kind == what])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.kills.append(Kill(what, time.time()))
                    return what
            time.sleep(_SLICE_S)


def _given_up(what: str) -> bool:
    """Return whether the third death of such a process in an observation means that it is given up."""
    return what.split(maxsplit=1)[0] in ("processor", "processor_master")
