"""The one service loop: every service of a node is a `DARCBase` and says only what is its own."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from darc import logs
from darc.config import load_config
from darc.errors import DARCError

#: Longest time in s that a service waits for a message before it looks around again.
LONGEST_WAIT_S = 1.0
#: Time in s after which work that is due is done although messages keep coming.
PATIENCE_S = 0.2


class MessageQueue(Protocol):
    """What a service needs of a queue: `ProcessQueue`, `multiprocessing.Queue` and `queue.Queue` have it."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append an item; raises `queue.Full` when that takes longer than `timeout` s."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; raises `queue.Empty` when none comes within `timeout` s."""


class DARCBase(multiprocessing.context.Process):
    """A service of a node: a process that takes messages from a queue until it is told to stop.

    The keys of the service's section of the configuration are attributes of the object, sub-sections as
    dictionaries. What a caller changes between construction and `start` holds in the started process, until
    an observation is started with `reload`.

    Messages are the strings `stop` and `abort`, or dictionaries with a `command`: `start_observation`,
    `stop_observation` and `get_attr` are handled here, all others by `process_command`.

    Args:
        source_queue: queue this service takes its messages from
        target_queue: queue for what this service finds out
        second_target_queue: second such queue
        control_queue: queue on which questions of the parent process are answered
        config_file: site configuration; None: searched as `darc.config_files` describes
        node: name of the node this service runs on; None: the one that has this host's name
        start_method: multiprocessing start method; None: the calling program's default

    Raises:
        ConfigError: the configuration is missing or wrong
    """

    def __init__(
        self,
        source_queue: MessageQueue | None = None,
        target_queue: MessageQueue | None = None,
        second_target_queue: MessageQueue | None = None,
        control_queue: MessageQueue | None = None,
        *,
        config_file: Path | str | None = None,
        node: str | None = None,
        start_method: str | None = None,
    ) -> None:
        self.service_name = type(self).__module__.rpartition(".")[2]
        super().__init__(name=self.service_name)
        self.source_queue = source_queue if source_queue is not None else multiprocessing.Queue()
        self.target_queue = target_queue
        self.second_target_queue = second_target_queue
        self.control_queue = control_queue
        self.config_file = config_file
        self.node_name = node
        self.start_method = start_method
        self.logger = logging.getLogger(f"darc.{self.service_name}")
        self.clock: Callable[[], float] = time.time
        self.monotonic: Callable[[], float] = time.monotonic
        self.host_type: str | None = None
        self.obs_config: dict[str, Any] = {}
        self._stopping: threading.Event | None = None
        self.load_config()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 (the hook of multiprocessing that starts a process)
        context: Any = multiprocessing.get_context(process_obj.start_method)
        return context.Process._Popen(process_obj)

    # --- configuration -------------------------------------------------------------------------------------

    def load_config(self) -> None:
        """Read this service's section of the configuration into attributes of this object.

        Raises:
            ConfigError: the configuration is missing or wrong; nothing was changed
        """
        config = load_config(self.config_file, self.node_name)
        self.config = config
        self.instrument = config.instrument
        for key, value in config.section(self.service_name).model_dump().items():
            setattr(self, key, value)

    # --- the process ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take messages until told to stop. This is the top of the service's process."""
        try:
            self._set_up_process()
            self.logger.info("started with process ID %d", os.getpid())
            self.prepare()
            self._serve()
        except DARCError as error:
            self.logger.error("cannot go on: %s", error)
            sys.exit(1)
        except Exception:
            self.logger.exception("ends because of a defect")
            sys.exit(1)
        finally:
            self.cleanup()
            self.logger.info("stopped")

    def _set_up_process(self) -> None:
        self._stopping = stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        # Ctrl-C goes to the whole process group; it is the parent that decides what ends
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logs.set_up_logging(self.service_name, getattr(self, "log_file", None), self.config.logging.level)
        threading.Thread(target=self._end_with_parent, args=(stopping,), name="parent", daemon=True).start()

    def _end_with_parent(self, stopping: threading.Event) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            self.logger.error("the parent process is gone, ending")
            stopping.set()

    def _serve(self) -> None:
        due_since: float | None = None
        while not self._is_stopping():
            wait_s = self.due_in()
            try:
                message = self.source_queue.get(timeout=max(0.0, min(wait_s, LONGEST_WAIT_S)))
            except queue.Empty:
                message = None
            else:
                self._handle(message)
            # messages first: what is due is decided on everything that has arrived, within reason
            if wait_s > 0:
                due_since = None
            elif due_since is None:
                due_since = self.monotonic()
            if message is None or (due_since is not None and self.monotonic() - due_since > PATIENCE_S):
                due_since = None
                self.do_what_is_due()

    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    def stop(self) -> None:
        """Stop this service, called from its own process or from the one that started it."""
        if self._stopping is not None:
            self._stopping.set()
        else:
            self.source_queue.put("stop")

    # --- messages ------------------------------------------------------------------------------------------

    def _handle(self, message: Any) -> None:
        """Do what a message asks; one that cannot be done is refused and costs only itself."""
        try:
            if message in ("stop", "abort"):
                self.logger.info("told to %s", message)
                self.stop()
            elif not isinstance(message, dict) or "command" not in message:
                self.logger.error("message without a command refused: %.200r", message)
            elif message["command"] == "get_attr":
                self._get_attribute(message)
            elif message["command"] == "start_observation":
                self._start(message)
            elif message["command"] == "stop_observation":
                self.logger.info("stopping the observation")
                self._stop_observation(message)
                logs.set_observation(None)
            else:
                self.process_command(message)
        except DARCError as error:
            self.logger.error("%s refused: %s", _command_of(message), error)

    def _start(self, message: dict[str, Any]) -> None:
        obs_config = message.get("obs_config")
        if not isinstance(obs_config, dict):
            raise DARCError("start_observation came without an obs_config, the dictionary of the observation")
        self.host_type = message.get("host_type", self.host_type)
        logs.set_observation(observation_label(obs_config))
        self.logger.info("starting an observation")
        reload = message.get("reload_conf", message.get("reload", True))
        self.start_observation(obs_config, reload=reload)

    def _stop_observation(self, message: dict[str, Any]) -> None:
        self.stop_observation(message.get("obs_config", {}))

    def _get_attribute(self, command: dict[str, Any]) -> None:
        """Put the value of an attribute of this service on the control queue.

        Args:
            command: `{'command': 'get_attr', 'attribute': name}`; the answer carries its `id` if it has one
        """
        name = str(command.get("attribute"))
        if name.startswith("_") or not hasattr(self, name):
            self._answer(command, "Error", f"{type(self).__name__} has no attribute {name!r}")
        else:
            self._answer(command, "Success", {f"{type(self).__name__}.{name}": str(getattr(self, name))})

    def _answer(self, question: dict[str, Any], status: str, message: Any) -> None:
        if self.control_queue is None:
            self.logger.error("nobody to answer %s to: no control queue", _command_of(question))
            return
        answer = {"status": status, "message": message, "id": question.get("id")}
        with contextlib.suppress(queue.Full):
            self.control_queue.put(answer, timeout=LONGEST_WAIT_S)

    # --- what a service says of itself ---------------------------------------------------------------------

    def prepare(self) -> None:
        """Set up what lives as long as the process, before the first message."""

    def due_in(self) -> float:
        """Seconds until there is work that no message asks for; not positive: there is some now."""
        return LONGEST_WAIT_S

    def do_what_is_due(self) -> None:
        """Do the work that no message asks for."""

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Start an observation.

        Args:
            obs_config: observation configuration
            reload: whether to read the configuration again
        """
        if reload:
            self.load_config()
        self.obs_config = obs_config

    def stop_observation(self, *args: Any, **kwargs: Any) -> None:
        """Stop the observation."""

    def process_command(self, command: dict[str, Any]) -> None:
        """Do what a message asks that only this service understands.

        Args:
            command: message with a `command`
        """
        self.logger.error("unknown command refused: %.200r", command)

    def cleanup(self) -> None:
        """Give back what `prepare` and observations took; called once, however the process ends."""


def observation_label(obs_config: dict[str, Any]) -> str:
    """Label of an observation for the log: date, time and source, or the task ID."""
    return str(obs_config.get("datetimesource") or obs_config.get("taskid") or "unnamed observation")


def _command_of(message: Any) -> str:
    return str(message.get("command")) if isinstance(message, dict) else repr(message)
