"""Real-time data processing of a worker node: from AMBER's rows to pictures of candidates.

`ProcessorManager` is the service: it keeps one `Processor` per observation, which does the work
(`darc.processor_tools.hub`), and passes on to it what AMBER finds.
"""

from __future__ import annotations

from typing import Any

from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.observation_name import UNNAMED
from darc.network.process_queue import ProcessQueue
from darc.observation_manager import START_METHOD, ObservationManager
from darc.processor_tools.beam import ProcessorException
from darc.processor_tools.classifier import Classifier
from darc.processor_tools.clustering import Clustering
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.hub import Processor
from darc.processor_tools.sb_generator import SBGenerator
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


class ProcessorManager(ObservationManager):
    """Control logic for running several Processor instances, one per observation.

    Below a master, observations that are not finished are on disk, and worked on again after a restart or a
    death: AMBER's files and the data are still there.
    """

    def new_process(self) -> Processor:
        """Return the processor of an observation, not yet started."""
        return Processor(
            ProcessQueue(), config_file=self.config_file, node=self.node_name, start_method=START_METHOD
        )

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Start a process and have it start the observation.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: this observation is worked on already, or has no task ID
        """
        task = parsets.task_id(obs_config)
        if self.resume and task in self.observations:
            return
        super().start_observation(obs_config, reload)
        if self.below_master:
            self.unfinished.keep(task, {"obs_config": obs_config, "stopped": False})

    def stop_observation(self, obs_config: dict[str, Any], abort: bool = False) -> None:
        """Stop the observation with the task ID as given in the parset.

        Args:
            obs_config: observation configuration
            abort: drop what is queued
        """
        task = parsets.task_id(obs_config)
        if abort:
            self.unfinished.drop(task)
        elif self.below_master and task in self.observations:
            self.unfinished.keep(task, {"obs_config": obs_config, "stopped": True})
        super().stop_observation(obs_config, abort)

    def kept(self) -> dict[str, dict[str, Any]]:
        """Return what is kept of the unfinished observations, by task ID; nothing without a master."""
        return super().kept() if self.below_master else {}

    def go_on(self, task: str, kept: dict[str, Any]) -> None:
        """Work on an observation again whose process has died."""
        self.resume = True
        try:
            obs_config = kept["obs_config"]
            self.start_observation(obs_config, reload=False)
            if kept["stopped"]:
                self.stop_observation(obs_config)
        except (DARCError, KeyError, TypeError) as error:
            self.logger.error("task %s is left alone: %s", task, error)
            self.unfinished.drop(task)

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
                if running.process.is_alive():
                    running.send(command)
                else:
                    self._scavenge_at = 0.0
                return
        self.logger.error("lines of AMBER for %s, which is not processed here", label or "no observation")
