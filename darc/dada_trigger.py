"""Makes the ring buffer of this node dump its full-resolution data."""

from __future__ import annotations

import queue
import socket
import threading
from dataclasses import dataclass
from typing import Any

from darc.base import DARCBase, observation_label
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.dada_event import DadaEvent, build_message, event_window
from darc.science.polcal import dump_windows

#: Time in s between two attempts to reach dada_dbevent.
RETRY_S = 0.2


class DADATriggerException(DARCError):  # noqa: N818 (documented name)
    """No dump can be triggered as asked."""


@dataclass(frozen=True)
class _Message:
    """A message for dada_dbevent and the time in unix seconds after which it is of no use any more."""

    content: bytes
    stokes: str
    expires: float


class DADATrigger(DARCBase):
    """Generate and send dada_dbevent triggers.

    Each set of triggers becomes one message per Stokes, sent in one go by a thread per Stokes. A message that
    cannot be delivered is repeated as long as the data it asks for are in the ring buffer: repeating is
    harmless there.
    """

    host: str
    port_i: int
    port_iquv: int
    send_timeout: float
    min_window_size: float
    delay_end: float
    polcal_dump_size: float
    polcal_interval: float
    polcal_max_dumps: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.triggers_enabled = True
        self._outboxes: dict[str, queue.Queue[_Message | None]] = {}
        self._senders: list[threading.Thread] = []
        self._polcal: threading.Thread | None = None
        self._polcal_end: threading.Event | None = None

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Start an observation.

        If its source is a polarisation calibrator in the beam of this node, dump IQUV data at regular
        intervals and refuse other triggers; else take triggers of FRB candidates.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again
        """
        self.stop_observation()
        super().start_observation(obs_config, reload)
        self.triggers_enabled = not self._is_polcal(self._load_parset(obs_config))
        if not self.triggers_enabled:
            self._polcal_end = threading.Event()
            self._polcal = threading.Thread(target=self.polcal_dumps, args=(obs_config,), daemon=True)
            self._polcal.start()

    def stop_observation(self, *args: Any, **kwargs: Any) -> None:
        """Stop automatic dumps; triggers that still come are taken."""
        if self._polcal_end is not None:
            self._polcal_end.set()
        if self._polcal is not None:
            self._polcal.join()
            self._polcal = None

    def cleanup(self) -> None:
        """Remove all threads that send triggers; what they have not sent yet has one more attempt."""
        self.stop_observation()
        for outbox in self._outboxes.values():
            outbox.put(None)
        for sender in self._senders:
            sender.join(2 * self.send_timeout)
        self._outboxes.clear()
        self._senders.clear()

    def process_command(self, command: dict[str, Any]) -> None:
        """Send triggers.

        Args:
            command: `{'command': 'trigger', 'trigger': [trigger, ...]}`
        """
        if command["command"] != "trigger":
            super().process_command(command)
        elif not self.triggers_enabled:
            self.logger.warning("trigger refused: this is a polarisation calibration, which dumps by itself")
        else:
            triggers = command.get("trigger", [])
            self.send_event(triggers if isinstance(triggers, list) else [triggers])

    def _load_parset(self, obs_config: dict[str, Any]) -> dict[str, Any] | None:
        """Load the observation parset; None if it cannot be read, which is logged."""
        try:
            return parsets.observation_parset(obs_config)
        except DARCError as error:
            self.logger.error("no observation parset, thus taken for no polarisation calibration: %s", error)
            return None

    def _is_polcal(self, parset: dict[str, Any] | None) -> bool:
        if parset is None or "polcal" not in str(parset.get("task.source.name", "")):
            return False
        beam = self.obs_config.get("beam", self.config.beam)
        return beam is not None and str(parset.get("task.source.beam")) == str(beam)

    # --- messages ------------------------------------------------------------------------------------------

    def send_event(self, triggers: list[dict[str, Any]]) -> None:
        """Send triggers to dada_dbevent, one message per Stokes.

        Args:
            triggers: dictionaries with `stokes` (I or IQUV), `dm` (pc cm^-3), `beam` (SB), `width` (samples),
                `snr`, `time` (s from the start of the data) and `utc_start` (`astropy.time.Time`)

        Raises:
            DADATriggerException: nothing of it can be sent; what is wrong is said
        """
        by_stokes: dict[str, list[DadaEvent]] = {}
        for trigger in triggers:
            try:
                by_stokes.setdefault(str(trigger["stokes"]), []).append(self._event(trigger))
            except (KeyError, TypeError, ValueError) as error:
                self.logger.error("trigger refused: %s: %r in %.200r", type(error).__name__, error, trigger)
        for stokes, events in by_stokes.items():
            message = build_message(self._utc_start(triggers[0]), events)
            self.send_events(message.decode("ascii"), stokes)

    def _event(self, trigger: dict[str, Any]) -> DadaEvent:
        duration = self.obs_config.get("duration")
        dm, time_s = float(trigger["dm"]), float(trigger["time"])
        start_s, end_s = event_window(
            time_s,
            dm,
            obs_duration_s=float(duration) if duration is not None else None,
            min_window_s=self.min_window_size,
            delay_end_s=self.delay_end,
        )
        return DadaEvent(
            start_s, end_s, dm, float(trigger["snr"]), float(trigger["width"]), int(trigger["beam"])
        )

    def _utc_start(self, trigger: dict[str, Any]) -> str:
        """Return the start of the data in whole seconds, as it stands in their headers."""
        if self.obs_config:
            return parsets.utc_start(self.obs_config)
        return str(trigger["utc_start"].strftime("%Y-%m-%d-%H:%M:%S"))

    def send_events(self, event: str, stokes: str) -> None:
        """Send a message to the dada_dbevent of Stokes I or IQUV.

        Args:
            event: complete message
            stokes: I or IQUV

        Raises:
            DADATriggerException: there is no such Stokes
        """
        if stokes not in ("I", "IQUV"):
            raise DADATriggerException(f"Stokes {stokes!r} of a trigger is neither I nor IQUV")
        if stokes not in self._outboxes:
            self._outboxes[stokes] = queue.Queue()
            sender = threading.Thread(target=self._send_all, args=(self._outboxes[stokes],), daemon=True)
            sender.start()
            self._senders.append(sender)
        expires = self.clock() + self.instrument.ring_buffer_s
        self._outboxes[stokes].put(_Message(event.encode("ascii"), stokes, expires))

    def _send_all(self, outbox: queue.Queue[_Message | None]) -> None:
        while (message := outbox.get()) is not None:
            self._send(message)

    def _send(self, message: _Message) -> None:
        """Send a message, again and again until it is delivered or of no use."""
        port = self._port(message.stokes)
        label = f"Stokes {message.stokes} to {self.host}:{port}"
        while True:
            try:
                with socket.create_connection((self.host, port), timeout=self.send_timeout) as connection:
                    connection.sendall(message.content)
            except OSError as error:
                if self.clock() >= message.expires or self._is_stopping():
                    self.logger.error("%s not delivered, its data are lost: %s", label, error)
                    return
                self.logger.warning("%s not delivered, trying again: %s", label, error)
                if self._stopping is not None:
                    self._stopping.wait(RETRY_S)
            else:
                self.logger.info("%s sent: %r", label, message.content.decode("ascii"))
                return

    def _port(self, stokes: str) -> int:
        """Return the port of a dada_dbevent: set by a caller, else the observation's, else configured."""
        name = f"port_{stokes.lower()}"
        own: int = getattr(self, name)
        if own != getattr(self.config.dada_trigger, name):
            return own
        return int(self.obs_config.get(f"network_port_event_{stokes.lower()}", own))

    # --- polarisation calibration --------------------------------------------------------------------------

    def polcal_dumps(self, obs_config: dict[str, Any]) -> None:
        """Dump IQUV data at regular intervals until the observation ends or is stopped.

        Args:
            obs_config: observation configuration with `startpacket` and `duration`
        """
        end = self._polcal_end or threading.Event()
        start_unix = parsets.start_time_unix(obs_config)
        windows = dump_windows(
            float(obs_config["duration"]),
            dump_s=self.polcal_dump_size,
            interval_s=self.polcal_interval,
            max_dumps=self.polcal_max_dumps,
            page_s=self.instrument.batch_s,
        )
        self.logger.info(
            "polarisation calibration of %s: %d dumps", observation_label(obs_config), len(windows)
        )
        for start_s, end_s in windows:
            if end.wait(max(0.0, start_unix + start_s - self.clock())):
                return
            event = DadaEvent(start_s, end_s, 0.0, 0.0, 0.0, 0)
            self.send_events(build_message(parsets.utc_start(obs_config), [event]).decode("ascii"), "IQUV")
