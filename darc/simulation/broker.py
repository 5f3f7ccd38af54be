"""A real VOEvent broker for the fake telescope: Comet as a subprocess."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from darc.errors import DARCError

_LISTENING = re.compile(rb"VOEventReceiverFactory .*starting on (\d+)")
_POLL_S = 0.02


@dataclass(frozen=True)
class ReceivedDocument:
    """A VOEvent that the broker accepted.

    Attributes:
        arrived_at: unix time in s at which the broker stored it, to the file system's resolution (some ms).
        path: the broker's file.
        content: its bytes.

    """

    arrived_at: float
    path: Path
    content: bytes


class CometBroker:
    """A Comet broker that receives from this machine, for the length of a `with` block.

    Args:
        folder: where its files go: `events/` (the documents), `eventdb/`, `run/` and `comet.log`. A broker
            started again in the same folder remembers what it has seen.
        port: TCP port; a free one by default.
        local_ivo: the broker's own identifier.
        start_timeout_s: how long it may take to listen.
        stop_timeout_s: how long it may take to end before it is killed.

    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        local_ivo: str = "ivo://darc/broker",
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 5.0,
    ) -> None:
        # absolute, since the broker runs in a folder of its own
        self._folder = folder.absolute()
        self._requested_port = port or 0
        self._local_ivo = local_ivo
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self.host = "localhost"
        self.log_file = self._folder / "comet.log"
        self._events = self._folder / "events"
        self._run = self._folder / "run"

    def __enter__(self) -> Self:
        """Start the broker and wait until it accepts connections.

        Raises:
            DARCError: Comet is not installed, or does not come up in time.

        """
        command = self._command()
        for folder in (self._events, self._run):
            folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._run,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # a group of its own: an interrupt at the terminal leaves the end of the broker to us
                process_group=0,
            )
        with contextlib.ExitStack() as failing:
            failing.callback(self._stop)
            self._port = self._wait_listening()
            failing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def port(self) -> int:
        """Port it receives on."""
        return self._port

    @property
    def received(self) -> list[ReceivedDocument]:
        """The documents it accepted so far, in order of arrival."""
        paths = list(self._events.iterdir())
        # Comet holds a lock of the document's name in its working directory while it writes
        writing = tuple(lock.name.removesuffix("-lock") for lock in self._run.glob("*-lock"))
        documents = [
            ReceivedDocument(path.stat().st_mtime_ns / 1e9, path, path.read_bytes())
            for path in paths
            if not path.name.startswith(writing)
        ]
        return sorted(documents, key=lambda document: document.arrived_at)

    def _command(self) -> list[str]:
        twistd = Path(sys.executable).with_name("twistd")
        if not twistd.exists() or importlib.util.find_spec("comet") is None:
            raise DARCError(
                f"the VOEvent broker Comet is not installed beside {sys.executable}: pip install 'darc[demo]'"
            )
        return [
            *(str(twistd), "--nodaemon", "--pidfile=", "comet", "--receive", "--save-event"),
            # without it, Comet does not log which port it took
            "--verbose",
            f"--receive-port={self._requested_port}",
            # Comet listens on every interface; this is how it is told to hear this machine only
            "--author-whitelist=127.0.0.0/8",
            f"--local-ivo={self._local_ivo}",
            f"--save-event-directory={self._events}",
            f"--eventdb={self._folder / 'eventdb'}",
        ]

    def _wait_listening(self) -> int:
        """Wait for the port and return it."""
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            found = _LISTENING.search(self.log_file.read_bytes())
            if found:
                port = int(found[1])
                with contextlib.suppress(OSError), socket.create_connection((self.host, port), timeout=1):
                    return port
            time.sleep(_POLL_S)
        code = self._process.poll()
        what = "did not listen in time" if code is None else f"ended with exit code {code}"
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "nothing"
        raise DARCError(f"the VOEvent broker Comet {what}; the last line of {self.log_file}: {last}")

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(self._stop_timeout_s)
