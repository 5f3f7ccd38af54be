"""Grouping of AMBER's triggers in dispersion measure (DM) and arrival time.

One burst gives many triggers: at neighbouring DMs, times and widths, and in several synthesised beams (SB).
The trigger with the highest S/N represents its group. A group is either what is in a box of DM x time, fixed
beforehand (method `windows`), or what the pulse of the representative explains (`linked`, see
`darc.science.linked_clustering`). Fixed boxes split a burst at their edges, and hide what is fainter than
another signal in the same box.

The cost of boxes is that of one sort: it depends on neither the number of windows nor the length of the
observation. That of linked groups is in addition in proportion to the number of groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darc.definitions import ARTS, Instrument
from darc.science.linked_clustering import EARLIER, linked_groups

#: Triggers this close in DM (pc cm^-3), at one arrival time, are the same burst in several synthesised beams.
SAME_BURST_DM = 20.0
#: Shortest period, in synthesised beams, that the autocorrelation can have.
SHORTEST_SB_PERIOD = 2
#: Synthesised beams from this number on take no part in the periodicity: no beam layout forms as many.
MAX_SB = 128
#: Time windows further from the origin than this count as one; a float cannot tell them apart.
MAX_WINDOWS = 2.0**50

Method = Literal["windows", "linked"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of triggers, ordered by arrival time; all arrays have one element per group.

    Attributes:
        dm: DM of the representative (the brightest trigger of the group) in pc cm^-3.
        snr: its S/N.
        time: its arrival time in s.
        width: its width, as given (AMBER: downsampling factor in samples).
        sb: its synthesised beam.
        index: its row in the triggers that were given.
        count: number of triggers in the group.
        aperiodic: groups that the SB filter left out; None: it was not asked for.

    """

    dm: Floats
    snr: Floats
    time: Floats
    width: Floats
    sb: Ints
    index: Ints
    count: Ints
    aperiodic: Clusters | None = None

    def __len__(self) -> int:
        return len(self.dm)

    @property
    def representatives(self) -> Floats:
        """The triggers that represent the groups: DM, S/N, time, width, SB; shape (n, 5)."""
        return np.column_stack([self.dm, self.snr, self.time, self.width, self.sb])


