"""Tells of the results of an observation: on a page, and by mails, of which it remembers what they told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from darc.config import Config
from darc.errors import DARCError
from darc.formats.results import summary_name
from darc.network.mail_spool import open_spool
from darc.reporting.collect import SETTLED
from darc.reporting.mail_text import late_mail, result_mail, warning_mail
from darc.reporting.memory import Mailed, MemoryFileError
from darc.reporting.post import Post
from darc.reporting.report import BeamState, ObservationReport
from darc.web.mail import mail_html
from darc.web.observation import publish


class Reporter:
    """Publishes and mails the results of one observation.

    Args:
        label: label of the observation
        result_dir: its folder of results, where it is remembered what was mailed
        config: configuration of this node
        logger: where to log

    Attributes:
        mailed: what was mailed; None: nothing yet
        page: the page; None: there is none
    """

    def __init__(self, label: str, result_dir: Path, config: Config, logger: logging.Logger) -> None:
        self.mailed = Mailed.read(result_dir)
        self.page: Path | None = None
        self._label, self._result_dir, self._instrument = label, result_dir, config.instrument
        self._settings, self._logger = config.processor_master, logger
        self._post = Post(
            open_spool(config, logger), config.mail.sender, self._settings.email_settings.to, logger
        )
        self._shown: list[BeamState] = []

    def close(self, timeout_s: float) -> None:
        """Send the mails that have not been tried yet, within a limited time; the others stay on disk."""
        self._post.close(timeout_s)

    def marked(self, report: ObservationReport) -> ObservationReport:
        """Return a report in which beams are marked whose results came after the mail with the results."""
        mailed = self.mailed
        if mailed is None:
            return report
        beams = tuple(replace(beam, late=mailed.is_late(beam)) for beam in report.beams)
        return replace(report, beams=beams)

    def shows(self, report: ObservationReport) -> bool:
        """Return whether the page has all beams as they are."""
        return self._shown == [beam.state for beam in report.beams]

    def publish(self, report: ObservationReport) -> None:
        """Write the page. One that cannot be written is logged, and costs itself only."""
        try:
            self.page = publish(report, self._settings.webdir, self._instrument)
        except (DARCError, OSError) as error:
            self._logger.error("no page: %s", error)
            return
        self._shown = [beam.state for beam in report.beams]
        self._logger.info("page with %d candidates: %s", len(report.candidates), self.page)

    @property
    def link(self) -> str | None:
        """Address of the page, or its file if it has no address; None: there is no page."""
        root = self._settings.web_url
        if self.page is None or root is None:
            return None if self.page is None else str(self.page)
        return f"{root.rstrip('/')}/{quote(self.page.relative_to(self._settings.webdir).as_posix())}"

    def warn(self, cb: int, node: str, problem: str) -> None:
        """Queue a mail about a node that does not work on its beam, and whose results are not there."""
        awaited = self._result_dir / summary_name(cb)
        self._logger.warning("waiting for %s: %s: %s", awaited, node, problem)
        self._post.put(*warning_mail(self._label, cb, node, problem, awaited))

    def mail_results(
        self, report: ObservationReport, plots: Sequence[Path], reasons: Mapping[int, str], now: float
    ) -> None:
        """Queue the mail with the results, and remember that.

        Args:
            report: the results
            plots: files to attach
            reasons: why there are no results of beams, to be remembered
            now: unix time in s
        """
        most = self._settings.ntrig_email_max
        subject, text = result_mail(report, max_candidates=most, link=self.link)
        html = mail_html(report, max_candidates=most, link=self.link, instrument=self._instrument)
        self._post.put(subject, text, html=html, plots=plots)
        told = tuple(beam.cb for beam in report.beams if beam.state in SETTLED)
        self._remember(Mailed(first_unix=now, beams=told, reasons=reasons))

    def mail_late_results(self, report: ObservationReport, beams: Sequence[int]) -> None:
        """Queue a mail about beams whose results are new, and remember that."""
        most = self._settings.ntrig_email_max
        self._post.put(*late_mail(report, beams, max_candidates=most, link=self.link))
        if self.mailed is not None:
            self._remember(replace(self.mailed, late=(*self.mailed.late, *beams)))

    def _remember(self, mailed: Mailed) -> None:
        self.mailed = mailed
        try:
            mailed.write(self._result_dir)
        except MemoryFileError as error:
            self._logger.error("after a restart, the results would be mailed again: %s", error)
