"""Where the processes of a node keep their figures: files in one folder, which outlive their writers.

The master makes the folder, empty, when it starts. A process takes a *slot* there when it counts for the
first time: its name and the first number that no living process of that name has. The kernel gives a slot
free when its process ends, however that happens, and the next process of the name goes on with the counts in
it. So no count is lost with a service that is killed, and there are never more files than processes at one
time.

Nothing here may stop a service: where no file can be had, figures stay in the memory of their process.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

#: Size of a file in bytes, which holds some 300 figures.
FILE_BYTES = 1 << 16
#: Beginning of the files whose figures are of no use after the end of their process.
LIVE = "gauge_live"

_VARIABLE = "DARC_METRICS_FOLDER"
_logger = logging.getLogger("darc.metrics")

#: Folder and name under which this process keeps its figures; None: in its memory only.
_place: tuple[Path, str] | None = None


@contextlib.contextmanager
def offered(folder: Path) -> Iterator[None]:
    """Make the folder, empty, and offer it to all processes that are started meanwhile.

    They learn of it by a variable of the environment, which reaches those of any generation. So whatever is
    not below a master, such as a test, never writes among the figures of one.
    """
    make_empty(folder)
    os.environ[_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


def keep_as(name: str | None) -> None:
    """Have this process keep its figures in the folder that it is offered, if any.

    Args:
        name: name of the process; None: keep them in memory
    """
    global _place  # noqa: PLW0603 (a process has one place for its figures)
    folder = os.environ.get(_VARIABLE)
    _place = (Path(folder), name) if folder and name else None


def take_slot() -> Slot | None:
    """Return a slot for this process; None if it keeps its figures in memory."""
    if _place is None:
        return None
    try:
        return Slot(*_place)
    except OSError as error:
        without_files(error)
    return None


def without_files(error: OSError) -> None:
    """Go on without files after an error."""
    _logger.warning("metrics of this process are not kept: %s", error)
    keep_as(None)


def folder_in(state_dir: Path | str) -> Path:
    """Return the folder of the figures below a node's folder for what it has to remember."""
    return Path(state_dir) / "metrics"


def make_empty(folder: Path) -> None:
    """Make the folder, without what an earlier master's services left there.

    Without it the services go on, and count for themselves.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
    except OSError as error:
        _logger.error("no metrics: %s: %s; see darc_master.state_dir", folder, error.strerror)


class Slot:
    """A name in the folder that is this process's alone as long as it lives.

    Args:
        folder: folder of the figures
        name: name of the process, which others may have too

    Raises:
        OSError: there is no such folder, or nothing can be written there
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        stem = re.sub(r"\W|_", "-", name)
        for number in itertools.count():
            self.name = f"{stem}-{number}"
            lock = _lock_path(folder, self.name).open("ab")
            if _locked(lock.fileno(), fcntl.LOCK_EX):
                break
            lock.close()
        self._lock = lock
        for path in folder.glob(f"{LIVE}*_{self.name}.db"):
            path.unlink()

    def file(self, kind: str) -> Path:
        """Return the file for a kind of figures, made if it is not there.

        Its space is taken on the disk now: writing to a mapped file that the disk has no room for ends a
        process without a word.

        Raises:
            OSError: it cannot be made
        """
        path = self._folder / f"{kind}_{self.name}.db"
        if not path.exists():
            aside = path.with_suffix(".part")
            with aside.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
            aside.rename(path)
        return path

    def close(self) -> None:
        """Give the slot free."""
        self._lock.close()


def current_files(folder: Path) -> list[str]:
    """Return the files with figures, without those that ended with their process."""
    return [str(path) for path in folder.glob("*.db") if not path.name.startswith(LIVE) or _is_taken(path)]


def _is_taken(path: Path) -> bool:
    """Whether a living process has the slot of a file."""
    with (
        contextlib.suppress(OSError),
        _lock_path(path.parent, path.stem.rpartition("_")[2]).open("rb") as lock,
    ):
        return not _locked(lock.fileno(), fcntl.LOCK_SH)
    return False


def _lock_path(folder: Path, slot: str) -> Path:
    return folder / f"{slot}.lock"


def _locked(descriptor: int, kind: int) -> bool:
    """Take a lock on a file if that is possible at once, and return whether it was."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
