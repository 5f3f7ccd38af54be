"""One way to log: a file per service, the observation in every line that belongs to one.

A line is text, or on request a JSON object (`logging.format`). An observation has its name and its task ID in
every line about it, the same in all services of all nodes.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from darc.errors import DARCError

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(service)s%(subject)s: %(message)s"
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S"


class _Subject(NamedTuple):
    """Name and task ID of the observation that a line belongs to; empty: none."""

    label: str = ""
    task_id: str = ""

    def __str__(self) -> str:
        names = [self.label, *([self.task_id] if self.task_id not in ("", self.label) else [])]
        return f" [{' '.join(names)}]" if self.label else ""


class _Context(logging.Filter):
    """Adds the node, the service and the observation to every record of this process."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service
        self.node = ""
        self.subject = _Subject()
        self.of_thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        record.service, record.node = self.service, self.node
        record.subject = getattr(self.of_thread, "subject", None) or self.subject
        return True


_context = _Context("darc")


class _TextFormatter(logging.Formatter):
    """Makes a line for people; in UTC, as all other times, whatever the zone of the node."""

    converter = staticmethod(time.gmtime)


class _JSONFormatter(logging.Formatter):
    """Makes a line an object that programs read; what is not known is null."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        subject: _Subject = record.subject  # type: ignore[attr-defined]
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": record.service,  # type: ignore[attr-defined]
            "observation": subject.label or None,
            "task_id": subject.task_id or None,
            "node": record.node or None,  # type: ignore[attr-defined]
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class _LogFile(logging.handlers.WatchedFileHandler):
    """A file that follows its rotation; a line that it does not take goes to standard error instead."""

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # it was moved away, and there is no new one
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (of the standard library)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
            return
        with suppress(OSError):
            print(self.format(record), file=sys.stderr, flush=True)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class Settings(NamedTuple):
    """How is logged, in a form that every process can be started with.

    Attributes:
        level: lowest level that is logged
        format: `text` or `json`
        node: name of this node, part of every object
    """

    level: str = "INFO"
    format: str = "text"
    node: str = ""


def set_up_logging(
    service: str, log_file: Path | str | None, level: str = "INFO", format: str = "text", node: str = ""
) -> None:
    """Send everything this process logs to one file, or to standard error without one.

    The file is reopened when it was moved away, so that its rotation, by the master or by another program,
    loses nothing; each line is written at once and at the end, so that several processes can share it.

    Args:
        service: name of the service, part of every line
        log_file: file to append to; its folder is made when missing
        level: lowest level that is logged
        format: `text` or `json`
        node: name of this node; like the level and the format one of `Settings`

    Raises:
        DARCError: the file cannot be written
    """
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = _LogFile(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise DARCError(
                f"cannot write the log {log_file}: {error.strerror}; make its folder writable for this user "
                f"or change {service}.log_file in the configuration"
            ) from error
    _context.service, _context.node, _context.subject = service, node, _Subject()
    handler.addFilter(_context)
    handler.setFormatter(_JSONFormatter() if format == "json" else _TextFormatter(FORMAT, DATE_FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())


def set_observation(label: str | None, task_id: str = "") -> None:
    """Name the observation that following lines belong to; None: no observation."""
    _context.subject = _Subject(label or "", task_id)


def set_observation_of_thread(label: str | None, task_id: str = "") -> None:
    """Name the observation that lines of this thread belong to, whatever others do; None: as the others."""
    _context.of_thread.subject = _Subject(label, task_id) if label else None


@contextmanager
def observation_of_thread(label: str, task_id: str = "") -> Iterator[None]:
    """Do the same for a while."""
    before = getattr(_context.of_thread, "subject", None)
    set_observation_of_thread(label, task_id)
    try:
        yield
    finally:
        _context.of_thread.subject = before


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
