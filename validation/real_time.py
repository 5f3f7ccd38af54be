"""Grouping in real time: what each method does to dumps, to LOFAR and VOEvents, and to the time they take."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.config import load_config
from darc.definitions import ARTS
from darc.science.batch_borders import BatchBorders
from darc.science.batching import Batch
from darc.science.clustering import Clusters, Method
from darc.science.rules import Rules
from darc.science.selection import Selection, Verdict, select
from darc.simulation.amber import Amber
from darc.simulation.sky import Burst, RfiStorm, Sky
from validation.grouping import SPAN_S, batches_of
from validation.injections import draw
from validation.result import Check, Section, Table, share

Floats = NDArray[np.float64]
Decision = tuple[Selection, float]
#: Highest Galactic DM, and lowest of the bursts (pc cm^-3): no limit in DM decides on one of them.
DM_GAL, DM_MIN, DM_MAX = 30.0, 100.0, 3000.0
#: Least S/N and largest width (samples) of bursts that should lead to a dump, and to a message to LOFAR.
DUMPED, TOLD = (12.0, 80), (25.0, 60)
#: Ranges of S/N.
BINS = ((10.0, 12.0), (12.0, 15.0), (15.0, 20.0), (20.0, 35.0), (35.0, 100.0))
#: Share of bursts that may be split, or lost to what shares their box; bounds are two standard errors wider.
FEW = 0.02
#: Rows per second of the storm that goes on all the time, and their excess over AMBER's limit in S/N.
STORM_ROWS_PER_S, STORM_SNR = 30.0, 5.0
#: Grouping, and whether triggers at the end of a batch wait for the next one.
METHODS: dict[str, tuple[Method, bool]] = {
    "windows": ("windows", False),
    "linked": ("linked", False),
    "linked, waiting": ("linked", True),
}


@dataclass(frozen=True)
class WaitingRules(Rules):
    """Rules of which groups know those of the batches before, as in the processor."""

    borders: BatchBorders = field(default_factory=lambda: BatchBorders(ARTS, 0.0))

    def cluster(
        self,
        triggers: Floats,
        snr_min: float,
        dm_min: float,
        dm_max: float,
        earlier: Floats | None = None,
    ) -> Clusters:
        """Group triggers that no earlier group explains."""
        found = super().cluster(triggers, snr_min, dm_min, dm_max, self.borders.found)
        self.borders.note(found)
        return found


@dataclass(frozen=True)
class Sent:
    """What was sent in the time of one burst.

    Attributes:
        dumps: triggers for the ring buffer
        messages: to LOFAR, and as VOEvent
        right: whether one of the dumps is that of the burst
        waited_s: how long that trigger waited for the next batch

    """

    dumps: int
    messages: int
    right: bool
    waited_s: float


def measure(short: bool) -> Section:
    """Decide on bursts as the service does, with each method, in quiet data and in interference."""
    number = 60 if short else 1000
    bursts = drawn(number)
    skies = {"quiet": Sky(number * SPAN_S, tuple(bursts))}
    storm = RfiStorm(0.0, number * SPAN_S, STORM_ROWS_PER_S, dm_scale=300.0, snr_scale=STORM_SNR)
    skies["storm"] = replace(skies["quiet"], storms=(storm,))
    rows, found, shares = [], {}, []
    for name, sky in skies.items():
        spans = rows_of(sky, number)
        for sb_filter in (True, False):
            for method in METHODS:
                decide = decider(method, sb_filter=sb_filter)
                sent = [outcome(decide(span), burst) for span, burst in zip(spans, bursts, strict=True)]
                figures = of_bursts(sent, bursts)
                found[name, sb_filter, method] = figures
                cells = [f"{figure:.3f}" for figure in figures]
                rows.append([name, "yes" if sb_filter else "no", method, *cells])
                if method == "windows":
                    shares.append([name, "yes" if sb_filter else "no", *by_snr(sent, bursts)])
    headings = ("data", "SB filter", *(f"S/N {low:g}-{high:g}" for low, high in BINS))
    tables = [
        Table("All methods", HEADINGS, rows),
        Table(f"Share of bursts up to {DUMPED[1]} samples wide that are dumped, `windows`", headings, shares),
    ]
    should = sum(burst.snr >= DUMPED[0] and burst.width_samples <= DUMPED[1] for burst in bursts)
    return Section("Grouping in real time", TEXT, checks(found, should), tables)


HEADINGS = (
    "data",
    "SB filter",
    "method",
    "bursts dumped",
    "dump triggers per burst",
    "messages to LOFAR per burst",
    "share that waits",
    "mean wait (s)",
)
TEXT = (
    "The rules of `amber_clustering` with their defaults, for new sources with DM 100-3000, batch by batch: "
    f"bursts of S/N {DUMPED[0]:g} or more and up to {DUMPED[1]} samples should be dumped, those of S/N "
    f"{TOLD[0]:g} or more and up to {TOLD[1]} samples told to LOFAR. In the storm there are "
    f"{STORM_ROWS_PER_S:g} rows/s all the time; without the SB filter (`sb_filter`) they lead to dumps, too. "
    "What the SB filter costs, it costs with each method: the S/N of a faint burst is not seen to repeat. "
    "The default in real time, `amber_clustering.clustering_method`, is `windows`: at the S/N that lead to "
    "dumps, bursts are hardly split, and the same bursts are dumped in quiet data as with linked groups. In "
    "a storm linked groups find the few bursts that share a box with something brighter, and without the SB "
    "filter nearly twice as many dump triggers come of interference. Waiting at the borders of batches, as "
    "the processor does, takes away the last second trigger of a burst, which the least interval between "
    "dumps stops anyway, and makes those that wait a second late."
)


def checks(found: dict[tuple[str, bool, str], tuple[float, ...]], number: int) -> list[Check]:
    """Compare the default with linked groups."""
    default, linked = found["quiet", True, "windows"], found["quiet", True, "linked"]
    unfiltered = found["quiet", False, "windows"]
    few = FEW + 2 * (FEW * (1 - FEW) / max(number, 1)) ** 0.5
    stormy = found["storm", True, "linked"][0] - found["storm", True, "windows"][0]
    quiet = f"{number} bursts in quiet data"
    more = "share of bursts dumped that linked groups have more"
    return [
        Check(more, f"{quiet}, default settings", linked[0] - default[0], 0),
        Check(f"{more}, storm", f"{number} bursts in a storm, default settings", stormy, few),
        Check("share of bursts dumped, SB filter off", quiet, unfiltered[0], 1 - few, "", at_least=True),
        Check("dump triggers per burst, SB filter off", quiet, unfiltered[1], 1 + few),
        Check("messages to LOFAR per burst", f"{quiet}, default settings", default[2], 1 + few),
    ]


def drawn(number: int) -> list[Burst]:
    """Return bursts far apart, in any direction, at any place in a batch."""
    rng = np.random.default_rng(3)
    found = []
    for each in draw(rng, number, number * SPAN_S):
        dm = DM_MIN * (DM_MAX / DM_MIN) ** rng.uniform()
        burst = replace(each.as_rectangle, dm=dm, sb=int(rng.integers(71)))
        found.append(replace(burst, snr=max(burst.snr, 10.0)))
    return found


def rows_of(sky: Sky, number: int) -> list[dict[int, Floats]]:
    """Return the rows in the time of each burst, batch by batch."""
    batches, each = batches_of(Amber(sky, seed=4)), round(SPAN_S / ARTS.batch_s)
    spans = [range(i * each, (i + 1) * each) for i in range(number)]
    return [{batch: batches[batch] for batch in span if batch in batches} for span in spans]


def decider(method: str, *, sb_filter: bool) -> Callable[[dict[int, Floats]], list[Decision]]:
    """Return what decides on the batches in the time of one burst, with the time of each decision."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "config.yaml"
        site.write_text("{}\n")
        section = load_config(site).amber_clustering
    grouping, waits = METHODS[method]

    def decide(batches: dict[int, Floats]) -> list[Decision]:
        rules = (WaitingRules if waits else Rules)(
            beam=0,
            source_name=None,
            source_kind=None,
            source_dm=None,
            dm_gal=DM_GAL,
            clustering_window=section.clustering_window,
            clustering_method=grouping,
            dm_range=section.dm_range,
            dm_min_global=section.dm_min_global,
            snr_min_global=section.snr_min_global,
            sb_filter=sb_filter,
            sb_filter_period=(section.sb_filter_period_min, section.sb_filter_period_max),
            thresh_iquv=section.thresh_iquv.model_dump(),
            thresh_lofar=section.thresh_lofar.model_dump(),
            lofar_trigger_sources=[],
            thresh_lofar_override={},
        )
        # without the interval between dumps, which would hide that a burst has several
        return [(select(rules.groups(rows)), time_s) for rows, time_s in parts(batches, rules)]

    return decide


