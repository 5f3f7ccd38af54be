"""What has been decided in an observation, written down before it is acted on.

A successor decides on the rest only, under the rate limits that hold by then, and knows what its predecessor
may not have sent any more. One observation is kept, until another one begins.

The file has a line of JSON per decision. Where it leads to something it is on disk before that is sent, also
after a power cut. All others are left to the system, which writes them even if this process is killed; after
a power cut they are made again, with the same outcome. A disk that takes nothing stops nobody: that is logged
once, and a successor decides again on what is missing.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

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
        begin = json.dumps({"observation": observation}).encode()
        lines = self._read() if resume else []
        self._resumed = bool(lines) and lines[0] == begin
        for line in lines[1:] if self._resumed else ():
            self._follow(line)
        # what has to come before the next line: the file may end in a part of one
        self._before = b"\n" if self._resumed else begin + b"\n"
        self._failing = False
        if not self._resumed:
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

    def _read(self) -> list[bytes]:
        if self._path is None:
            return []
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            self._logger.error("%s: %s: what was decided before is not known", self._path, error.strerror)
            return []

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
            data = self._before + line
            if os.write(self._descriptor, data) < len(data):
                raise OSError(0, "the disk took only a part")
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            if not self._failing:
                self._logger.error("%s: decisions are not written down: %s", self._path, error.strerror)
            self._failing = True
            self._before = self._before or b"\n"
        else:
            self._failing, self._before = False, b""

    def _open(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        begin = 0 if self._resumed else os.O_TRUNC
        self._resumed = True
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | begin, 0o644)


def _isot(value: Any) -> str:
    if not hasattr(value, "isot"):
        raise TypeError(f"{value!r:.100} is neither a plain value nor a time")
    return str(value.isot)
