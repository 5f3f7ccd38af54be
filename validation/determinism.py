"""Determinism: the same input gives the same decisions and files, whatever the order and the load."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np

from darc.formats import candidate as candidates
from darc.science.clustering import cluster
from darc.simulation.amber import Amber
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.sky import RfiStorm, Sky
from validation.detection import Chain
from validation.grouping import batches_of, grouped
from validation.injections import SINGLE, draw
from validation.result import Check, Section

DURATION_S, NBURST = 40.0, 8


def measure(short: bool) -> Section:
    """Do the same several times, in different ways."""
    injected = draw(np.random.default_rng(11), NBURST, DURATION_S)
    sky = Sky(DURATION_S, tuple(each.as_rectangle for each in injected), (), (RfiStorm(10, 3, 100),), 2.0)
    batches = batches_of(Amber(sky, seed=1))
    again = batches_of(Amber(sky, seed=1))
    groups = [group for group in grouped(batches, "linked") if group[1] >= 10]
    alone = extracted_by(groups, 1)
    numbers = (2,) if short else (2, 3, 5)
    different = sum(extracted_by(groups, number) != alone for number in numbers)
    checks = [
        Check(
            "AMBER's rows that differ when they are made again",
            f"{len(batches)} batches",
            sum(not np.array_equal(rows, again[number]) for number, rows in batches.items()),
            0,
        ),
        Check(
            "groups that differ when rows come in another order",
            "20 orders, both methods",
            orders(batches),
            0,
        ),
        Check(
            "runs whose candidates differ from those of one extractor",
            f"{len(alone)} candidates, all data and attributes; {', '.join(map(str, numbers))} extractors at "
            "once",
            different,
            0,
        ),
    ]
    text = (
        "Decisions in real time are compared with those on all rows at once, for different speeds, chunks "
        "and orders of AMBER's instances, by `tests/system/test_same_decisions.py` and "
        "`tests/unit/test_amber_clustering.py`. Here, rows are shuffled, and candidates are extracted and "
        "classified by different numbers of processes, more than there are cores. HDF5 files are compared "
        "by what is in them."
    )
    return Section("Determinism", text, checks)


def orders(batches: dict[int, np.ndarray]) -> int:
    """Return how many of several shuffles change the groups."""
    rows, rng, changed = np.concatenate(list(batches.values())), np.random.default_rng(2), 0
    for method in ("windows", "linked"):
        first = cluster(rows, snr_min=8.0, origin=0.0, method=method)
        for _ in range(20):
            other = cluster(rng.permutation(rows), snr_min=8.0, origin=0.0, method=method)
            same = np.array_equal(first.representatives, other.representatives)
            changed += not (same and np.array_equal(first.count, other.count))
    return changed


def extracted_by(groups: list[list[float]], number: int) -> dict[str, str]:
    """Return what several extractors, each with its part of the groups, leave behind."""
    parts = [groups[start::number] for start in range(number)]
    with ProcessPoolExecutor(number, mp_context=get_context("spawn")) as pool:
        return {name: digest for part in pool.map(_extract, parts) for name, digest in part}


def _extract(groups: list[list[float]]) -> list[tuple[str, str]]:
    logging.disable(logging.CRITICAL)
    injected = draw(np.random.default_rng(11), NBURST, DURATION_S)
    sky = FilterbankSky(Sky(DURATION_S, tuple(each.burst for each in injected)), seed=1, instrument=SINGLE)
    found = []
    with tempfile.TemporaryDirectory() as name:
        chain = Chain(Path(name), sky)
        for number, group in enumerate(groups):
            candidate, kept = chain.candidate(number, group)
            if candidate is not None:
                path = candidates.write(Path(name) / "data", candidate)
                found.append((path.name, f"{_digest(path)} {kept}"))
    return found


def _digest(path: Path) -> str:
    """Return a digest of all data and attributes of a file."""
    digest = hashlib.sha256()

    def update(parts: Iterable[object]) -> None:
        for part in parts:
            digest.update(np.asarray(part).tobytes())

    with h5py.File(path) as file:
        for name in sorted(file):
            digest.update(name.encode())
            update([file[name][:]])
        for name in sorted(file.attrs):
            digest.update(name.encode())
            update([file.attrs[name]])
    return digest.hexdigest()
