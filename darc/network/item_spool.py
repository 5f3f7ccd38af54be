"""Items on disk while they wait to be handed on: a file of JSON each, which outlives its process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darc.network.spool import SpoolFolder, make_private, sync_folder

_SUFFIX = ".json"
#: Stands before the suffix while it is not known whether the receiver has the item.
_BEGUN = ".begun"
#: Age in s of a file that was written in part, from which on nobody writes it any more.
_ABANDONED_S = 60.0


@dataclass(eq=False)
class ItemFile:
    """The place of an item on disk.

    Attributes:
        path: its file, which changes its name when the item is sent
        durable: whether it would survive a power cut
    """

    path: Path
    durable: bool

    @property
    def stem(self) -> str:
        """The part of its name that stays."""
        return _stem(self.path)


@dataclass(frozen=True)
class KeptItem:
    """An item that another process has left.

    Attributes:
        value: the item
        file: its place
        age_s: time since it was put in, in s
        begun: whether sending it had begun
    """

    value: Any
    file: ItemFile
    age_s: float
    begun: bool


class ItemSpool:
    """Items that wait in a folder. What the disk does not take stays in memory only, which is logged.

    Args:
        path: the folder
        name: what the log calls it
        logger: where to log
        clock: unix time in ns
    """

    def __init__(
        self, path: Path, name: str, logger: logging.Logger, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._folder = SpoolFolder(path, _SUFFIX, clock)
        self._name, self._logger = name, logger
        self._own: set[str] = set()
        self._using = threading.Lock()
        self._lock: int | None = None

    # --- single items --------------------------------------------------------------------------------------

    def keep(self, value: Any, *, durable: bool) -> ItemFile | None:
        """Write an item to the disk; None if that does not take it.

        Args:
            value: the item, plain data
            durable: whether to wait until it would survive a power cut
        """
        with self._using:  # so that a file is known as ours before anybody else looks for those of others
            try:
                path = self._folder.append(json.dumps(value).encode(), durable=durable)
            except (OSError, TypeError, ValueError) as error:
                self._logger.error("%s: in memory only, %s: %s", self._name, error, value)
                return None
            self._own.add(_stem(path))
        return ItemFile(path, durable)

    def make_durable(self, file: ItemFile) -> None:
        """Wait until an item would survive a power cut."""
        if file.durable:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(file.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self._folder.path)
        file.durable = True

    def mark_begun(self, file: ItemFile, begun: bool) -> None:
        """Write down that from now on the receiver may have an item, or that it certainly has not."""
        path = file.path.with_name(f"{_stem(file.path)}{_BEGUN if begun else ''}{_SUFFIX}")
        try:
            file.path.rename(path)
        except OSError as error:
            self._logger.error("%s: %s cannot be renamed: %s", self._name, file.path, error.strerror)
        else:
            file.path = path

    def remove(self, file: ItemFile) -> None:
        """Remove an item that is settled."""
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            self._logger.error("%s: %s cannot be removed: %s", self._name, file.path, error.strerror)
        self._own.discard(_stem(file.path))

    # --- all of them ---------------------------------------------------------------------------------------

    def claim(self, *, wait: bool) -> bool:
        """Become the one process that sends what others left; return whether that is so.

        Args:
            wait: whether to wait for a process that is it now
        """
        try:
            make_private(self._folder.path)
            lock = os.open(self._folder.path / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            self._logger.error("%s: what waits in %s is not sent: %s", self._name, self._folder.path, error)
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError as error:  # a file system without locks
            os.close(lock)
            self._logger.error("%s: nobody is kept from sending, too: %s", self._name, error.strerror)
            return True
        self._lock = lock
        return True

    def release(self) -> None:
        """Let another process send what is here."""
        if self._lock is not None:
            # said aloud: a process forked meanwhile would keep the lock as long as it lives
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = None

    def left_by_others(self) -> list[KeptItem]:
        """Return what other processes left, the oldest first; what is damaged is put aside."""
        with self._using:
            try:
                self._folder.tidy(_ABANDONED_S)
                paths = [path for path in self._folder.waiting() if _stem(path) not in self._own]
                kept = [item for path in paths if (item := self._read(path)) is not None]
            except OSError as error:
                self._logger.error("%s: cannot read what waits on disk: %s", self._name, error)
                return []
            self._own.update(_stem(item.file.path) for item in kept)
        return kept

    def _read(self, path: Path) -> KeptItem | None:
        try:
            value = json.loads(path.read_bytes())
            if not isinstance(value, dict):
                raise ValueError("not a dictionary")
        except ValueError as error:
            place = self._folder.put_aside(path)
            self._logger.error(
                "%s: a damaged item is not sent, it is kept as %s: %s", self._name, place, error
            )
            return None
        begun = path.name.endswith(f"{_BEGUN}{_SUFFIX}")
        return KeptItem(value, ItemFile(path, durable=True), self._folder.age_s(path), begun)


def _stem(path: Path) -> str:
    """Return the part of a name that stays."""
    return path.name.partition(".")[0]
