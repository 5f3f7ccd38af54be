"""Grouping of AMBER's triggers that follows the burst: each joins the brightest one that explains it.

A pulse dedispersed with a wrong DM is smeared over s = (DM - trial DM) x (delay over the band per unit of
DM), from its place towards later times where the trial DM is too low, and earlier ones where it is too high.
So a trigger at another DM can come from a pulse if its boxcar touches the smeared pulse: the shape of a bow
tie in time and DM. Which part of that is lit depends on the spectrum of the burst, so all of it counts.

The S/N of what is smeared over s is that of the pulse times sqrt(w v) / s, for a pulse of width w found in a
boxcar of width v (a rectangle in place of the Gaussian of Cordes & McLaughlin 2003, ApJ 596, 1142, sect.
2.3). A trigger that is brighter than this cannot come from the pulse; `SNR_MARGIN` is for noise, and for
spectra that fill only part of the band, which are smeared less.

Triggers are taken from the brightest down. One that no group explains begins a group, and takes in all that
it explains itself. Nothing is passed on from trigger to trigger, so that groups do not grow together in
interference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darc.definitions import Instrument
from darc.science.dispersion import delay_s

#: How far above the S/N of the smeared pulse a trigger of it may be, as a factor.
SNR_MARGIN = 4.0
#: Triggers this close in time (s) and in DM (pc cm^-3, and share of it) are the same burst anyway: AMBER
#: prints times to 10 ms, and its trial DMs are up to 2.5 pc cm^-3 apart.
SAME_TIME_S, SAME_DM, SAME_DM_SHARE = 0.01, 3.0, 0.02
#: Widths above this (s), and explanations further away than that (s), are not believed.
WIDTH_MAX_S, REACH_MAX_S = 0.25, 1.0
#: In a box of DM x time in which this many groups begin, there is interference: what is left of the box joins
#: the brightest of them, as with fixed windows, and no more groups have to be looked at.
CROWD = 3
#: A trigger may go on in the next batch if that begins within so many of its widths: of the smear of bright
#: bursts, the widest boxcars find only part.
WAITING_WIDTHS = 5
#: Group of what an earlier group explains.
EARLIER = -1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def linked_groups(triggers: Floats, box: Ints, earlier: Floats, instrument: Instrument) -> Ints:
    """Give each trigger the column of the brightest trigger of its group.

    Args:
        triggers: Shape (5, n): DM (pc cm^-3), S/N, arrival time (s), width (samples), SB.
        box: Number of the box of DM x time of each trigger, (n,).
        earlier: Shape (5, m): brightest triggers of groups that are known already.
        instrument: Band and sampling time.

    Returns:
        Shape (n,); `EARLIER` for the triggers that an earlier group explains.

    """
    known = earlier.shape[1]
    bow_ties = _BowTies(np.concatenate([earlier, triggers], axis=1), instrument)
    order = bow_ties.order
    boxes = _Boxes(np.concatenate([np.full(known, EARLIER), box])[order])
    group = np.full(order.size, EARLIER)
    free = order >= known
    for column in np.flatnonzero(order < known).tolist():
        free[bow_ties.explained(column, free)] = False
    is_free: memoryview[bool] = memoryview(free)  # single elements of an array take longer
    for column in bow_ties.by_brightness.tolist():
        if is_free[column]:
            mine = bow_ties.explained(column, free)
            group[mine], free[mine] = order[column], False
            leader, rest = boxes.begin(column)
            rest = rest[free[rest]]
            group[rest], free[rest] = order[leader], False
    result = np.empty_like(group)
    result[order] = np.where(group == EARLIER, EARLIER, group - known)
    return result[known:]


def may_go_on(triggers: Floats, end_s: float, instrument: Instrument) -> NDArray[np.bool_]:
    """Whether a trigger of a batch may be part of a burst that is brighter in the next batch.

    AMBER's boxcars end with the batch. Of a burst that begins after it, a trial DM that is too high still
    finds the first part, in boxcars near the end that are about as wide as the smear.

    Args:
        triggers: Shape (n, 5): DM, S/N, arrival time (s), width (samples), SB.
        end_s: End of the batch in s.
        instrument: Sampling time.

    """
    nearly: NDArray[np.bool_] = triggers[:, 2] + WAITING_WIDTHS * triggers[:, 3] * instrument.tsamp_s >= end_s
    return nearly


class _BowTies:
    """What each trigger explains.

    Columns are ordered by the time at which all triggers of a burst agree: the arrival time in the middle of
    the delay over the band.
    """

    def __init__(self, triggers: Floats, instrument: Instrument) -> None:
        top_mhz = instrument.top_freq_mhz(instrument.min_freq_mhz)
        self._sweep_s = float(delay_s(1.0, top_mhz - instrument.bandwidth_mhz, top_mhz))
        dm, snr, time, width, _ = triggers
        half = np.clip(width * instrument.tsamp_s, 0, WIDTH_MAX_S) / 2
        agreed = time + half + dm * self._sweep_s / 2
        self.number = dm.size
        self.order: Ints = np.argsort(agreed, kind="stable")
        self._dm, self._snr, self._half, self._agreed = (
            column[self.order] for column in (dm, snr, half, agreed)
        )
        self.by_brightness: Ints = np.lexsort((self._half, -self._snr))
        self._root = np.sqrt(2 * self._half)
        self._faintness = self._root / np.maximum(self._snr, np.finfo(float).tiny)
        self._least_s = (SAME_DM + SAME_DM_SHARE * np.abs(self._dm)) * self._sweep_s
        longest_s = np.maximum(self._brightness_s(slice(None), self._faintness.max(initial=0)), self._least_s)
        reach_s = self._half + self._half.max(initial=0) + longest_s / 2 + SAME_TIME_S
        reach_s = np.minimum(reach_s, REACH_MAX_S)
        self._first = np.searchsorted(self._agreed, self._agreed - reach_s, side="left")
        self._last = np.searchsorted(self._agreed, self._agreed + reach_s, side="right")

    def _brightness_s(self, pulse: int | slice, faintness: Floats) -> Floats:
        """Return over how many s pulses may be smeared, to be found as faint as this."""
        smear_s: Floats = SNR_MARGIN * self._snr[pulse] * self._root[pulse] * faintness
        return smear_s

    def explained(self, column: int, free: NDArray[np.bool_]) -> Ints:
        """Return the free columns that a trigger explains, itself among them if it is free."""
        near = slice(self._first[column], self._last[column])
        smear_s = np.abs(self._dm[near] - self._dm[column]) * self._sweep_s
        distance_s = np.abs(self._agreed[near] - self._agreed[column])
        mine = distance_s <= self._half[near] + self._half[column] + smear_s / 2 + SAME_TIME_S
        longest_s = self._brightness_s(column, self._faintness[near])
        mine &= smear_s <= np.maximum(longest_s, self._least_s[column])
        mine &= free[near] & (self._snr[near] <= self._snr[column])
        columns: Ints = np.flatnonzero(mine) + near.start
        return columns


class _Boxes:
    """Counts the groups that begin in each box."""

    def __init__(self, box: Ints) -> None:
        self._box = box
        self._order: Ints = np.argsort(box, kind="stable")
        self._ascending = box[self._order]
        self._leaders: dict[int, list[int]] = {}

    def begin(self, column: int) -> tuple[int, Ints]:
        """Note that a group begins; return the box's first, and all columns of the box if it is crowded."""
        box = int(self._box[column])
        leaders = self._leaders.setdefault(box, [])
        leaders.append(column)
        if len(leaders) < CROWD:
            return leaders[0], self._order[:0]
        first, last = np.searchsorted(self._ascending, (box, box + 1))
        return leaders[0], self._order[first:last]
