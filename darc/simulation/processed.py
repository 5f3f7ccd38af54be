"""What the processor made of the bursts, as its files tell it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from darc.config import Config
from darc.definitions import ARTS
from darc.errors import DARCError
from darc.formats import candidate as candidates
from darc.formats.results import parse_triggers, summary_name, triggers_name
from darc.processor_tools.beam import ObservedBeam
from darc.simulation.outcome import DM_TOLERANCE, TIME_TOLERANCE_S
from darc.simulation.scenario import Injection

#: Pause in s between two looks for results that are not there yet.
STEP_S = 0.2


#: Least S/N recovered, as a share of the injected one, and largest error of an arrival time in ms or widths.
SHARE_MIN = 0.7
ERROR_MS, ERROR_WIDTHS = 2.0, 0.5


@dataclass(frozen=True)
class Found:
    """A burst as the processor has it.

    Attributes:
        snr: S/N in the data
        toa_error_ms: arrival time minus that of the middle of the injected burst
        probability: probability of a burst, None if it was not classified
        page: page of the PDF in each block of plots, counted from 1; None if it was not kept
    """

    snr: float
    toa_error_ms: float
    probability: float | None
    page: int | None

    def problem(self, injection: Injection) -> str:
        """Return what is wrong with it; empty if nothing is."""
        width_ms = injection.burst.width_samples * ARTS.tsamp_s * 1e3
        if not injection.extracted:
            return "NOT WANTED"
        if self.page is None:
            return "NOT KEPT"
        if self.snr < SHARE_MIN * injection.burst.snr:
            return "TOO FAINT"
        return "WRONG TIME" if abs(self.toa_error_ms) > max(ERROR_MS, ERROR_WIDTHS * width_ms) else ""


def problem(injection: Injection, found: Found | None) -> str:
    """Return what is wrong with what was made of a burst; empty if nothing is."""
    if found is None:
        return "MISSING" if injection.extracted else ""
    return found.problem(injection)


def wait_for_results(beam: ObservedBeam, timeout_s: float) -> None:
    """Wait until the processor of a beam has finished.

    Raises:
        DARCError: it has not within some time
    """
    deadline = time.monotonic() + timeout_s
    while not (beam.result_folder / summary_name(beam.beam)).exists():
        if time.monotonic() > deadline:
            raise DARCError(
                f"no results in {beam.result_folder} after {timeout_s:g} s; see the processor's log"
            )
        time.sleep(STEP_S)


def find(injection: Injection, beam: ObservedBeam, config: Config) -> Found | None:
    """Return what was made of an injected burst; None if it was not extracted."""
    burst = injection.burst
    middle_s = burst.time_s + burst.width_samples * config.instrument.tsamp_s / 2
    paths = sorted(beam.candidate_folder.glob(f"*{candidates.SUFFIX}"))
    mine = {
        path: each
        for path in paths
        if abs((each := candidates.read(path)).toa_s - middle_s) < TIME_TOLERANCE_S
        and abs(each.dm - burst.dm) < DM_TOLERANCE * burst.dm
    }
    if not mine:
        return None
    best = max(mine.values(), key=lambda each: each.snr)
    return Found(best.snr, (best.toa_s - middle_s) * 1e3, best.probability, _page(best, beam, config))


def _page(candidate: candidates.Candidate, beam: ObservedBeam, config: Config) -> int | None:
    """Return the page that shows a candidate: they stand there in the order of the list of triggers."""
    text = Path(beam.result_folder / triggers_name(beam.beam)).read_text(encoding="utf-8")
    for place, trigger in enumerate(parse_triggers(text)):
        if abs(trigger.time_s - candidate.toa_s) < 1e-3 and abs(trigger.snr - candidate.snr) < 0.01:
            return 1 + place // config.processor.visualizer.nplot_per_side**2
    return None
