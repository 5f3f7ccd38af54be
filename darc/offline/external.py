"""Programs of others, such as PRESTO's: started with a list of arguments, a folder and a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from darc.offline.plan import OfflineError
from darc.processes.forks import foreign_environment

#: Time in s between two looks whether a program has ended or the work is to end.
_LOOK_INTERVAL_S = 0.2
#: How much of the end of its output an error tells and is returned, and how much there may be, in bytes.
_TOLD_BYTES, _RETURNED_BYTES, OUTPUT_BYTES_MAX = 400, 2**16, 2**26


class ExternalError(OfflineError):
    """A program of others could not do its work; the message names it."""


def run(
    command: Sequence[str],
    folder: Path,
    timeout_s: float,
    check: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Run a program until it ends; return the end of what it wrote to its outputs, both together.

    Whatever it started ends with it when it is stopped early.

    Args:
        command: the program and its arguments
        folder: working directory; made if it is not there
        timeout_s: it is killed if it takes longer
        check: called often; the program is killed if it raises an exception
        clock: monotonic time in s

    Raises:
        ExternalError: it is not there, failed, took too long, or wrote far too much
    """
    name = command[0]
    with tempfile.TemporaryFile() as output:

        def size() -> int:
            return os.fstat(output.fileno()).st_size

        def check_all() -> None:
            check()
            if size() > OUTPUT_BYTES_MAX:
                raise ExternalError(f"{name} wrote more than {OUTPUT_BYTES_MAX} bytes to its outputs: killed")

        process = _start(command, folder, output)
        with process:
            try:
                _wait(process, name, clock() + timeout_s, timeout_s, check_all, clock)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        output.seek(max(0, size() - _RETURNED_BYTES))
        text = output.read().decode(errors="replace")
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"code {process.returncode}"
        raise ExternalError(f"{name} ended with {how}: {text.strip()[-_TOLD_BYTES:] or 'it said nothing'}")
    return text


def _start(command: Sequence[str], folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program in a group of its own, which is killed with all that is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            command,
            cwd=folder,
            env=foreign_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ExternalError(f"{command[0]} cannot be run: {reason}; check whether it is installed") from error


def _wait(
    process: subprocess.Popen[bytes],
    name: str,
    end_s: float,
    timeout_s: float,
    check: Callable[[], None],
    clock: Callable[[], float],
) -> None:
    while True:
        check()
        remaining_s = end_s - clock()
        if remaining_s <= 0:
            raise ExternalError(f"{name} did not end within {timeout_s:g} s: killed")
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(_LOOK_INTERVAL_S, remaining_s))
            return