def cluster(
    triggers: ArrayLike,
    *,
    snr_min: float = 5.0,
    snr_max: float = inf,
    dm_min: float = 0.0,
    dm_max: float = inf,
    window: float = 0.5,
    origin: float | None = None,
    sb_filter: bool = False,
    sb_filter_period: tuple[float, float] = (10, 15),
    method: Method = "windows",
    earlier: Floats | None = None,
    instrument: Instrument = ARTS,
) -> Clusters:
    """Group triggers and keep the brightest trigger of each group.

    The DM windows follow from the highest DM of all triggers within the S/N limits, whatever their DM (see
    `dm_edges`). Boxes contain their lower edges but not their upper ones, so that every trigger within the
    limits is in exactly one. So is every trigger in one linked group, unless an earlier one explains it. Of
    equally bright triggers the first in AMBER's order represents the group (time, SB, DM, then width): the
    result does not depend on the order of the rows. Rows with a value that is not finite are ignored.

    Args:
        triggers: Shape (n, 5): DM (pc cm^-3), S/N, arrival time (s), width, SB index. n may be 0.
        snr_min: Lowest S/N, included.
        snr_max: Highest S/N, included.
        dm_min: Lowest DM in pc cm^-3, included. Applied before representatives are chosen.
        dm_max: Highest DM in pc cm^-3, included.
        window: Length of a time window in s.
        origin: Arrival time in s at which a window begins. None: half a window before the earliest trigger
            within the S/N limits.
        sb_filter: Keep only groups whose S/N has a period in SB index, as a real source in the grating lobes
            of the array has.
        sb_filter_period: That period has to lie between these two numbers, neither included.
        method: `windows` for boxes of DM x time, `linked` for groups that follow the burst; where there are
            many in one box, there is interference, and the faintest of them join the brightest.
        earlier: Shape (m, 5): representatives of groups that were found in triggers before these. What one of
            them explains is left out. For linked groups only.
        instrument: Band and sampling time, which tell what belongs to a burst; for linked groups only.

    Raises:
        ValueError: The triggers have another shape, or the window is not positive.

    """
    rows = np.asarray(triggers, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 5:
        raise ValueError(f"triggers must have shape (n, 5): DM, S/N, time, width, SB; not {rows.shape}")
    if not (isfinite(window) and window > 0):
        raise ValueError(f"window must be a positive number of seconds, not {window}")
    columns = np.ascontiguousarray(rows.T)
    strong = np.flatnonzero(
        np.isfinite(columns).all(axis=0) & (snr_min <= columns[1]) & (columns[1] <= snr_max)
    )
    pool = columns[:, strong]
    in_range = np.flatnonzero((dm_min <= pool[0]) & (pool[0] <= dm_max))
    group = _boxes(pool, window, origin)[in_range]
    if method == "linked":
        known = np.empty((5, 0)) if earlier is None else np.ascontiguousarray(earlier.T)
        group = linked_groups(pool[:, in_range], group, known, instrument)
        in_range, group = in_range[group != EARLIER], group[group != EARLIER]
    chosen, count = _brightest(pool, in_range, group)
    if not sb_filter:
        return _clusters(pool, strong, chosen, count)
    period = _sb_period(pool, chosen)
    keep = (sb_filter_period[0] < period) & (period < sb_filter_period[1])
    aperiodic = _clusters(pool, strong, chosen[~keep], count[~keep])
    return replace(_clusters(pool, strong, chosen[keep], count[keep]), aperiodic=aperiodic)


def _clusters(pool: Floats, row: Ints, chosen: Ints, count: Ints) -> Clusters:
    """Groups by time, from the columns of `pool` (5, n) that represent them, which are rows `row`."""
    by_time = np.lexsort((pool[0, chosen], pool[2, chosen]))
    chosen, count = chosen[by_time], count[by_time]
    dm, snr, time, width, sb = pool[:, chosen]
    return Clusters(dm, snr, time, width, sb.astype(np.int64), row[chosen], count)


def dm_edges(dm_max: float) -> list[int]:
    """Edges between the DM windows for triggers up to `dm_max` (pc cm^-3), ascending.

    The windows narrow downwards: from 1.1 times the highest DM, each reaches down to 2/3 of its top, below
    100 pc cm^-3 to 3/7, and below 50 pc cm^-3 to 0; whole numbers. The topmost window has no upper edge and
    the lowest no lower one, so that no DM is outside.
    """
    edges: list[int] = []
    top = 1.1 * dm_max
    while top >= 50:
        fraction = 0.2 if top >= 100 else 0.4
        top = int((1 - fraction) / (1 + fraction) * top)
        edges.append(top)
    return edges[::-1]


def _boxes(pool: Floats, window: float, origin: float | None) -> Ints:
    """Give each column of `pool` (5, n) the number of its box, ascending with time window, then DM."""
    dm, _, time, _, _ = pool
    if not dm.size:
        return np.empty(0, dtype=np.int64)
    if origin is None:
        origin = time.min() - window / 2
    edges = dm_edges(dm.max())
    time_window = np.clip(np.floor((time - origin) / window), -MAX_WINDOWS, MAX_WINDOWS).astype(np.int64)
    boxes: Ints = time_window * (len(edges) + 1) + np.searchsorted(edges, dm, side="right")
    return boxes


def _brightest(pool: Floats, member: Ints, group: Ints) -> tuple[Ints, Ints]:
    """Columns of `pool` (5, n) that represent groups, and how many of `member` each group holds."""
    order = np.argsort(group, kind="stable")
    member, group = member[order], group[order]
    starts = _first_of_each(group)
    count = np.diff(starts, append=member.size)
    snr = pool[1, member]
    rival = np.flatnonzero(snr == np.repeat(np.maximum.reduceat(snr, starts), count))
    member, group = member[rival], group[rival]
    dm, _, time, width, sb = pool[:, member]
    order = np.lexsort((member, width, dm, sb, time, group))
    return member[order][_first_of_each(group[order])], count


def _first_of_each(ascending: Ints) -> Ints:
    """Positions at which a new number begins."""
    return np.flatnonzero(np.diff(ascending, prepend=np.iinfo(np.int64).min))


def _sb_period(pool: Floats, chosen: Ints) -> Ints:
    """Period in SB index of the burst that each `chosen` column of `pool` (5, n) belongs to.

    It is the lag, 2 or more, of the highest autocorrelation of S/N as a function of SB, over the triggers
    that have the same arrival time and a similar DM; 2 where nothing repeats.
    """
    dm, snr, time, _, sb = pool
    burst, member = _at_same_time(time, chosen)
    same = np.abs(dm[member] - dm[chosen[burst]]) <= SAME_BURST_DM
    same &= (sb[member] >= 0) & (sb[member] < MAX_SB)
    burst, member = burst[same], member[same]
    beam = sb[member].astype(np.int64)
    profile = np.zeros((len(chosen), max(int(beam.max(initial=0)), SHORTEST_SB_PERIOD) + 1))
    np.maximum.at(profile, (burst, beam), snr[member])
    lags = range(SHORTEST_SB_PERIOD, profile.shape[1])
    correlation = np.array([np.einsum("ij,ij->i", profile[:, lag:], profile[:, :-lag]) for lag in lags])
    period: Ints = SHORTEST_SB_PERIOD + correlation.argmax(axis=0)
    return period


def _at_same_time(time: Floats, chosen: Ints) -> tuple[Ints, Ints]:
    """All pairs (i, j) with `time[j] == time[chosen[i]]`, from one sort instead of n comparisons for each."""
    order = np.argsort(time)
    first = np.searchsorted(time, time[chosen], side="left", sorter=order)
    number = np.searchsorted(time, time[chosen], side="right", sorter=order) - first
    burst = np.repeat(np.arange(len(chosen)), number)
    before = np.cumsum(number) - number
    return burst, order[np.arange(len(burst)) + (first - before)[burst]]
