"""One way to log: a file per service, the observation in every line that belongs to one."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darc.errors import DARCError

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(service)s%(observation)s: %(message)s"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"


class _Context(logging.Filter):
    """Adds the service and the observation to every record of this process."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service
        self.observation = ""
        self.of_thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        record.service = self.service
        record.observation = getattr(self.of_thread, "observation", None) or self.observation
        return True


_context = _Context("darc")


def set_up_logging(service: str, log_file: Path | str | None, level: str = "INFO") -> None:
    """Send everything this process logs to one file, or to standard error without one.

    The file is reopened when it was moved away, so that an external rotation loses nothing.

    Args:
        service: name of the service, part of every line
        log_file: file to append to; its folder is made when missing
        level: lowest level that is logged

    Raises:
        DARCError: the file cannot be written
    """
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            Path(log_file).parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.WatchedFileHandler(log_file)
        except OSError as error:
            raise DARCError(
                f"cannot write the log {log_file}: {error.strerror}; make its folder writable for this user "
                f"or change {service}.log_file in the configuration"
            ) from error
    _context.service = service
    _context.observation = ""
    handler.addFilter(_context)
    handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())


def set_observation(label: str | None) -> None:
    """Name the observation that following lines belong to; None: no observation."""
    _context.observation = f" [{label}]" if label else ""


def set_observation_of_thread(label: str | None) -> None:
    """Name the observation that lines of this thread belong to, whatever others do; None: as the others."""
    _context.of_thread.observation = label and f" [{label}]"


@contextmanager
def observation_of_thread(label: str) -> Iterator[None]:
    """Do the same for a while."""
    before = getattr(_context.of_thread, "observation", None)
    set_observation_of_thread(label)
    try:
        yield
    finally:
        _context.of_thread.observation = before


class Burst:
    """Logs a kind of mishap once per burst of them, with their number at its end.

    Args:
        logger: where to log
        what: the mishaps, in the plural
        pause_s: time in s without one after which a burst has ended
        clock: monotonic time in s
    """

    def __init__(
        self,
        logger: logging.Logger,
        what: str,
        pause_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.logger = logger
        self.what = what
        self.pause_s = pause_s
        self.clock = clock
        self.total = 0
        self._in_burst = 0
        self._last = 0.0

    def count(self, number: int, example: str) -> None:
        """Count some, and log the first of a burst."""
        if not self._in_burst:
            self.logger.warning("%s, the first of which: %.200r", self.what, example)
        self._in_burst += number
        self.total += number
        self._last = self.clock()

    def tick(self) -> None:
        """Log the number if the burst has ended."""
        if self._in_burst and self.clock() - self._last > self.pause_s:
            self.flush()

    def flush(self) -> None:
        """End the burst now."""
        if self._in_burst:
            self.logger.warning("%s: %d in this burst, %d so far", self.what, self._in_burst, self.total)
        self._in_burst = 0
