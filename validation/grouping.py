"""Groups of triggers: what fixed windows and linked groups do to bursts, pairs and interference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from darc.definitions import ARTS
from darc.science.batch_borders import BatchBorders
from darc.science.batching import BatchAssembler
from darc.science.clustering import Method, cluster
from darc.simulation.amber import Amber
from darc.simulation.sky import RfiStorm, Sky
from validation.injections import draw
from validation.result import Check, Section, Table

#: Columns of triggers, as AMBER calls them.
COLUMNS = ("DM", "SNR", "time", "integration_step", "beam_id")
#: Limits of the processor.
SNR_MIN, DM_MIN, WINDOW_S = 8.0, 20.0, 0.5
NBURST, SPAN_S = 1000, 4.096
#: Pairs: time between the two, and least DM, so that the limit in DM decides on neither of a wide pair.
PAIR_S, PAIR_DM = 0.2, 60.0


def measure(short: bool) -> Section:
    """Count groups."""
    number = 60 if short else NBURST
    singles = single_bursts(number)
    methods: tuple[Method, ...] = ("windows", "linked")
    kinds = {method: per_burst(*singles, method) for method in methods}
    both = {method: groups > 0 for method, groups in kinds.items()}
    pairs = {method: separated(30 if short else 300, method) for method in kinds}
    reference = f"{number} bursts, DM 20-3000, width 0.08-50 ms, S/N 10-100, any place in a batch"
    pair = f"{30 if short else 300} pairs at the same DM of {PAIR_DM:g}-3000, {PAIR_S} s apart"
    mean = {method: groups[groups > 0].mean() for method, groups in kinds.items()}
    checks = [
        Check("linked groups per burst, mean", reference, mean["linked"], 1.02),
        Check(
            "bursts that fixed windows find and linked groups lose",
            reference,
            int((both["windows"] & ~both["linked"]).sum()),
            0,
        ),
        Check("pairs that are two linked groups", pair, pairs["linked"], 0.99, "", at_least=True),
    ]
    rows = [
        [
            method,
            f"{both[method].mean():.4f}",
            f"{mean[method]:.3f}",
            str(kinds[method].max()),
            f"{pairs[method]:.3f}",
            *(f"{storm(rate, method):.1f}" for rate in STORMS),
        ]
        for method in kinds
    ]
    headings = (
        "method",
        "bursts found",
        "groups per burst",
        "most",
        "pairs that are two",
        *(f"groups/s, storm of {rate:g} rows/s" for rate in STORMS),
    )
    text = (
        "Rows of the model of AMBER, batch by batch as the processor groups them (boxes of 0.5 s; S/N 8, DM "
        "20). The default of `processor.clustering.method` follows from this: `linked`. What both mean in "
        "real time is below. In interference no more than three linked groups begin in a box."
    )
    return Section("Grouping of triggers", text, checks, [Table("Both methods", headings, rows)])


#: Rows per second of storms of interference.
STORMS = (10.0, 100.0, 1000.0)


def batches_of(amber: Amber) -> dict[int, np.ndarray]:
    """Return the triggers of each batch, (n, 5): DM, S/N, time, width, SB."""
    batches = {}
    for number in range(amber.nbatch):
        rows = np.concatenate([amber.rows(number, instance) for instance in range(len(amber.plans))])
        if rows.size:
            batches[number] = np.column_stack([rows[name].astype(float) for name in COLUMNS])
    return batches


def grouped(batches: dict[int, np.ndarray], method: Method) -> list[list[float]]:
    """Group batches as the processor does: DM, S/N, time, width, SB of each group."""
    borders, found = BatchBorders(ARTS, 1.0), []

    def group(rows: np.ndarray) -> None:
        clusters = cluster(
            rows,
            snr_min=SNR_MIN,
            dm_min=DM_MIN,
            window=WINDOW_S,
            origin=0.0,
            method=method,
            earlier=borders.found,
        )
        borders.note(clusters)
        found.extend(clusters.representatives.tolist())

    assembler = BatchAssembler(1, 0.0, 0.0)
    for number, rows in batches.items():
        assembler.add(np.full(len(rows), number), rows, 1, True, float(number))
        for batch in assembler.ready(float(number)):
            if method == "linked":
                if borders.deadline is not None and borders.deadline <= number:
                    group(borders.release())
                group(borders.take(replace(batch, late=False), float(number)))
            else:
                group(batch.rows)
    group(borders.release())
    return found


def single_bursts(number: int) -> tuple[dict[int, np.ndarray], int]:
    """Return the rows of bursts that are far apart, and nothing else, and the number of bursts."""
    rng = np.random.default_rng(3)
    bursts = [each.as_rectangle for each in draw(rng, number, number * SPAN_S)]
    bursts = [replace(burst, snr=max(burst.snr, 10.0), sb=int(rng.integers(71))) for burst in bursts]
    return batches_of(Amber(Sky(number * SPAN_S, tuple(bursts)), seed=4)), number


def per_burst(batches: dict[int, np.ndarray], number: int, method: Method) -> np.ndarray:
    """Return how many groups each burst gave."""
    span = np.array([group[2] / SPAN_S for group in grouped(batches, method)]).astype(int)
    return np.bincount(np.clip(span, 0, number - 1), minlength=number)


def separated(number: int, method: Method) -> float:
    """Return the share of pairs of bursts that are in groups of their own.

    Each of a pair has AMBER for itself, as if it kept more than the best boxcar of each width and batch.
    """
    rng, two = np.random.default_rng(5), 0
    for seed in range(number):
        first = draw(rng, 1, 8.0)[0].as_rectangle
        first = replace(first, dm=max(first.dm, PAIR_DM))
        pair = [
            replace(first, time_s=2.1 + first.time_s % 0.7 + i * PAIR_S, snr=float(rng.uniform(12, 60)))
            for i in range(2)
        ]
        rows: dict[int, list[np.ndarray]] = {}
        for i, burst in enumerate(pair):
            for batch, found in batches_of(Amber(Sky(8.0, (burst,)), seed=2 * seed + i)).items():
                rows.setdefault(batch, []).append(found)
        batches = {batch: np.concatenate(rows[batch]) for batch in sorted(rows)}
        groups = np.array(grouped(batches, method))
        width_s = first.width_samples * ARTS.tsamp_s
        hits = [np.any(np.abs(groups[:, 2] - burst.time_s) < 0.09 + 0.1 * width_s) for burst in pair]
        two += all(hits)
    return two / number


def storm(rate: float, method: Method) -> float:
    """Return the groups per second of interference."""
    duration_s = 20 * ARTS.batch_s
    sky = Sky(duration_s, storms=(RfiStorm(0.0, duration_s, rate, dm_scale=300.0),))
    return len(grouped(batches_of(Amber(sky, seed=6)), method)) / duration_s
