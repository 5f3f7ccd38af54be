"""State of a service, and its process."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field

from darc.node.service_process import ServiceProcess
from darc.processes.deaths import Deaths


class State(enum.Enum):
    """State of a service; the value is what `status` shows."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass
class Handle:
    """A service and its process.

    Attributes:
        operation: held while it is started or stopped
        deaths: its recent deaths
        restart_at: when it is to be restarted, if it is to be
        since: when it got into its state, unix s; None: it never was in another
        restarts: how often it was restarted after a death
    """

    name: str
    state: State = State.STOPPED
    process: ServiceProcess | None = None
    operation: threading.Lock = field(default_factory=threading.Lock)
    deaths: Deaths = field(default_factory=Deaths)
    restart_at: float = 0.0
    since: float | None = None
    restarts: int = 0

    def died(self) -> bool:
        """Whether the process has ended, and that has not been noted."""
        return self.process is not None and not self.process.alive()
