"""Observations that wait for their processing or are in it, and what is on disk of them for a successor."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.offline.plan import OfflineError
from darc.processes.deaths import DEATHS_MAX
from darc.reporting.memory import OpenObservations

_logger = logging.getLogger("darc.offline")
#: Not an attribute: a service is pickled on its way to its process.
_writing = threading.Lock()


class Running:
    """An observation that is processed, or waits for that.

    Args:
        obs_config: observation configuration
        stopped_unix: time in unix s at which somebody stopped it before its end
        attempts: how often its processing has begun and was not ended in good order
    """

    def __init__(
        self, obs_config: dict[str, Any], stopped_unix: float | None = None, attempts: int = 0
    ) -> None:
        self.obs_config, self.stopped_unix, self.attempts = obs_config, stopped_unix, attempts
        self.thread: threading.Thread | None = None
        self.aborted = threading.Event()

    @property
    def alive(self) -> bool:
        """Whether it is worked on, or waits."""
        return self.thread is not None and self.thread.is_alive()


class Unfinished:
    """Keeps observations on disk until they are finished; safe to use from several threads.

    Args:
        folder: where they are; None: nothing is kept
    """

    def __init__(self, folder: Path | None) -> None:
        self._files = None if folder is None else OpenObservations(folder, _logger)

    def keep(self, running: Running) -> None:
        """Remember an observation as it is now; one that nobody can identify is not remembered."""
        if self._files is not None and (task := _task_id(running)):
            content = {
                "obs_config": running.obs_config,
                "stopped_unix": running.stopped_unix,
                "attempts": running.attempts,
            }
            with _writing:
                self._files.keep(task, content)

    def forget(self, running: Running) -> None:
        """Forget an observation."""
        if self._files is not None and (task := _task_id(running)):
            self._files.drop(task)

    def all(self) -> list[Running]:
        """Return what a predecessor did not finish, and forget what it died of."""
        if self._files is None:
            return []
        found = []
        for task, kept in self._files.all().items():
            try:
                found.append(_read(kept))
            except OfflineError as error:
                _logger.critical("task %s is left to `darc process-offline`: %s", task, error)
                self._files.drop(task)
        return found


def _read(kept: dict[str, Any]) -> Running:
    """Return an observation that was kept.

    Raises:
        OfflineError: that is damaged, or the service died of it
    """
    try:
        stopped_unix = None if kept["stopped_unix"] is None else float(kept["stopped_unix"])
        running = Running(dict(kept["obs_config"]), stopped_unix, int(kept["attempts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OfflineError(f"what was kept of it is damaged: {error!r}") from error
    if running.attempts >= DEATHS_MAX:
        raise OfflineError(f"the service died {running.attempts} times while it was processed")
    return running


def _task_id(running: Running) -> str:
    try:
        return parsets.task_id(running.obs_config)
    except DARCError:
        return ""
