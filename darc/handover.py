"""What follows from a decision: messages, handed over to who sends them, and again if one may be lost."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from astropy.coordinates import SkyCoord
from astropy.time import Time

from darc import metrics
from darc.alerts import Context, iquv_message, master_item
from darc.base import LONGEST_WAIT_S, MessageQueue
from darc.network.remote_queue import RemoteQueue
from darc.records.decisions import Decisions
from darc.science.selection import Selection, Verdict

#: Receivers on the master node, as the log names them; their kinds are the same in small letters.
ON_MASTER = ("LOFAR", "VOEvent")


@dataclass(frozen=True)
class Handover:
    """Makes the messages of decisions and hands them over.

    Attributes:
        dada: queue of the DADA trigger; None: there is none
        on_master: queues of the master node by kind, `lofar` and `voevent`; None: not connected
        logger: where to log
        clock: time in unix s
        lateness_s: tells by how much in s an item for the master node is too late to be of use, by kind;
            those of other kinds never are
    """

    dada: MessageQueue | None
    on_master: Mapping[str, MessageQueue | RemoteQueue | None]
    logger: logging.Logger
    clock: Callable[[], float]
    lateness_s: Mapping[str, Callable[[Mapping[str, Any]], float]] = field(default_factory=dict)

    def messages(
        self, selection: Selection, context: Context, pointing_at: Callable[[Time], SkyCoord | None]
    ) -> dict[str, Any]:
        """Return what a selection has us send, by the kind of its receiver.

        Args:
            selection: what was selected
            context: the observation
            pointing_at: direction of the beam at a time, asked where the context has none
        """
        messages: dict[str, Any] = {}
        if selection.iquv:
            messages["iquv"] = iquv_message(selection.iquv, context)
        if selection.lofar is not None:
            item = self._item(selection.lofar, context, pointing_at)
            messages |= {name.lower(): item for name in ON_MASTER if item and self._is_of_use(name, item)}
        return messages

    def _is_of_use(self, name: str, item: dict[str, Any]) -> bool:
        """Return whether an item has been found in time for its receiver; log that it has not."""
        kind = name.lower()
        late_s = self.lateness_s[kind](item) if kind in self.lateness_s else -inf
        if late_s > 0:
            self._lost(kind)
            self.logger.error("%s trigger not sent, too late by %.0f s: %s", name, late_s, item)
        return late_s <= 0

    def _item(
        self, verdict: Verdict, context: Context, pointing_at: Callable[[Time], SkyCoord | None]
    ) -> dict[str, Any] | None:
        arrival = context.arrival_at_centre(verdict)
        pointing = context.pointing if context.pointing is not None else pointing_at(arrival)
        if pointing is None:
            self._lost("lofar")
            self.logger.error("pointing not known, nothing sent to LOFAR nor as VOEvent: %s", verdict)
            return None
        return master_item(verdict, context, arrival, pointing)

    def send(self, messages: Mapping[str, Any]) -> None:
        """Hand messages over; nobody waits for the network, nor longer than a moment for a service."""
        if "iquv" in messages:
            self._dump(messages["iquv"])
        for name in ON_MASTER:
            kind = name.lower()
            receiver = self.on_master[kind]
            if kind in messages and receiver is not None:
                receiver.put(messages[kind])
            elif kind in messages:
                self._lost(kind)
                self.logger.warning("no %s trigger sent: not connected to the master node", name)

    def send_again(self, before: Decisions) -> None:
        """Hand over what a predecessor may not have handed over, or what may be lost since.

        The DADA trigger is told of all recent dumps, since a queue ends with its node; it knows which it had.
        A VOEvent that comes twice is recognised. LOFAR is never told twice.

        Args:
            before: what was decided by then
        """
        for message in before.dumps:
            self._dump({**message, "again": True})
        if "lofar" in before.unsent:
            self.logger.error("LOFAR may not have been told of a trigger: %s", before.unsent["lofar"])
        if "voevent" in before.unsent:
            self.logger.warning("VOEvent trigger sent again, since it may not have been sent")
            self.send({"voevent": before.unsent["voevent"]})

    def _dump(self, message: dict[str, Any]) -> None:
        try:
            if self.dada is not None:
                self.dada.put(message, timeout=LONGEST_WAIT_S)
        except queue.Full:
            self._lost("iquv")
            self.logger.error("%d IQUV triggers lost, since their queue is full", len(message["trigger"]))

    def _lost(self, kind: str) -> None:
        metrics.note_trigger(kind, metrics.FAILED, self.clock())
