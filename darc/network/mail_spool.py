"""The queue of mails: each waits on disk until the mail server has taken it, so that no restart loses one.

Processes of a node may share a folder: whoever sends a mail holds a lock on its file meanwhile (flock, which
ends with the process). A mail that the server took without having said so is sent again, under the same
message ID.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

from darc import metrics
from darc.network.mail import (
    MailError,
    MailRefusedError,
    MailSettings,
    MailTooLargeError,
    Refusal,
    deliver,
    mail_settings,
    nobody_served,
)
from darc.network.mail_folder import MailFolder, SpooledMail
from darc.network.spool import claimed

if TYPE_CHECKING:
    from darc.config import Config

Deliver = Callable[[MailSettings, Sequence[str], bytes], dict[str, Refusal]]


class MailSpool:
    """Sends mails in their order, from a thread of this process; those that wait from earlier first.

    Args:
        folder: Where they wait; refused and expired mails end in its `failed`.
        settings: The mail server.
        retry_interval_s: Time until a mail that was not taken is tried again.
        max_age_s: Age from which a mail that is not taken is given up.
        logger: Where to log what becomes of them.
    """

    def __init__(
        self,
        folder: Path,
        settings: MailSettings,
        *,
        retry_interval_s: float,
        max_age_s: float,
        logger: logging.Logger,
    ) -> None:
        self._folder = MailFolder(folder)
        self._postman = Postman(
            self._folder,
            settings,
            retry_interval_s=retry_interval_s,
            max_age_s=max_age_s,
            logger=logger,
            deliver=deliver,
        )
        self._interval_s = retry_interval_s
        self._wake, self._closing = threading.Event(), threading.Event()
        self._end = math.inf
        self._thread = threading.Thread(target=self._run, name="mail", daemon=True)
        self._thread.start()

    def put(self, message: EmailMessage, *, smaller: EmailMessage | None = None) -> None:
        """Have a mail sent. It is on disk when this returns.

        Args:
            message: The mail with all its attachments.
            smaller: What is sent in its place if the server refuses its size.

        Raises:
            MailError: It cannot be sent as it is; or the disk did not take it, and it is sent from memory, as
                long as this process lives.
        """
        mail = SpooledMail.of(message, smaller)
        try:
            self._folder.add(mail)
        except OSError as error:
            self._postman.keep(mail)
            raise MailError(
                f"mail {mail.subject!r} cannot be kept on the disk of {self._folder.path}: {error.strerror}; "
                "make room there, the mail is lost unless it is sent before this process ends"
            ) from error
        finally:
            self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Send what has not been tried yet, within a limited time; what is unsent then stays on disk."""
        self._end = time.monotonic() + timeout_s
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            last = self._closing.is_set()
            self._postman.go_round(lambda: time.monotonic() > self._end)
            if last:
                return
            self._wake.wait(self._interval_s)


def open_spool(config: Config, logger: logging.Logger) -> MailSpool:
    """Open the mails of this node, as its configuration says."""
    return MailSpool(
        config.darc_master.state_dir / "mail",
        mail_settings(config.mail),
        retry_interval_s=config.mail.retry_interval,
        max_age_s=config.mail.max_age,
        logger=logger,
    )


