"""Bursts on the border between two batches of AMBER, as one group of triggers.

AMBER's boxcars end with a batch, so that a burst near a border has triggers in both. Those at the end of a
batch that may belong to a brighter one in the next wait for it; what an earlier group explains is left out of
later ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darc.definitions import Instrument
from darc.science.batching import Batch
from darc.science.clustering import Clusters
from darc.science.linked_clustering import may_go_on

Floats = NDArray[np.float64]

#: Groups are remembered for this many batches.
MEMORY = 2


class BatchBorders:
    """Triggers on their way from batches to groups.

    Args:
        instrument: Batches, band and sampling time.
        patience_s: Time in s for which triggers wait, after the next batch should be there.

    Attributes:
        deadline: Monotonic time in s at which triggers have waited for long enough; None: none wait.
        found: Representatives of the latest groups, shape (n, 5), for `earlier` of
            `darc.science.clustering.cluster`.

    """

    def __init__(self, instrument: Instrument, patience_s: float) -> None:
        self.deadline: float | None = None
        self.found: Floats = np.empty((0, 5))
        self._instrument = instrument
        self._patience_s = instrument.batch_s + patience_s
        self._waiting: Floats = np.empty((0, 5))

    def take(self, batch: Batch, now: float) -> Floats:
        """Return what is to be grouped when a batch is there, shape (n, 5): DM, S/N, time, width, SB.

        After the last batch, `release` has the rest.

        Args:
            batch: With rows of shape (n, 5); batches come in their order. What comes late does not wait.
            now: Monotonic time in s.

        """
        rows = np.concatenate([self.release(), batch.rows])
        if batch.late:
            return rows
        waits = may_go_on(rows, (batch.number + 1) * self._instrument.batch_s, self._instrument)
        self._waiting = rows[waits]
        self.deadline = now + self._patience_s if waits.any() else None
        return rows[~waits]

    def release(self) -> Floats:
        """Return what waits, since there is no next batch, or not for a long time."""
        rows, self._waiting, self.deadline = self._waiting, self._waiting[:0], None
        return rows

    def note(self, clusters: Clusters) -> None:
        """Remember groups, so that their triggers in the next batch make none of their own."""
        found = np.concatenate([self.found, clusters.representatives])
        newest_s = found[:, 2].max(initial=-np.inf)
        self.found = found[found[:, 2] > newest_s - MEMORY * self._instrument.batch_s]
