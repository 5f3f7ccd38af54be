"""What a service sends in its own time."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from darc.errors import DARCError

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """Sends items one after another, so that whoever puts one in does not wait for the network.

    A `DARCError` costs the item that it is about, and is logged.

    Args:
        name: what is sent, for the log
        send: sends one item
        logger: where to log
    """

    def __init__(self, name: str, send: Callable[[Item], None], logger: logging.Logger) -> None:
        self._send, self._logger = send, logger
        self._items: queue.Queue[Item | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Have an item sent."""
        self._items.put(item)

    def close(self, timeout_s: float) -> None:
        """Send what is in it, and wait for the end of that for a limited time."""
        self._items.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            try:
                self._send(item)
            except DARCError as error:
                self._logger.error("%s not sent: %s", self._thread.name, error)
