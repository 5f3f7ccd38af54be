"""Whether a node is well: what systemd and those who look at it with `systemctl status` are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from darc.node.observations import ObservationBook
from darc.node.service_handle import State
from darc.node.supervisor import Supervisor
from darc.systemd_notify import Notifier


class Wellbeing:
    """Tells systemd how the master process fares, each time that its loop turns.

    A service that fails is the supervisor's business and no reason to end the others: well is a master whose
    loop turns and whose threads live.

    Args:
        notifier: tells systemd
        who: this node, for people
        supervisor: keeps the services
        book: the observations
        threads: what the process is of no use without, and whether it lives
    """

    def __init__(
        self,
        notifier: Notifier,
        who: str,
        supervisor: Supervisor,
        book: ObservationBook,
        threads: Mapping[str, Callable[[], bool]],
    ) -> None:
        self._notifier, self._who = notifier, who
        self._supervisor, self._book = supervisor, book
        self._threads = threads
        self._missing: list[str] = []
        self._ready = False

    @property
    def interval_s(self) -> float | None:
        """Longest time in s between two turns of the loop; None: any."""
        return self._notifier.interval_s

    def tell(self) -> None:
        """Tell it: the first time that all is started, then whether all is well."""
        if not self._ready:
            self._ready = True
            self._notifier.ready(self.status())
        missing = [what for what, lives in self._threads.items() if not lives()]
        if missing != self._missing:
            logging.getLogger("darc.master").critical("ended by a defect: %s", " and ".join(missing))
        self._missing = missing
        self._notifier.beat(self.status(), well=not missing)

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._notifier.stopping()

    def status(self) -> str:
        """Return the state of this node in a line."""
        states = [self._supervisor.status(name) for name in self._supervisor.handles]
        running = states.count(State.RUNNING.value)
        observations = ", ".join(f"{each.datetimesource} {each.state}" for each in self._book.all())
        lost = f"; ended by a defect: {' and '.join(self._missing)}" if self._missing else ""
        return (
            f"{self._who}: {running} of {len(states)} services run; {observations or 'no observation'}{lost}"
        )
