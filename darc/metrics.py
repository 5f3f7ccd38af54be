"""What is counted and measured on a node, for Prometheus and the status page.

The figures are always kept. `docs/metrics.md` lists them, `darc.metrics_store` says where they are, and the
master serves them if a port is configured (`darc.node.metrics_server`). Count what was done together in one
go, per block or batch: an increment costs a microsecond or two.
"""

from __future__ import annotations

import os
import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import isfinite, nan
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from darc import metrics_store

# --- where values are kept ---------------------------------------------------------------------------------


class _Keeper:
    """The values of this process and, once it has counted something, its open files.

    Attributes:
        lock: held while a value changes
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._values: list[_Value] = []
        self._slot: metrics_store.Slot | None = None
        self._files: dict[str, MmapedDict] = {}

    def add(self, value: _Value) -> None:
        """Take in a new value."""
        with self.lock:
            self._values.append(value)
            if self._slot is not None:
                self._attach([value])

    def begin(self) -> None:
        """Take a slot, if there is a place for one, and keep all values there; called with the lock held.

        All of them, as Prometheus cannot work with a histogram of which only some buckets are there.
        """
        if self._slot is None:
            self._slot = metrics_store.take_slot()
            if self._slot is not None:
                self._attach(self._values)

    def _attach(self, added: Iterable[_Value]) -> None:
        assert self._slot is not None
        try:
            for value in added:
                if value.kind not in self._files:
                    path = self._slot.file(value.kind)
                    self._files[value.kind] = MmapedDict(path)  # type: ignore[no-untyped-call]
                value.attach(self._files[value.kind])
        except OSError as error:
            metrics_store.without_files(error)
            self.end()

    def end(self) -> None:
        """Keep the values in memory only."""
        for value in self._values:
            value.file = None
        for file in self._files.values():
            file.close()  # type: ignore[no-untyped-call]
        self._files.clear()
        if self._slot is not None:
            self._slot.close()
        self._slot = None

    def after_fork(self) -> None:
        """Leave the files to the parent: two writers would lose each other's counts."""
        self.lock = threading.Lock()
        metrics_store.keep_as(None)
        self.end()


_keeper = _Keeper()
os.register_at_fork(after_in_child=_keeper.after_fork)


