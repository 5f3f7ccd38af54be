"""Why injected bursts were not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from darc.definitions import ARTS
from validation.injections import Injection
from validation.result import Table

#: Limits of the processor for groups: S/N and DM (pc cm^-3).
SNR_MIN, DM_MIN = 10.0, 20.0
UNSEEN = "AMBER has no row of it"
FAINT = f"all of AMBER's rows are below S/N {SNR_MIN:g}"
NEARBY = f"AMBER's DM is below {DM_MIN:g}"
HIDDEN = "in the group of something brighter"
NOT_IN_DATA = "nothing above the limit in S/N in the data"
ELSEWHERE = "something else found in the data"
REFUSED = "refused by the networks"
CAUSES = (UNSEEN, FAINT, NEARBY, HIDDEN, NOT_IN_DATA, ELSEWHERE, REFUSED)
#: Ranges of S/N of the table of causes, and of spectra, widths (ms) and DMs of that of the networks.
BINS = ((6.0, 10.0), (10.0, 15.0), (15.0, 35.0), (35.0, 100.0))
SPECTRA, WIDTHS_MS, DMS = ("flat", "narrow", "drifting"), (0.0, 1.0, 10.0, 200.0), (20.0, 50.0, 500.0, 3001.0)
#: Bursts from this S/N on are listed one by one.
LISTED = 15.0


def cause(rows: Sequence[Sequence[float]], passed: Sequence[bool], *, extracted: bool) -> str:
    """Return why a burst was not kept, empty if it was.

    Args:
        rows: AMBER's rows of it: DM, S/N, time, width, SB
        passed: whether there are rows, a group, a candidate, and one that was kept
        extracted: whether a candidate came of its groups, its own or not

    """
    seen, grouped, matching, kept = passed
    strong = [row for row in rows if row[1] >= SNR_MIN]
    reasons = (
        (kept, ""),
        (matching, REFUSED),
        (extracted, ELSEWHERE),
        (grouped, NOT_IN_DATA),
        (not seen, UNSEEN),
        (not strong, FAINT),
        (all(row[0] < DM_MIN for row in strong), NEARBY),
    )
    return next((reason for holds, reason in reasons if holds), HIDDEN)


def lost_bursts(injected: Sequence[Injection], causes: Sequence[str]) -> list[Table]:
    """Return the causes by S/N, what the networks refuse, and the bright bursts that were lost."""
    both = list(zip(injected, causes, strict=True))
    rows = []
    for low, high in BINS:
        number = Counter(reason for each, reason in both if low <= each.burst.snr < high)
        rows.append([f"{low:g}-{high:g}", *(str(number[reason]) for reason in ("", *CAUSES))])
    by_cause = Table("Bursts kept, and why the others were not", ("S/N", "kept", *CAUSES), rows)
    listed = [
        [
            f"{each.burst.snr:.1f}",
            f"{each.burst.dm:.0f}",
            f"{each.width * ARTS.tsamp_s * 1e3:.2f}",
            each.spectrum + (", scattered" if each.burst.scattering_s else ""),
            reason,
        ]
        for each, reason in sorted(both, key=lambda pair: -pair[0].burst.snr)
        if reason and each.burst.snr >= LISTED
    ]
    headings = ("S/N", "DM", "width (ms)", "spectrum", "cause")
    title = f"Bursts of S/N {LISTED:g} or more that were not kept"
    return [by_cause, refused(both), Table(title, headings, listed)]


def refused(both: Sequence[tuple[Injection, str]]) -> Table:
    """Return what share of the candidates of bursts the networks refuse, by kind of burst."""
    seen = [(each, reason) for each, reason in both if reason in {"", REFUSED} and each.burst.snr >= LISTED]
    kinds = {f"{kind} spectrum": [pair for pair in seen if pair[0].spectrum == kind] for kind in SPECTRA}
    for low, high in pairwise(WIDTHS_MS):
        name = f"width {low:g}-{high:g} ms"
        kinds[name] = [p for p in seen if low <= p[0].width * ARTS.tsamp_s * 1e3 < high]
    for low, high in pairwise(DMS):
        kinds[f"DM {low:g}-{high:.0f}"] = [p for p in seen if low <= p[0].burst.dm < high]
    rows = [
        [name, str(len(pairs)), str(sum(bool(reason) for _, reason in pairs))]
        for name, pairs in kinds.items()
    ]
    title = f"Candidates of bursts of S/N {LISTED:g} or more that the networks refuse, by kind of burst"
    return Table(title, ("kind", "candidates", "refused"), rows)
