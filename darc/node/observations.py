"""The book of observations of a node: which wait for their start, which run, which are over."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.files import read_text, write_complete
from darc.formats.parset import MASTER_KEYS

#: States of an observation.
WAITING, RUNNING = "waiting", "running"
#: Limit of the file of the book in bytes.
MAX_FILE_BYTES = 2**26


@dataclass(frozen=True)
class Observation:
    """An observation that was submitted to this node.

    Attributes:
        task_id: identifies it
        obs_config: its configuration
        start_unix: start of the data in unix seconds
        end_unix: end of the data in unix seconds
        state: `waiting` or `running`
        config_file: the copy of its configuration that is kept; None: there is none
    """

    task_id: str
    obs_config: dict[str, Any] = field(repr=False)
    start_unix: float
    end_unix: float
    state: str = WAITING
    config_file: Path | None = None

    @property
    def datetimesource(self) -> str:
        """Its name, the same on all nodes; empty if its configuration has none."""
        return str(self.obs_config.get("datetimesource", ""))

    def summary(self) -> dict[str, str]:
        """Return what `status` shows of it."""
        return {
            "task_id": self.task_id,
            "datetimesource": self.datetimesource,
            "state": self.state,
            "start": _isot(self.start_unix),
            "end": _isot(self.end_unix),
        }


class ObservationBook:
    """Observations by task ID; safe to use from several threads.

    Args:
        setup_s: time in s before its start at which an observation is begun
        overdue_s: time in s after its end at which one that nobody stopped is stopped
        changed: called with all observations after each change
    """

    def __init__(
        self,
        setup_s: float,
        overdue_s: float,
        changed: Callable[[Sequence[Observation]], None] = lambda _: None,
    ) -> None:
        self.setup_s = setup_s
        self.overdue_s = overdue_s
        self._changed = changed
        self._lock = threading.Lock()
        self._observations: dict[str, Observation] = {}

    def add(self, observation: Observation) -> None:
        """Enter an observation.

        Raises:
            DARCError: one with this task ID is there already
        """
        with self._lock:
            self.check_new(observation.task_id)
            self._observations[observation.task_id] = observation
            self._changed(list(self._observations.values()))

    def check_new(self, task_id: str) -> None:
        """Refuse a task ID that is there already.

        Raises:
            DARCError: it is
        """
        known = self._observations.get(task_id)
        if known is not None:
            raise DARCError(
                f"observation with task ID {task_id} is already {known.state}; stop or abort it first"
            )

    def remove(self, task_id: str) -> Observation | None:
        """Strike out an observation and return it; None if it is not there."""
        with self._lock:
            observation = self._observations.pop(task_id, None)
            if observation is not None:
                self._changed(list(self._observations.values()))
            return observation

    def begin_due(self, now: float) -> list[Observation]:
        """Mark the observations that have to begin by now as running, and return them."""
        with self._lock:
            due = [
                replace(o, state=RUNNING)
                for o in self._observations.values()
                if o.state == WAITING and now >= o.start_unix - self.setup_s
            ]
            self._observations.update({o.task_id: o for o in due})
            if due:
                self._changed(list(self._observations.values()))
            return due

    def overdue(self, now: float) -> list[Observation]:
        """Return the running observations that should have been stopped by now."""
        return [o for o in self.running() if now >= o.end_unix + self.overdue_s]

    def running(self) -> list[Observation]:
        """Return the observations that run, in the order of their start."""
        return [o for o in self.all() if o.state == RUNNING]

    def all(self) -> list[Observation]:
        """Return all observations in the order of their start."""
        with self._lock:
            return sorted(self._observations.values(), key=lambda o: o.start_unix)

    def next_event(self, now: float) -> float | None:
        """Return the seconds until an observation is due to begin or overdue; None: there is none."""
        times = [
            o.start_unix - self.setup_s if o.state == WAITING else o.end_unix + self.overdue_s
            for o in self.all()
        ]
        return max(0.0, min(times) - now) if times else None


class BookFile:
    """What is in the book, for the next master: where each observation's configuration is, and its state.

    So is what it has from the master node, whose file another observation may have overwritten by then.

    It is on disk complete, also after a power cut. Without it observations go on, but not beyond this master.

    Args:
        path: the file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._logger = logging.getLogger("darc.master")
        self._failing = False

    def write(self, observations: Sequence[Observation]) -> None:
        """Keep these observations, and no others."""
        entries = [
            {
                "config_file": str(o.config_file),
                "state": o.state,
                "from_master": {key: o.obs_config[key] for key in MASTER_KEYS if key in o.obs_config},
            }
            for o in observations
            if o.config_file
        ]
        try:
            write_complete(self._path, json.dumps(entries), DARCError, durable=True)
        except DARCError as error:
            if not self._failing:
                self._logger.error("the next master will not know of this node's observations: %s", error)
            self._failing = True
        else:
            self._failing = False

    def read(self) -> list[tuple[Path, str, dict[str, Any]]]:
        """Return of each observation its configuration, its state, and what it has from the master node."""
        if not self._path.exists():
            return []
        try:
            entries = json.loads(read_text(self._path, MAX_FILE_BYTES, DARCError))
            return [
                (Path(entry["config_file"]), str(entry["state"]), dict(entry.get("from_master", {})))
                for entry in entries
            ]
        except (DARCError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._logger.error("%s: what was observed before is not known: %s", self._path, error)
            return []


def _isot(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")
