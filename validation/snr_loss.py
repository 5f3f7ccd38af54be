"""Where S/N is lost between a burst and its candidate, step by step."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.signals import SubBurst
from darc.simulation.sky import Sky
from validation.detection import Chain
from validation.injections import SINGLE, Injection, draw, emissions, injection
from validation.recovery import SWEEP_S
from validation.result import Check, Section, Table

Floats = NDArray[np.float64]
#: Time per burst (s); least S/N: what is lost shows, not the choice of the brightest noise.
SPAN_S, SNR_MIN = 8.0, 20.0


@dataclass(frozen=True)
class Step:
    """What is added in a step.

    Attributes:
        name: of it
        clean_type: removal of interference
        shaped: bursts with structure and scattering, instead of rectangles
        disturbed: with interference in the data
        dm_error: largest error of the DM, in widths of delay over the band
        least: what the median of S/N has to be at least, as part of that injected

    """

    name: str
    least: float
    clean_type: str = "none"
    shaped: bool = False
    disturbed: bool = False
    dm_error: float = 0.0


STEPS = (
    Step("estimate of S/N, rectangular pulses", 0.96),
    Step("removal of interference where there is none", 0.94, "perchannel"),
    Step("scattering, structure in frequency and time", 0.94, "perchannel", True),
    Step("interference in the data", 0.87, "perchannel", True, True),
    Step("DM wrong by up to a width of delay over the band", 0.80, "perchannel", True, True, 1.0),
)


def measure(short: bool) -> Section:
    """Extract the same bursts with one difficulty more each time."""
    number = 12 if short else 100
    rng = np.random.default_rng(21)
    shaped = draw(rng, number, number * SPAN_S)
    shaped = [injection(replace(each.burst, snr=max(each.burst.snr, SNR_MIN))) for each in shaped]
    checks, rows = [], []
    for step in STEPS:
        found = recovered(shaped, step)
        low, middle, high = np.percentile(found, [16, 50, 84])
        allowance = 1.25 * (high - low) / np.sqrt(number)
        reference = f"{number} bursts, S/N {SNR_MIN:g}-100"
        checks.append(
            Check(
                f"S/N as part of that injected: {step.name}",
                reference,
                middle,
                step.least - allowance,
                "",
                True,
            )
        )
        width = np.array([each.width for each in shaped]) * ARTS.tsamp_s * 1e3
        parts = [found[(a <= width) & (width < b)] for a, b in ((0, 1), (1, 10), (10, 200))]
        cells = [f"{np.median(part):.3f}" if part.size else "" for part in parts]
        rows.append([step.name, f"{middle:.3f} ± {(high - low) / 2:.3f}", *cells])
    headings = ("with", "all: median, half the range of 68 %", "below 1 ms", "1-10 ms", "above 10 ms")
    text = (
        "The same bursts, extracted with one difficulty more in each line, at the DM and width that were "
        "injected. The estimate of S/N is AMBER's, which comes out 2 % low (`darc.science.snr`). Removal of "
        "interference clips the brightest samples of bright short bursts. In the last line the DM is wrong, "
        "as AMBER's is, whose trial DMs find a wide pulse far beside its own."
    )
    return Section("Where S/N is lost", text, checks, [Table("S/N as part of that injected", headings, rows)])


def recovered(shaped: Sequence[Injection], step: Step) -> Floats:
    """Return the S/N of all candidates, as part of those injected."""
    logging.disable(logging.CRITICAL)
    rng, duration_s = np.random.default_rng(22), len(shaped) * SPAN_S
    bursts = shaped if step.shaped else [rectangle(each) for each in shaped]
    disturbing = emissions(duration_s, (), 1) if step.disturbed else ()
    sky = Sky(duration_s, tuple(each.burst for each in bursts))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        data = FilterbankSky(sky, disturbing, seed=1, instrument=SINGLE)
        chain = Chain(Path(folder), data, rfi_clean_type=step.clean_type)
        for number, each in enumerate(bursts):
            error = step.dm_error * rng.uniform(-1, 1) * each.width * ARTS.tsamp_s / SWEEP_S
            group = (each.burst.dm + error, each.burst.snr, each.start_s, each.width, 0)
            candidate, _ = chain.candidate(number, group)
            found.append(candidate.snr / each.burst.snr if candidate is not None else 0.0)
    return np.array(found)


def rectangle(each: Injection) -> Injection:
    """Return a flat pulse as wide as the boxcar that finds a burst best."""
    burst = replace(
        each.burst, time_s=each.start_s, width_samples=each.width, scattering_s=0.0, parts=(SubBurst(),)
    )
    return injection(burst)
