"""Mails about an observation as plain text: its results, results that came late, a node that is silent."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path

from darc.reporting.collect import SETTLED
from darc.reporting.report import BeamReport, Candidate, ObservationReport

_LEGEND = (
    "p: probability, DM in pc cm^-3, time from the start of the data at the top of the band, width in samples"
)


def result_mail(report: ObservationReport, *, max_candidates: int, link: str | None) -> tuple[str, str]:
    """Return subject and text of the mail with the results.

    Args:
        report: the results
        max_candidates: the most candidates that are listed, the best ones
        link: address of the page, or its file; None: there is none
    """
    candidates, info = report.candidates, report.info
    missing = [beam for beam in report.beams if beam.state not in SETTLED]
    processing = f" ({report.processing})" if report.processing else ""
    subject = f"{info.datetimesource}{processing}: {_number(len(candidates), 'candidate')}"
    if missing:
        subject += f", {len(missing)} of {_number(len(report.beams), 'beam')} missing"
    parts = [
        _parameters(report, link),
        *(["\n".join(["Problems", *report.problems])] if report.problems else []),
        *_candidates(report, candidates, max_candidates),
        "Beams\n" + beam_table(report.beams),
    ]
    return subject, "\n\n".join(parts) + "\n"


def late_mail(
    report: ObservationReport, beams: Sequence[int], *, max_candidates: int, link: str | None
) -> tuple[str, str]:
    """Return subject and text of the mail about results that came after the one with the results.

    Args:
        report: all results
        beams: compound beams whose results are new
        max_candidates: the most candidates of these beams that are listed, the best ones
        link: address of the page, or its file; None: there is none
    """
    names = ", ".join(f"CB{cb:02d}" for cb in beams)
    new = [beam for beam in report.beams if beam.cb in beams]
    candidates = [candidate for candidate in report.candidates if candidate.trigger.cb in beams]
    subject = (
        f"{report.info.datetimesource}: late results of {names}, {_number(len(candidates), 'candidate')}"
    )
    parts = [
        f"Results of {names} came after the mail with the results of\n{report.info.datetimesource}.",
        *([f"Page: {link}"] if link else []),
        *_candidates(report, candidates, max_candidates),
        beam_table(new),
    ]
    return subject, "\n\n".join(parts) + "\n"


def warning_mail(datetimesource: str, cb: int, node: str, problem: str, awaited: Path) -> tuple[str, str]:
    """Return subject and text of the warning about a node whose results do not come.

    Args:
        datetimesource: label of the observation
        cb: compound beam
        node: name of the node
        problem: what is wrong with it
        awaited: the file that is waited for
    """
    subject = f"{datetimesource}: no results of CB{cb:02d} from {node}"
    text = f"""\
The results of compound beam {cb:02d} of the observation

    {datetimesource}

have not come, and its node does not work on them: {problem}.

Please check
  - whether the node {node} is up and can be reached,
  - whether DARC and its service `processor` run there: darc --host {node} status
  - what the log of the processor on that node says,
  - whether the node can write to the folder of the file below, and its disk is not full.

The results of the other beams wait for this one. They are sent when it is there, when its node has been
silent for too long, or as soon as this file exists, which may be empty:

    {awaited}

To go on without this beam, make it as an empty file on the master node:

    touch {shlex.quote(str(awaited))}
"""
    return subject, text


def beam_table(beams: Iterable[BeamReport]) -> str:
    """Return a table with a row per beam: counts, position, and what became of it."""
    beams = list(beams)
    labels = list(dict.fromkeys(label for beam in beams for label in beam.counts))
    rows = [("CB", "node", *labels, "RA (deg)", "Dec (deg)", "l (deg)", "b (deg)", "result")]
    rows += [
        (
            f"{beam.cb:02d}",
            beam.node,
            *(_count(beam.counts.get(label)) for label in labels),
            *_position(beam),
            _result(beam),
        )
        for beam in beams
    ]
    return _table(rows)


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _position(beam: BeamReport) -> tuple[str, ...]:
    found = beam.coordinates
    if found is None:
        return ("?",) * 4
    return tuple(f"{deg:.4f}" for deg in (found.ra_deg, found.dec_deg, found.gl_deg, found.gb_deg))


def _result(beam: BeamReport) -> str:
    late = " (late)" if beam.late else ""
    return f"{beam.state.value}{late}{': ' if beam.reason else ''}{beam.reason}"


def _parameters(report: ObservationReport, link: str | None) -> str:
    info = report.info
    dm = "?" if info.dm_galactic is None else f"{info.dm_galactic:.1f} pc cm^-3"
    lines = {
        "Observation": info.datetimesource,
        "Source": info.source,
        "Task ID": info.task_id,
        "Start": f"{info.start.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "Duration": f"{info.duration_s:.1f} s",
        "Telescopes": ", ".join(info.telescopes) or "?",
        "Directions": info.frame or "?",
        "Galactic DM": dm,
        "Band": f"{info.centre_mhz:.1f} MHz, {info.bandwidth_mhz:g} MHz wide",
        "Page": link or "none",
    }
    return "\n".join(f"{label:<12} {value}" for label, value in lines.items())


def _candidates(report: ObservationReport, candidates: Sequence[Candidate], max_candidates: int) -> list[str]:
    """Return the paragraphs about candidates, which come best first."""
    if not candidates:
        return ["No candidates."]
    shown = candidates[:max_candidates]
    columns = "rank", "CB", report.sub_beam, "p", "S/N", "DM", "time (s)", "width"
    rows = [columns, *(_row(rank, each) for rank, each in enumerate(shown, start=1))]
    left = len(candidates) - len(shown)
    more = f"\nand {left} more that are not listed here" if left else ""
    return [f"{_number(len(candidates), 'candidate')}, best first\n{_table(rows)}{more}\n{_LEGEND}"]


def _row(rank: int, candidate: Candidate) -> tuple[str, ...]:
    trigger = candidate.trigger
    return (
        str(rank),
        f"{trigger.cb:02d}",
        str(trigger.sb),
        f"{trigger.probability:.2f}",
        f"{trigger.snr:.1f}",
        f"{trigger.dm:.2f}",
        f"{trigger.time_s:.4f}",
        str(trigger.downsamp),
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: to the right, but the last one, which is text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = (
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
