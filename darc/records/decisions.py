"""What has been decided in an observation, written down before it is acted on.

A successor decides on the rest only, under the rate limits that hold by then, and knows what its predecessor
may not have sent any more. The DADA trigger finds here the dumps that it was never told of. One observation
is kept, until another one begins.

The file has a line of JSON per decision. Where it leads to something it is on disk before that is sent, also
after a power cut. All others are left to the system, which writes them even if this process is killed; after
a power cut they are made again, with the same outcome. A disk that takes nothing stops nobody: that is logged
once, and a successor decides again on what is missing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from darc.records.predecessor import wait_for_lock

#: Number of dumps that are asked for again: more than the buffer holds, so that it is told which are lost.
RECALLED = 20

#: What is to be sent, by the kind of its receiver.
Sendings = Mapping[str, Any]

_logger = logging.getLogger("darc.decisions")


@dataclass
class Decisions:
    """What is known of the decisions of an observation.

    Attributes:
        rows: rows that have been decided on, by batch and by AMBER instance
        counts: numbers of anything so far, by name
        last_iquv_s: latest IQUV trigger in s from the start of the data
        unsent: what the last decision led to, unless it is known to have been handed over
        dumps: the latest messages for the DADA trigger, the oldest first
    """

    rows: dict[int, Counter[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    last_iquv_s: float = -inf
    unsent: dict[str, Any] = field(default_factory=dict)
    dumps: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECALLED))

    def follow(self, lines: Iterable[bytes]) -> None:
        """Take in lines of the file; one that is damaged costs itself only."""
        for line in filter(None, lines):
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                _logger.warning("a line passed over that is damaged: %.100r", line)

    def _take(self, entry: dict[str, Any]) -> None:
        if "sent" in entry:
            self.unsent = {}
            return
        rows = {int(step): int(number) for step, number in entry["rows"].items()}
        self.rows.setdefault(int(entry["batch"]), Counter()).update(rows)
        self.counts = entry["counts"]
        self.last_iquv_s = float(entry.get("last_iquv_s", self.last_iquv_s))
        self.unsent = entry.get("send", {})
        if "iquv" in self.unsent:
            self.dumps.append(dict(self.unsent["iquv"]))


def file_in(state_dir: Path) -> Path:
    """Return the file with the decisions of a node."""
    return state_dir / "decisions"


def decided_dumps(path: Path, observation: str) -> list[dict[str, Any]]:
    """Return the latest messages for the DADA trigger that an observation led to, the oldest first.

    Args:
        path: the file, which may be written to meanwhile, and need not exist
        observation: name of the observation
    """
    decided = Decisions()
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        _logger.error("%s: cannot be read: %s", path, error.strerror)
        return []
    if lines[:1] == [_begin(observation)]:
        decided.follow(lines[1:])
    return list(decided.dumps)


class DecisionLog:
    """The decisions of one observation.

    Args:
        path: the file; None: nothing is kept
        observation: name of the observation
        resume: go on with what a predecessor left, if it is of this observation; else begin anew

    Attributes:
        before: what predecessors decided
    """

    def __init__(self, path: Path | None, observation: str, resume: bool) -> None:
        self.before = Decisions()
        self._path = path
        self._descriptor: int | None = None
        self._failing = False
        begin = _begin(observation)
        lines = self._read().splitlines()
        self._to_clear = not (resume and lines and lines[0] == begin)
        if not self._to_clear:
            self.before.follow(lines[1:])
        # what has to come before the next line: the file may end in a part of one
        self._due = begin + b"\n" if self._to_clear else b"\n"
        self._write(b"", durable=False)

    def decide(
        self,
        batch: int,
        rows: Mapping[int | None, int],
        counts: Mapping[str, int],
        last_iquv_s: float,
        sendings: Sendings,
    ) -> None:
        """Write down a decision.

        Args:
            batch: what it is on
            rows: number of rows by AMBER instance; None: of unknown sources, which cannot be read again
            counts: numbers of anything so far, by name
            last_iquv_s: latest IQUV trigger in s from the start of the data
            sendings: what it leads to, of plain values and times of astropy
        """
        known = {str(step): number for step, number in rows.items() if step is not None}
        entry: dict[str, Any] = {"batch": batch, "rows": known, "counts": dict(counts)}
        if last_iquv_s > -inf:
            entry["last_iquv_s"] = last_iquv_s
        if sendings:
            entry["send"] = dict(sendings)
        self._write(json.dumps(entry, default=_isot).encode() + b"\n", durable=bool(sendings))

    def sent(self) -> None:
        """Write down that what the last decision leads to has been handed over to who sends it."""
        self._write(b'{"sent": true}\n', durable=False)

    def close(self) -> None:
        """Give back the file; it is opened again if there is more to write."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> bytes:
        if self._path is None:
            return b""
        try:
            self._descriptor = self._open(self._path)
            return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        except OSError as error:
            self._fails(error)
            return b""

    def _write(self, line: bytes, durable: bool) -> None:
        if self._path is None:
            return
        try:
            if self._descriptor is None:
                self._descriptor = self._open(self._path)
            if self._to_clear:
                os.ftruncate(self._descriptor, 0)
                self._to_clear = False
            data = self._due + line
            if os.write(self._descriptor, data) < len(data):
                raise OSError(0, "the disk took only a part")
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            self._fails(error)
            self._due = self._due or b"\n"
        else:
            self._failing, self._due = False, b""

    def _fails(self, error: OSError) -> None:
        if not self._failing:
            _logger.error("%s: decisions are not written down: %s", self._path, error.strerror)
        self._failing = True

    def _open(self, path: Path) -> int:
        """Open the file, once a predecessor whose master was killed has ended, too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        wait_for_lock(lambda: _locked(descriptor))
        return descriptor


def _begin(observation: str) -> bytes:
    return json.dumps({"observation": observation}).encode()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks: nobody can be waited for
        _logger.warning("it is not known whether a predecessor still decides: %s", error.strerror)
    return True


def _isot(value: Any) -> str:
    if not hasattr(value, "isot"):
        raise TypeError(f"{value!r:.100} is neither a plain value nor a time")
    return str(value.isot)
