"""Sends events to other telescopes: in order, over restarts, and never more often than is meant."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from darc import metrics
from darc.errors import DARCError
from darc.network.ordered_sender import OrderedSender, Waiting
from darc.network.retry import RetryPolicy
from darc.records import sent_log
from darc.records.sent_log import Event, SentLog, SentLogError


class Receiver(Protocol):
    """Who events are sent to.

    Attributes:
        unreachable: an error that means that an event was certainly not taken, and may be later
        repeat: whether an event may be sent again of which nobody knows whether it was taken
    """

    unreachable: type[DARCError]
    repeat: bool

    def objection(self, event: Event) -> str | None:
        """Return why an event may not be sent any more, None if it may."""

    def transmit(self, event: Event) -> str:
        """Send an event once, and return who took it."""

    def after_sending(self, event: Event) -> None:
        """Do what follows from an event having been sent."""

    def lost_sight_of(self, event: Event) -> None:
        """Tell that nobody knows whether an event was sent before a restart; it is not sent again."""


class EventSender:
    """Sends events from a thread of its own; the log knows what becomes of each.

    Args:
        name: what is sent, for the log
        kind: what is sent, for the metrics
        receiver: who it is sent to
        events: log of what is sent
        retry: pauses while the receiver cannot be reached
        max_age_s: age in s of an event from which on it is of no use
        logger: where to log
        clock: unix time in s
        monotonic: time in s
    """

    def __init__(
        self,
        name: str,
        kind: str,
        receiver: Receiver,
        events: SentLog,
        *,
        retry: RetryPolicy,
        max_age_s: float,
        logger: logging.Logger,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._name, self._kind, self._receiver, self._events = name, kind, receiver, events
        self._logger, self._clock = logger, clock
        self._unsent, self._counting = 0, threading.Lock()
        self._told = ""
        self._sender: OrderedSender[Event] = OrderedSender(
            name,
            self._attempt,
            self._expire,
            self._leave,
            retry=retry,
            max_age_s=max_age_s,
            patient=False,
            clock=monotonic,
        )

    def start(self) -> None:
        """Begin with what an earlier process has left."""
        inherited = []
        for event, outcome in self._events.open_events():
            if outcome == sent_log.SENDING and not self._receiver.repeat:
                self._receiver.lost_sight_of(event)
                self._write(event, sent_log.UNKNOWN, "the service ended while it was being sent")
            else:
                inherited.append((event, self._clock() - event.unix))
        self._count(len(inherited))
        self._sender.put_first(inherited)
        self._sender.start()

    def put(self, event: Event) -> None:
        """Have an event sent; that is written down when this returns.

        Raises:
            SentLogError: it could not be written down, and is not sent
        """
        try:
            self._events.write(event, sent_log.DECIDED, self._clock())
        except SentLogError:
            metrics.note_trigger(self._kind, metrics.FAILED, self._clock())
            raise
        self._count(1)
        self._sender.put(event)

    def close(self, timeout_s: float) -> None:
        """Send what waits, for a limited time; the rest waits for the next start."""
        self._sender.close(timeout_s)
        self._events.close()

    # --- single events -------------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        """Send an event once, from the calling thread.

        Raises:
            DARCError: it was not sent; of the class `unreachable`: it may be later
        """
        objection = self._receiver.objection(event)
        if objection is not None:
            self._logger.error("%s not sent, %s: %s", self._name, objection, event.content)
            self.settle(event, sent_log.REFUSED, objection)
            return
        if not self._receiver.repeat:
            self._events.write(event, sent_log.SENDING, self._clock())
        try:
            taken_by = self._receiver.transmit(event)
        except self._receiver.unreachable as error:
            if not self._receiver.repeat:
                self._events.write(event, sent_log.WAITS, self._clock(), str(error))
            raise
        except DARCError as error:
            self.settle(event, sent_log.FAILED, str(error))
            raise
        self._told = ""
        # what follows comes first: who is killed here has it follow twice rather than never
        self._receiver.after_sending(event)
        self.settle(event, sent_log.SENT, taken_by)

    def settle(self, event: Event, outcome: str, reason: str) -> None:
        """Write down, and count, what has become of an event."""
        self._write(event, outcome, reason)
        counted = outcome if outcome in metrics.OUTCOMES else metrics.FAILED
        metrics.note_trigger(self._kind, counted, self._clock(), event.trigger.get("arrived"))

    def _write(self, event: Event, outcome: str, reason: str) -> None:
        try:
            self._events.write(event, outcome, self._clock(), reason)
        except SentLogError as error:
            self._logger.error("%s: %s: %s", outcome, event.content, error)

    # --- the thread ----------------------------------------------------------------------------------------

    def _attempt(self, entry: Waiting[Event]) -> bool:
        try:
            self.deliver(entry.item)
        except (self._receiver.unreachable, SentLogError) as error:
            level = logging.DEBUG if self._told == str(error) else logging.WARNING
            self._logger.log(level, "%s waits: %s", self._name, error)
            self._told = str(error)
            return False
        except DARCError as error:
            self._logger.error("%s not sent: %s", self._name, error)
        self._count(-1)
        return True

    def _expire(self, entry: Waiting[Event], reason: str) -> None:
        age_s = self._sender.age_s(entry)
        self.settle(entry.item, sent_log.EXPIRED, f"dropped after {age_s:.1f} s, {reason}")
        self._logger.error("%s dropped after %.1f s, %s: %s", self._name, age_s, reason, entry.item.content)
        self._count(-1)

    def _leave(self, entry: Waiting[Event]) -> None:
        self._logger.warning("%s waits for the next start: %s", self._name, entry.item.content)

    def _count(self, number: int) -> None:
        with self._counting:
            self._unsent += number
            metrics.UNSENT.labels(self._kind).set(self._unsent)
