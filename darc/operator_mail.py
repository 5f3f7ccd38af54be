"""Mails to those who look after a node, when its master cannot help itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from darc.config import Config

if TYPE_CHECKING:
    from darc.network.mail_spool import MailSpool

#: Longest time in s that the end of the master waits for mails; what is unsent then waits on disk.
CLOSING_S = 2.0

_TEXT = """The service {service} of the node {node} died again and again and is not restarted any more:

    {cause}

Its last lines say what is wrong:

    {log_file}

Mend that, then start it there: darc --service {service} start
"""


class OperatorMail:
    """Tells operators; they wait on disk while the mail server is away.

    Args:
        config: configuration of the site; nobody is told if `darc_master.email_settings.to` is empty
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._logger = logging.getLogger("darc.master")
        self._spool: MailSpool | None = None
        if config.darc_master.email_settings.to:
            from darc.network.mail_spool import open_spool  # noqa: PLC0415 (slow, and most do without)

            self._spool = open_spool(config, self._logger)

    def given_up(self, service: str, cause: str) -> None:
        """Tell that a service is given up."""
        if self._spool is None:
            return
        from darc.network.mail import MailError, build_mail  # noqa: PLC0415

        config = self._config
        node = config.node.name if config.node else "unknown"
        text = _TEXT.format(
            service=service, node=node, cause=cause, log_file=getattr(config, service).log_file
        )
        try:
            message = build_mail(
                f"DARC: {service} of {node} is given up",
                config.mail.sender,
                config.darc_master.email_settings.to,
                text,
            )
            self._spool.put(message)
        except MailError as error:
            self._logger.error("operators are not told that %s is given up: %s", service, error)

    def close(self) -> None:
        """Send what has not been tried yet."""
        if self._spool is not None:
            self._spool.close(CLOSING_S)
