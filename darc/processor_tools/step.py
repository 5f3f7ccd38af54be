"""A step of the processing of an observation: a process that the hub gives work and that answers the hub."""

from __future__ import annotations

import queue
from typing import Any, ClassVar

from darc import logs
from darc.base import LONGEST_WAIT_S, DARCBase, MessageQueue
from darc.config import Config
from darc.config.types import Section
from darc.errors import DARCError
from darc.formats.observation_name import observation_names
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.messages import Refused, message

#: Start method of all processes of an observation: others inherit what threads hold, or import everything.
START_METHOD = "forkserver"
#: What they would otherwise each import.
PRELOADED = ["darc.processor"]

#: Name and value of each setting of a step.
Settings = dict[str, Any]


class Step(DARCBase):
    """A step of the processing.

    Args:
        name: what the hub calls this process
        beam: what is observed
        inbox: where work comes from
        answers: where answers go
        kwargs: see `DARCBase`
    """

    #: section of the configuration of the processor
    section: ClassVar[str]

    def __init__(
        self, name: str, beam: ObservedBeam, inbox: MessageQueue, answers: MessageQueue, **kwargs: Any
    ) -> None:
        super().__init__(inbox, answers, **kwargs)
        self.name = name
        self.service_name = f"processor {name}"
        self.beam = beam

    def _settings(self, config: Config) -> Settings:
        self.settings: Any = self._own_section(config)
        return {"log_file": config.processor.log_file}

    def _own_section(self, config: Config) -> Section:
        section: Section = getattr(config.processor, self.section)
        return section

    def prepare(self) -> None:
        """Set up; tell the hub if that cannot be done."""
        logs.set_observation(*observation_names(self.beam.obs_config))
        try:
            self.set_up()
        except DARCError as error:
            self.answer(Refused(self.name, str(error)))
            raise

    def set_up(self) -> None:
        """Do what takes long, and check whether this step can work at all.

        Raises:
            DARCError: it cannot
        """

    def process_command(self, command: dict[str, Any]) -> None:
        """Do a piece of work.

        Args:
            command: `content` says which
        """
        self.work(command.get("content", command))

    def work(self, content: Any) -> None:
        """Do a piece of work and answer.

        Args:
            content: a message of `darc.processor_tools.messages`

        Raises:
            DARCError: this is not the work of this step
        """
        raise DARCError(f"{self.name} cannot do this: {content!r:.200}")

    def answer(self, content: Any) -> None:
        """Tell the hub; it takes messages all the time, so that its queue is full for moments only."""
        while self.target_queue is not None and not self._is_stopping():
            try:
                self.target_queue.put(message(content), timeout=LONGEST_WAIT_S)
            except queue.Full:
                self.logger.warning("the processor does not take messages; waiting for it")
            else:
                return
