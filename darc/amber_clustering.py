"""Turns AMBER's candidates into decisions: what the ring buffer dumps, what other telescopes are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time

from darc import metrics
from darc.alerts import Context, lateness_s
from darc.amber_rows import RowIntake, trigger_files
from darc.base import MessageQueue
from darc.beam_service import BeamService
from darc.errors import DARCError
from darc.formats.amber_config import count_instances
from darc.formats.observation_name import UNNAMED, observation_label
from darc.handover import Handover
from darc.network.master_queues import master_queue
from darc.network.remote_queue import RemoteQueue
from darc.records.decisions import DecisionLog, file_in
from darc.science.batching import Batch
from darc.science.galaxy import require_model
from darc.science.rules import Rules
from darc.science.selection import RECEIVERS, Group, Limits, Selection, limit_of, select

#: What is counted in an observation.
COUNTED = ("rows", "malformed", "batches", "clusters", "iquv_triggers", "lofar_triggers")
#: Longest time in s that the end of this process waits for a queue of the master node.
CLOSING_S = 2.0


class AMBERClusteringException(DARCError):  # noqa: N818 (documented name)
    """The clustering cannot work as asked."""


class AMBERClustering(BeamService):
    """Trigger IQUV, LOFAR and VOEvent systems on AMBER candidates.

    1. Cluster incoming triggers, batch by batch
    2. Apply thresholds, separate for known and new sources, and for IQUV and LOFAR
    3. Put IQUV triggers on the target queue
    4. Put LOFAR triggers on the queues of the LOFAR trigger and of the VOEvent generator on the master node

    Args:
        connect_vo: whether to connect to the VOEvent queue on the master node
        connect_lofar: whether to connect to the LOFAR trigger queue on the master node
        args: see `DARCBase`
        kwargs: see `DARCBase`

    Attributes:
        counts: rows, malformed lines, batches, clusters and triggers of this observation
    """

    interval: float
    settling_time: float
    clustering_window: float
    dm_range: float
    dm_min_global: float
    snr_min_global: float
    sb_filter: bool
    sb_filter_period_min: float
    sb_filter_period_max: float
    thresh_iquv: dict[str, float]
    thresh_lofar: dict[str, float]
    thresh_lofar_override: dict[str, Any]
    lofar_trigger_sources: list[str]

    error = AMBERClusteringException

    def __init__(
        self, *args: Any, connect_vo: bool = True, connect_lofar: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.connect_vo = connect_vo
        self.connect_lofar = connect_lofar
        self.vo_queue: MessageQueue | RemoteQueue | None = None
        self.lofar_queue: MessageQueue | RemoteQueue | None = None
        self.last_iquv_s = -inf
        self.counts = dict.fromkeys(COUNTED, 0)
        self._intake: RowIntake | None = None
        self._log = DecisionLog(None, UNNAMED, resume=False)
        self._running = False

    # --- the process ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connect to the master node; refuse to start without a model of the Galaxy."""
        if self.galaxy_model == "ymw16":
            require_model()
        self._connect()

    def _connect(self) -> None:
        """Connect to the queues of the master node; dumps do not depend on them, so go on without."""
        for wanted, existing, connect in (
            (self.connect_vo, self.vo_queue, self.voevent_connector),
            (self.connect_lofar, self.lofar_queue, self.lofar_connector),
        ):
            try:
                if wanted and existing is None:
                    connect()
            except DARCError as error:
                self.logger.error("%s; tried again at the next observation", error)

    def voevent_connector(self) -> None:
        """Connect to the VOEvent generator on the master node."""
        self.vo_queue = master_queue(self.config, "voevent_generator", self.logger)

    def lofar_connector(self) -> None:
        """Connect to the LOFAR triggering system on the master node."""
        self.lofar_queue = master_queue(self.config, "lofar_trigger", self.logger)

    def cleanup(self) -> None:
        """Decide on what has arrived, and send what is still meant for the master node."""
        self.stop_observation()
        for remote in (self.vo_queue, self.lofar_queue):
            if isinstance(remote, RemoteQueue):
                remote.close(CLOSING_S)

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Parse the observation's configuration and start to listen for AMBER triggers.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the observation's configuration lacks what is needed
        """
        self.stop_observation()
        self._log.close()  # also one of an observation whose start was refused
        self._intake = None
        super().start_observation(obs_config, reload)
        self._connect()
        self._joined_unix = self.clock() - self.monotonic()
        self.know(obs_config)
        self._log = DecisionLog(self._log_path(), observation_label(obs_config), bool(self.resume))
        before = self._log.before
        self.last_iquv_s = before.last_iquv_s
        self.counts = dict.fromkeys(COUNTED, 0) | before.counts
        self._intake = RowIntake(
            count_instances(obs_config["amber_config"]) if "amber_config" in obs_config else 1,
            settle_s=self.settling_time,
            interval_s=self.interval,
            instrument=self.instrument,
            logger=self.logger,
            clock=self.monotonic,
            files=trigger_files(obs_config, self._beam()),
            decided=before.rows if self.resume else None,
        )
        self._running = True
        dm_gal = "unknown" if self.dm_gal is None else f"{self.dm_gal:.1f} pc/cm3"
        self.logger.info("source %s, Galactic maximum DM %s", self.source or "unknown", dm_gal)
        if self.resume:
            self.logger.info("%d batches were decided on before", len(before.rows))
            self._handover().send_again(before)
            if before.unsent:
                self._log.sent()

    def _log_path(self) -> Path | None:
        return None if self.resume is None else file_in(self.config.darc_master.state_dir)

    def stop_observation(self, *args: Any, abort: bool = False, **kwargs: Any) -> None:
        """Stop the observation; what has arrived is still decided on.

        Lines that the listener has on their way here, which say that they belong to this observation, are
        taken until the next one starts.

        Args:
            args: see `DARCBase`
            abort: drop what has arrived
            kwargs: see `DARCBase`
        """
        if self._intake is None:
            return
        batches = self._intake.flush()
        self._count_rows(self._intake)
        if abort:
            self._intake, batches = None, []
        for batch in batches:
            self._decide(batch)
        if self._running:
            metrics.forget_delay()
            self.logger.info("in all %s", ", ".join(f"{self.counts[name]} {name}" for name in COUNTED))
        self._running = False
        self._log.close()

    def process_command(self, command: dict[str, Any]) -> None:
        """Take in triggers.

        Args:
            command: `{'command': 'trigger', 'trigger': line or list of lines}`

        Raises:
            DARCError: it holds something else
        """
        if command["command"] != "trigger":
            super().process_command(command)
        elif self._intake is not None and self._is_ours(command):
            self._intake.put(command)

    def _is_ours(self, command: dict[str, Any]) -> bool:
        label = command.get("observation")
        return self._running if label in (None, UNNAMED) else label == observation_label(self.obs_config)

    def due_in(self) -> float:
        """Seconds until a batch has settled; none while there are lines to parse."""
        due_s = self._intake.due_in() if self._intake is not None else None
        return super().due_in() if due_s is None else due_s

    def do_what_is_due(self) -> None:
        """Decide on the batches that are complete."""
        self._process_triggers()

    # --- decisions -----------------------------------------------------------------------------------------

    def _process_triggers(self) -> None:
        """Decide on all batches that are ready, on known and new sources in one go."""
        if self._intake is not None:
            batches = self._intake.ready()
            self._count_rows(self._intake)
            for batch in batches:
                self._decide(batch)

    def _decide(self, batch: Batch) -> None:
        if batch.late:
            self.logger.warning("batch %d: %d rows came late", batch.number, len(batch.rows))
        selection = self._select(self._rules().groups(batch.rows))
        now = self.clock()
        arrived_unix = now - (self.monotonic() - batch.first_arrival)
        sendings = self._conclude(selection, replace(self.context, arrived_unix=arrived_unix))
        # before it is sent: whatever happens from here on, nobody decides on these rows again
        self._log.decide(batch.number, batch.counts, self.counts, self.last_iquv_s, sendings)
        if sendings:
            self._handover().send(sendings)
            self._log.sent()
        if self._running and not batch.late:
            end_s = (batch.number + 1) * self.instrument.batch_s
            metrics.BEHIND.set(now - self._start_unix - end_s)

    def _rules(self) -> Rules:
        """Return the rules as this object's attributes have them now."""
        source = self.source
        settings = {field.name for field in fields(Rules)} & set(self.config.amber_clustering.model_dump())
        return Rules(
            beam=self._beam(),
            source_name=source.name if source else None,
            source_kind=source.kind if source else None,
            source_dm=source.dm if source else None,
            observed_name=self.source_name,
            dm_gal=self.dm_gal,
            sb_filter_period=(self.sb_filter_period_min, self.sb_filter_period_max),
            **{name: getattr(self, name) for name in settings},
        )

    def _select(self, groups: list[Group]) -> Selection:
        selection = select(groups, last_iquv_s=self.last_iquv_s, iquv_interval_s=self.thresh_iquv["interval"])
        self.last_iquv_s = selection.last_iquv_s
        return selection

    def _check_triggers(
        self,
        triggers: Any,
        sys_params: dict[str, float],
        utc_start: str | Time,
        datetimesource: str,
        dm_min: float = 0,
        dm_max: float = inf,
        dm_src: float | None = None,
        width_max: float = inf,
        snr_min: float = 8,
        src_type: str | None = None,
        src_name: str | None = None,
        dmgal: float = 0,
        pointing: SkyCoord | None = None,
        skip_lofar: bool = False,
    ) -> Selection:
        """Cluster triggers and run IQUV and LOFAR triggering on one selection of them.

        Args:
            triggers: raw triggers, (n, 5): DM, S/N, time, width, SB
            sys_params: system parameters `dt` (s), `delta_nu_MHz`, `nu_GHz`
            utc_start: start time of the observation, in a format readable by `astropy.time.Time`
            datetimesource: field name with date and time
            dm_min: minimum DM in pc cm^-3
            dm_max: maximum DM in pc cm^-3
            dm_src: DM of the known source in pc cm^-3
            width_max: maximum width in samples
            snr_min: minimum S/N
            src_type: `pulsar`, `frb`, or None for new sources
            src_name: source name
            dmgal: Galactic maximum DM in pc cm^-3
            pointing: direction sent to LOFAR
            skip_lofar: skip LOFAR triggering

        Returns:
            the decision that was carried out
        """
        rules = self._rules()
        lofar = rules.lofar_known(src_type, src_name) if src_type else rules.lofar_new(dmgal)
        clusters = rules.cluster(np.asarray(triggers, dtype=float).reshape(-1, 5), snr_min, dm_min, dm_max)
        group = Group(
            clusters,
            iquv=Limits(snr_min=snr_min, width_max=width_max),
            lofar=Limits(closed="not asked for") if skip_lofar else lofar,
            source_name=(src_name or src_type) if src_type else None,
            source_dm=dm_src,
        )
        selection = self._select([group])
        about = (Time(utc_start), datetimesource, self._beam(), dmgal, pointing)
        self._handover().send(self._conclude(selection, Context(self.instrument, sys_params, *about)))
        return selection

    # --- consequences --------------------------------------------------------------------------------------

    def _count(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.counts[name] += number
            if name in metrics.OF_CLUSTERING:
                metrics.OF_CLUSTERING[name].inc(number)

    def _count_rows(self, intake: RowIntake) -> None:
        # what a predecessor has counted comes once more
        for name, number in (("rows", intake.rows), ("malformed", intake.malformed)):
            self._count(**{name: max(0, number - self.counts[name])})

    def _conclude(self, selection: Selection, context: Context) -> dict[str, Any]:
        """Count and log a decision, and return what it has us send, by receiver."""
        self._count(
            batches=1,
            clusters=len(selection.verdicts),
            iquv_triggers=len(selection.iquv),
            lofar_triggers=int(selection.lofar is not None),
        )
        judged = selection.verdicts + selection.filtered
        for receiver in RECEIVERS:
            metrics.note_decisions(receiver, (limit_of(getattr(verdict, receiver)) for verdict in judged))
        for verdict in selection.verdicts:
            self.logger.info("%s", verdict)
        if selection.filtered:
            # one line, for in interference there are many
            others = len(selection.filtered) - 1
            self.logger.info("%s%s", selection.filtered[0], f"; and {others} fainter" if others else "")
        return self._handover().messages(selection, context, self._get_pointing)

    def _handover(self) -> Handover:
        """Return what hands over to the queues that this object's attributes are now."""
        on_master = {"lofar": self.lofar_queue, "voevent": self.vo_queue}
        return Handover(self.target_queue, on_master, self.logger, self.clock, self._lateness_s())

    def _lateness_s(self) -> dict[str, Callable[[Mapping[str, Any]], float]]:
        """Tell how late items are: who reads AMBER's files from their beginning may find old bursts there."""
        if self.resume is None:  # whoever calls may work on old data
            return {}
        now = self._joined_unix + self.monotonic()  # not the clock, which may have been set
        lofar, voevent = self.config.lofar_trigger, self.config.voevent_generator
        return {
            "lofar": lambda item: lateness_s(item, now, lofar.max_trigger_age, lofar.lofar_freq),
            "voevent": lambda item: lateness_s(item, now, voevent.max_trigger_age),
        }