def parts(batches: dict[int, Floats], rules: Rules) -> list[tuple[Floats, float]]:
    """Return what is decided on together, and when: the end of a batch, or when waiting for it is over."""
    ends = {number: (number + 1) * ARTS.batch_s for number in batches}
    if not isinstance(rules, WaitingRules):
        return [(rows, ends[number]) for number, rows in batches.items()]
    borders, found = rules.borders, []
    for number, end_s in [*ends.items(), (max(ends, default=0) + 2, inf)]:
        # no rows of the next batch: it is not there by half a batch after its end
        if (deadline := borders.deadline) is not None and deadline < end_s - ARTS.batch_s / 2:
            found.append((borders.release(), deadline))
        if number in batches:
            batch = Batch(number, batches[number], False, "complete", 0.0, {})
            found.append((borders.take(batch, end_s), end_s))
    return found


def outcome(decisions: Sequence[Decision], burst: Burst) -> Sent:
    """Say what was sent in the time of a burst, and whether that is the burst."""
    width_s = burst.width_samples * ARTS.tsamp_s

    def right(verdict: Verdict) -> bool:
        dm_near = max(15.0, 0.05 * burst.dm, width_s * 1e3)
        return abs(verdict.time_s - burst.time_s) < 0.1 + width_s and abs(verdict.dm - burst.dm) < dm_near

    mine = [
        (verdict, time_s) for selection, time_s in decisions for verdict in selection.iquv if right(verdict)
    ]
    waited_s = 0.0
    if mine:
        verdict, time_s = mine[0]
        waited_s = time_s - (int(verdict.time_s / ARTS.batch_s + 1e-6) + 1) * ARTS.batch_s
    return Sent(
        sum(len(selection.iquv) for selection, _ in decisions),
        sum(selection.lofar is not None for selection, _ in decisions),
        bool(mine),
        max(0.0, waited_s),
    )


