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
from typing import Any, Protocol, TypeVar

from darc import logs, metrics_store
from darc.config import Config, load_config
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.observation_name import UNNAMED, observation_label, observation_names
from darc.network.retry import RetryPolicy, RetryStoppedError, retry
from darc.processes.watched_process import WatchedProcess

#: Longest time in s that a service waits for a message before it looks around again.
LONGEST_WAIT_S = 1.0
#: Time in s after which work that is due is done although messages keep coming.
PATIENCE_S = 0.2
#: Time in s that a process which has to end gets, before it ends whatever holds it up.
LAST_WAIT_S = 5.0

Result = TypeVar("Result")


class MessageQueue(Protocol):
    """What a service needs of a queue: `ProcessQueue`, `multiprocessing.Queue` and `queue.Queue` have it."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append an item; raises `queue.Full` when that takes longer than `timeout` s."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; raises `queue.Empty` when none comes within `timeout` s."""


class DARCBase(WatchedProcess):
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

    Attributes:
        resume: whether the observation goes on that a predecessor worked on; None: whoever started it does
            not say, and nothing needs to be kept for a successor

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
        self.resume: bool | None = None
        # observation that was joined, for which a start that a predecessor did not read may still come
        self._joined: str | None = None
        self.obs_config: dict[str, Any] = {}
        self._stopping: threading.Event | None = None
        self._terminated = self._defective = False
        self.load_config()

    @property
    def below_master(self) -> bool:
        """Whether a master started this, and again after a death: a successor needs what is kept on disk."""
        return self.control_queue is not None

    # --- configuration -------------------------------------------------------------------------------------

    def load_config(self) -> None:
        """Read this service's section of the configuration into attributes of this object.

        Raises:
            ConfigError: the configuration is missing or wrong; nothing was changed
        """
        config = load_config(self.config_file, self.node_name)
        self.config = config
        self.instrument = config.instrument
        for key, value in self._settings(config).items():
            setattr(self, key, value)

    def _settings(self, config: Config) -> dict[str, Any]:
        """Return what a configuration makes of this object's attributes."""
        return config.section(self.service_name).model_dump()

    # --- the process ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take messages until told to stop. This is the top of the service's process."""
        succeeded = self._succeeds(self._live)
        if self._stopping is not None:
            self._stopping.set()
        succeeded &= self._succeeds(self.cleanup)
        self.logger.info("stopped")
        code = 0 if succeeded and not self._defective else 1
        if multiprocessing.current_process() is self:
            # a `multiprocessing.Queue` keeps the process until somebody has read all that it put there
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if self._terminated:
                _exit_after(LAST_WAIT_S, code)
        if code:
            sys.exit(code)

    def _succeeds(self, action: Callable[[], None]) -> bool:
        """Run a part of the life of this process and return whether it succeeded; log why it did not."""
        try:
            action()
        except DARCError as error:
            self.logger.error("cannot go on: %s", error)
        except Exception:
            self.logger.exception("ends because of a defect")
        else:
            return True
        return False

    def _live(self) -> None:
        self._set_up_process()
        self.logger.info("started with process ID %d", os.getpid())
        self.prepare()
        self._serve()

    def _set_up_process(self) -> None:
        self._stopping = stopping = threading.Event()
        signal.signal(signal.SIGTERM, self._terminate)
        # Ctrl-C goes to the whole process group; it is the parent that decides what ends
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        log_file = getattr(self, "log_file", None)
        logs.set_up_logging(self.service_name, log_file, *self.config.log_settings)
        metrics_store.keep_as(self.service_name)
        threading.excepthook = self._end_by_defect
        threading.Thread(target=self._end_with_parent, args=(stopping,), name="parent", daemon=True).start()

    def _terminate(self, *_: object) -> None:
        # nothing that takes a lock: the signal may come while this very thread holds it
        self._terminated = True

    def _end_by_defect(self, defect: threading.ExceptHookArgs) -> None:
        """End the process because of an exception that nobody expected in one of its threads."""
        name = defect.thread.name if defect.thread else "unknown"
        error = defect.exc_value or defect.exc_type()
        self.logger.error("ends because of a defect in the thread %s", name, exc_info=error)
        self._defective = True
        self.stop()

    def _end_with_parent(self, stopping: threading.Event) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            self.logger.error("the parent process is gone, ending")
            stopping.set()
            _exit_after(LAST_WAIT_S, 1)

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
        return self._terminated or (self._stopping is not None and self._stopping.is_set())

    def _pause(self, seconds: float) -> None:
        """Wait in a thread of this service, no longer than until it is told to stop."""
        if self._stopping is not None:
            self._stopping.wait(seconds)
        else:
            time.sleep(seconds)

    def _persist(
        self, action: Callable[[], Result], policy: RetryPolicy, on: type[Exception], label: str
    ) -> Result:
        """Do something that may fail for a while, in a thread of this service.

        Every failure is logged. When the service is told to stop, it is tried once more.

        Args:
            action: what to do
            policy: how often and how long it is tried
            on: exception that means "try again"
            label: what it is, for the log

        Raises:
            Exception: the last one of the action
        """
        try:
            return retry(
                action,
                policy,
                on=(on,),
                stop=self._stopping,
                sleep=self._pause,
                clock=self.monotonic,
                failed=lambda error, pause_s: self.logger.warning(
                    "%s: %s; %s", label, error, "given up" if pause_s is None else f"again in {pause_s:g} s"
                ),
            )
        except RetryStoppedError:
            return action()

    def stop(self) -> None:
        """Stop this service, called from its own process or from the one that started it."""
        if self._stopping is not None:
            self._stopping.set()
        else:
            self.source_queue.put("stop")

    # --- messages ------------------------------------------------------------------------------------------

    def _handle(self, message: Any) -> None:
        """Do what a message asks; one that cannot be done is refused and costs only itself."""
        if isinstance(message, str) and message in ("stop", "abort"):
            self.logger.info("told to %s", message)
            self.stop()
        elif not isinstance(message, dict) or not isinstance(message.get("command"), str):
            self.logger.error("message without a command refused: %.200r", message)
        else:
            command = message["command"]
            own = {
                "get_attr": self._get_attribute,
                "start_observation": self._start_observation,
                "stop_observation": self._stop_observation,
            }
            try:
                own.get(command, self.process_command)(message)
            except DARCError as error:
                self.logger.error("%s refused: %s", command, error)

    def _start_observation(self, message: dict[str, Any]) -> None:
        obs_config = _obs_config(message)
        if not obs_config:
            raise DARCError("start_observation came without an obs_config, the dictionary of the observation")
        label, resume = observation_label(obs_config), message.get("resume")
        if resume is False and label == self._joined:
            return
        self._joined = label if resume else None
        self.host_type, self.resume = message.get("host_type", self.host_type), resume
        logs.set_observation(*observation_names(obs_config))
        self.logger.info("joining an observation" if resume else "starting an observation")
        reload = message.get("reload_conf", message.get("reload", True))
        self.start_observation(obs_config, reload=reload)

    def _stop_observation(self, message: dict[str, Any]) -> None:
        obs_config = _obs_config(message)
        labels = {observation_label(obs_config), observation_label(self.obs_config)} - {UNNAMED}
        if len(labels) > 1:
            self.logger.info("%s ends, which is not the one that runs here", observation_label(obs_config))
            return
        abort = {"abort": True} if message.get("abort") else {}
        self._joined = None
        # a service that works on several may have named another one in its lines
        with logs.observation_of_thread(*observation_names(obs_config or self.obs_config)):
            self.logger.info("%s the observation", "aborting" if abort else "stopping")
            self.stop_observation(obs_config, **abort)
        logs.set_observation(None)

    def _get_attribute(self, command: dict[str, Any]) -> None:
        """Put the value of an attribute of this service on the control queue.

        Args:
            command: `{'command': 'get_attr', 'attribute': name}`; the answer carries its `id` if it has one
        """
        name = str(command.get("attribute"))
        # what every process has is not told: among it is the key of its connections
        if name.startswith("_") or hasattr(WatchedProcess, name) or not hasattr(self, name):
            self._answer(command, "Error", f"{type(self).__name__} has no attribute {name!r}")
        else:
            self._answer(command, "Success", {f"{type(self).__name__}.{name}": str(getattr(self, name))})

    def _answer(self, question: dict[str, Any], status: str, message: Any) -> None:
        if self.control_queue is None:
            self.logger.error("nobody to answer %s to: no control queue", question["command"])
            return
        answer = {"status": status, "message": message, "id": question.get("id")}
        with contextlib.suppress(queue.Full):
            self.control_queue.put(answer, timeout=LONGEST_WAIT_S)

    # --- observations --------------------------------------------------------------------------------------

    def _load_parset(self, obs_config: dict[str, Any]) -> dict[str, Any] | None:
        """Load the observation parset.

        Args:
            obs_config: observation configuration

        Returns:
            the parset, or None if it cannot be read, which is logged
        """
        try:
            return parsets.observation_parset(obs_config)
        except DARCError as error:
            self.logger.error("no observation parset: %s", error)
            return None

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
        """Stop the observation.

        Args:
            args: the observation's configuration, as the message has it
            kwargs: `abort` is true if what is queued is to be dropped
        """

    def process_command(self, command: dict[str, Any]) -> None:
        """Do what a message asks that only this service understands.

        Args:
            command: message with a `command`
        """
        self.logger.error("unknown command refused: %.200r", command)

    def cleanup(self) -> None:
        """Give back what `prepare` and observations took; called once, however the process ends."""


def _obs_config(message: dict[str, Any]) -> dict[str, Any]:
    """Return the observation's configuration that a message carries, empty if it carries none."""
    obs_config = message.get("obs_config") or {}
    if not isinstance(obs_config, dict):
        raise DARCError(f"obs_config has to be a dictionary, not {obs_config!r:.100}")
    return obs_config


def _exit_after(seconds: float, code: int) -> None:
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
