"""Asks LOFAR to freeze its transient buffers."""

from __future__ import annotations

import re
import socket
from typing import Any

from darc.base import LAST_WAIT_S
from darc.errors import DARCError
from darc.events.trigger_service import TriggerService
from darc.formats.lofar_packet import freeze_time, pack, unpack
from darc.formats.trigger import NEEDED_BY_LOFAR, UNITS
from darc.network.mail import build_mail
from darc.network.mail_spool import MailSpool, open_spool
from darc.network.queue_server import QueueServer
from darc.records.sent_log import Event
from darc.science.dispersion import delay_s


class LOFARTriggerException(DARCError):  # noqa: N818 (documented name)
    """LOFAR cannot be triggered as asked."""


class LOFARUnreachableError(LOFARTriggerException):
    """A packet has certainly not left this node."""


class LOFARTriggerQueueServer(QueueServer):
    """Server for the LOFAR trigger input queue."""


class LOFARTrigger(TriggerService):
    """Select the brightest of the incoming triggers and send it to LOFAR to freeze its buffers."""

    lofar_host: str | None
    lofar_port: int
    lofar_freq: float
    lofar_tbb_buffer_size: float
    waterfall_sb: int
    email_settings: dict[str, Any]

    server_class = LOFARTriggerQueueServer
    needed = NEEDED_BY_LOFAR
    known_first = True
    # a freeze that comes late finds nothing: what comes while LOFAR is away must not wait once it is back
    longest_pause_s = 1.0
    event_name = "LOFAR trigger"
    unreachable = LOFARUnreachableError
    # a second freeze of LOFAR's buffers would be worse than none
    repeat = False
    _mails: MailSpool | None = None

    def prepare(self) -> None:
        """Start to send mails, those that wait from earlier first, then to collect."""
        self._mails = open_spool(self.config, self.logger)
        super().prepare()

    def cleanup(self) -> None:
        """Stop to collect, and to send mails; those that the server has not taken wait on disk."""
        super().cleanup()
        if self._mails is not None:
            self._mails.close(LAST_WAIT_S)

    def make_event(self, trigger: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Make a packet of a trigger.

        Args:
            trigger: checked item

        Raises:
            DARCError: no packet can be made of it
        """
        packet = self._new_trigger(
            trigger["dm"], trigger["utc"], **_given(trigger, "nu_GHz"), test=trigger.get("test")
        )
        says = unpack(packet)
        content = {
            "packet": packet.hex(),
            "says": str(says),
            "receiver": f"{self.lofar_host}:{self.lofar_port}",
        }
        return says.test, content

    def shown(self, event: Event) -> str:
        """Return what the log says of an event: what its packet says."""
        return str(event.content["says"])

    def preview(self, trigger: dict[str, Any]) -> str:
        """Return the packet of a checked trigger, in hexadecimal and decoded."""
        _, content = self.make_event(trigger)
        packet = " ".join(re.findall("..", content["packet"]))
        whom = f"{content['receiver']} (UDP)"
        if not self.lofar_host:
            whom = "nobody: lofar_trigger.lofar_host is not configured"
        return f"to {whom}\n{packet}\n{content['says']}"

    def transmit(self, event: Event) -> str:
        """Send a packet to LOFAR.

        Raises:
            LOFARTriggerException: it was not sent
        """
        self._send(bytes.fromhex(event.content["packet"]))
        self.logger.warning("sent to %s:%d: %s", self.lofar_host, self.lofar_port, self.shown(event))
        return f"{self.lofar_host}:{self.lofar_port}"

    def after_sending(self, event: Event) -> None:
        """Have the observers told."""
        try:
            self.send_email(event.trigger)
        except DARCError as error:
            self.logger.error("no e-mail about this trigger: %s", error)

    def lost_sight_of(self, event: Event) -> None:
        """Tell the observers of a packet that may have been sent before a restart."""
        self.logger.error(
            "not known whether this was sent before the restart, and not sent again: %s", self.shown(event)
        )
        try:
            self._mail(
                event.trigger,
                "perhaps sent: ",
                "The service ended while LOFAR was being asked to freeze its buffers. Nobody here knows "
                "whether the packet was sent; it is not sent again.",
            )
        except DARCError as error:
            self.logger.error("no e-mail about this: %s", error)

    def _new_trigger(self, dm: float, utc: str, nu_GHz: float = 1.37, test: bool | None = None) -> bytes:  # noqa: N803
        """Create a LOFAR trigger packet.

        Args:
            dm: dispersion measure in pc cm^-3
            utc: UTC arrival time in ISOT format
            nu_GHz: frequency in GHz that the arrival time refers to
            test: whether to send a test event; the configuration can make every event one

        Raises:
            DARCError: a value does not fit the packet
        """
        delay = float(delay_s(dm, self.lofar_freq, nu_GHz * 1e3))
        freeze = freeze_time(utc, delay, self.lofar_tbb_buffer_size)
        return pack(freeze, dm, self.is_test(test))

    def _send(self, packet: bytes) -> None:
        if not self.lofar_host:
            raise LOFARTriggerException("sending is enabled, but lofar_trigger.lofar_host is not configured")
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(packet, (self.lofar_host, self.lofar_port))
        except OSError as error:
            raise LOFARUnreachableError(
                f"no trigger to LOFAR at {self.lofar_host}:{self.lofar_port}: {error}"
            ) from error

    def send_email(self, trigger: dict[str, Any]) -> None:
        """Have an e-mail sent about a trigger that was sent to LOFAR; nothing waits for the mail server.

        Args:
            trigger: trigger as sent to LOFAR

        Raises:
            DARCError: it cannot be sent, or not be kept on disk until it is
        """
        self._mail(trigger, "", "LOFAR was asked to freeze its buffers.")

    def _mail(self, trigger: dict[str, Any], remark: str, text: str) -> None:
        to = self.email_settings.get("to") or []
        if not to:
            self.logger.info("no e-mail, as lofar_trigger.email_settings.to is empty")
            return
        test = self.is_test(trigger.get("test"))
        subject = (
            f"{'Test: ' if test else ''}{remark}LOFAR trigger at {trigger['utc']}, DM {trigger['dm']:.2f}"
        )
        parameters = "\n".join(_line(key, trigger[key]) for key in sorted(trigger.keys() - {"arrived"}))
        text = f"{text}\n\n{parameters}\n\nThe data to look at are those of SB {self.waterfall_sb:02d}.\n"
        if self._mails is None:
            self._mails = open_spool(self.config, self.logger)
        self._mails.put(build_mail(subject, self.config.mail.sender, to, text))


def _line(key: str, value: Any) -> str:
    shown = f"{value:.10g}" if isinstance(value, float) else value
    return f"{key:>15}: {shown} {UNITS.get(key, '')}".rstrip()


def _given(trigger: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: trigger[key] for key in keys if trigger.get(key) is not None}
