"""Mails to those who receive the results of observations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from darc.network.mail import MailError, build_mail
from darc.network.mail_spool import MailSpool

_WITHOUT_PLOTS = "\nThe plots are not attached, as the mail server does not take so much: see the page.\n"


class Post:
    """Writes mails and queues them on disk.

    Args:
        spool: where they wait until the mail server has taken them
        sender: address that they come from
        to: addresses of the recipients
        logger: where to log what cannot be sent
    """

    def __init__(self, spool: MailSpool, sender: str, to: Sequence[str], logger: logging.Logger) -> None:
        self._spool, self._sender, self._to, self._logger = spool, sender, to, logger

    def put(self, subject: str, text: str, *, html: str | None = None, plots: Sequence[Path] = ()) -> None:
        """Queue a mail. One that cannot be queued is logged.

        Args:
            subject: its subject
            text: body as plain text
            html: the same as HTML
            plots: files to attach; left out if the server does not take so much, or if they cannot be read
        """
        if not self._to:
            self._logger.info("no mail %r, as processor_master.email_settings.to is empty", subject)
            return
        build = partial(build_mail, subject, self._sender, self._to, html=html)
        try:
            smaller = build(text=text + _WITHOUT_PLOTS) if plots else None
            try:
                message = build(text=text, attachments=plots)
            except MailError as error:
                if smaller is None:
                    raise
                self._logger.error("mail without plots: %s", error)
                message, smaller = smaller, None
            self._spool.put(message, smaller=smaller)
        except MailError as error:
            self._logger.error("mail %r: %s", subject, error)
        else:
            self._logger.info("mail %r with %d plots to %s", subject, len(plots), ", ".join(self._to))

    def close(self, timeout_s: float) -> None:
        """Send what has not been tried yet, within a limited time; what is unsent then stays on disk."""
        self._spool.close(timeout_s)
