"""The metrics of a node for Prometheus: those of its services' processes, and what its master knows."""

from __future__ import annotations

import logging
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import MetricsHandler
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from darc import __version__
from darc.formats.node_details import ServiceDetails
from darc.metrics import known_from_the_start, merged

#: Time in s after which a client that sends no request is left.
PATIENCE_S = 10.0

_logger = logging.getLogger("darc.metrics")


@dataclass(frozen=True)
class NodeState:
    """What the master of a node knows.

    Attributes:
        services: its services by name
        observations: end in unix s and state (`waiting` or `running`) of each observation in its book
        mails: number of mails on disk that wait for the mail server
    """

    services: Mapping[str, ServiceDetails]
    observations: Iterable[tuple[float, str]]
    mails: int


class NodeCollector(Collector):
    """Everything that a node tells Prometheus, with the node's name on every sample.

    Args:
        folder: folder of the figures of its processes
        node: name of the node
        role: `master` or `worker`
        state: returns what its master knows now
    """

    def __init__(self, folder: Path, node: str, role: str, state: Callable[[], NodeState]) -> None:
        self._folder, self._node, self._role, self._state = folder, node, role, state

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        info = GaugeMetricFamily("darc_node_info", "Version and role of the node", labels=["version", "role"])
        info.add_metric([__version__, self._role], 1.0)
        for metric in (info, *state_metrics(self._state()), *with_zeros(merged(self._folder))):
            metric.samples = [
                sample._replace(labels={"node": self._node, **sample.labels}) for sample in metric.samples
            ]
            yield metric


def state_metrics(state: NodeState) -> Iterator[Metric]:
    """Yield the metrics of what the master knows."""
    by_service = ["service"]
    up = GaugeMetricFamily("darc_service_up", "Whether a service runs", labels=by_service)
    restarts = CounterMetricFamily(
        "darc_service_restarts", "Restarts of a service after it had died", labels=by_service
    )
    queue = GaugeMetricFamily(
        "darc_queue_bytes", "Bytes that wait in the queue of a service", labels=by_service
    )
    for name, service in state.services.items():
        up.add_metric([name], float(service.running))
        restarts.add_metric([name], service.restarts)
        if service.queue is not None:
            queue.add_metric([name], service.queue)
    observations = GaugeMetricFamily(
        "darc_observations", "Observations in the book of the node, by state", labels=["state"]
    )
    book = list(state.observations)
    for name in ("waiting", "running"):
        observations.add_metric([name], sum(each == name for _, each in book))
    end = GaugeMetricFamily(
        "darc_observation_end_time_seconds",
        "Unix time at which the running observation ends; 0: none runs",
    )
    end.add_metric([], max((time for time, each in book if each == "running"), default=0.0))
    mails = GaugeMetricFamily("darc_mails_queued", "Mails on disk that wait for the mail server")
    mails.add_metric([], state.mails)
    yield from (up, restarts, queue, observations, end, mails)


def with_zeros(metrics: Iterable[Metric]) -> Iterable[Metric]:
    """Return metrics with those counters at zero that were not counted yet."""
    found = {metric.name: metric for metric in metrics}
    for counter, labels in known_from_the_start():
        described = next(iter(counter.describe()))
        metric = found.setdefault(described.name, described)
        if all(sample.labels != labels for sample in metric.samples):
            metric.samples.append(Sample(f"{metric.name}_total", labels, 0.0))
    return found.values()


class MetricsServer(socketserver.ThreadingTCPServer):
    """Serves the metrics of a node over HTTP while in a `with` block.

    Args:
        address: host and port to listen on; port 0: any free one
        collector: what to serve

    Raises:
        OSError: the address cannot be listened on
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], collector: Collector) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        handler = type("Handler", (MetricsHandler.factory(registry),), {"timeout": PATIENCE_S})
        super().__init__(address, handler)
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a client met, where socketserver would write it to standard error."""
        _logger.warning("metrics for %s: not served", client_address, exc_info=True)
