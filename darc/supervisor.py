"""Starts, watches and stops the services of a node; the only place where the state of one changes."""

from __future__ import annotations

import contextlib
import enum
import itertools
import logging
import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darc.base import DARCBase
from darc.config import Config
from darc.errors import DARCError
from darc.network.process_queue import ProcessQueue
from darc.topology import SERVICES, module_names, service_class


class State(enum.Enum):
    """State of a service; the value is what `status` shows."""

    STOPPED = "stopped"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass
class Handle:
    """A service and its process."""

    name: str
    state: State = State.STOPPED
    process: DARCBase | None = None
    started_at: float = 0.0
    deaths: list[float] = field(default_factory=list)
    restart_at: float = 0.0
    restarts: int = 0


class Supervisor:
    """The services of this node with their queues.

    A service that dies is restarted after a pause that grows; one that dies too often is left as failed. The
    queues have no locks between processes and outlive the services, so whoever is killed holds up nobody,
    and a restarted service finds what it has not read yet.

    Args:
        config: configuration of the site
        config_file: file it was read from, for the services to read it again
        names: services of this node
        on_restart: called with the name of a service that was started again after its death
    """

    def __init__(
        self,
        config: Config,
        config_file: Path | str | None,
        names: list[str],
        on_restart: Callable[[str], None],
    ) -> None:
        self.config = config
        self.config_file = config_file
        self.on_restart = on_restart
        self.logger = logging.getLogger("darc.supervisor")
        self.handles = {name: Handle(name) for name in names if name in SERVICES}
        self.queues = {name: ProcessQueue() for name in self.handles}
        self.control_queues = {name: ProcessQueue() for name in self.handles}
        self._lock = threading.RLock()
        self._asking = {name: threading.Lock() for name in self.handles}
        self._ids = itertools.count(1)
        self._ending = threading.Event()
        self._wake_r, self._wake_w = os.pipe()
        method = config.darc_master.start_method
        if method == "forkserver":
            multiprocessing.set_forkserver_preload(["darc.preload", *module_names(list(self.handles))])
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._watcher.start()

    # --- starting and stopping -----------------------------------------------------------------------------

    def create(self, name: str) -> DARCBase:
        """Return a new, not yet started process of a service, joined to its queues."""
        spec = SERVICES[name]
        return service_class(name)(
            self.queues[name],
            target_queue=self.queues.get(spec.target or ""),
            second_target_queue=self.queues.get(spec.second_target or ""),
            control_queue=self.control_queues[name],
            config_file=self.config_file,
            node=self.config.node.name if self.config.node else None,
            start_method=self.config.darc_master.start_method,
        )

    def start(self, name: str) -> str:
        """Start a service; return `started` or `already running`.

        Raises:
            DARCError: its configuration is wrong
        """
        with self._lock:
            handle = self.handles[name]
            if handle.process is not None and handle.process.is_alive():
                return "already running"
            handle.deaths.clear()
            self._start(handle)
            return "started"

    def _start(self, handle: Handle) -> None:
        process = self.create(handle.name)
        process.start()
        self._change(handle, State.RUNNING, process)
        handle.started_at = time.time()
        self._wake()

    def stop(self, name: str) -> str:
        """Stop a service and wait for its end; return `stopped`, or `failed` if its process cannot be ended.

        It is asked first, then killed; its process is forgotten only when it is gone.
        """
        timeout_s = self.config.darc_master.stop_timeout
        with self._lock:
            handle = self.handles[name]
            process = handle.process
            if process is None:
                self._change(handle, State.STOPPED)
                return "stopped"
            self._change(handle, State.STOPPING, process)
            with contextlib.suppress(queue.Full):
                self.queues[name].put("stop", block=False)
            process.terminate()
        # not `join`: only one thread at a time may collect the exit code
        multiprocessing.connection.wait([process.sentinel], timeout_s)
        with self._lock:
            if process.is_alive():
                self.logger.error("%s does not end within %g s, killing it", name, timeout_s)
                process.kill()
                process.join(timeout_s)
            if process.is_alive():
                return "failed"
            self._change(handle, State.STOPPED)
            return "stopped"

    def stop_all(self) -> None:
        """Stop all services at once, then the watching."""
        threads = [threading.Thread(target=self.stop, args=(name,)) for name in self.handles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Stop everything and give back what was taken."""
        self._ending.set()
        self._wake()
        self._watcher.join()
        self.stop_all()
        for each in (*self.queues.values(), *self.control_queues.values()):
            each.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def _change(self, handle: Handle, state: State, process: DARCBase | None = None) -> None:
        """Change the state of a service; nothing else does."""
        if handle.state is not state:
            self.logger.info("%s: %s -> %s", handle.name, handle.state.value, state.value)
        handle.state, handle.process = state, process

    # --- watching ------------------------------------------------------------------------------------------

    def status(self, name: str) -> str:
        """Return the state of a service as its process has it now."""
        with self._lock:
            handle = self.handles[name]
            if handle.state is State.RUNNING and (handle.process is None or not handle.process.is_alive()):
                self._bury(handle)
            return handle.state.value

    def _wake(self) -> None:
        os.write(self._wake_w, b"x")

    def _watch(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                sentinels = {
                    h.process.sentinel: h for h in self.handles.values() if _watched(h) and h.process
                }
                pauses = [
                    h.restart_at - time.monotonic()
                    for h in self.handles.values()
                    if h.state is State.RESTARTING
                ]
            timeout_s = max(0.0, min(pauses)) if pauses else None
            ready = multiprocessing.connection.wait([self._wake_r, *sentinels], timeout_s)
            if self._wake_r in ready:
                os.read(self._wake_r, 4096)
            with self._lock:
                for sentinel in ready:
                    handle = sentinels.get(sentinel)  # type: ignore[arg-type]
                    if (
                        handle is not None
                        and _watched(handle)
                        and handle.process
                        and not handle.process.is_alive()
                    ):
                        self._bury(handle)
            self._restart_due()

    def _bury(self, handle: Handle) -> None:
        """Note the death of a service and plan its restart."""
        settings = self.config.darc_master
        exitcode = handle.process.exitcode if handle.process is not None else None
        now = time.monotonic()
        handle.deaths = [t for t in handle.deaths if now - t < settings.restart_window] + [now]
        number = len(handle.deaths)
        if number > settings.restart_limit:
            self.logger.critical(
                "%s died with exit code %s, %d times within %g s: given up; mend the cause that its log "
                "names, then start it by command",
                handle.name,
                exitcode,
                number,
                settings.restart_window,
            )
            self._change(handle, State.FAILED)
            return
        pause_s = min(settings.restart_backoff_min * 2 ** (number - 1), settings.restart_backoff_max)
        handle.restart_at = now + pause_s
        self.logger.error("%s died with exit code %s, restart in %g s", handle.name, exitcode, pause_s)
        self._change(handle, State.RESTARTING)
        self._wake()

    def _restart_due(self) -> None:
        restarted = []
        with self._lock:
            for handle in self.handles.values():
                if handle.state is State.RESTARTING and time.monotonic() >= handle.restart_at:
                    try:
                        self._start(handle)
                    except DARCError as error:
                        self.logger.critical("%s cannot be started again: %s", handle.name, error)
                        self._change(handle, State.FAILED)
                    else:
                        handle.restarts += 1
                        restarted.append(handle.name)
        for name in restarted:
            self.on_restart(name)

    # --- messages ------------------------------------------------------------------------------------------

    def send(self, name: str, message: Any) -> None:
        """Put a message on the queue of a service.

        Raises:
            DARCError: the service does not take its messages
        """
        try:
            self.queues[name].put(message, timeout=self.config.darc_master.control_timeout)
        except queue.Full:
            raise DARCError(f"{name} does not take its messages; restart it if that does not end") from None

    def ask(self, name: str, question: dict[str, Any]) -> tuple[str, Any]:
        """Ask a service and return status and message of its answer.

        Raises:
            DARCError: it is not running, or does not answer in time
        """
        if self.status(name) != State.RUNNING.value:
            raise DARCError(f"{name} is not running")
        timeout_s = self.config.darc_master.control_timeout
        with self._asking[name]:
            number = next(self._ids)
            self.send(name, {**question, "id": number})
            deadline = time.monotonic() + timeout_s
            while (wait_s := deadline - time.monotonic()) > 0:
                try:
                    answer = self.control_queues[name].get(timeout=wait_s)
                except queue.Empty:
                    break
                if answer.get("id") == number:  # an older one came after its time was over
                    return answer["status"], answer["message"]
        raise DARCError(f"{name} did not answer within {timeout_s:g} s")

    def clear(self, name: str) -> int:
        """Remove what waits in the queue of a service; return the number of messages."""
        number = 0
        with contextlib.suppress(queue.Empty):
            while True:
                self.queues[name].get(block=False)
                number += 1
        return number


def _watched(handle: Handle) -> bool:
    return handle.state is State.RUNNING and handle.process is not None
