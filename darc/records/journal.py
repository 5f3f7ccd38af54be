"""What a process is about to do and what came of it, written down so that its successor knows.

An *intent* is written before something is done that must not be lost, or not be done twice; its outcome is
written afterwards. An intent without an outcome is *open*: whoever did it died meanwhile, and what that means
depends on who was to receive it. The latest keys with an outcome are known, too: what somebody asks for a
second time need not be done again.

The file has a line of JSON for each. It outlives its process, but the disk is not waited for: a power cut
would take along the data of the ring buffer, which the intents are about. A line that was written in part is
passed over. A disk that takes nothing stops nobody: that is logged once, and the journal goes on in memory.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.files import write_complete

#: Size of the file in bytes from which it is written anew without what is settled.
LONG_BYTES = 1 << 18
#: Number of keys that are known after they have been settled.
MEMORY = 100


class JournalError(DARCError):
    """The journal cannot be written."""


@dataclass(frozen=True)
class Intent:
    """What a process is about to do.

    Attributes:
        kind: what it is, such as `lofar`
        key: identifies it in the journal
        content: what is needed to do it
    """

    kind: str
    key: str
    content: dict[str, Any]


class Journal:
    """The intents of one process at a time; safe to use from several of its threads.

    Args:
        path: the file, which may exist or not
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._logger = logging.getLogger("darc.journal")
        self._lock = threading.Lock()
        self._open: dict[str, Intent] = {}
        self._settled: dict[str, str] = {}
        # whether the last attempt to write failed: the file lacks something, or ends in a part of a line
        self._failing = False
        self._bytes, self._long_bytes = 0, LONG_BYTES
        self._read()
        if self.path.exists():
            self._rewrite()

    def intend(self, kind: str, key: str, content: dict[str, Any]) -> None:
        """Write down what is about to be done; it takes the place of an open intent with the same key.

        Args:
            kind: what it is
            key: identifies it
            content: what is needed to do it, of plain values

        Raises:
            TypeError: the content has other values
        """
        intent = Intent(kind, key, content)
        line = json.dumps({"intent": asdict(intent)})
        with self._lock:
            self._open[key] = intent
            self._append(line)

    def settle(self, key: str, outcome: str) -> None:
        """Write down what came of an intent; nothing happens if none with this key is open."""
        with self._lock:
            if self._open.pop(key, None) is not None:
                self._remember(key, outcome)
                self._append(_outcome_line(key, outcome))

    def knows(self, key: str) -> bool:
        """Return whether something was intended under this key, as far as that is remembered."""
        with self._lock:
            return key in self._open or key in self._settled

    def open_intents(self) -> list[Intent]:
        """Return the intents without an outcome, the oldest first."""
        with self._lock:
            return list(self._open.values())

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            self._logger.error("%s: cannot be read: %s; begun anew", self.path, error.strerror)
            return
        damaged = sum(not self._follow(line) for line in lines)
        if damaged:
            self._logger.warning("%s: %d lines passed over that are damaged", self.path, damaged)

    def _follow(self, line: bytes) -> bool:
        """Take in a line of the file; return False if it is damaged."""
        try:
            entry = json.loads(line)
            if "settled" in entry:
                self._remember(entry["settled"], entry["outcome"])
                self._open.pop(entry["settled"], None)
            else:
                intent = Intent(**entry["intent"])
                self._open.pop(intent.key, None)
                self._open[intent.key] = intent
        except (ValueError, TypeError, KeyError):
            return False
        return True

    def _remember(self, key: str, outcome: str) -> None:
        self._settled.pop(key, None)
        self._settled[key] = outcome
        while len(self._settled) > MEMORY:
            del self._settled[next(iter(self._settled))]

    def _append(self, line: str) -> None:
        if self._failing:
            self._rewrite()
            return
        data = f"{line}\n".encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                if stream.write(data) < len(data):
                    raise OSError(0, "the disk took only a part")
        except OSError as error:
            self._fails(error.strerror)
            return
        self._bytes += len(data)
        if self._bytes > self._long_bytes:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write what is open, and the latest that is settled."""
        lines = [_outcome_line(key, outcome) + "\n" for key, outcome in self._settled.items()]
        lines += [json.dumps({"intent": asdict(intent)}) + "\n" for intent in self._open.values()]
        content = "".join(lines)
        # one that has much that is open is not written anew each time
        self._bytes, self._long_bytes = len(content), max(LONG_BYTES, 2 * len(content))
        try:
            write_complete(self.path, content, JournalError, durable=True)
        except JournalError as error:
            self._fails(str(error))
        else:
            self._failing = False

    def _fails(self, reason: str | None) -> None:
        if not self._failing:
            self._logger.error("%s: what is intended is not written down: %s", self.path, reason)
        self._failing = True


def _outcome_line(key: str, outcome: str) -> str:
    return json.dumps({"settled": key, "outcome": outcome})
