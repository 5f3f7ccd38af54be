"""From clusters to decisions: what is triggered and, where nothing is, which limit stopped it.

A *group* is one selection of clusters: those around the DM of a known source, or those beyond the Galaxy
that may be new. The groups of one batch are decided on together, so that no two of them compete for the
same rate limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from darc.science.clustering import Clusters

#: Outcome of a cluster that passed every limit.
SEND = "send"
#: Outcome of a cluster that only the SB filter stopped.
APERIODIC = "SB filter: no such period of S/N over synthesised beams"
#: Fields of a `Verdict` that say what a receiver gets.
RECEIVERS = ("iquv", "lofar")
#: Which limit an outcome names, by how it begins; any other outcome is that of a closed receiver.
_LIMITS = tuple(
    (re.compile(pattern), limit)
    for pattern, limit in (
        (SEND, SEND),
        (r"S/N \S+ <", "snr"),
        (r"S/N \S+, below", "not the brightest"),
        (r"DM ", "dm"),
        (r"width ", "width"),
        (r"\d+ triggers ", "count"),
        (r"\S+ s after the last", "interval"),
        (r"already counted", "other selection"),
        (r"SB filter", "SB filter"),
    )
)


def limit_of(outcome: str) -> str:
    """Return which limit an outcome of a `Verdict` names, without the numbers; `SEND` if none does."""
    return next((limit for pattern, limit in _LIMITS if pattern.match(outcome)), "closed")


@dataclass(frozen=True)
class Limits:
    """What one receiver asks of a cluster; a bound at infinity does not limit.

    Attributes:
        snr_min: lowest S/N
        dm_min: lowest DM in pc cm^-3
        width_max: largest width in samples
        count_max: most triggers that the cluster may consist of
        closed: why this receiver gets nothing at all; empty: it is open
    """

    snr_min: float = 0.0
    dm_min: float = 0.0
    width_max: float = inf
    count_max: float = inf
    closed: str = ""

    def stop(self, snr: float, dm: float, width: float, count: int) -> str:
        """Return the limit that stops a cluster, with the numbers; empty: none does.

        Args:
            snr: its S/N
            dm: its DM in pc cm^-3
            width: its width in samples
            count: number of its triggers
        """
        if self.closed:
            return self.closed
        if snr < self.snr_min:
            return f"S/N {snr:.2f} < {self.snr_min:g}"
        if dm < self.dm_min:
            return f"DM {dm:.2f} < {self.dm_min:g}"
        if width > self.width_max:
            return f"width {width:g} > {self.width_max:g} samples"
        if count > self.count_max:
            return f"{count} triggers > {self.count_max:g} in one cluster"
        return ""


@dataclass(frozen=True)
class Group:
    """Clusters that are judged by the same limits.

    Attributes:
        clusters: clusters, with `index` counting in the batch they were made of
        iquv: limits for the dump of the ring buffer
        lofar: limits for LOFAR and VOEvents
        source_name: known source these clusters belong to; None: they may be new ones
        source_dm: DM of the known source in pc cm^-3
    """

    clusters: Clusters
    iquv: Limits
    lofar: Limits
    source_name: str | None = None
    source_dm: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What becomes of one cluster.

    Attributes:
        snr: S/N
        dm: measured DM in pc cm^-3
        time_s: arrival time at the top of the band in s from the start of the data
        width: width in samples
        sb: synthesised beam
        count: triggers in the cluster
        index: the trigger that represents the cluster, counted in the batch
        source_name: known source, None for a possibly new one
        source_dm: its DM in pc cm^-3
        iquv: `SEND`, or the limit that stopped the dump
        lofar: `SEND`, or the limit that stopped LOFAR trigger and VOEvent
    """

    snr: float
    dm: float
    time_s: float
    width: float
    sb: int
    count: int
    index: int
    source_name: str | None
    source_dm: float | None
    iquv: str
    lofar: str

    @property
    def best_dm(self) -> float:
        """DM of the known source, else the measured one, in pc cm^-3."""
        return self.dm if self.source_dm is None else self.source_dm

    def __str__(self) -> str:
        return (
            f"{self.source_name or 'new source'}: S/N {self.snr:.2f}, DM {self.dm:.2f}, "
            f"time {self.time_s:.4f} s, width {self.width:g}, SB {self.sb:02d}, {self.count} triggers -> "
            f"IQUV: {self.iquv}; LOFAR and VOEvent: {self.lofar}"
        )


_MEASURED = re.compile(r"S/N (\d+\.\d+), DM (\d+\.\d+), time (\d+\.\d+) s, ")


def read_verdict(line: str) -> tuple[float, float, float] | None:
    """Return S/N, DM (pc cm^-3) and time (s) of the verdict in a line of the log; None: it has none.

    Lines about what the SB filter left out have none.
    """
    found = None if APERIODIC in line else _MEASURED.search(line)
    return (float(found[1]), float(found[2]), float(found[3])) if found else None


