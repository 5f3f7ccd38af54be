"""A whole cluster on this machine: a master node and worker nodes, each a `darc_service` process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from darc.errors import DARCError

#: Runs a module, but not one from the current folder, which may hold one called darc.
_PYTHON = (sys.executable, "-P", "-m")

MASTER = "master"
#: Longest time in s for all services of a node to run, and for a node to stop.
PATIENCE_S = 30.0


def worker(beam: int) -> str:
    """Return the name of the node of a compound beam."""
    return f"worker{beam:02d}"


def free_ports(number: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Return ports of the loopback interface that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """Nodes that run while in a `with` block; all their files are below one folder.

    Args:
        folder: becomes the home folder of the nodes
        beams: compound beams, one worker node for each
        settings: sections of the configuration, for all nodes
        node_settings: sections for single nodes, by node name
    """

    def __init__(
        self,
        folder: Path,
        beams: Sequence[int],
        settings: dict[str, Any],
        node_settings: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.folder = folder
        self.nodes = [MASTER, *(worker(beam) for beam in beams)]
        self.site_file = folder / "config.yaml"
        self._beams = dict(zip(self.nodes[1:], beams, strict=True))
        self._settings = settings
        self._node_settings = node_settings or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start all nodes and wait until their services run.

        Raises:
            DARCError: a node does not start
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_site_file()
        with contextlib.ExitStack() as failing:
            failing.push(self)
            # the master node first: it makes the keys that the workers need
            for nodes in ([MASTER], [node for node in self.nodes if node != MASTER]):
                for node in nodes:
                    self.start(node)
                for node in nodes:
                    self.wait_until_running(node)
            failing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all nodes; one that does not stop is killed."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _write_site_file(self) -> None:
        ports = free_ports(len(self.nodes))
        entries = [
            {"name": node, "address": "127.0.0.1", "port": port, "config": self._node_settings.get(node, {})}
            for node, port in zip(self.nodes, ports, strict=True)
        ]
        workers = [{**entry, "beam": self._beams[str(entry["name"])]} for entry in entries[1:]]
        site = {"nodes": {"master": entries[0], "workers": workers}, **self._settings}
        self.site_file.write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")

    @property
    def log_folder(self) -> Path:
        """Folder of the logs of all nodes."""
        return self.folder / "darc" / "log"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the nodes' processes."""
        return {**os.environ, "HOME": str(self.folder), "DARC_CONFIG": str(self.site_file)}

    def start(self, node: str) -> None:
        """Start a node."""
        log = self.folder / f"{node}.out"
        with log.open("ab") as output:
            self._processes[node] = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "darc.darc_master",
                    "--config",
                    str(self.site_file),
                    "--node",
                    node,
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_until_running(self, node: str) -> None:
        """Wait until a node says that all its services run.

        Raises:
            DARCError: they do not within some time
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.darc(node, "--service", "all", "status", check=False)
            states = [line.split()[1] for line in answer.stdout.splitlines() if len(line.split()) == 2]
            if answer.returncode == 0 and {s for s in states if s != "none"} == {"running"}:
                return
            if self._processes[node].poll() is not None or time.monotonic() > deadline:
                output = (self.folder / f"{node}.out").read_text(encoding="utf-8")
                raise DARCError(f"node {node} does not run: {answer.stdout}{answer.stderr}{output}")
            time.sleep(0.5)

    def darc(self, node: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `darc` command for a node, as an operator or the scheduler would.

        Args:
            node: name of the node
            arguments: options and command
            check: whether an exit code other than 0 is an error

        Raises:
            DARCError: the command failed
        """
        command = [
            *_PYTHON,
            "darc.control",
            "--site-config",
            str(self.site_file),
            "--node",
            node,
            *arguments,
        ]
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if check and answer.returncode != 0:
            raise DARCError(f"{' '.join(arguments)} on {node} failed: {answer.stdout}{answer.stderr}")
        return answer
