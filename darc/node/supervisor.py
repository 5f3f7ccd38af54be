"""Starts, watches and stops the services of a node; the only place where the state of one changes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import multiprocessing.connection
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from darc.config import Config, load_config
from darc.errors import DARCError
from darc.formats.node_details import ServiceDetails
from darc.network.process_queue import ProcessQueue
from darc.node.service_handle import Handle, State
from darc.node.service_process import Launch, NoProcessError, ServiceProcess
from darc.processes.deaths import Deaths
from darc.processes.forks import end_forks, prepare_forks
from darc.topology import SERVICES, module_names

#: Ends a service's wait for a message, so that it sees a signal at once: a question whose answer nobody
#: reads. One that stays in the queue does no harm to the next process, as a left-over `stop` would.
WAKE_UP = {"command": "get_attr", "attribute": "name", "id": 0}

#: What `darc_service` imports, since multiprocessing imports the program again in each process.
PROGRAM = (
    "argparse",
    "darc.network.command_server",
    "darc.node.metrics",
    "darc.node.report",
    "darc.node.observing",
    "darc.log_rotation",
    "darc.master_commands",
    "darc.node.wellbeing",
)

R = TypeVar("R")


class Supervisor:
    """The services of this node with their queues.

    A service that dies is restarted after a pause that grows; one that dies too often is left as failed. The
    queues have no locks between processes and outlive the services, so whoever is killed holds up nobody,
    and a restarted service finds what it has not read yet.

    Args:
        config: configuration of the site
        config_file: file it was read from, for the services to read it again
        names: services of this node
        monotonic: time in s
        clock: time in unix s

    Attributes:
        first_messages: tells what a service that starts has to handle first
        given_up: called with the name of a service that is given up, and how it died last
    """

    def __init__(
        self,
        config: Config,
        config_file: Path | str | None,
        names: Sequence[str],
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.config_file = config_file
        self.first_messages: Callable[[str], Sequence[Any]] = lambda _name: ()
        self.given_up: Callable[[str, str], None] = lambda _name, _cause: None
        self.monotonic = monotonic
        self.clock = clock
        self.logger = logging.getLogger("darc.supervisor")
        self.handles = {name: Handle(name) for name in names}
        self.queues = {name: ProcessQueue() for name in names}
        self.control_queues = {name: ProcessQueue() for name in names}
        self._lock = threading.RLock()
        self._asking = {name: threading.Lock() for name in names}
        self._ids = itertools.count(1)
        self._ending = threading.Event()
        self._forks = False
        self._woken, self._waker = multiprocessing.Pipe(duplex=False)
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def open(self) -> None:
        """Watch the services from now on, and prepare to start them."""
        self._forks = bool(self.handles) and self.config.darc_master.start_method == "forkserver"
        if self._forks:
            prepare_forks(["darc.preload", *module_names(list(self.handles)), *PROGRAM])
        self._watcher.start()

    def close(self) -> None:
        """Stop everything and give back what was taken; nothing can be started any more."""
        self._ending.set()
        self._wake()
        if self._watcher.is_alive():
            self._watcher.join()
        replies = for_all(self.stop, list(self.handles))
        if self._forks and set(replies.values()) == {"stopped"}:
            end_forks()
        for each in (*self.queues.values(), *self.control_queues.values()):
            each.close()

    # --- starting and stopping -----------------------------------------------------------------------------

    def create(self, name: str) -> ServiceProcess:
        """Return a new, not yet started process of a service, joined to its queues.

        Raises:
            ConfigError: the configuration is wrong
        """
        spec, settings = SERVICES[name], self.config.darc_master
        config = self.read_config()
        launch = Launch(
            name,
            self.config_file,
            self.node,
            log_file=getattr(config, name).log_file,
            log_settings=config.log_settings,
            source_queue=self.queues[name],
            target_queue=self.queues.get(spec.target or ""),
            second_target_queue=self.queues.get(spec.second_target or ""),
            control_queue=self.control_queues[name],
        )
        return ServiceProcess(launch, settings.start_method)

    def read_config(self) -> Config:
        """Return the configuration as services would read it now.

        Raises:
            ConfigError: it is wrong
        """
        return load_config(self.config_file, self.node)

    @property
    def node(self) -> str | None:
        """Name of this node."""
        return self.config.node.name if self.config.node else None

    def start(self, name: str) -> str:
        """Start a service; return `started`, `already running`, or `restarting` if there is no process yet.

        Raises:
            DARCError: its configuration is wrong, or its last process does not end
        """
        handle = self.handles[name]
        with handle.operation:
            self._note_death(handle)
            if handle.process is not None and handle.state is State.STOPPING:
                raise DARCError(f"process {handle.process.pid} of {name} does not end, not even when killed")
            if handle.process is not None:
                return "already running"
            handle.deaths = Deaths()
            try:
                self._start(handle)
            except NoProcessError as error:
                with self._lock:
                    self._plan_restart(handle, str(error))
                return "restarting"
            except DARCError:
                self._change(handle, State.FAILED)
                raise
            return "started"

    def _start(self, handle: Handle) -> None:
        if self._ending.is_set():
            raise DARCError(f"{handle.name} is not started: the master is stopping")
        # before asking for the first messages: from now on others are put on its queue
        self._change(handle, State.STARTING)
        process = self.create(handle.name)
        process.start(self.first_messages(handle.name))
        self._change(handle, State.RUNNING, process)
        self._wake()

    def stop(self, name: str) -> str:
        """Stop a service and wait for its end; return `stopped`, or `failed` if its process cannot be ended.

        It is asked first, then killed; its process is forgotten only when it is gone.
        """
        handle, timeout_s = self.handles[name], self.config.darc_master.stop_timeout
        with handle.operation:
            process = handle.process
            if process is None:
                self._change(handle, State.STOPPED)
                return "stopped"
            self._change(handle, State.STOPPING, process)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(queue.Full):
                self.queues[name].put(WAKE_UP, block=False)
            if not process.wait(timeout_s):
                self.logger.error("%s does not end within %g s, killing it", name, timeout_s)
                process.send_signal(signal.SIGKILL)
                if not process.wait(timeout_s):
                    self.logger.critical("process %s of %s cannot be killed", process.pid, name)
                    return "failed"
            self._change(handle, State.STOPPED)
            return "stopped"

    def _change(self, handle: Handle, state: State, process: ServiceProcess | None = None) -> None:
        """Change the state of a service; nothing else does."""
        with self._lock:
            if handle.state is not state:
                self.logger.info("%s: %s -> %s", handle.name, handle.state.value, state.value)
                handle.since = self.clock()
            handle.state, handle.process = state, process

    # --- watching ------------------------------------------------------------------------------------------

    def status(self, name: str) -> str:
        """Return the state of a service as its process has it now."""
        handle = self.handles[name]
        self._note_death(handle)
        return handle.state.value

    def details(self, name: str) -> ServiceDetails:
        """Return what there is to say of a service without asking it."""
        queued = None
        with contextlib.suppress(ValueError, OSError):  # closed by now
            queued = self.queues[name].pending_bytes()
        with self._lock:
            state, handle = self.status(name), self.handles[name]
            pid = handle.process.pid if handle.process else None
            return ServiceDetails(state, handle.since, handle.restarts, pid, queued)

    def takes_messages(self, name: str) -> bool:
        """Whether what is put on the queue of a service is read soon."""
        return self.status(name) in (State.STARTING.value, State.RUNNING.value)

    @property
    def alive(self) -> bool:
        """Whether the services are watched."""
        return self._watcher.is_alive()

    def processes(self) -> dict[str, int | None]:
        """Return the process IDs of the services that have a process."""
        with self._lock:
            return {name: h.process.pid for name, h in self.handles.items() if h.process is not None}

    def _wake(self) -> None:
        self._waker.send_bytes(b"")

    def _watch(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                # held while waiting, so that no descriptor is closed that is waited for
                processes = [h.process for h in self.handles.values() if h.process is not None]
            waited: list[Any] = [self._woken, *processes]
            if self._woken in multiprocessing.connection.wait(waited, self._next_restart_in()):
                self._woken.recv_bytes()
            self.look()

    def look(self) -> None:
        """Note which services have died, and restart those whose pause is over."""
        for handle in self.handles.values():
            self._note_death(handle)
            self._restart_if_due(handle)

    def _next_restart_in(self) -> float | None:
        times = [h.restart_at for h in self.handles.values() if h.state is State.RESTARTING]
        return max(0.0, min(times) - self.monotonic()) if times else None

    def _note_death(self, handle: Handle) -> None:
        with self._lock:
            if not handle.died() or handle.process is None:
                return
            if handle.state is State.STOPPING:
                self._change(handle, State.STOPPED)
            else:
                self._plan_restart(handle, handle.process.cause_of_death())

    def _plan_restart(self, handle: Handle, cause: str) -> None:
        """Restart a service that died later, or give it up."""
        settings, now = self.config.darc_master, self.monotonic()
        number = handle.deaths.count(now, settings.restart_window)
        if number > settings.restart_limit:
            self._change(handle, State.FAILED)
            self.logger.critical(
                "%s: %s; the %dth time within %g s, thus given up: mend the cause that its log names, then "
                "start it by command",
                handle.name,
                cause,
                number,
                settings.restart_window,
            )
            self.given_up(handle.name, cause)
            return
        pause_s = min(settings.restart_backoff_min * 2 ** (number - 1), settings.restart_backoff_max)
        handle.restart_at = now + pause_s
        self._change(handle, State.RESTARTING)
        self.logger.error("%s: %s; restart in %g s", handle.name, cause, pause_s)
        self._wake()

    def _restart_if_due(self, handle: Handle) -> None:
        # who starts or stops it by command decides on its state
        if handle.state is not State.RESTARTING or not handle.operation.acquire(blocking=False):
            return
        try:
            if handle.state is State.RESTARTING and self.monotonic() >= handle.restart_at:
                self._start(handle)
                handle.restarts += 1
        except DARCError as error:
            self._plan_restart(handle, str(error))
        finally:
            handle.operation.release()

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


def for_all(function: Callable[[str], R], names: Sequence[str]) -> dict[str, R]:
    """Call a function for all services at once, so that none waits for a slow one; return the results."""
    if not names:
        return {}
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(function, names), strict=True))
