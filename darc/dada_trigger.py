"""Makes the ring buffer of this node dump its full-resolution data."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from darc import metrics
from darc.base import LAST_WAIT_S, LONGEST_WAIT_S, DARCBase
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.dada_event import DadaEvent, build_message, event_window
from darc.formats.observation_name import observation_label
from darc.formats.trigger import STOKES, DumpTrigger
from darc.formats.utc import parse_utc
from darc.network.retry import RetryPolicy
from darc.outbox import Outbox
from darc.records.decisions import decided_dumps, file_in
from darc.records.journal import Journal
from darc.science.polcal import dump_windows

#: Time in s between two attempts to reach dada_dbevent.
RETRY_S = 0.2
#: Longest time in s between the beamformer's start and that of the data headers, with margin.
SAME_START_S = 10.0


class DADATriggerException(DARCError):  # noqa: N818 (documented name)
    """No dump can be triggered as asked."""


@dataclass(frozen=True)
class _Message:
    """A message for dada_dbevent.

    Attributes:
        key: identifies it
        stokes: I or IQUV
        content: its text
        host: where it goes
        port: port there
        expires: time in unix seconds after which it is of no use any more
    """

    key: str
    stokes: str
    content: str
    host: str
    port: int
    expires: float

    @property
    def label(self) -> str:
        """What it is and where it goes, for the log."""
        return f"Stokes {self.stokes} to {self.host}:{self.port}"


class DADATrigger(DARCBase):
    """Generate and send dada_dbevent triggers.

    Each set of triggers becomes one message per Stokes, sent in one go by a thread per Stokes. A message that
    cannot be delivered is repeated as long as the data it asks for are in the ring buffer, also after a death
    of this process: repeating is harmless there. A successor looks for what was decided and never came here.
    Below a master, what was taken in before is passed over when it comes again.
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
        self.utc_start: str | None = None
        self._outboxes: dict[str, Outbox[_Message]] = {}
        self._journal: Journal | None = None
        self._polcal: threading.Thread | None = None
        self._polcal_end: threading.Event | None = None

    def prepare(self) -> None:
        """Send what a predecessor has not sent, as far as it is of use."""
        if not self.below_master:
            return
        self._journal = Journal(self.config.darc_master.state_dir / "dumps")
        for intent in self._journal.open_intents():
            try:
                message = _Message(**intent.content)
            except TypeError as error:
                self.logger.error("%s: not as this version writes it: %s", self._journal.path, error)
                self._journal.settle(intent.key, "not understood")
                continue
            if message.expires > self.clock():
                self.logger.warning("%s: sent again, since it may not have been sent", message.label)
                self._outbox(message.stokes).put(message)
            else:
                self.logger.error("%s: not sent, and its data are gone: %s", message.label, message.content)
                self._journal.settle(message.key, "expired")

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Start an observation.

        If its source is a polarisation calibrator in the beam of this node, dump IQUV data at regular
        intervals and refuse other triggers; else take triggers of FRB candidates.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the observation's configuration lacks what is needed
        """
        self.stop_observation()
        super().start_observation(obs_config, reload)
        self.utc_start = parsets.utc_start(obs_config, self.instrument)
        self.triggers_enabled = not self._is_polcal(self._load_parset(obs_config))
        if not self.triggers_enabled:
            self._polcal_end = threading.Event()
            self._polcal = threading.Thread(
                target=self._dump_polcal, args=(obs_config,), name="polcal", daemon=True
            )
            self._polcal.start()
        elif self.resume:
            decisions = file_in(self.config.darc_master.state_dir)
            for message in decided_dumps(decisions, observation_label(obs_config)):
                self._handle({**message, "again": True})

    def _dump_polcal(self, obs_config: dict[str, Any]) -> None:
        try:
            self.polcal_dumps(obs_config)
        except DARCError as error:
            self.logger.error("no dumps of the polarisation calibrator: %s", error)

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
            outbox.close(LAST_WAIT_S)
        self._outboxes.clear()

    def process_command(self, command: dict[str, Any]) -> None:
        """Send triggers.

        Args:
            command: `{'command': 'trigger', 'trigger': [trigger, ...]}`; with a true `again` if it may have
                come here before

        Raises:
            DARCError: nothing of it can be sent
        """
        if command["command"] != "trigger":
            super().process_command(command)
        elif not self.triggers_enabled:
            metrics.note_trigger("iquv", metrics.REFUSED, self.clock())
            self.logger.warning("trigger refused: this is a polarisation calibration, which dumps by itself")
        else:
            triggers: Any = command.get("trigger")
            triggers = triggers if isinstance(triggers, list) else [triggers]
            (self._send_again if command.get("again") else self.send_event)(triggers, command.get("arrived"))

    def _is_polcal(self, parset: dict[str, Any] | None) -> bool:
        if parset is None or "polcal" not in str(parset.get("task.source.name", "")):
            return False
        beam = self.obs_config.get("beam", self.config.beam)
        try:
            return beam is not None and parsets.Task.from_parset(parset).source_beam == int(beam)
        except (DARCError, TypeError, ValueError) as error:
            self.logger.error("taken for no polarisation calibration in this beam: %s", error)
            return False

    # --- messages ------------------------------------------------------------------------------------------

    def send_event(self, triggers: list[dict[str, Any]], arrived_unix: float | None = None) -> None:
        """Send triggers to dada_dbevent, one message per Stokes.

        Args:
            triggers: dictionaries with `stokes` (I or IQUV), `dm` (pc cm^-3), `beam` (SB), `width` (samples),
                `snr`, `time` (s from the start of the data) and `utc_start` (`astropy.time.Time`), which
                serves when no observation has been started
            arrived_unix: when the rows came here that they were made of, in unix s

        Raises:
            DARCError: nothing of it can be sent; what is wrong is said
        """
        for stokes, event, _ in self._messages(triggers):
            with self._refusing():
                self.send_events(event, stokes, arrived_unix)

    def _send_again(self, triggers: list[dict[str, Any]], arrived_unix: float | None) -> None:
        """Send triggers that have not been taken in before, unless their data have left the ring buffer."""
        data_s = self.clock() - parsets.start_time_unix(self.obs_config, self.instrument)
        for stokes, event, latest_s in self._messages(triggers):
            if self._is_known(stokes, event):
                continue
            with self._refusing():
                if data_s - latest_s <= self.instrument.ring_buffer_s:
                    self.logger.warning("a dump that was decided on may not have been sent, and is sent now")
                    self.send_events(event, stokes, arrived_unix)
                else:
                    metrics.note_trigger("iquv", metrics.FAILED, self.clock())
                    self.logger.error("a dump was decided on and not sent, and its data are gone: %r", event)
                    self._settle(self._take_in(stokes, event).key, "expired")

    def _messages(self, triggers: list[dict[str, Any]]) -> Iterator[tuple[str, str, float]]:
        """Make the messages of triggers, one per Stokes: Stokes, message, and time of its latest trigger."""
        events: dict[tuple[str, str], list[tuple[float, DadaEvent]]] = {}
        for item in triggers:
            with self._refusing():
                trigger = DumpTrigger.from_item(item)
                event = trigger.time_s, self._event(trigger)
                events.setdefault((trigger.stokes, self._utc_start(trigger)), []).append(event)
        if not events:
            raise DADATriggerException("there is no trigger in it that can be sent")
        for (stokes, utc_start), together in events.items():
            with self._refusing():
                text = build_message(utc_start, [event for _, event in together]).decode("ascii")
                yield stokes, text, max(time_s for time_s, _ in together)

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Have what is wrong with a trigger cost this trigger only."""
        try:
            yield
        except DARCError as error:
            metrics.note_trigger("iquv", metrics.REFUSED, self.clock())
            self.logger.error("trigger refused: %s", error)

    def _utc_start(self, trigger: DumpTrigger) -> str:
        """Return the start of the data as their headers carry it.

        A trigger of the previous observation, which comes when the next one has been started, would be taken
        for one of the future, and block dada_dbevent until then.
        """
        if self.utc_start is None or trigger.utc_start is None:
            return self.utc_start or trigger.utc_start_text
        apart = parse_utc(self.utc_start) - parse_utc(trigger.utc_start_text)
        if abs(apart.total_seconds()) > SAME_START_S:
            raise DADATriggerException(
                f"it is of the observation of {trigger.utc_start_text}, and that of {self.utc_start} runs"
            )
        return self.utc_start

    def _event(self, trigger: DumpTrigger) -> DadaEvent:
        start_s, end_s = event_window(
            trigger.time_s,
            trigger.dm,
            obs_duration_s=self._duration_s(self.obs_config),
            min_window_s=self.min_window_size,
            delay_end_s=self.delay_end,
        )
        return DadaEvent(start_s, end_s, trigger.dm, trigger.snr, trigger.width, trigger.beam)

    @staticmethod
    def _duration_s(obs_config: dict[str, Any]) -> float | None:
        duration = obs_config.get("duration")
        try:
            return None if duration is None else float(duration)
        except (TypeError, ValueError) as error:
            raise DADATriggerException(f"duration of the observation is {duration!r}, no number") from error

    def send_events(self, event: str, stokes: str, arrived_unix: float | None = None) -> None:
        """Send a message to the dada_dbevent of Stokes I or IQUV.

        Args:
            event: complete message
            stokes: I or IQUV
            arrived_unix: when the rows came here that led to it, in unix s

        Raises:
            DADATriggerException: there is no such Stokes, or its port is none
        """
        if stokes not in STOKES:
            raise DADATriggerException(f"Stokes {stokes!r} of a trigger is neither I nor IQUV")
        if self._is_known(stokes, event):
            self.logger.info("passed over, since it came before: %r", event)
        else:
            self._outbox(stokes).put(self._take_in(stokes, event), arrived_unix)

    def _is_known(self, stokes: str, event: str) -> bool:
        return self._journal is not None and self._journal.knows(_key(stokes, event))

    def _take_in(self, stokes: str, event: str) -> _Message:
        expires = self.clock() + self.instrument.ring_buffer_s
        message = _Message(_key(stokes, event), stokes, event, self.host, self._port(stokes), expires)
        if self._journal is not None:
            self._journal.intend("dump", message.key, asdict(message))
        return message

    def _outbox(self, stokes: str) -> Outbox[_Message]:
        if stokes not in self._outboxes:
            name, kind = f"Stokes {stokes}", stokes.lower()
            self._outboxes[stokes] = Outbox(name, kind, self._send, self.logger, self.clock)
        return self._outboxes[stokes]

    def _settle(self, key: str, outcome: str) -> None:
        if self._journal is not None:
            self._journal.settle(key, outcome)

    def _send(self, message: _Message) -> None:
        """Send a message, again and again until it is delivered or of no use."""

        def attempt() -> None:
            address = message.host, message.port
            with socket.create_connection(address, timeout=self.send_timeout) as connection:
                connection.sendall(message.content.encode("ascii"))

        # no longer than that whatever the clock is set to
        left_s = min(max(0.0, message.expires - self.clock()), self.instrument.ring_buffer_s)
        policy = RetryPolicy(first_s=RETRY_S, factor=1.0, max_s=RETRY_S, give_up_after_s=left_s)
        try:
            self._persist(attempt, policy, OSError, message.label)
        except OSError as error:
            if not self._is_stopping():  # else the next process tries
                self._settle(message.key, "failed")
            raise DADATriggerException(
                f"{message.label}: {error}; its data are lost: {message.content!r}"
            ) from error
        self._settle(message.key, "sent")
        self.logger.info("%s sent: %r", message.label, message.content)

    def _port(self, stokes: str) -> int:
        """Return the port of a dada_dbevent: set by a caller, else the observation's, else configured."""
        name = f"port_{stokes.lower()}"
        port: Any = getattr(self, name)
        if port == getattr(self.config.dada_trigger, name):
            port = self.obs_config.get(f"network_port_event_{stokes.lower()}", port)
        try:
            if 0 < int(port) < 2**16:
                return int(port)
        except (TypeError, ValueError):
            pass
        raise DADATriggerException(f"{port!r:.100} is no port of dada_dbevent for Stokes {stokes}")

    # --- polarisation calibration --------------------------------------------------------------------------

    def polcal_dumps(self, obs_config: dict[str, Any]) -> None:
        """Dump IQUV data at regular intervals until the observation ends or is stopped.

        Args:
            obs_config: observation configuration with `startpacket` and `duration`

        Raises:
            DARCError: one of these is missing
        """
        end = self._polcal_end or threading.Event()
        start_unix = parsets.start_time_unix(obs_config, self.instrument)
        utc_start = parsets.utc_start(obs_config, self.instrument)
        duration_s = self._duration_s(obs_config)
        if duration_s is None:
            raise DADATriggerException("the observation's configuration has no duration")
        windows = dump_windows(
            duration_s,
            dump_s=self.polcal_dump_size,
            interval_s=self.polcal_interval,
            max_dumps=self.polcal_max_dumps,
            page_s=self.instrument.batch_s,
        )
        self.logger.info(
            "polarisation calibration of %s: %d dumps", observation_label(obs_config), len(windows)
        )
        for start_s, end_s in windows:
            event = build_message(utc_start, [DadaEvent(start_s, end_s, 0.0, 0.0, 0.0, 0)]).decode("ascii")
            if self._is_known("IQUV", event):
                continue
            # in steps: the clock may be set meanwhile
            while (wait_s := start_unix + start_s - self.clock()) > 0:
                if end.wait(min(wait_s, LONGEST_WAIT_S)):
                    return
            if end.is_set():
                return
            if self.clock() - start_unix - start_s > self.instrument.ring_buffer_s:
                self.logger.error("no dump at %g s: the service was started too late for its data", start_s)
                continue
            self.send_events(event, "IQUV")


def _key(stokes: str, event: str) -> str:
    """Return what a message is recognised by, whoever makes it."""
    return hashlib.sha256(f"{stokes} {event}".encode()).hexdigest()[:32]
