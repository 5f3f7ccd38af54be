"""Complete lines of a text file while another program appends to it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inotify_simple import INotify, flags

#: Most bytes that are handed on as one block: a message of them fits into one fragment of a `ProcessQueue`.
BLOCK_BYTES = 32 * 1024
#: Least time in s between two looks at a file: a row that comes alone is read at once, of many the first one
#: at once and the others together, as each message costs its receiver as much as a hundred rows.
REST_S = 0.001


@dataclass(frozen=True)
class Block:
    """Some complete lines of a file.

    Attributes:
        lines: the lines without their ends
        at_end: whether the file held no further complete line when they were read
    """

    lines: list[str]
    at_end: bool


class LineReader:
    """Reads the complete lines of a growing file, once, in blocks.

    A line that is only half there is left for later. A file that was replaced is read to its end before the
    new one is begun; one that was truncated is read again from its first byte. Each consumer has a reader of
    its own, so that a slow one holds up nobody.

    Args:
        path: file to read; need not exist yet
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.restarts = 0
        self._fd: int | None = None
        self._offset = 0
        self._pending: Block | None = None

    def peek(self) -> Block | None:
        """Return the next block without going beyond it; None: there is no further complete line."""
        while self._pending is None:
            if self._fd is None and not self._open():
                return None
            self._pending = self._read()
            if self._pending is None and not self._restarted():
                return None
        return self._pending

    def advance(self) -> None:
        """Go beyond the block that `peek` returned: it has been delivered."""
        self._pending = None

    def close(self) -> None:
        """Give back the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._offset = 0
        return self._fd is not None

    def _read(self) -> Block | None:
        assert self._fd is not None
        data = os.pread(self._fd, BLOCK_BYTES, self._offset)
        at_end = len(data) < BLOCK_BYTES or os.fstat(self._fd).st_size == self._offset + BLOCK_BYTES
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == BLOCK_BYTES:
            end = len(data)  # no line is that long: pass it on in pieces, as rubbish for the parser to count
        if end == 0:
            return None
        self._offset += end
        lines = data[:end].decode("ascii", "replace").removesuffix("\n").split("\n")
        return Block(lines, at_end)

    def _restarted(self) -> bool:
        """Start again if the file was replaced or truncated; called at the end of what there is."""
        assert self._fd is not None
        held = os.fstat(self._fd)
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        replaced = (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino)
        truncated = held.st_size < self._offset
        if not replaced and not truncated:
            return False
        self.restarts += 1
        self.close()
        return self._open()


def wake_ups(path: Path, event: threading.Event, interval_s: float) -> Iterator[None]:
    """Yield whenever a file may have more to read, until an event is set.

    The kernel tells when something was written. As that does not reach across network file systems, and as a
    file may not exist yet, it also yields every `interval_s` seconds. What is written after a look leads to
    another one, `REST_S` later at the earliest, so that there is no need to read on until nothing comes.

    Args:
        path: the file; its folder need not exist yet
        event: ends the iteration, within `interval_s`
        interval_s: longest time in s between two looks
    """
    with INotify() as notifier:
        watched: tuple[int, int] | None = None
        while not event.is_set():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if (status.st_dev, status.st_ino) != watched:
                    notifier.add_watch(
                        path, flags.MODIFY | flags.MOVE_SELF | flags.DELETE_SELF | flags.ATTRIB
                    )
                    watched = (status.st_dev, status.st_ino)
            yield
            event.wait(REST_S)
            if watched is None:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    notifier.add_watch(path.parent, flags.CREATE | flags.MOVED_TO)
            notifier.read(timeout=int(interval_s * 1000))
