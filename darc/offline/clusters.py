"""Clusters of AMBER's rows: each beam by itself, brightest first."""

from __future__ import annotations

import json
import logging
import shutil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.amber import AmberParser
from darc.formats.files import read_bytes, shown, write_complete
from darc.offline.amber_files import AMBER_BYTES_MAX
from darc.offline.plan import Account, Done, OfflineError, read_json
from darc.offline.work import Part, Work
from darc.processor_tools.galactic import galactic_dm
from darc.processor_tools.ledger import Cluster
from darc.science.clustering import cluster

#: Largest list of clusters that is read, in bytes: some 20 million.
_CLUSTERS_BYTES_MAX = 2**30

_logger = logging.getLogger("darc.offline")


def find_clusters(work: Work, part: Part, account: Account) -> Done:
    """Group the rows of the beams of a part, and list the clusters.

    Raises:
        OfflineError: the rows cannot be read, or the list cannot be written
    """
    for other in work.parts:  # a beam is in one part only
        if other != part and other.first <= part.last and part.first <= other.last:
            shutil.rmtree(other.folder, ignore_errors=True)
    rows = AmberParser(work.beam.instrument).feed(read_bytes(work.amber, 2 * AMBER_BYTES_MAX, OfflineError))
    problems = []
    if rows.malformed:
        problems.append(
            f"{rows.malformed} malformed lines of AMBER, the first of which: {rows.first_malformed}"
        )
    dm_min, problem = lowest_dm(work)
    account.check()
    clusters = grouped(rows.triggers, work, part, dm_min)
    write_complete(part.clusters, json.dumps(clusters) + "\n", OfflineError)
    _logger.info("%d rows gave %d clusters with DM %.1f or more", len(rows), len(clusters), dm_min)
    return Done({"ncand_raw": len(rows), "ncand_trigger": len(clusters)}, [*problems, *problem])


def lowest_dm(work: Work) -> tuple[float, list[str]]:
    """Return the lowest DM in pc cm^-3 that is processed, and what is wrong with it.

    It is `dmgal_frac` times the highest Galactic DM, or `dmmin` if that is higher or the other not known.
    """
    lowest, share = work.settings.dmmin, work.settings.dmgal_frac
    try:
        dm = galactic_dm(work.beam, work.config.amber_clustering) if share > 0 else None
    except DARCError as error:
        return lowest, [f"DMs from dmmin on, {lowest:g}, since the Galactic DM is not known: {error}"]
    return max(lowest, share * (dm or 0.0)), []


def grouped(
    triggers: NDArray[np.float64], work: Work, part: Part, dm_min: float
) -> list[tuple[float, float, float, int, int]]:
    """Group triggers beam by beam, with the limits of the configuration.

    Args:
        triggers: DM (pc cm^-3), S/N, time (s), width (samples), beam; shape (n, 5)
        work: what is processed
        part: beams to take
        dm_min: lowest DM in pc cm^-3

    Returns:
        DM, S/N, time, width and beam of each cluster, the brightest first
    """
    clustering = work.config.processor.clustering
    beams = triggers[:, 4]
    clusters = []
    for beam in np.unique(beams[(part.first <= beams) & (beams <= part.last)]):
        found = cluster(
            triggers[beams == beam],
            snr_min=work.settings.snrmin_processing,
            dm_min=dm_min,
            dm_max=work.settings.dmmax,
            window=clustering.clustering_window,
            origin=0.0,
            method=clustering.method,
            instrument=work.beam.instrument,
        )
        columns: list[Any] = [found.dm, found.snr, found.time, found.width.round().astype(int), found.sb]
        clusters += list(zip(*(column.tolist() for column in columns), strict=True))
    # of equally bright ones the earliest: the order must not depend on that of the beams
    return sorted(clusters, key=lambda one: (-one[1], one[2], one[4], one[0]))


def read_clusters(part: Part) -> list[Cluster]:
    """Return the clusters of a part, numbered in their order, the brightest first.

    Raises:
        OfflineError: the list is absent or damaged
    """
    content = read_json(part.clusters, _CLUSTERS_BYTES_MAX)
    try:
        return [
            Cluster(number, float(dm), float(snr), float(time_s), int(width), int(beam))
            for number, (dm, snr, time_s, width, beam) in enumerate(content)
        ]
    except (TypeError, ValueError) as error:
        raise OfflineError(
            f"{part.clusters}: damaged: {shown(error)}; remove it to repeat the step"
        ) from error
