"""What was sent to other telescopes and what was refused: a log of its own that nothing takes away.

A line of JSON for each step of each event, on disk before the step is taken. It is also what a service knows
after a crash: which events are still to be sent, and which of them may have been.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.utc import isot_text
from darc.records.predecessor import wait_for_lock

#: It is to be sent. The first line of an event holds all there is to know about it.
DECIDED = "decided"
#: It is about to be sent; said of events that must not be sent twice.
SENDING = "sending"
#: Its receiver cannot be reached, and is tried again.
WAITS = "waits"
#: Somebody took it, as far as its protocol tells.
SENT = "sent"
#: It was not sent, and will not be.
FAILED, EXPIRED, DISABLED, REFUSED = "failed", "expired", "disabled", "refused"
#: Nobody knows whether it was sent, and it must not be sent twice.
UNKNOWN = "unknown"
#: Not about an event: sending was enabled or disabled by command.
SWITCHED = "switched"
_OPEN = (DECIDED, SENDING, WAITS)
#: Those that count for the limits.
_COUNTED = (*_OPEN, SENT, UNKNOWN)
#: Number of events that are remembered, besides those that are open: of those that count and of all others.
_MAX_EVENTS = 5000
#: Number of identities of items that are remembered, as many as a queue of these items remembers.
_MAX_IDENTITIES = 10_000
#: Only the end of the file is read, in bytes: two hours of an event each second that all beams led to.
#: Limits count what was sent within an hour, and a VOEvent may wait for an hour.
_READ_BYTES = 16 << 20


class SentLogError(DARCError):
    """The log cannot be written or read."""


@dataclass(frozen=True)
class Event:
    """What is sent to another telescope.

    Attributes:
        key: identifies it in the log
        unix: when it was decided on, unix s
        test: whether it is a test
        content: what identifies it to its receiver and to us
        trigger: the trigger that it is made of
        items: identities of the items that led to it
    """

    key: str
    unix: float
    test: bool
    content: dict[str, Any]
    trigger: dict[str, Any]
    items: tuple[str, ...] = ()

    @classmethod
    def new(
        cls, unix: float, test: bool, content: dict[str, Any], trigger: dict[str, Any], items: Iterable[str]
    ) -> Event:
        """Make an event with a key of its own."""
        return cls(f"{unix:.6f}-{secrets.token_hex(4)}", unix, test, content, trigger, tuple(items))


class SentLog:
    """The log of one service; safe to use from several of its threads.

    Args:
        path: the file, which may exist or not
        read: whether what it holds counts; if not, it is only added to
        alone: whether this process acts on what it holds. It waits for the end of another one that does: a
            service whose master was killed may be sending still

    Raises:
        SentLogError: there is a file, but it cannot be read, or another process acts on it
    """

    def __init__(self, path: Path, *, read: bool = True, alone: bool = False) -> None:
        self.path = path
        self._alone = _take_over(path.with_suffix(".lock")) if alone else None
        self._lock = threading.Lock()
        self._events: dict[str, Event] = {}
        self._outcomes: dict[str, str] = {}
        self._identities: dict[str, None] = {}
        self._torn = not read and path.exists()
        if read:
            self._read()

    def close(self) -> None:
        """Let another process act on it."""
        if self._alone is not None:
            os.close(self._alone)
            self._alone = None

    # --- what is known -------------------------------------------------------------------------------------

    def open_events(self) -> list[tuple[Event, str]]:
        """Return the events of which it is not known that they were sent or given up, the oldest first.

        Returns:
            each with its last outcome: `DECIDED`, `SENDING` or `WAITS`
        """
        with self._lock:
            return [
                (self._events[key], outcome) for key, outcome in self._outcomes.items() if outcome in _OPEN
            ]

    def times(self, test: bool = False) -> list[float]:
        """Return when the events were decided on that were sent, or may be, in unix s.

        Args:
            test: those that are tests, or those that are none
        """
        with self._lock:
            return [
                event.unix
                for key, event in self._events.items()
                if event.test == test and self._outcomes[key] in _COUNTED
            ]

    def identities(self) -> list[str]:
        """Return the identities of the items that were settled, the oldest first."""
        with self._lock:
            return list(self._identities)

    # --- writing -------------------------------------------------------------------------------------------

    def write(self, event: Event, outcome: str, now: float, reason: str = "") -> None:
        """Write what becomes of an event; it is on disk when this returns.

        Args:
            event: the event
            outcome: what becomes of it
            now: unix s
            reason: why, or who took it

        Raises:
            SentLogError: the disk does not take it
        """
        entry = {**_stamp(now), "outcome": outcome, "reason": reason, "event": event.key, "test": event.test}
        with self._lock:
            first = event.key not in self._events
            about = {"trigger": event.trigger, "items": event.items, "decided": event.unix} if first else {}
            self._append({**entry, **event.content, **about})
            self._follow(event, outcome)

    def note(self, outcome: str, now: float, reason: str, **about: Any) -> None:
        """Write down what is not about an event, such as an item of which none can be made.

        Args:
            outcome: what happened
            now: unix s
            reason: why
            about: what else there is to say; `items` are the identities of items that are settled by it

        Raises:
            SentLogError: the disk does not take it
        """
        with self._lock:
            self._append({**_stamp(now), "outcome": outcome, "reason": reason, **about})
            self._remember(about.get("items", ()))

    def _append(self, entry: dict[str, Any]) -> None:
        # a part of a line that a full disk or a power cut has left must not spoil the one after it
        line = "\n" * self._torn + json.dumps(entry, default=repr) + "\n"
        data = line.encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._torn = True
                written = os.write(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SentLogError(
                f"{self.path}: cannot be written, and nothing is sent that is not written there: "
                f"{error.strerror}"
            ) from error
        if written < len(data):
            raise SentLogError(f"{self.path}: the disk took only a part of a line; make room there")
        self._torn = False

    def _follow(self, event: Event, outcome: str) -> None:
        self._events.setdefault(event.key, event)
        self._outcomes[event.key] = outcome
        self._remember(event.items)
        if len(self._outcomes) > 2 * _MAX_EVENTS:
            self._forget_the_oldest()

    def _remember(self, identities: Iterable[str]) -> None:
        self._identities |= dict.fromkeys(identities)
        excess = max(0, len(self._identities) - _MAX_IDENTITIES)
        for identity in list(islice(self._identities, excess)):
            del self._identities[identity]

    def _forget_the_oldest(self) -> None:
        settled = [item for item in self._outcomes.items() if item[1] not in _OPEN]
        # apart from each other: refusals must not push out what counts
        for counted in (True, False):
            keys = [key for key, outcome in settled if (outcome in _COUNTED) == counted]
            for key in keys[:-_MAX_EVENTS]:
                del self._events[key], self._outcomes[key]

    # --- reading -------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            with self.path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - _READ_BYTES))
                data = stream.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise SentLogError(f"{self.path}: cannot be read: {error.strerror}") from error
        self._torn = not data.endswith(b"\n") and bool(data)
        for line in data.splitlines():
            self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        """Take in a line; one that was written in part, or begins before what is read, is passed over."""
        try:
            entry = json.loads(line)
            key = entry.get("event")
            if key is None:
                self._remember(map(str, entry.get("items", ())))
            elif key in self._events:
                self._follow(self._events[key], str(entry["outcome"]))
            elif "decided" in entry:
                self._follow(_event_of(entry), str(entry["outcome"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return


def _take_over(path: Path) -> int | None:
    """Return the descriptor of a lock that no other process has now; None: it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # nothing can be written down then, and thus nothing be sent
    if not wait_for_lock(lambda: _locked(descriptor)):
        os.close(descriptor)
        raise SentLogError(f"{path}: another process acts on what is to be sent; end it")
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks: nobody can be waited for
    return True


def _event_of(entry: dict[str, Any]) -> Event:
    own = ("time", "unix", "outcome", "reason", "event", "test", "trigger", "items", "decided")
    return Event(
        str(entry["event"]),
        float(entry["decided"]),
        bool(entry["test"]),
        {key: value for key, value in entry.items() if key not in own},
        dict(entry["trigger"]),
        tuple(map(str, entry["items"])),
    )


def _stamp(now: float) -> dict[str, Any]:
    return {"time": isot_text(datetime.fromtimestamp(now, UTC)), "unix": now}
