"""What a service sends in its own time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from darc import metrics
from darc.errors import DARCError

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """Sends items one after another, so that whoever puts one in does not wait for the network.

    A `DARCError` costs the item that it is about, and is logged.

    Args:
        name: what is sent, for the log
        kind: what is sent, for the metrics
        send: sends one item
        logger: where to log
        clock: time in unix s
    """

    def __init__(
        self,
        name: str,
        kind: str,
        send: Callable[[Item], None],
        logger: logging.Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kind, self._send, self._logger, self._clock = kind, send, logger, clock
        self._items: queue.Queue[tuple[Item, Any] | None] = queue.Queue()
        self._unsent = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item, arrived_unix: Any = None) -> None:
        """Have an item sent.

        Args:
            item: what is sent
            arrived_unix: when that came here which led to it, in unix s, if known
        """
        self._count(1)
        self._items.put((item, arrived_unix))

    def close(self, timeout_s: float) -> None:
        """Send what is in it, and wait for the end of that for a limited time."""
        self._items.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (entry := self._items.get()) is not None:
            item, arrived_unix = entry
            outcome = metrics.FAILED
            try:
                self._send(item)
                outcome = metrics.SENT
            except DARCError as error:
                self._logger.error("%s not sent: %s", self._thread.name, error)
            metrics.note_trigger(self._kind, outcome, self._clock(), arrived_unix)
            self._count(-1)

    def _count(self, number: int) -> None:
        with self._counting:
            self._unsent += number
            metrics.UNSENT.labels(self._kind).set(self._unsent)
