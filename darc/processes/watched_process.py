"""A process whose life and end are seen whatever becomes of the server that it was forked from.

That it lives is known from a pipe that only it holds open: the system closes it at the process's very end,
whatever the cause. Multiprocessing's own sentinel belongs to the server that processes are forked from, and
reports all of them as dead when only that server was killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

#: Time in s for the exit code of a process that has ended to become known.
EXIT_CODE_WAIT_S = 1.0
#: What multiprocessing gives as the exit code of a process that outlived the server it was forked from.
UNSEEN = 255


class WatchedProcess(multiprocessing.context.Process):
    """A process of a start method of its own.

    Attributes:
        start_method: multiprocessing start method; None: the calling program's default
    """

    start_method: str | None = None
    #: what we wait at, in the process that started this one
    _lifeline: Connection | None = None
    #: what it holds open as long as it lives
    _held: Connection | None = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 (the hook of multiprocessing that starts a process)
        context: Any = multiprocessing.get_context(process_obj.start_method)
        try:
            return context.Process._Popen(process_obj)
        except (EOFError, ConnectionError):
            # the server that processes are forked from was killed; the next attempt starts another one
            return context.Process._Popen(process_obj)

    def start(self) -> None:
        """Start it."""
        ours, self._held = multiprocessing.Pipe(duplex=False)
        with self._held:
            super().start()
        self._lifeline, self._held = ours, None

    @property
    def sentinel(self) -> int:
        """Descriptor that is readable when it has ended (`multiprocessing.connection.wait`)."""
        return super().sentinel if self._lifeline is None else self._lifeline.fileno()

    def is_alive(self) -> bool:
        """Return whether it lives."""
        return super().is_alive() if self._lifeline is None else not self._lifeline.poll()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for `timeout` s at most."""
        if self._lifeline is None:
            super().join(timeout)
        elif multiprocessing.connection.wait([self._lifeline], timeout):
            super().join(EXIT_CODE_WAIT_S)

    @property
    def exitcode(self) -> int | None:
        """How it ended; None: it did not; `UNSEEN`: nobody saw it."""
        if self._lifeline is not None:
            if self.is_alive():
                return None
            super().join(EXIT_CODE_WAIT_S)
        return super().exitcode

    def terminate(self) -> None:
        """Have it end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.pid is not None and self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
