"""Bursts injected into simulated hours: AMBER's rows, groups, extraction, classification."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from darc.config import Config, load_config
from darc.definitions import ARTS
from darc.errors import DARCError
from darc.formats.candidate import Candidate
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.beam_extractor import BeamExtractor, extraction_settings
from darc.processor_tools.ledger import Cluster
from darc.processor_tools.networks import PACKAGED_MODELS, Network
from darc.science.extraction import Detection, plan, warm_up
from darc.simulation.amber import Amber
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.sky import Sky
from validation.grouping import batches_of, grouped
from validation.injections import (
    NOISE_ROWS_PER_S,
    SINGLE,
    Injection,
    draw,
    emissions,
    impulses,
    storms,
)
from validation.losses import HIDDEN, cause, lost_bursts
from validation.recovery import SWEEP_S, recovery
from validation.result import Check, Section, Table, share
from validation.sparse_data import SparseFilterbank

#: Bursts, observations and length of each (s).
FULL, SHORT = (1000, 8, 1800.0), (32, 2, 120.0)
#: Edges of the bins of S/N.
BINS = (6.0, 8.0, 9.0, 10.0, 11.0, 12.0, 15.0, 20.0, 35.0, 100.0)
#: Ranges of S/N in which most have to pass a stage: least S/N, most, stage, share. Bounds are two standard
#: errors lower, since few bursts say little; that of false alarms is so much higher.
SHARES = ((11.0, 15.0, 1, 0.93), (15.0, 100.0, 1, 0.98), (15.0, 100.0, 2, 0.98), (15.0, 100.0, 3, 0.95))
BRIGHT, ALARMS_PER_HOUR = 15.0, 10.0
STAGES = ("AMBER's rows", "group", "extracted", "kept")
#: A candidate belongs to a burst within this of its time (s, and widths) and DM (share, and pc cm^-3).
NEAR_S, NEAR_WIDTHS, NEAR_DM_SHARE, NEAR_DM = 0.03, 1.0, 0.1, 15.0


@dataclass
class Outcome:
    """What became of one observation.

    Attributes:
        injected: the bursts
        stages: for each of them, whether it passed each of `STAGES`
        causes: why it was not kept; empty: it was
        windows: whether fixed windows would have had a group for it
        found: for each kept burst S/N, width (samples) and DM as injected, the same as found, and error of
            the arrival time (s)
        false_alarms: kept candidates in whose data is no burst
        repeated: kept candidates that show a burst which another group stands for
        groups: number of groups above the S/N limit
        duration_s: of the observation

    """

    injected: list[Injection] = field(default_factory=list)
    stages: list[tuple[bool, ...]] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    windows: list[bool] = field(default_factory=list)
    found: list[tuple[float, ...]] = field(default_factory=list)
    false_alarms: int = 0
    repeated: int = 0
    groups: int = 0
    duration_s: float = 0.0


def measure(short: bool) -> Section:
    """Inject bursts and find them again."""
    number, nobs, duration_s = SHORT if short else FULL
    todo = [(seed, number // nobs, duration_s) for seed in range(nobs)]
    with ProcessPoolExecutor(min(2, nobs), mp_context=get_context("spawn")) as pool:
        return assessed(list(pool.map(observe, todo)))


def assessed(outcomes: Sequence[Outcome]) -> Section:
    """Put the outcomes of all observations together."""
    injected = [each for outcome in outcomes for each in outcome.injected]
    causes = [cause for outcome in outcomes for cause in outcome.causes]
    stages = np.array([stage for outcome in outcomes for stage in outcome.stages])
    snr = np.array([each.burst.snr for each in injected])
    windows = np.array([each for outcome in outcomes for each in outcome.windows])
    found = np.array([each for outcome in outcomes for each in outcome.found]).reshape(-1, 7)
    hours = sum(outcome.duration_s for outcome in outcomes) / 3600
    rates = [
        sum(getattr(outcome, name) for outcome in outcomes) / hours
        for name in ("groups", "repeated", "false_alarms")
    ]
    reference = f"{len(snr)} bursts injected in {hours:.2g} h of data"
    checks = [complete(snr, stages, *limits) for limits in SHARES]
    lost = int((windows & ~stages[:, 1]).sum())
    hidden = sum(cause == HIDDEN for cause, bright in zip(causes, snr >= BRIGHT, strict=True) if bright)
    most = ALARMS_PER_HOUR + 2 * (ALARMS_PER_HOUR / hours) ** 0.5
    checks += [
        Check("bursts that fixed windows find and linked groups lose", reference, lost, 0),
        Check(
            f"bursts of S/N {BRIGHT:g} or more that lost their group to a brighter one", reference, hidden, 0
        ),
        Check("kept candidates in whose data is no burst", reference, rates[2], most, "per hour"),
    ]
    more_checks, more_tables = recovery(found)
    tables = [completeness(snr, stages, windows), *lost_bursts(injected, causes), *more_tables]
    return Section("Detection and recovered parameters", text(*rates), checks + more_checks, tables)


def text(groups: float, repeated: float, false_alarms: float) -> str:
    """Say how it was done, with the numbers per hour that no bound is for."""
    return (
        "Bursts with DM 20-3000, width 0.08-50 ms and S/N 6-100, evenly in the logarithm; 30 % are "
        "scattered, 45 % have a narrow or drifting spectrum; transmitters, a radar, impulses at DM 0 and "
        "storms of AMBER's rows are among them. Rows are those of the model of AMBER, for a rectangle as "
        "wide as the boxcar that finds the burst best; their noise and that of the data are independent, so "
        "that faint bursts have to be above the limit twice. Filterbank files have the length of the "
        "observation; the samples are there where candidates are extracted. Groups with S/N 10 or more: "
        f"{groups:.0f} per hour, of which {false_alarms:.1f} are kept that show no burst, and {repeated:.1f} "
        "that show a burst once more: a row of a storm beside it, or a second group of it. A wide burst has "
        "a DM that is as uncertain as its width; where the brightest of AMBER's trial DMs is below the least "
        "DM, 20, the burst is left out as that of a source nearby would be."
    )


def complete(snr: np.ndarray, stages: np.ndarray, low: float, high: float, stage: int, least: float) -> Check:
    """Compare the share that passes a stage with what has to."""
    here = (low <= snr) & (snr < high)
    number = max(int(here.sum()), 1)
    return Check(
        f"completeness, S/N {low:g}-{high:g}: {STAGES[stage]}",
        f"{here.sum()} bursts injected",
        float(stages[here, stage].mean()) if here.any() else np.nan,
        least - 2 * (least * (1 - least) / number) ** 0.5,
        at_least=True,
    )


def completeness(snr: np.ndarray, stages: np.ndarray, windows: np.ndarray) -> Table:
    """Return the shares that pass each stage, in bins of S/N, with their binomial errors."""
    rows = []
    for low, high in pairwise(BINS):
        here = (low <= snr) & (snr < high)
        columns = [*stages[here].T, windows[here]]
        rows.append([f"{low:g}-{high:g}", str(here.sum()), *(share(column) for column in columns)])
    headings = ("S/N", "bursts", *STAGES, "group, fixed windows")
    return Table("Completeness as a function of S/N, with its binomial error", headings, rows)


def observe(todo: tuple[int, int, float]) -> Outcome:
    """Run one observation: its seed, the number of bursts and the length in s."""
    seed, number, duration_s = todo
    logging.disable(logging.CRITICAL)
    injected = draw(np.random.default_rng((seed, 1)), number, duration_s)
    stormy, disturbed = storms(duration_s), impulses(duration_s)
    rectangles = tuple(each.as_rectangle for each in injected)
    rows_sky = Sky(duration_s, (*rectangles, *disturbed), (), stormy, NOISE_ROWS_PER_S)
    data_sky = FilterbankSky(
        Sky(duration_s, (*(each.burst for each in injected), *disturbed)),
        emissions(duration_s, stormy, seed),
        seed=seed,
        instrument=SINGLE,
    )
    batches = batches_of(Amber(rows_sky, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(Path(folder), data_sky)
        section = chain.config.processor.clustering
        groups = {
            method: [each for each in grouped(batches, method) if each[1] >= section.snr_min]
            for method in ("linked", "windows")
        }
        candidates = [chain.candidate(number, each) for number, each in enumerate(groups["linked"])]
    return judged(injected, batches, groups, candidates, duration_s)


class Chain:
    """From a group to a candidate and its probabilities, as the processor does it.

    Args:
        folder: for its files
        sky: what the files hold
        settings: of the extractor, where they are not the defaults

    """

    def __init__(self, folder: Path, sky: FilterbankSky, **settings: object) -> None:
        site = folder / "config.yaml"
        site.write_text("{}\n")
        self.config: Config = load_config(site)
        self._file = SparseFilterbank(folder / "filterbank", sky, 1.5e9)
        observed = {
            "date": "20190518",
            "datetimesource": "2019-05-18-23:50:00.test",
            "startpacket": 1,
            "beam": 0,
            "ntabs": 1,
            "duration": sky.nbatch * ARTS.batch_s,
            "output_dir": str(folder),
        }
        beam = ObservedBeam.of(observed, self.config)
        changed = self.config.processor.extractor.model_copy(update={"rfi_apply_mask": False, **settings})
        logger = logging.getLogger("chain")
        self._extractor = BeamExtractor(beam, changed, self.config.sb_generator, logger)
        self._settings, self._band = changed, beam.band
        judge = self.config.processor.classifier
        self._judge = judge
        self._freqtime = Network(PACKAGED_MODELS / judge.model_freqtime, (judge.nfreq, judge.ntime))
        self._dmtime = Network(PACKAGED_MODELS / judge.model_dmtime, (judge.ndm, judge.ntime))
        warm_up()

    def candidate(self, number: int, group: Sequence[float]) -> tuple[Candidate | None, bool]:
        """Return what comes of a group (DM, S/N, time, width, SB), and whether it is kept."""
        dm, snr, time_s, width, sb = group
        cluster = Cluster(number, dm, snr, time_s, round(width), round(sb))
        self._file.clear()
        start, stop = self._window(cluster)
        self._file.fill(start, stop)
        try:
            found = self._extractor.extract(cluster)
        except DARCError:
            return None, False
        freqtime = self._freqtime.probability(found.data_freq_time)
        dmtime = self._dmtime.probability(found.data_dm_time)
        judge = self._judge
        return found, freqtime >= judge.thresh_freqtime and dmtime >= judge.thresh_dmtime

    def _window(self, cluster: Cluster) -> tuple[int, int]:
        detection = Detection(cluster.dm, cluster.time_s, cluster.width)
        todo = plan(detection, self._band, extraction_settings(self._settings), self._file.nsample)
        return todo.start, todo.stop


def near(injected: Injection, time_s: float, dm: float, *, more_s: float = 0.0) -> bool:
    """Return whether a time in s and a DM are those of a burst."""
    width_s = injected.width * ARTS.tsamp_s
    dm_near = max(NEAR_DM, NEAR_DM_SHARE * injected.burst.dm, width_s * 1e3)
    near_s = max(NEAR_S, NEAR_WIDTHS * width_s) + more_s
    return abs(time_s - injected.middle_s) <= near_s and abs(dm - injected.burst.dm) <= dm_near


def judged(
    injected: Sequence[Injection],
    batches: dict[int, np.ndarray],
    groups: dict[str, list[list[float]]],
    candidates: Sequence[tuple[Candidate | None, bool]],
    duration_s: float,
) -> Outcome:
    """Say which bursts passed which stage, and what else was kept."""
    rows = np.concatenate(list(batches.values()))
    outcome = Outcome(list(injected), groups=len(groups["linked"]), duration_s=duration_s)
    mine = set()
    for each in injected:
        close = rows[np.abs(rows[:, 2] - each.middle_s) < 0.3]
        seen = [row for row in close.tolist() if belongs(row, each)]
        those = [number for number, group in enumerate(groups["linked"]) if belongs(group, each)]
        there = [(found, kept) for found, kept in (candidates[n] for n in those) if found is not None]
        matching = [(found, kept) for found, kept in there if near(each, found.toa_s, found.dm)]
        mine.update(those)
        kept = [found for found, kept in matching if kept]
        passed = (bool(seen), bool(those), bool(matching), bool(kept))
        outcome.stages.append(passed)
        outcome.causes.append(cause(seen, passed, extracted=bool(there)))
        outcome.windows.append(any(belongs(group, each) for group in groups["windows"]))
        if kept:
            best = max(kept, key=lambda found: found.snr)
            truth = each.burst.snr, each.width, each.burst.dm
            outcome.found.append((*truth, best.snr, best.downsamp, best.dm_amber, best.toa_s - each.middle_s))
    for found in (found for n, (found, kept) in enumerate(candidates) if kept and n not in mine):
        shown = found is not None and any(smeared(each, found) for each in injected)
        outcome.repeated += shown
        outcome.false_alarms += not shown
    return outcome


def belongs(group: Sequence[float], injected: Injection) -> bool:
    """Return whether a group or row (DM, S/N, time, width, SB) is of a burst."""
    half_s = group[3] * ARTS.tsamp_s / 2
    return near(injected, group[2] + half_s, group[0], more_s=half_s)


def smeared(injected: Injection, found: Candidate) -> bool:
    """Return whether a candidate may show a burst, dedispersed with a DM that may be another."""
    reach_s = (found.downsamp + injected.width) * ARTS.tsamp_s
    reach_s += abs(found.dm - injected.burst.dm) * SWEEP_S
    return abs(found.toa_s - injected.middle_s) <= reach_s
