"""Real-time data processing of a worker node: from AMBER's rows to pictures of candidates.

`ProcessorManager` is the service: it keeps one `Processor` per observation, which does the work
(`darc.processor_tools.hub`), and passes on to it what AMBER finds.
"""

from __future__ import annotations

from typing import Any

from darc.base import UNNAMED
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
    """Control logic for running several Processor instances, one per observation."""

    def new_process(self) -> Processor:
        """Return the processor of an observation, not yet started."""
        return Processor(
            ProcessQueue(), config_file=self.config_file, node=self.node_name, start_method=START_METHOD
        )

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
