"""What has been decided in an observation, written down before it is acted on.

A successor decides on the rest only, under the rate limits that hold by then, and knows what its predecessor
may not have sent any more. One observation is kept, until another one begins.

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
import time
from collections import Counter
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

#: Longest time in s for which a predecessor's end is waited for: its master, which it ends after, is gone.
PREDECESSOR_S = 6.0
LOCK_INTERVAL_S = 0.05

#: What is to be sent, by the kind of its receiver.
Sendings = Mapping[str, Any]


class DecisionLog:
    """The decisions of one observation.

    Args:
        path: the file; None: nothing is kept
        observation: name of the observation
        resume: go on with what a predecessor left, if it is of this observation; else begin anew

    Attributes:
        rows: rows that have been decided on, by batch and by AMBER instance
        counts: numbers of anything so far, by name
        last_iquv_s: latest IQUV trigger in s from the start of the data
        unsent: what the last decision led to, unless it is known to have been sent
    """

    def __init__(self, path: Path | None, observation: str, resume: bool) -> None:
        self.rows: dict[int, Counter[int]] = {}
        self.counts: dict[str, int] = {}
        self.last_iquv_s = -inf
        self.unsent: dict[str, Any] = {}
        self._path = path
        self._logger = logging.getLogger("darc.decisions")
        self._descriptor: int | None = None
        self._failing = False
        begin = json.dumps({"observation": observation}).encode()
        lines = self._read().splitlines()
        self._to_clear = not (resume and lines and lines[0] == begin)
        for line in () if self._to_clear else lines[1:]:
            self._follow(line)
        # what has to come before the next line: the file may end in a part of one
        self._before = begin + b"\n" if self._to_clear else b"\n"
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
        """Write down that what the last decision leads to has been sent."""
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

    def _follow(self, line: bytes) -> None:
        try:
            if not line:
                return
            entry = json.loads(line)
            if "sent" in entry:
                self.unsent = {}
                return
            rows = {int(step): int(number) for step, number in entry["rows"].items()}
            self.rows.setdefault(int(entry["batch"]), Counter()).update(rows)
            self.counts = entry["counts"]
            self.last_iquv_s = float(entry.get("last_iquv_s", self.last_iquv_s))
            self.unsent = entry.get("send", {})
        except (ValueError, TypeError, KeyError, AttributeError):
            self._logger.warning("%s: a line passed over that is damaged: %.100r", self._path, line)

    def _write(self, line: bytes, durable: bool) -> None:
        if self._path is None:
            return
        try:
            if self._descriptor is None:
                self._descriptor = self._open(self._path)
            if self._to_clear:
                os.ftruncate(self._descriptor, 0)
                self._to_clear = False
            data = self._before + line
            if os.write(self._descriptor, data) < len(data):
                raise OSError(0, "the disk took only a part")
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            self._fails(error)
            self._before = self._before or b"\n"
        else:
            self._failing, self._before = False, b""

    def _fails(self, error: OSError) -> None:
        if not self._failing:
            self._logger.error("%s: decisions are not written down: %s", self._path, error.strerror)
        self._failing = True

    def _open(self, path: Path) -> int:
        """Open the file, once a predecessor whose master was killed has ended, too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        end = time.monotonic() + PREDECESSOR_S
        while not _locked(descriptor) and time.monotonic() < end:
            time.sleep(LOCK_INTERVAL_S)
        return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _isot(value: Any) -> str:
    if not hasattr(value, "isot"):
        raise TypeError(f"{value!r:.100} is neither a plain value nor a time")
    return str(value.isot)