@dataclass(frozen=True)
class Selection:
    """The decision on one batch.

    Attributes:
        verdicts: one per cluster, group by group, ordered by time
        last_iquv_s: time in the data of the latest IQUV trigger, to be given to the next decision
        filtered: one per cluster that nothing but the SB filter kept from a dump, the brightest one first
        iquv: the verdicts that make one IQUV message; empty: none
        lofar: the verdict that is sent to LOFAR and as VOEvent
    """

    verdicts: tuple[Verdict, ...] = ()
    last_iquv_s: float = -inf
    filtered: tuple[Verdict, ...] = ()
    iquv: tuple[Verdict, ...] = field(init=False)
    lofar: Verdict | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "iquv", tuple(v for v in self.verdicts if v.iquv == SEND))
        object.__setattr__(self, "lofar", next((v for v in self.verdicts if v.lofar == SEND), None))


def select(groups: Sequence[Group], *, last_iquv_s: float = -inf, iquv_interval_s: float = 0.0) -> Selection:
    """Decide what is triggered by the clusters of one batch.

    The same trigger can represent a cluster of several groups; the first group it passes in has it. IQUV
    triggers keep a distance in the time of the data, so that the decision does not depend on when the data
    were read. Of the clusters that pass for LOFAR, the one with the highest S/N is sent.

    Args:
        groups: selections, those of known sources first
        last_iquv_s: time of the latest IQUV trigger in s from the start of the data
        iquv_interval_s: least time in s between IQUV triggers
    """
    verdicts = [verdict for group in groups for verdict in _judge(group, group.clusters, SEND)]
    verdicts = _once(verdicts)
    passing = [v.time_s for v in verdicts if v.iquv == SEND and v.time_s - last_iquv_s >= iquv_interval_s]
    verdicts = [_in_time(v, last_iquv_s, iquv_interval_s) for v in verdicts]
    return Selection(tuple(_brightest_only(verdicts)), min(passing, default=last_iquv_s), _filtered(groups))


def _filtered(groups: Sequence[Group]) -> tuple[Verdict, ...]:
    """Return what only the SB filter stopped; a trigger that two groups lost counts in the first one only."""
    lost = {
        verdict.index: verdict
        for group in reversed(groups)
        if group.clusters.aperiodic is not None
        for verdict in _judge(group, group.clusters.aperiodic, APERIODIC)
        if verdict.iquv == APERIODIC
    }
    return tuple(sorted(lost.values(), key=lambda verdict: (-verdict.snr, verdict.time_s)))


def _judge(group: Group, clusters: Clusters, unlimited: str) -> list[Verdict]:
    """Return the outcome of each cluster by the limits of its group; `unlimited` if none of them stops it."""
    verdicts = []
    for i in range(len(clusters)):
        snr, dm, width = float(clusters.snr[i]), float(clusters.dm[i]), float(clusters.width[i])
        count = int(clusters.count[i])
        verdicts.append(
            Verdict(
                snr=snr,
                dm=dm,
                time_s=float(clusters.time[i]),
                width=width,
                sb=int(clusters.sb[i]),
                count=count,
                index=int(clusters.index[i]),
                source_name=group.source_name,
                source_dm=group.source_dm,
                iquv=group.iquv.stop(snr, dm, width, count) or unlimited,
                lofar=group.lofar.stop(snr, dm, width, count) or unlimited,
            )
        )
    return verdicts


def _once(verdicts: list[Verdict]) -> list[Verdict]:
    """Let a trigger that passes in two groups count in the first one only."""
    seen: set[tuple[str, int]] = set()
    kept = []
    for verdict in verdicts:
        passed = {(receiver, verdict.index) for receiver in RECEIVERS if getattr(verdict, receiver) == SEND}
        again: dict[str, Any] = {
            receiver: "already counted in another selection" for receiver, _ in passed & seen
        }
        kept.append(replace(verdict, **again))
        seen |= passed
    return kept


def _in_time(verdict: Verdict, last_iquv_s: float, interval_s: float) -> Verdict:
    since = verdict.time_s - last_iquv_s
    if verdict.iquv != SEND or since >= interval_s:
        return verdict
    return replace(verdict, iquv=f"{since:.2f} s after the last IQUV trigger < {interval_s:g} s")


def _brightest_only(verdicts: list[Verdict]) -> list[Verdict]:
    sent = max((v for v in verdicts if v.lofar == SEND), key=lambda v: (v.snr, -v.time_s), default=None)
    return [
        v
        if v.lofar != SEND or v is sent or sent is None
        else replace(v, lofar=f"S/N {v.snr:.2f}, below the {sent.snr:.2f} that is sent")
        for v in verdicts
    ]
