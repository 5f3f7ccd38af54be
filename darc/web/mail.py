"""The results of an observation as an HTML mail, which needs nothing from elsewhere."""

from __future__ import annotations

from darc.definitions import ARTS, Instrument
from darc.reporting.report import ObservationReport
from darc.web.observation import rows, steps
from darc.web.pages import render


def mail_html(
    report: ObservationReport, *, max_candidates: int, link: str | None, instrument: Instrument = ARTS
) -> str:
    """Return the HTML part of a mail.

    Mail programs drop style sheets, so that each element has its own styles.

    Args:
        report: what to tell
        max_candidates: number of candidates that are shown, the best ones
        link: address of the observation's page; None if there is none to tell
        instrument: telescope and search
    """
    return render(
        "mail.html",
        report=report,
        info=report.info,
        steps=steps(report.beams),
        rows=rows(report, max_candidates, instrument),
        link=link,
    )
