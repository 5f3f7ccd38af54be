"""A service that keeps one process per observation: what the managers of worker and master node share."""

from __future__ import annotations

import abc
import queue
from dataclasses import dataclass
from typing import Any

from darc.base import LAST_WAIT_S, LONGEST_WAIT_S, DARCBase
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.observation_name import observation_label
from darc.processes.deaths import DEATHS_MAX, Deaths
from darc.processes.forks import prepare_forks
from darc.processes.watched_process import UNSEEN
from darc.reporting.memory import OpenObservations

#: Start method of the processes of observations: others inherit what threads hold, or import everything.
START_METHOD = "forkserver"


class ObservationManagerError(DARCError):
    """An observation cannot be taken in, or does not take a message."""


@dataclass(frozen=True)
class Running:
    """An observation that is worked on.

    Attributes:
        process: its process
        label: name of the observation
    """

    process: DARCBase
    label: str

    def __str__(self) -> str:
        return self.label

    __repr__ = __str__

    def send(self, command: dict[str, Any]) -> None:
        """Put a message on its queue.

        Raises:
            ObservationManagerError: it does not take it
        """
        try:
            self.process.source_queue.put(command, timeout=LONGEST_WAIT_S)
        except queue.Full:
            raise ObservationManagerError(f"the process of {self.label} does not take messages") from None


class ObservationManager(DARCBase, abc.ABC):
    """Control logic for running several processes, one per observation.

    Observations that are kept as unfinished are on disk, and worked on again after a restart or a death.

    Attributes:
        observations: what is worked on, by task ID, in the order of their starts
    """

    scavenger_interval: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observations: dict[str, Running] = {}
        self.unfinished = OpenObservations(self.config.darc_master.state_dir / self.service_name, self.logger)
        self._deaths: dict[str, Deaths] = {}
        self._scavenge_at = 0.0

    @abc.abstractmethod
    def new_process(self) -> DARCBase:
        """Return the process of an observation, not yet started."""

    @abc.abstractmethod
    def go_on(self, task: str, kept: dict[str, Any]) -> None:
        """Work on an observation again that is not finished and has no process.

        Args:
            task: task ID of the observation
            kept: what was kept of it in `unfinished`
        """

    def kept(self) -> dict[str, dict[str, Any]]:
        """Return what is kept of the unfinished observations, by task ID."""
        return self.unfinished.all()

    def prepare(self) -> None:
        """Have what observations import imported before the first one."""
        prepare_forks([type(self).__module__])

    def cleanup(self) -> None:
        """Upon stop of the manager, abort any remaining observations."""
        for running in self.observations.values():
            self._tell_to_abort(running)
        for running in self.observations.values():
            running.process.join(LAST_WAIT_S / 2)
            if running.process.is_alive():
                running.process.kill()  # its processes end with it

    def _load_parset(self, obs_config: dict[str, Any]) -> dict[str, Any]:
        """Load the observation parset.

        Args:
            obs_config: observation configuration

        Returns:
            parset

        Raises:
            ParsetError: it cannot be read
        """
        return parsets.observation_parset(obs_config)

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Start a process and have it start the observation.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: this observation is worked on already, or has no task ID
        """
        if reload:
            self.load_config()
        self.thread_scavenger()
        task = parsets.task_id(obs_config)
        if task in self.observations:
            raise ObservationManagerError(f"the observation with task ID {task} is processed already")
        process = self.new_process()
        process.start()
        self.observations[task] = running = Running(process, observation_label(obs_config))
        running.send({
            "command": "start_observation",
            "obs_config": obs_config,
            "reload_conf": reload,
            "host_type": self.host_type,
            "resume": self.resume,
        })  # fmt: skip
        self.logger.info("task %s is processed by process %d", task, process.pid)

    def stop_observation(self, obs_config: dict[str, Any], abort: bool = False) -> None:
        """Stop the observation with the task ID as given in the parset.

        Args:
            obs_config: observation configuration
            abort: drop what is queued
        """
        task = parsets.task_id(obs_config)
        running = self.observations.get(task)
        if running is None:
            self.logger.info("no observation with task ID %s is processed here", task)
        elif abort:
            self._tell_to_abort(running)
        else:
            running.send({"command": "stop_observation", "obs_config": obs_config})

    def _tell_to_abort(self, running: Running) -> None:
        # a signal overtakes what waits in the queue
        if running.process.is_alive():
            running.process.terminate()

    def due_in(self) -> float:
        """Seconds until the next look for observations that are finished."""
        return self._scavenge_at - self.monotonic()

    def do_what_is_due(self) -> None:
        """Look for observations that are finished, and for those that have no process and should have one."""
        self.thread_scavenger()
        for task, kept in self.kept().items():
            if task not in self.observations:
                self.logger.warning("task %s is not finished, and worked on again", task)
                self.go_on(task, kept)

    def thread_scavenger(self) -> None:
        """Remove observations whose process has ended; called at regular intervals."""
        self._scavenge_at = self.monotonic() + self.scavenger_interval
        for task, running in list(self.observations.items()):
            if running.process.is_alive():
                continue
            del self.observations[task]
            code = running.process.exitcode
            if code == 0:
                self.logger.info("%s (task %s) is finished", running.label, task)
            else:
                self.logger.error("the process of %s (task %s) died: code %s", running.label, task, code)
            self._ended(task, running, code)

    def _ended(self, task: str, running: Running, code: int | None) -> None:
        """Forget an observation that is finished, or whose process died too often."""
        if code == UNSEEN:
            return  # it may be finished, or not: whoever works on it again finds out
        if code != 0:
            window_s = self.config.darc_master.restart_window
            number = self._deaths.setdefault(task, Deaths()).count(self.monotonic(), window_s)
            if number < DEATHS_MAX:
                return
            self.logger.critical(
                "%s is left alone: its process died %d times within %g s", running, number, window_s
            )
        self._deaths.pop(task, None)
        self.unfinished.drop(task)