class Postman:
    """Hands mails to the mail server, and decides what becomes of those that it does not take.

    A mail that is refused for good, or not taken when it is too old, is put aside. One that is refused for
    now waits while the others are sent. When the server cannot be used at all, everything waits.

    Args:
        folder: Where the mails are.
        settings: The mail server.
        retry_interval_s: Time until a mail that was not taken is tried again.
        max_age_s: Age from which a mail that is not taken is given up.
        logger: Where to log what becomes of them.
        deliver: What hands over a mail.
        monotonic: Clock for the retries, in s.
    """

    def __init__(
        self,
        folder: MailFolder,
        settings: MailSettings,
        *,
        retry_interval_s: float,
        max_age_s: float,
        logger: logging.Logger,
        deliver: Deliver,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._settings, self._logger = folder, settings, logger
        self._retry_interval_s, self._max_age_s = retry_interval_s, max_age_s
        self._deliver, self._monotonic = deliver, monotonic
        self._unsaved: list[SpooledMail] = []
        self._server_due = -math.inf
        self._due: dict[str, float] = {}
        self._told: dict[str, str] = {}
        folder.tidy(max_age_s)

    def keep(self, mail: SpooledMail) -> None:
        """Take a mail that the disk did not take; it is sent from memory unless the disk takes it later."""
        self._unsaved.append(mail)

    def go_round(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Try every mail that is due, the oldest first.

        Args:
            is_over: Asked before each mail whether to leave the rest.
        """
        if self._monotonic() < self._server_due:
            return
        self._save_unsaved()
        away = None
        try:
            for path in self._folder.waiting():
                if is_over():
                    return
                if self._monotonic() >= self._due.get(path.name, -math.inf):
                    away = self._attempt(path, away)
        except OSError as error:
            self._warn(str(self._folder.path), f"mails that wait there are not sent: {error.strerror}")
        if away is None:
            self._send_unsaved(is_over)

    # --- mails on disk -------------------------------------------------------------------------------------

    def _attempt(self, path: Path, away: MailError | None) -> MailError | None:
        """Try a mail, unless the server is away already; return why it is, if so."""
        try:
            with claimed(path) as file:
                if file is None:
                    return away
                if away is None:
                    away = self._treat(path, file.read())
                if away is not None and self._is_old(path):
                    self._give_up(path, path.name, away)
        except OSError as error:
            self._postpone(path, f"{path}: {error.strerror}")
        return away

    def _treat(self, path: Path, data: bytes) -> MailError | None:
        """Send a mail and do with its file what follows; return why the server is away, if it is."""
        try:
            mail = SpooledMail.from_bytes(data)
        except MailError as error:
            self._give_up(path, path.name, error)
            return None
        try:
            left = self._send(mail)
        except MailRefusedError as error:
            if error.lasting or self._is_old(path):
                self._give_up(path, mail.subject, error)
            else:
                self._postpone(path, f"mail {mail.subject!r} waits: {error}")
        except MailError as error:
            return self._server_is_away(error)
        else:
            if left is None:
                self._remove(path)
            else:
                self._folder.replace(path, left)
                self._postpone(path, f"mail {mail.subject!r} waits for {', '.join(left.recipients)}")
        return None

    def _is_old(self, path: Path) -> bool:
        return self._folder.age_s(path) > self._max_age_s

    def _postpone(self, path: Path, why: str) -> None:
        self._due[path.name] = self._monotonic() + self._retry_interval_s
        self._warn(path.name, why)

    def _give_up(self, path: Path, name: str, why: MailError) -> None:
        place = self._folder.put_aside(path)
        self._forget(path)
        metrics.note_trigger("mail", metrics.FAILED, time.time())
        self._logger.error("mail %r given up, it is kept as %s: %s", name, place, why)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
        except OSError as error:
            # never again from here: it would be sent every time
            self._due[path.name] = math.inf
            self._logger.error("%s is sent, but cannot be removed: %s; remove it", path, error.strerror)
        else:
            self._forget(path)

    def _forget(self, path: Path) -> None:
        self._due.pop(path.name, None)
        self._told.pop(path.name, None)

    # --- mails in memory -----------------------------------------------------------------------------------

    def _save_unsaved(self) -> None:
        for mail in list(self._unsaved):
            try:
                self._folder.add(mail)
            except OSError:
                return
            self._unsaved.remove(mail)

    def _send_unsaved(self, is_over: Callable[[], bool]) -> None:
        for mail in list(self._unsaved):
            if is_over():
                return
            try:
                left = self._send(mail)
            except MailRefusedError as error:
                if not error.lasting:
                    self._warn(mail.subject, f"mail {mail.subject!r} waits: {error}")
                    continue
                metrics.note_trigger("mail", metrics.FAILED, time.time())
                self._logger.error("mail %r given up: %s", mail.subject, error)
                left = None
            except MailError as error:
                self._server_is_away(error)
                return
            self._unsaved.remove(mail)
            if left is not None:
                self._unsaved.append(left)

    # --- the server ----------------------------------------------------------------------------------------

    def _send(self, mail: SpooledMail) -> SpooledMail | None:
        """Hand over a mail, or its smaller form; return it with the recipients that it has to reach later.

        Raises:
            MailRefusedError: It reached nobody.
            MailError: The server is away.
        """
        try:
            refused = self._deliver(self._settings, mail.recipients, mail.message)
        except MailTooLargeError as error:
            if not mail.smaller:
                raise
            self._logger.warning("mail %r goes in its smaller form: %s", mail.subject, error)
            refused = self._deliver(self._settings, mail.recipients, mail.smaller)
        later = tuple(who for who, why in refused.items() if not why.lasting)
        if len(refused) == len(mail.recipients) and len(later) in (0, len(refused)):
            raise nobody_served(self._settings, refused)
        for who, why in refused.items():
            if why.lasting:
                self._logger.error("mail %r not sent to %s: %s", mail.subject, who, why)
        served = [who for who in mail.recipients if who not in refused]
        if self._told.pop("", None):
            self._logger.info("the mail server takes mails again")
        metrics.note_trigger("mail", metrics.SENT, time.time())
        self._logger.info("mail %r sent to %s", mail.subject, ", ".join(served) or "nobody")
        return replace(mail, recipients=later) if later else None

    def _server_is_away(self, error: MailError) -> MailError:
        self._server_due = self._monotonic() + self._retry_interval_s
        self._warn("", f"mails wait: {error}; again in {self._retry_interval_s:g} s")
        return error

    def _warn(self, about: str, why: str) -> None:
        """Log a problem once, however often it is met again."""
        if self._told.get(about) != why:
            self._logger.warning("%s", why)
        self._told[about] = why