class _Value:
    """A number as prometheus_client's metrics use it: in memory, and in a file where there is one.

    Unlike prometheus_client's own such class this one needs no variable of the environment before an import,
    and its files are named after services instead of process IDs, so that they do not pile up.
    """

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: list[str],
        labelvalues: list[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> None:
        self.kind = f"{typ}_{multiprocess_mode}" if multiprocess_mode else typ
        self.file: MmapedDict | None = None
        self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
        self._value = self._timestamp = 0.0
        _keeper.add(self)

    def attach(self, file: MmapedDict) -> None:
        """Keep it in a file from now on; what was counted there before is added."""
        before, timestamp = file.read_value(self._key)  # type: ignore[no-untyped-call]
        if not self.kind.startswith("gauge"):
            self._value += before
        elif not self._timestamp:
            self._value, self._timestamp = before, timestamp
        self.file = file
        self._write()

    def inc(self, amount: float) -> None:
        with _keeper.lock:
            self._value += amount
            self._keep()

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _keeper.lock:
            self._value, self._timestamp = value, timestamp or 0.0
            self._keep()

    def get(self) -> float:
        with _keeper.lock:
            return self._value

    def get_exemplar(self) -> None:
        """Return none: exemplars are not used."""

    def _keep(self) -> None:
        if self.file is None:
            _keeper.begin()
        else:
            self._write()

    def _write(self) -> None:
        if self.file is not None:
            self.file.write_value(self._key, self._value, self._timestamp)  # type: ignore[no-untyped-call]


# prometheus_client makes its numbers by this, also those of labels that come up later
values.ValueClass = _Value


def stop_keeping() -> None:
    """Close the files of this process; its figures stay in its memory."""
    with _keeper.lock:
        metrics_store.keep_as(None)
        _keeper.end()


# --- what there is -----------------------------------------------------------------------------------------

REGISTRY = CollectorRegistry()

#: Kinds of triggers, and of mails about them, and what can become of one.
KINDS = ("i", "iquv", "lofar", "voevent", "mail")
SENT, FAILED, DISABLED, REFUSED = OUTCOMES = ("sent", "failed", "disabled", "refused")

LINES = Counter(
    "darc_amber_lines", "Lines read from AMBER's files, by AMBER instance", ["step"], registry=REGISTRY
)
ROWS = Counter("darc_amber_rows", "Triggers of AMBER that the clustering has read", registry=REGISTRY)
MALFORMED = Counter(
    "darc_amber_malformed_lines", "Lines of AMBER that are neither header nor trigger", registry=REGISTRY
)
BATCHES = Counter("darc_batches", "Batches of data that were decided on", registry=REGISTRY)
CLUSTERS = Counter("darc_clusters", "Clusters of triggers that were decided on", registry=REGISTRY)
#: The counters above that the clustering shows for its observation, too, by their names there.
OF_CLUSTERING = {"rows": ROWS, "malformed": MALFORMED, "batches": BATCHES, "clusters": CLUSTERS}
DECISIONS = Counter(
    "darc_decisions",
    "Decisions on clusters, by receiver (iquv; lofar, with VOEvents) and the limit that stopped it, or send",
    ["receiver", "limit"],
    registry=REGISTRY,
)
BEHIND = Gauge(
    "darc_seconds_behind",
    "Time from the end of the data of the newest batch to its decision",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
TRIGGERS = Counter(
    "darc_triggers",
    "Messages about triggers, and mails, by kind and what became of them",
    ["kind", "outcome"],
    registry=REGISTRY,
)
LATENCY = Histogram(
    "darc_trigger_latency_seconds",
    "Time from the arrival of a batch's first row to its trigger being sent, by kind",
    ["kind"],
    registry=REGISTRY,
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
LAST_TRIGGER = Gauge(
    "darc_trigger_last_time_seconds",
    "Unix time of the last trigger, by kind and what became of it",
    ["kind", "outcome"],
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
UNSENT = Gauge(
    "darc_outbox_messages",
    "Messages that wait to be sent, or are being sent, by kind",
    ["kind"],
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
SENDING = Gauge(
    "darc_events_sending",
    "Whether a service sends events: 0 no, 1 tests only, 2 all",
    ["service"],
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
CANDIDATES = Counter(
    "darc_candidates",
    "Candidates after each stage of the processing (raw, clusters, extracted, kept)",
    ["stage"],
    registry=REGISTRY,
)
SKIPPED = Counter(
    "darc_candidates_skipped",
    "Clusters that were not extracted and candidates that were not classified, by stage and reason",
    ["stage", "reason"],
    registry=REGISTRY,
)


def note_decisions(receiver: str, limits: Iterable[str]) -> None:
    """Count decisions on clusters.

    Args:
        receiver: iquv or lofar
        limits: for each cluster the limit that stopped it, or send
    """
    for limit, number in Tally(limits).items():
        DECISIONS.labels(receiver, limit).inc(number)


def note_trigger(kind: str, outcome: str, now: float, arrived: object = None) -> None:
    """Note what became of a trigger.

    Args:
        kind: one of `KINDS`
        outcome: one of `OUTCOMES`
        now: unix s
        arrived: when the first row of its batch arrived, unix s; anything else: not known
    """
    TRIGGERS.labels(kind, outcome).inc()
    LAST_TRIGGER.labels(kind, outcome).set(now)
    if outcome == SENT and isinstance(arrived, int | float) and isfinite(arrived):
        LATENCY.labels(kind).observe(max(0.0, now - arrived))


def note_sending(service: str, is_on: bool, test: bool) -> None:
    """Show whether a service sends events, and whether all of them are tests."""
    SENDING.labels(service).set(is_on * (1 if test else 2))


def forget_delay() -> None:
    """Show no delay: nothing is being observed."""
    BEHIND.set(nan)


class Follower:
    """Lets a metric follow counts that are kept elsewhere.

    Args:
        counter: the metric
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._seen: Tally[tuple[str, ...]] = Tally()

    def follow(self, totals: Mapping[tuple[str, ...], int]) -> None:
        """Count what came since the last time.

        Args:
            totals: counts by the values of the metric's labels
        """
        for labels, total in totals.items():
            child = self._counter.labels(*labels) if labels else self._counter
            child.inc(max(0, total - self._seen[labels]))
            self._seen[labels] = total


# --- reading -----------------------------------------------------------------------------------------------


def merged(folder: Path) -> list[Metric]:
    """Return the metrics of all processes of a node together.

    Args:
        folder: folder of their figures
    """
    files = metrics_store.current_files(folder)
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def reading(folder: Path) -> dict[str, float]:
    """Return the current figures of a node by `name` or `name{label="value"}`, histograms without buckets.

    Args:
        folder: folder of the figures, which need not be there
    """
    samples = (sample for metric in merged(folder) for sample in metric.samples)
    return {
        _key(sample.name, sample.labels): sample.value
        for sample in samples
        if not sample.name.endswith("_bucket") and isfinite(sample.value)
    }


def _key(name: str, labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{shown}}}" if shown else name


def known_from_the_start() -> Iterator[tuple[Counter, dict[str, str]]]:
    """Yield the counters, with labels where there are any, that are zero before something is counted.

    Prometheus takes a series that appears with a 1 for one that did not grow: the first failure of a month
    would raise no alarm.
    """
    for counter in OF_CLUSTERING.values():
        yield counter, {}
    for kind, outcome in product(KINDS, OUTCOMES):
        yield TRIGGERS, {"kind": kind, "outcome": outcome}
