"""Complete lines of a text file while another program appends to it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from inotify_simple import INotify, flags

#: Most bytes that are handed on as one block: a message of them fits into one fragment of a `ProcessQueue`.
BLOCK_BYTES = 32 * 1024
#: Least time in s between two looks at a file: a row that comes alone is read at once, of many the first one
#: at once and the others together, as each message costs its receiver as much as a hundred rows.
REST_S = 0.001
#: Most bytes that are read from a file in one go by who has something to catch up with.
CATCH_UP_BYTES = 256 * 1024

_logger = logging.getLogger("darc.growing_file")


class Place(NamedTuple):
    """Where lines are in a file.

    Attributes:
        file: the file, as long as it exists: its number on its disk
        truncations: how often it has been begun anew since its reader follows it
        begin: byte at which they begin
        end: byte at which they end
    """

    file: int
    truncations: int
    begin: int
    end: int


@dataclass(frozen=True)
class Block:
    """Some complete lines of a file.

    Attributes:
        lines: the lines without their ends
        at_end: whether the file held no further complete line when they were read
        place: where they are in the file
    """

    lines: list[str]
    at_end: bool
    place: Place


class LineReader:
    """Reads the complete lines of a growing file, once, in blocks.

    A line that is only half there is left for later. A file that was replaced is read to its end before the
    new one is begun; one that was truncated is read again from its first byte. After an error it goes on
    where it was. Each consumer has a reader of its own, so that a slow one holds up nobody.

    Args:
        path: file to read; need not exist yet
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.restarts = 0
        self._fd: int | None = None
        self._file: int | None = None
        self._offset = 0
        self._truncations = 0
        self._pending: Block | None = None

    def peek(self) -> Block | None:
        """Return the next block without going beyond it; None: there is no further complete line.

        Raises:
            OSError: the file cannot be read now
        """
        try:
            while self._pending is None:
                if self._fd is None and not self._open():
                    return None
                self._pending = self._read()
                if self._pending is None and not self._restarted():
                    return None
        except OSError:
            self.close()  # what has taken its place is found by opening
            raise
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
            file = os.fstat(self._fd).st_ino
            if file != self._file:
                self._file, self._offset, self._truncations = file, 0, 0
        return self._fd is not None

    def _read(self) -> Block | None:
        assert self._fd is not None
        data = os.pread(self._fd, BLOCK_BYTES, self._offset)
        status = os.fstat(self._fd)
        at_end = len(data) < BLOCK_BYTES or status.st_size == self._offset + BLOCK_BYTES
        length, lines = _lines(data, BLOCK_BYTES)
        if not length:
            return None
        place = Place(status.st_ino, self._truncations, self._offset, self._offset + length)
        self._offset = place.end
        return Block(lines, at_end, place)

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
        self._offset, self._truncations = 0, 0 if replaced else self._truncations + 1
        self.close()
        return self._open()


class Continuation:
    """What a consumer has of a file, whose blocks somebody tells it about.

    Blocks that follow each other are taken as they come. The file is the record: what was never told, or told
    to a predecessor that died, is read from there, and what is told again is passed over. So whoever tells,
    and the consumer, may die and begin anew at any time.

    Args:
        path: the file
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.position = 0
        self._target = 0
        self._file: int | None = None
        self._truncations: int | None = None

    @property
    def behind(self) -> bool:
        """Whether something is known to be in the file that the consumer does not have."""
        return self.position < self._target

    def take(self, place: Place) -> bool:
        """Take note of a block; return whether its lines are the next ones, to be used as they are.

        All others are either there already or have to be `read`.
        """
        replaced = self._file not in (None, place.file)
        # whoever begins anew to tell knows of no earlier truncation
        truncated = self._truncations is not None and place.truncations > self._truncations
        if replaced or truncated:
            self.position = self._target = 0
        self._file, self._truncations = place.file, place.truncations
        follows = place.begin == self.position == self._target
        self._target = max(self._target, place.end)
        if follows:
            self.position = place.end
        return follows

    @property
    def told(self) -> bool:
        """Whether somebody tells of its blocks."""
        return self._truncations is not None

    def look(self) -> None:
        """Have everything read that the file holds now."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = self.path.stat()
            self._file, self._target = status.st_ino, max(self._target, status.st_size)

    def read(self) -> list[str]:
        """Return the next lines that the consumer does not have.

        Raises:
            OSError: they cannot be read, and never will be
        """
        begin, end = self.position, self._target
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if self._file is not None and os.fstat(descriptor).st_ino != self._file:
                    raise OSError(0, "another file has taken its place")
                data = os.pread(descriptor, min(CATCH_UP_BYTES, end - begin), begin)
            finally:
                os.close(descriptor)
        except OSError:
            self.position = end
            raise
        length, lines = _lines(data, CATCH_UP_BYTES)
        self.position += length
        if not length:  # the rest is half a line, or the file has become shorter
            self._target = self.position
        return lines


def _lines(data: bytes, most: int) -> tuple[int, list[str]]:
    """Cut into complete lines; return the number of bytes that they take, and the lines.

    Data that are as much as can be read in one go and hold no complete line are passed on, for the parser to
    count: no line is that long.
    """
    length = data.rfind(b"\n") + 1
    if length == 0 and len(data) == most:
        length = len(data)
    return length, data[:length].decode("ascii", "replace").removesuffix("\n").split("\n") if length else []


def wake_ups(path: Path, event: threading.Event, interval_s: float) -> Iterator[None]:
    """Yield whenever a file may have more to read, until an event is set.

    The kernel tells when something was written. As that does not reach across network file systems, a file
    may not exist yet, and the kernel has a limited number of watches, it also yields every `interval_s`
    seconds. What is written after a look leads to another one, `REST_S` later at the earliest, so that there
    is no need to read on until nothing comes.

    Args:
        path: the file; its folder need not exist yet
        event: ends the iteration, within `interval_s`
        interval_s: longest time in s between two looks
    """
    try:
        notifier = INotify()
    except OSError as error:  # a user has 128 of them, if nobody changed that
        _logger.warning("%s is looked at each %g s only: inotify: %s", path, interval_s, error.strerror)
        while not event.is_set():
            yield
            event.wait(interval_s)
        return
    with notifier:
        watched: tuple[int, int] | None = None
        while not event.is_set():
            if watched is None:  # before the look: a file that appears after it leads to another one
                with contextlib.suppress(OSError):
                    notifier.add_watch(path.parent, flags.CREATE | flags.MOVED_TO)
            with contextlib.suppress(OSError):
                status = path.stat()
                if (status.st_dev, status.st_ino) != watched:
                    notifier.add_watch(
                        path, flags.MODIFY | flags.MOVE_SELF | flags.DELETE_SELF | flags.ATTRIB
                    )
                    watched = (status.st_dev, status.st_ino)
            yield
            event.wait(REST_S)
            notifier.read(timeout=int(interval_s * 1000))