def by_snr(sent: Sequence[Sent], bursts: Sequence[Burst]) -> list[str]:
    """Return the share of bursts that are dumped, in ranges of S/N, with its error."""
    right, snr = np.array([each.right for each in sent]), np.array([burst.snr for burst in bursts])
    narrow = np.array([burst.width_samples <= DUMPED[1] for burst in bursts])
    return [share(right[narrow & (low <= snr) & (snr < high)]) for low, high in BINS]


def of_bursts(sent: Sequence[Sent], bursts: Sequence[Burst]) -> tuple[float, ...]:
    """Return the share of bursts dumped, dump triggers and messages per burst, who waits, and how long."""
    should = {
        limits: np.array([burst.snr >= limits[0] and burst.width_samples <= limits[1] for burst in bursts])
        for limits in (DUMPED, TOLD)
    }
    right = np.array([each.right for each in sent])
    dumps, messages = (np.array([getattr(each, name) for each in sent]) for name in ("dumps", "messages"))
    waited_s = np.array([each.waited_s for each in sent])[right]
    told = should[TOLD] & (messages > 0)
    return (
        float(right[should[DUMPED]].mean()),
        float(dumps[should[DUMPED] & right].mean()),
        float(messages[told].mean()),
        float((waited_s > 0).mean()),
        float(waited_s.mean()),
    )
