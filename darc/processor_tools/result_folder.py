"""The folder of results, which may be on a file server that is away for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from darc.errors import DARCError
from darc.processor_tools.beam import ProcessorException

#: Time in s between two attempts while nothing can be written there, and after which that is given up.
RETRY_S, MAX_AGE_S = 10.0, 86400.0


class ResultFolder:
    """What is to be written to the folder of results waits while that cannot be written to.

    Args:
        path: the folder
        logger: where to log
        monotonic: time in s
    """

    def __init__(self, path: Path, logger: logging.Logger, monotonic: Callable[[], float]) -> None:
        self._path, self._logger, self._monotonic = path, logger, monotonic
        self._failing_since: float | None = None
        self._next_at = 0.0

    def is_there(self) -> bool:
        """Return whether it is there, or whether waiting for it is given up."""
        return self.attempt(self._make)

    def attempt(self, write: Callable[[], None]) -> bool:
        """Have something written there; return whether it was, or is given up; else ask again.

        Args:
            write: writes it, or raises a `DARCError`
        """
        now = self._monotonic()
        if now < self._next_at:
            return False
        try:
            write()
        except DARCError as error:
            return self._fails(error, now)
        self._failing_since = None
        return True

    def _fails(self, error: DARCError, now: float) -> bool:
        if self._failing_since is None:
            self._failing_since = now
            self._logger.error("%s; results wait, and are tried again each %g s", error, RETRY_S)
        waited_s = now - self._failing_since
        if waited_s > MAX_AGE_S:
            self._logger.critical("%s; after %.0f s results are given up", error, waited_s)
            return True
        self._next_at = now + RETRY_S
        return False

    def _make(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProcessorException(f"{self._path}: cannot be made: {error.strerror}") from error
