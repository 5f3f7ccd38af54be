"""Real-time data processing of a worker node: from AMBER's rows to pictures of candidates.

`ProcessorManager` is the service: it keeps one `Processor` per observation, which does the work
(`darc.processor_tools.hub`), and passes on to it what AMBER finds.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import Any

from darc.base import LAST_WAIT_S, LONGEST_WAIT_S, UNNAMED, DARCBase, observation_label
from darc.formats import parset as parsets
from darc.network.process_queue import ProcessQueue
from darc.processor_tools.beam import ProcessorException
from darc.processor_tools.classifier import Classifier
from darc.processor_tools.clustering import Clustering
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.hub import Processor
from darc.processor_tools.sb_generator import SBGenerator
from darc.processor_tools.step import START_METHOD, prepare_forks
from darc.processor_tools.visualizer import Visualizer

__all__ = [
    "Classifier",
    "Clustering",
    "Extractor",
    "Processor",
    "ProcessorException",
    "ProcessorManager",
    "SBGenerator",
    "Visualizer",
]


@dataclass(frozen=True)
class Running:
    """An observation that is processed.

    Attributes:
        processor: its process
        label: name of the observation
    """

    processor: Processor
    label: str

    def __str__(self) -> str:
        return self.label

    __repr__ = __str__

    def send(self, command: dict[str, Any]) -> None:
        """Put a message on its queue.

        Raises:
            ProcessorException: it does not take it
        """
        try:
            self.processor.source_queue.put(command, timeout=LONGEST_WAIT_S)
        except queue.Full:
            raise ProcessorException(f"the processor of {self.label} does not take messages") from None


class ProcessorManager(DARCBase):
    """Control logic for running several Processor instances, one per observation.

    Attributes:
        observations: what is processed, by task ID, in the order of their starts
    """

    scavenger_interval: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observations: dict[str, Running] = {}
        self._scavenge_at = 0.0

    def prepare(self) -> None:
        """Have what observations import imported before the first one."""
        prepare_forks()

    def cleanup(self) -> None:
        """Upon stop of the manager, abort any remaining observations."""
        for running in self.observations.values():
            self._tell_to_abort(running)
        for running in self.observations.values():
            running.processor.join(LAST_WAIT_S / 2)
            if running.processor.is_alive():
                running.processor.kill()  # its processes end with it

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
        """Start a Processor and have it start the observation.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            ProcessorException: this observation is processed already
        """
        if reload:
            self.load_config()
        self.thread_scavenger()
        task = parsets.task_id(obs_config)
        if task in self.observations:
            raise ProcessorException(f"the observation with task ID {task} is processed already")
        processor = Processor(
            ProcessQueue(), config_file=self.config_file, node=self.node_name, start_method=START_METHOD
        )
        processor.start()
        self.observations[task] = running = Running(processor, observation_label(obs_config))
        running.send({
            "command": "start_observation",
            "obs_config": obs_config,
            "reload_conf": reload,
            "host_type": self.host_type,
        })  # fmt: skip
        self.logger.info("task %s is processed by process %d", task, processor.pid)

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
        # a signal overtakes the rows that wait in the queue
        if running.processor.is_alive():
            running.processor.terminate()

    def process_command(self, command: dict[str, Any]) -> None:
        """Forward any data from the input queue to the observation they belong to, else to the latest.

        Args:
            command: message with lines of AMBER

        Raises:
            DARCError: it holds something else, or the observation does not take it
        """
        if command["command"] != "trigger":
            super().process_command(command)
            return
        label = command.get("observation")
        for running in reversed(self.observations.values()):
            if label in (None, UNNAMED, running.label):
                running.send(command)
                return
        self.logger.error("lines of AMBER for %s, which is not processed here", label or "no observation")

    def due_in(self) -> float:
        """Seconds until the next look for observations that are finished."""
        return self._scavenge_at - self.monotonic()

    def do_what_is_due(self) -> None:
        """Look for observations that are finished."""
        self.thread_scavenger()

    def thread_scavenger(self) -> None:
        """Remove observations whose process has ended; called at regular intervals."""
        self._scavenge_at = self.monotonic() + self.scavenger_interval
        for task, running in list(self.observations.items()):
            if running.processor.is_alive():
                continue
            del self.observations[task]
            code = running.processor.exitcode
            if code == 0:
                self.logger.info("%s (task %s) is finished", running.label, task)
            else:
                self.logger.error("the processor of %s (task %s) died: code %s", running.label, task, code)
