"""One service as a process of its own: how it is started, how its end is noticed, how it is ended.

The service is made in its own process, so the master neither imports what services need nor fails with them.
"""

from __future__ import annotations

import collections
import logging
import multiprocessing
import multiprocessing.connection
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darc import logs
from darc.base import MessageQueue
from darc.errors import DARCError
from darc.processes.watched_process import EXIT_CODE_WAIT_S, WatchedProcess
from darc.topology import service_class

#: Multiprocessing looks at all children when it starts one, and an exit code can be read only once: only one
#: thread at a time may start a process or ask for an exit code.
_multiprocessing_lock = threading.Lock()


class NoProcessError(DARCError):
    """The system gave us no process, or what forks them has just died; it may the next time."""


@dataclass(frozen=True)
class Launch:
    """What a service is started with; `DARCBase` explains the queues.

    Attributes:
        name: name of the service
        config_file: site configuration; None: searched
        node: name of the node; None: none of the configured ones
        log_file: where a service that cannot be made says why
        log_settings: how it is logged
        source_queue: queue that the service takes its messages from
        target_queue: queue for what it finds out
        second_target_queue: second such queue
        control_queue: queue for its answers
    """

    name: str
    config_file: Path | str | None
    node: str | None
    log_file: Path
    log_settings: logs.Settings
    source_queue: MessageQueue
    target_queue: MessageQueue | None
    second_target_queue: MessageQueue | None
    control_queue: MessageQueue


class ServiceProcess:
    """The process of a service, as the master sees it.

    Args:
        launch: what the service is started with
        start_method: multiprocessing start method
    """

    def __init__(self, launch: Launch, start_method: str) -> None:
        self.launch, self._start_method = launch, start_method
        self._process: WatchedProcess | None = None

    def start(self, first_messages: Sequence[Any] = ()) -> None:
        """Start it.

        Args:
            first_messages: what it handles before what waits in its queue

        Raises:
            NoProcessError: there is none
        """
        arguments = self.launch, list(first_messages)
        process = WatchedProcess(target=_run, args=arguments, name=self.launch.name)
        process.start_method = self._start_method
        with _multiprocessing_lock:
            try:
                process.start()
            except (OSError, EOFError) as error:
                raise NoProcessError(f"no process for {self.launch.name}: {error}") from error
        self._process = process

    @property
    def pid(self) -> int | None:
        """Process ID; None before the start."""
        return None if self._process is None else self._process.pid

    def fileno(self) -> int:
        """Descriptor that is readable when the process has ended (`multiprocessing.connection.wait`)."""
        if self._process is None:
            raise ValueError(f"{self.launch.name} was not started")
        return self._process.sentinel

    def alive(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it has ended."""
        ended = bool(multiprocessing.connection.wait([self.fileno()], timeout_s))
        if ended:
            self._exit_code()
        return ended

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def cause_of_death(self) -> str:
        """Say how the process ended."""
        code = self._exit_code()
        if code is not None and code < 0:
            return f"killed by signal {-code} ({signal.strsignal(-code)})"
        return f"ended with exit code {'unknown' if code is None else code}"

    def _exit_code(self) -> int | None:
        if not _multiprocessing_lock.acquire(timeout=EXIT_CODE_WAIT_S):
            return None
        try:
            return None if self._process is None else self._process.exitcode
        finally:
            _multiprocessing_lock.release()


class _Inbox:
    """The queue of a service, with some messages that come before what waits in it."""

    def __init__(self, first_messages: Sequence[Any], queue: MessageQueue) -> None:
        self._first = collections.deque(first_messages)
        self._queue = queue

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._queue.put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return self._first.popleft() if self._first else self._queue.get(block, timeout)


def _run(launch: Launch, first_messages: Sequence[Any]) -> None:
    """Be the service: the top of its process."""
    # Ctrl-C goes to the whole process group; it is the master that decides what ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        service = service_class(launch.name)(
            _Inbox(first_messages, launch.source_queue),
            target_queue=launch.target_queue,
            second_target_queue=launch.second_target_queue,
            control_queue=launch.control_queue,
            config_file=launch.config_file,
            node=launch.node,
        )
    except Exception:
        logs.set_up_logging(launch.name, launch.log_file, *launch.log_settings)
        logging.getLogger(f"darc.{launch.name}").exception("cannot be made")
        sys.exit(1)
    service.run()
