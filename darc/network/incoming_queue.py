"""Items that a service has accepted: on disk before whoever put one is told so, until they are settled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from darc.network.item_spool import ItemFile, ItemSpool, KeptItem

#: When AMBER's rows came to the worker: our workers say so, and it differs when one decides again on what it
#: had decided on before it died.
_ARRIVED = "arrived"
#: Number of identities that are remembered.
_MAX_KNOWN = 10_000


def identity(item: Mapping[str, Any], file: ItemFile | None = None) -> str:
    """Return what an item is recognised by when it comes again.

    For an item of our workers that is a digest of what it says. Other programs may mean two by two that are
    equal: theirs are recognised by their files only.
    """
    if _ARRIVED not in item:
        return secrets.token_hex(8) if file is None else file.stem
    said = {key: value for key, value in item.items() if key != _ARRIVED}
    text = json.dumps(said, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Accepted:
    """An item that was accepted.

    Attributes:
        item: the item
        identity: what it is recognised by
        file: its place on disk, if it has one
    """

    item: dict[str, Any]
    identity: str
    file: ItemFile | None


class IncomingQueue:
    """A queue that outlives its process and takes an item of our workers once, however often it is put.

    What an earlier process had accepted and not settled comes first.

    Args:
        spool: where items are kept
        known: identities of items that were settled before
        max_age_s: age in s from which on what an earlier process left is of no use
        logger: where to log
        dropped: is told of items that are too old, each with its age in s
        max_items: number of items that may wait
    """

    def __init__(
        self,
        spool: ItemSpool,
        *,
        known: Iterable[str],
        max_age_s: float,
        logger: logging.Logger,
        dropped: Callable[[Accepted, float], None] = lambda accepted, age_s: None,
        max_items: int = 1000,
    ) -> None:
        self._spool, self._logger = spool, logger
        self._known = dict.fromkeys(known)
        self._lock = threading.Lock()
        self._closed = False
        self._items: queue.Queue[Accepted | None] = queue.Queue(max_items)
        for kept in spool.left_by_others():
            self._inherit(kept, max_age_s, dropped)

    def _inherit(self, kept: KeptItem, max_age_s: float, dropped: Callable[[Accepted, float], None]) -> None:
        """Take over an item that an earlier process had accepted, unless it is settled or of no use."""
        which = identity(kept.value, kept.file)
        accepted = Accepted(kept.value, which, kept.file)
        if which in self._known or kept.age_s > max_age_s or self._items.full():
            if which not in self._known:
                dropped(accepted, kept.age_s)
            self.settle([accepted])
            return
        self._remember(which)
        self._items.put(accepted)
        self._logger.warning("accepted %.1f s ago, before a restart: %r", kept.age_s, kept.value)

    def _remember(self, identity: str) -> None:
        self._known[identity] = None
        while len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def put(self, item: dict[str, Any], block: bool = True, timeout: float | None = None) -> None:
        """Accept an item; it is on disk when this returns. One that was accepted before is passed over.

        Raises:
            queue.Full: too many wait
        """
        if _ARRIVED in item and not self._is_new(identity(item)):
            self._logger.info("passed over, as it came before: %r", item)
            return
        file = self._spool.keep(item, durable=True)
        accepted = Accepted(item, identity(item, file), file)
        try:
            self._items.put(accepted, block, timeout)
        except queue.Full:
            self._known.pop(accepted.identity, None)
            self.settle([accepted])
            raise

    def _is_new(self, which: str) -> bool:
        """Remember an identity; return whether it was not known."""
        with self._lock:
            if which in self._known:
                return False
            self._remember(which)
            return True

    def get(self, block: bool = True, timeout: float | None = None) -> dict[str, Any]:
        """Take the oldest item away, as another program does that holds the key.

        Raises:
            queue.Empty: none came in time
        """
        accepted = self._items.get(block, timeout)
        if accepted is None:
            raise queue.Empty
        self.settle([accepted])
        return accepted.item

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._items.empty()

    def take(self, timeout: float | None = None) -> Accepted | None:
        """Return the oldest item, which stays on disk until it is settled; None: there will be no more.

        Raises:
            queue.Empty: none came within `timeout` s
        """
        try:
            return self._items.get(not self._closed, timeout)
        except queue.Empty:
            if self._closed:
                return None
            raise

    def settle(self, accepted: Iterable[Accepted]) -> None:
        """Remove items from the disk: what became of them is known."""
        for each in accepted:
            if each.file is not None:
                self._spool.remove(each.file)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._closed = True
        with contextlib.suppress(queue.Full):  # then nobody waits for an item who would have to be woken
            self._items.put_nowait(None)
