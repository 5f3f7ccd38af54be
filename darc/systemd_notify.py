"""What the service manager is told: that the node is up, that it is well, that it ends (sd_notify(3)).

A datagram of `KEY=value` lines on the socket that `$NOTIFY_SOCKET` names. Nothing is told where systemd did
not start this process.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

#: Notifications per time-out of the watchdog: one that is late by a whole period does no harm.
BEATS = 3


class Notifier:
    """Tells systemd how this process fares.

    What says where to tell it is removed from the environment, so that no other process speaks for this one.

    Args:
        environment: of this process

    Attributes:
        interval_s: longest time between two beats; None: nobody waits for them
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        # an abstract address is written with @ in place of its NUL
        self._address = "\0" + address[1:] if address.startswith("@") else address
        time_out = environment.pop("WATCHDOG_USEC", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = bool(address) and ours and time_out.isdecimal()
        self.interval_s = int(time_out) * 1e-6 / BEATS if watched else None
        self._status = ""

    def ready(self, status: str) -> None:
        """All is started."""
        self._send("READY=1", self._changed(status))

    def beat(self, status: str, *, well: bool) -> None:
        """Tell the watchdog that all is well; a process that is not, or hangs, is ended and started again."""
        self._send("WATCHDOG=1" if well and self.interval_s else "", self._changed(status))

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1", self._changed("stopping"))

    def _changed(self, status: str) -> str:
        """Return the assignment of a status that was not told yet, else nothing."""
        if status == self._status:
            return ""
        self._status = status
        return "STATUS=" + " ".join(status.split())

    def _send(self, *assignments: str) -> None:
        lines = "\n".join(filter(None, assignments))
        if not self._address or not lines:
            return
        # nobody could be told that systemd cannot be told; its watchdog notices
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection,
        ):
            connection.setblocking(False)
            connection.sendto(lines.encode(), self._address)
