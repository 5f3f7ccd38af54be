"""What the services that tell other telescopes share: a queue for the whole cluster, and a switch."""

from __future__ import annotations

import abc
import queue
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from darc import metrics
from darc.base import LAST_WAIT_S, LONGEST_WAIT_S, DARCBase
from darc.config import Config
from darc.errors import DARCError
from darc.events import limits
from darc.events.sender import EventSender
from darc.formats.trigger import check_item, pick
from darc.network.incoming_queue import Accepted, IncomingQueue
from darc.network.item_spool import ItemSpool
from darc.network.master_queues import server_key
from darc.network.queue_server import PlainQueueServer, QueueServer, serve_queue
from darc.network.retry import RetryPolicy
from darc.records import kept_switch, sent_log
from darc.records.sent_log import Event, SentLog, SentLogError

#: Pause in s while a receiver cannot be reached: the first one, twice as long each time.
FIRST_PAUSE_S = 1.0


class TriggerService(DARCBase, abc.ABC):
    """A service of the master node that collects triggers of all beams, picks one and sends it on.

    After a first trigger it waits `interval` seconds for more. Nothing leaves the node unless sending is
    enabled, by `send_events` of the configuration or by command; with `test` in the configuration every event
    is a test, whatever a trigger says; and events are limited in number. Triggers are on disk before whoever
    put one is told so, and what becomes of each event stands in a log that is kept.

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
    keep_switch: bool
    test: bool
    min_spacing: float
    max_per_hour: int | None
    max_trigger_age: float
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
    #: longest pause in s while its receiver cannot be reached
    longest_pause_s: ClassVar[float] = 30.0
    #: what it sends, for the log
    event_name: ClassVar[str]
    #: an error that means that an event was certainly not taken, and may be later
    unreachable: type[DARCError]
    #: whether an event may be sent again of which nobody knows whether it was taken
    repeat: bool

    def __init__(
        self, source_queue: Any, *args: Any, config_file: Any = None, control_queue: Any = None, **kwargs: Any
    ) -> None:
        kwargs |= {"config_file": config_file, "control_queue": control_queue}
        super().__init__(source_queue, *args, **kwargs)
        self.trigger_queue: IncomingQueue | None = None
        self._event_log: SentLog | None = None
        self._sender: EventSender | None = None
        self._server: PlainQueueServer | None = None
        self._collector: threading.Thread | None = None

    @property
    def kind(self) -> str:
        """Kind of trigger, for the metrics."""
        return self.service_name.partition("_")[0]

    # --- the process ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Send what an earlier process has left, serve the trigger queue and start to collect.

        Raises:
            DARCError: no key, the address cannot be listened on, or what was sent before cannot be read
        """
        if self.keep_switch:
            self._restore_switch()
        self._event_log = events = SentLog(self._event_log_path(), alone=True)
        self.trigger_queue = self._open_queue(events)
        self._server = self._serve_queue(self.trigger_queue)
        self.logger.info("sending is %s", self._state())
        self._show_switch()
        self._sender = self._make_sender(events)
        self._sender.start()
        self._collector = threading.Thread(
            target=self._collect, args=(self.trigger_queue,), name="collector", daemon=True
        )
        self._collector.start()

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Take the settings of the configuration; sending stays as it was switched.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the configuration cannot be read
        """
        super().start_observation(obs_config, reload)
        self._show_switch()

    def _open_queue(self, events: SentLog) -> IncomingQueue:
        folder = self.config.darc_master.state_dir / "incoming" / self.service_name
        return IncomingQueue(
            ItemSpool(folder, self.service_name, self.logger),
            known=events.identities(),
            max_age_s=self.max_trigger_age,
            logger=self.logger,
            dropped=self._dropped,
        )

    def _dropped(self, accepted: Accepted, age_s: float) -> None:
        """Tell of an item that was accepted before a restart and is of no use any more."""
        reason = f"dropped after {age_s:.1f} s, older than {self.max_trigger_age:g} s"
        self.logger.error("%s: %r", reason, accepted.item)
        self._note(sent_log.EXPIRED, metrics.FAILED, reason, [accepted.identity], accepted.item)

    def _serve_queue(self, incoming: IncomingQueue) -> PlainQueueServer:
        address = self.server_address, self.server_port
        key = server_key(self, self.service_name, make=True)
        try:
            return serve_queue(self.server_class, address, key, incoming, validate=self._check)
        except OSError as error:
            raise DARCError(
                f"cannot serve the trigger queue on {address[0]}:{address[1]}: {error.strerror}; check "
                f"{self.service_name}.server_address and server_port, and whether another one runs"
            ) from error

    def _make_sender(self, events: SentLog) -> EventSender:
        return EventSender(
            self.event_name,
            self.kind,
            self,
            events,
            retry=RetryPolicy(first_s=FIRST_PAUSE_S, max_s=self.longest_pause_s),
            max_age_s=self.max_trigger_age,
            logger=self.logger,
            clock=self.clock,
            monotonic=self.monotonic,
        )

    def _check(self, item: Any) -> dict[str, Any]:
        return check_item(item, self.needed)

    def cleanup(self) -> None:
        """Close the queue for the nodes, handle triggers that have arrived, and try once more what waits."""
        if self._server is not None:
            self._server.close()
        if self.trigger_queue is not None and self._collector is not None:
            self.trigger_queue.close()
            self._collector.join(self.interval + LONGEST_WAIT_S)
        if self._sender is not None:
            self._sender.close(LAST_WAIT_S)

    def _collect(self, triggers: IncomingQueue) -> None:
        while (first := triggers.take()) is not None:
            together, end = [first], self.monotonic() + self.interval
            while (wait_s := end - self.monotonic()) > 0:
                try:
                    more = triggers.take(wait_s)
                except queue.Empty:
                    break
                if more is None:
                    break
                together.append(more)
            try:
                self.create_and_send(
                    [accepted.item for accepted in together], [accepted.identity for accepted in together]
                )
            except DARCError as error:
                self.logger.error("nothing sent: %s", error)
            finally:
                # also those that show a defect: they would end the next process too
                triggers.settle(together)

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
            self._set_switch(word == "enable")
        self._answer(question, "Success", self._state())

    def _set_switch(self, send_events: bool) -> None:
        self.send_events = send_events
        self._show_switch()
        self.logger.warning("by command, sending is %s", self._state())
        try:
            self._open_log().note(sent_log.SWITCHED, self.clock(), self._state())
            if self.keep_switch:
                kept_switch.keep(self._event_log_path(), send_events)
        except DARCError as error:
            self.logger.error("the switch is not written down: %s", error)

    def _restore_switch(self) -> None:
        """Set the switch as it was set by command before a restart, if it is known."""
        kept = kept_switch.kept(self._event_log_path())
        if kept is not None and kept != self.send_events:
            self.send_events = kept
            self.logger.warning("as by command before the restart, sending is %s", self._state())

    def _show_switch(self) -> None:
        metrics.note_sending(self.service_name, self.send_events, self.test)

    def _event_log_path(self) -> Path:
        return self.config.darc_master.state_dir / "sent" / f"{self.service_name}.jsonl"

    def _state(self) -> str:
        return kept_switch.state(self.send_events, self.test)

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

    def create_and_send(
        self, trigger: dict[str, Any] | list[dict[str, Any]], identities: Sequence[str] = ()
    ) -> None:
        """Turn the best of some triggers into an event, and send it if that is enabled.

        Args:
            trigger: one trigger, or several of which one is picked
            identities: what the triggers are recognised by if they come again

        Raises:
            DARCError: no event can be made of it, or, unless the service runs, it did not reach its receiver
        """
        usable = []
        for item in trigger if isinstance(trigger, list) else [trigger]:
            try:
                usable.append(self._check(item))
            except DARCError as error:
                self.logger.error("trigger refused: %s", error)
                self._note(sent_log.REFUSED, metrics.REFUSED, str(error), (), item)
        if not usable:
            return
        best, nbeam = self._select_trigger(usable)
        self.logger.info("%d triggers in %d compound beams, taking %r", len(usable), nbeam, best)
        best = {**best, "ncb": nbeam}
        try:
            test, content = self.make_event(best)
        except DARCError as error:
            self._note(sent_log.FAILED, metrics.FAILED, str(error), identities, best)
            raise
        self._decide(Event.new(self.clock(), test, content, best, identities))

    def _decide(self, event: Event) -> None:
        """Send an event, unless that is disabled or there were too many."""
        events = self._open_log()
        sender = self._sender or self._make_sender(events)
        if not self.send_events:
            self.logger.warning("not sent, as sending is disabled: %s", self.shown(event))
            sender.settle(event, sent_log.DISABLED, "sending is disabled")
            return
        refusal = self._refusal(events, event.test)
        if refusal is not None:
            self.logger.error("not sent, %s: %s", refusal, self.shown(event))
            sender.settle(event, sent_log.REFUSED, refusal)
        elif self._sender is not None:
            sender.put(event)
        else:
            self._send_now(sender, event)

    def _refusal(self, events: SentLog, test: bool) -> str | None:
        # tests count by themselves, so that one never costs an event
        return limits.refusal(self.clock(), events.times(test), self.min_spacing, self.max_per_hour)

    def _send_now(self, sender: EventSender, event: Event) -> None:
        """Send an event while its caller waits: the service does not run."""
        policy = RetryPolicy(first_s=FIRST_PAUSE_S, max_s=self.longest_pause_s, attempts=self.attempts)
        try:
            self._persist(lambda: sender.deliver(event), policy, self.unreachable, self.shown(event))
        except self.unreachable as error:
            sender.settle(event, sent_log.FAILED, str(error))
            raise

    @property
    def attempts(self) -> int:
        """Number of attempts to send an event while the caller waits."""
        return 1

    # --- the log of events ---------------------------------------------------------------------------------

    def _open_log(self) -> SentLog:
        """Return the log; where the service does not run it is added to, but the past does not count."""
        if self._event_log is None:
            self._event_log = SentLog(self._event_log_path(), read=False)
        return self._event_log

    def _note(self, outcome: str, counted: str, reason: str, identities: Iterable[str], trigger: Any) -> None:
        """Write down, and count, what became of a trigger of which no event was made."""
        metrics.note_trigger(self.kind, counted, self.clock())
        try:
            events = self._open_log()
            events.note(outcome, self.clock(), reason, items=list(identities), trigger=trigger)
        except SentLogError as error:
            self.logger.error("%s", error)

    # --- events --------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def make_event(self, trigger: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Make an event of a trigger.

        Args:
            trigger: checked item, with the number of compound beams that saw something at this time as `ncb`

        Returns:
            whether it is a test, and what identifies it to its receiver and to us

        Raises:
            DARCError: a value does not fit
        """

    @abc.abstractmethod
    def transmit(self, event: Event) -> str:
        """Send an event once, and return who took it.

        Raises:
            DARCError: it was not sent; of the class `unreachable`: it may be later
        """

    @abc.abstractmethod
    def shown(self, event: Event) -> str:
        """Return what the log says of an event."""

    @abc.abstractmethod
    def preview(self, trigger: dict[str, Any]) -> str:
        """Return what would be sent for a checked trigger, for the eyes of an operator."""

    def dry_run(self, trigger: dict[str, Any]) -> str:
        """Return what would be sent for a trigger, and whether it would, for the eyes of an operator.

        Raises:
            DARCError: no event can be made of it, or what was sent before cannot be read
        """
        shown = self.preview(self._check(trigger))
        if not self.send_events:
            return f"{shown}\nnot sent: sending is {self._state()} in the configuration"
        refusal = self._refusal(SentLog(self._event_log_path()), self.is_test(trigger.get("test")))
        return f"{shown}\n{'would be sent' if refusal is None else f'not sent: {refusal}'}"

    def objection(self, event: Event) -> str | None:
        """Return why an event may not be sent any more: the switch or the configuration changed meanwhile."""
        if not self.send_events:
            return "sending has been disabled meanwhile"
        if self.test and not event.test:
            return "it is no test, and the configuration makes every event a test now"
        return None

    def after_sending(self, event: Event) -> None:
        """Do what follows from an event having been sent."""

    def lost_sight_of(self, event: Event) -> None:
        """Tell that nobody knows whether an event was sent before a restart; it is not sent again."""

    def is_test(self, test: bool | None) -> bool:
        """Return whether an event is a test: the configuration decides, a trigger can only add to it.

        Args:
            test: what the trigger says; None: nothing
        """
        return self.test or bool(test)
