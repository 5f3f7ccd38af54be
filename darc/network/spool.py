"""Files that wait to be sent: each is complete or not there at all, and one process at a time has it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


class SpoolFolder:
    """Files that are named after the time at which they came, of which each is complete or not there at all.

    Args:
        path: The folder; made, for its owner only, when there is a first file.
        suffix: What the names end in.
        clock: Unix time in ns.
    """

    def __init__(self, path: Path, suffix: str, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._suffix, self._clock = suffix, clock
        self._name = re.compile(rf"([0-9]+).*{re.escape(suffix)}", re.ASCII)
        self._newest_ns = 0
        self._lock = threading.Lock()

    def append(self, data: bytes, *, durable: bool = True) -> Path:
        """Write a new file, and return its place.

        Args:
            data: What it holds.
            durable: Whether to wait until it would survive a power cut.

        Raises:
            OSError: The disk did not take it.
        """
        with self._lock:
            self._newest_ns = max(self._newest_ns + 1, self._clock())
            path = self.path / f"{self._newest_ns:020d}-{secrets.token_hex(4)}{self._suffix}"
        make_private(self.path)
        self.overwrite(path, data, durable=durable)
        return path

    def overwrite(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Write a file at a path of this folder, where there may be another version of it.

        Raises:
            OSError: The disk did not take it; what was there is unchanged.
        """
        aside = path.with_name(f".{path.name}.part")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, with its mode set from the start)
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            aside.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        if durable:
            sync_folder(self.path)

    def waiting(self) -> list[Path]:
        """Return all files, the oldest first.

        Raises:
            OSError: The folder cannot be read.
        """
        try:
            return sorted(path for path in self.path.iterdir() if self._name.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def put_aside(self, path: Path) -> Path:
        """Move a file to where nobody sends it, and return its place.

        Raises:
            OSError: The disk does not let us.
        """
        place = self.path / "failed" / path.name
        make_private(place.parent)
        path.rename(place)
        return place

    def age_s(self, path: Path) -> float:
        """Seconds since a file was put in."""
        name = self._name.fullmatch(path.name)
        return (self._clock() - int(name[1])) / 1e9 if name else 0.0

    def tidy(self, older_than_s: float) -> None:
        """Remove what processes that were killed while they wrote have left."""
        with contextlib.suppress(OSError):
            for path in self.path.glob(".*.part"):
                if self._clock() / 1e9 - path.stat().st_mtime > older_than_s:
                    path.unlink()


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[BinaryIO | None]:
    """Open a file that nobody else sends meanwhile; None: another process has it, or has sent it.

    Raises:
        OSError: It cannot be opened.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError:  # a file system without locks: sent twice rather than never
            yield file
            return
        try:
            # between opening and locking another process may have sent it, or written it anew
            yield file if _is_at(path, file) else None
        finally:
            # said aloud: a process forked meanwhile would keep the lock as long as it lives
            fcntl.flock(file, fcntl.LOCK_UN)


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def make_private(folder: Path) -> None:
    """Make a folder that is nobody's but its owner's.

    Raises:
        OSError: The disk does not let us.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def sync_folder(folder: Path) -> None:
    """Have a new name outlive a power cut, where the file system can promise that."""
    descriptor = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)
