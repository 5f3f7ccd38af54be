"""Moves logs away that have grown large. Those who write to them notice, and none of their lines is lost."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from darc.config import Config

#: Time in s between two looks at the logs.
INTERVAL_S = 60.0

_logger = logging.getLogger("darc.master")


class LogRotation:
    """The logs of a node, looked at from time to time.

    Args:
        monotonic: time in s
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next = monotonic()

    def keep(self, config: Config) -> float | None:
        """Rotate what is to be rotated; return after how many seconds to look again, None: never."""
        size, now = config.logging.rotate_size, self._monotonic()
        if size is None:
            return None
        if now >= self._next:
            self._next = now + INTERVAL_S
            for path in log_files(config):
                try:
                    rotate(path, size, config.logging.rotate_keep)
                except OSError as error:
                    _logger.error("the log %s is not rotated: %s", path, error)
        return self._next - now


def log_files(config: Config) -> Iterable[Path]:
    """Return the logs that are written on a node, each once."""
    files = {config.darc_master.log_file}
    files.update(config.section(name).log_file for name in config.services)  # type: ignore[attr-defined]
    return sorted(files)


def rotate(path: Path, max_bytes: int, keep: int) -> bool:
    """Move a file that is longer than `max_bytes` to `FILE.1`, `FILE.1` to `FILE.2`, and so on.

    Writers go on with the file that they have open until they notice, so what was just moved may still grow.

    Args:
        path: the file, which need not be there
        max_bytes: greatest length
        keep: number of files that are kept beside it

    Returns:
        whether it was moved

    Raises:
        OSError: it cannot be
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(keep - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            old_log(path, number).rename(old_log(path, number + 1))
    path.rename(old_log(path, 1))
    return True


def old_log(path: Path, number: int = 1) -> Path:
    """Return where a log was moved to; the newest has number 1."""
    return path.with_name(f"{path.name}.{number}")
