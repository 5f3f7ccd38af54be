"""What the services that tell other telescopes share: a queue for the whole cluster, and a switch."""

from __future__ import annotations

import abc
import queue
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from darc import metrics
from darc.base import LONGEST_WAIT_S, DARCBase
from darc.config import Config
from darc.errors import DARCError
from darc.formats.trigger import check_item, pick
from darc.network.master_queues import server_key
from darc.network.queue_server import PlainQueueServer, QueueServer, serve_queue


class TriggerService(DARCBase, abc.ABC):
    """A service of the master node that collects triggers of all beams, picks one and sends it on.

    After a first trigger it waits `interval` seconds for more. Nothing leaves the node unless sending is
    enabled, by `send_events` of the configuration or by command; and with `test` in the configuration every
    event is a test, whatever a trigger says.

    Args:
        source_queue: input queue for controlling this service
        args: see `DARCBase`
        config_file: path to the configuration
        control_queue: control queue of the parent process
        kwargs: see `DARCBase`

    Attributes:
        trigger_queue: the queue that is served to the nodes
    """

    interval: float
    send_events: bool
    test: bool
    server_address: str
    server_port: int
    server_auth: SecretStr | str | None
    server_auth_file: Path | str | None

    #: class that serves the queue
    server_class: ClassVar[type[QueueServer]]
    #: keys that a trigger has to have
    needed: ClassVar[Iterable[str]]
    #: whether triggers of known sources go before all others
    known_first: ClassVar[bool]

    def __init__(
        self, source_queue: Any, *args: Any, config_file: Any = None, control_queue: Any = None, **kwargs: Any
    ) -> None:
        kwargs |= {"config_file": config_file, "control_queue": control_queue}
        super().__init__(source_queue, *args, **kwargs)
        self.trigger_queue: queue.Queue[Any] | None = None
        self._server: PlainQueueServer | None = None
        self._collector: threading.Thread | None = None

    @property
    def kind(self) -> str:
        """Kind of trigger, for the metrics."""
        return self.service_name.partition("_")[0]

    # --- the process ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Serve the trigger queue and start to collect.

        Raises:
            DARCError: no key, or the address cannot be listened on
        """
        self.trigger_queue = queue.Queue()
        address = self.server_address, self.server_port
        key = server_key(self, self.service_name, make=True)
        try:
            self._server = serve_queue(
                self.server_class, address, key, self.trigger_queue, validate=self._check
            )
        except OSError as error:
            raise DARCError(
                f"cannot serve the trigger queue on {address[0]}:{address[1]}: {error.strerror}; check "
                f"{self.service_name}.server_address and server_port, and whether another one runs"
            ) from error
        self.logger.info("sending is %s", self._state())
        self._collector = threading.Thread(
            target=self._collect, args=(self.trigger_queue,), name="collector", daemon=True
        )
        self._collector.start()

    def _check(self, item: Any) -> dict[str, Any]:
        return check_item(item, self.needed)

    def cleanup(self) -> None:
        """Close the queue for the nodes; triggers that have arrived are still handled."""
        if self._server is not None:
            self._server.close()
        if self.trigger_queue is not None and self._collector is not None:
            self.trigger_queue.put(None)
            self._collector.join(self.interval + LONGEST_WAIT_S)

    def _collect(self, triggers: queue.Queue[Any]) -> None:
        while (first := triggers.get()) is not None:
            together, end = [first], self.monotonic() + self.interval
            while (wait_s := end - self.monotonic()) > 0:
                try:
                    together.append(triggers.get(timeout=wait_s))
                except queue.Empty:
                    break
                if together[-1] is None:
                    triggers.put(together.pop())
                    break
            try:
                self.create_and_send(together)
            except DARCError as error:
                self.logger.error("nothing sent: %s", error)

    # --- commands ------------------------------------------------------------------------------------------

    def process_command(self, command: dict[str, Any]) -> None:
        """Switch sending on or off, or say how it is.

        Args:
            command: `{'command': 'enable'}`, `disable` or `status`
        """
        if command["command"] in ("enable", "disable", "status"):
            self._switch_command(command)
        else:
            super().process_command(command)

    def _switch_command(self, command: dict[str, Any] | str) -> None:
        """Check the status, or enable or disable sending, and answer on the control queue.

        Args:
            command: `enable`, `disable` or `status`, as text or under `command` of a dictionary
        """
        question = command if isinstance(command, dict) else {"command": command}
        word = question["command"]
        if word in ("enable", "disable"):
            self.send_events = word == "enable"
            self.logger.warning("by command, sending is %s", self._state())
        self._answer(question, "Success", self._state())

    def _state(self) -> str:
        return ("enabled" if self.send_events else "disabled") + (
            ", all events are tests" if self.test else ""
        )

    def _settings(self, config: Config) -> dict[str, Any]:
        """Leave the switch as it is when the configuration is read again: it may have been set by command."""
        settings = super()._settings(config)
        return {**settings, "send_events": getattr(self, "send_events", settings["send_events"])}

    # --- triggers ------------------------------------------------------------------------------------------

    @classmethod
    def _select_trigger(cls, triggers: list[dict[str, Any]]) -> tuple[dict[str, Any], int]:
        """Return the trigger to send, and the number of distinct compound beams among all of them.

        Args:
            triggers: one dictionary per trigger
        """
        return pick(triggers, known_first=cls.known_first)

    def create_and_send(self, trigger: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Turn the best of some triggers into an event, and send it if that is enabled.

        Args:
            trigger: one trigger, or several of which one is picked

        Raises:
            DARCError: no event can be made of it, or it did not reach its receiver
        """
        usable = []
        for item in trigger if isinstance(trigger, list) else [trigger]:
            try:
                usable.append(self._check(item))
            except DARCError as error:
                metrics.note_trigger(self.kind, metrics.REFUSED, self.clock())
                self.logger.error("trigger refused: %s", error)
        if not usable:
            return
        best, nbeam = self._select_trigger(usable)
        self.logger.info("%d triggers in %d compound beams, taking %r", len(usable), nbeam, best)
        try:
            self.handle({**best, "ncb": nbeam})
        except DARCError:
            metrics.note_trigger(self.kind, metrics.FAILED, self.clock())
            raise

    @abc.abstractmethod
    def handle(self, trigger: dict[str, Any]) -> None:
        """Make an event of a trigger, and send it if that is enabled.

        Args:
            trigger: checked item, with the number of compound beams that saw something at this time as `ncb`
        """

    def is_test(self, test: bool | None) -> bool:
        """Return whether an event is a test: the configuration decides, a trigger can only add to it.

        Args:
            test: what the trigger says; None: nothing
        """
        return self.test or bool(test)
