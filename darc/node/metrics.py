"""The metrics of a node while its master runs: their folder, and their being served."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from darc import metrics_store
from darc.config import Config
from darc.node.observations import ObservationBook
from darc.node.supervisor import Supervisor

_logger = logging.getLogger("darc.metrics")


@contextlib.contextmanager
def node_metrics(config: Config, supervisor: Supervisor, book: ObservationBook) -> Iterator[int | None]:
    """Let the services of a node keep their figures, and serve these if a port is configured.

    A port that cannot be had is no reason not to observe: it is logged.

    Args:
        config: configuration of the node
        supervisor: keeps its services
        book: its observations

    Yields:
        the port; None: they are not served
    """
    settings = config.darc_master
    folder = metrics_store.folder_in(settings.state_dir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(metrics_store.offered(folder))
        if settings.metrics_port is None:
            yield None
            return
        # an import that a master without a port does without
        from darc.node.metrics_server import MetricsServer, NodeCollector, NodeState  # noqa: PLC0415

        def state() -> NodeState:
            services = {name: supervisor.details(name) for name in supervisor.handles}
            mails = sum(1 for _ in (settings.state_dir / "mail").glob("*.eml"))
            return NodeState(services, [(each.end_unix, each.state) for each in book.all()], mails)

        node = config.node.name if config.node else os.uname().nodename
        address = settings.metrics_address, settings.metrics_port
        port = None
        try:
            collector = NodeCollector(folder, node, config.role, state)
            server = stack.enter_context(MetricsServer(address, collector))
            port = server.server_address[1]
            _logger.info("metrics are served on %s:%d", *address)
        except OSError as error:
            _logger.error("metrics are not served on %s:%d: %s", *address, error.strerror or error)
        yield port
