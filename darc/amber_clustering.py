"""Turns AMBER's candidates into decisions: what the ring buffer dumps, what other telescopes are told."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import Any, Protocol

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time, TimeDelta

from darc.base import DARCBase, observation_label
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.amber import AmberParser
from darc.formats.amber_config import count_instances
from darc.formats.source_list import Source, load_source_list
from darc.formats.trigger import NEW_SOURCE
from darc.logs import Burst
from darc.network.master_queues import master_queue
from darc.science import pointing as pointings
from darc.science.batching import Batch, BatchAssembler
from darc.science.dispersion import delay_s
from darc.science.galaxy import galactic_maximum_dm, require_model
from darc.science.radiometer import peak_flux_density_jy
from darc.science.rules import Rules
from darc.science.selection import Group, Limits, Selection, Verdict, select

#: Semi-axes in arcmin of the position sent with a trigger: half the width of a compound beam.
SEMI_AXIS_ARCMIN = 15.0
#: Importance of a trigger, 0 to 1.
IMPORTANCE = 0.1
#: What is counted in an observation.
COUNTED = ("rows", "malformed", "batches", "clusters", "iquv_triggers", "lofar_triggers")


class AMBERClusteringException(DARCError):  # noqa: N818 (documented name)
    """The clustering cannot work as asked."""


class Sink(Protocol):
    """Where triggers for the master node go: a `RemoteQueue`, or any other queue."""

    def put(self, item: Any, /) -> None:
        """Take a trigger."""


@dataclass(frozen=True)
class Context:
    """What a trigger carries beyond its cluster.

    Attributes:
        sys_params: `dt` (s), `delta_nu_MHz` and `nu_GHz` of the data
        utc_start: start of the data
        datetimesource: label of the observation
        dm_gal: Galactic maximum DM in pc cm^-3
        pointing: direction of the compound beam; None: not known
    """

    sys_params: dict[str, float]
    utc_start: Time
    datetimesource: str
    dm_gal: float
    pointing: SkyCoord | None


class AMBERClustering(DARCBase):
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
    source_file: Any
    thresh_iquv: dict[str, float]
    thresh_lofar: dict[str, float]
    thresh_lofar_override: dict[str, Any]
    lofar_trigger_sources: list[str]
    galaxy_model: str
    galactic_dm_max: float

    def __init__(
        self, *args: Any, connect_vo: bool = True, connect_lofar: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.connect_vo = connect_vo
        self.connect_lofar = connect_lofar
        self.vo_queue: Sink | None = None
        self.lofar_queue: Sink | None = None
        self.source: Source | None = None
        self.parset: dict[str, Any] | None = None
        self.dm_gal: float | None = None
        self.last_iquv_s = -inf
        self.batches: BatchAssembler | None = None
        self.counts = dict.fromkeys(COUNTED, 0)
        self._parsers: dict[int | None, AmberParser] = {}
        self._inbox: dict[int | None, list[str]] = {}
        self._at_end: dict[int | None, bool] = {}
        self._malformed = Burst(self.logger, "malformed lines in AMBER's files")

    # --- the process ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connect to the master node; refuse to start without a model of the Galaxy."""
        if self.galaxy_model == "ymw16":
            require_model()
        self._connect()

    def _connect(self) -> None:
        """Connect to the queues of the master node; dumps do not depend on them, so go on without."""
        try:
            if self.connect_vo and self.vo_queue is None:
                self.voevent_connector()
            if self.connect_lofar and self.lofar_queue is None:
                self.lofar_connector()
        except DARCError as error:
            self.logger.error("%s; tried again at the next observation", error)

    def voevent_connector(self) -> None:
        """Connect to the VOEvent generator on the master node."""
        self.vo_queue = master_queue(self.config, "voevent_generator", self.logger)

    def lofar_connector(self) -> None:
        """Connect to the LOFAR triggering system on the master node."""
        self.lofar_queue = master_queue(self.config, "lofar_trigger", self.logger)

    def cleanup(self) -> None:
        """Send what is still meant for the master node."""
        for remote in (self.vo_queue, self.lofar_queue):
            if remote is not None and hasattr(remote, "close"):
                remote.close()

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Parse the observation's configuration and start to listen for AMBER triggers.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the observation's configuration lacks what is needed
        """
        super().start_observation(obs_config, reload)
        self._connect()
        self.parset = self._load_parset(obs_config)
        self._get_source()
        self.utc_start = Time(parsets.start_time_unix(obs_config), format="unix", precision=6)
        self.dm_gal = self._galactic_dm(self._get_pointing())
        self.last_iquv_s = -inf
        self.counts = dict.fromkeys(COUNTED, 0)
        self._parsers, self._inbox, self._at_end = {}, {}, {}
        self.batches = BatchAssembler(self._count_instances(), self.settling_time, self.interval)
        self.logger.info("source %s, Galactic maximum DM %s pc/cm3", self.source or "unknown", self.dm_gal)

    def _count_instances(self) -> int:
        if "amber_config" not in self.obs_config:
            return 1
        return count_instances(self.obs_config["amber_config"])

    def stop_observation(self, *args: Any, **kwargs: Any) -> None:
        """Stop the observation; what has arrived is still decided on."""
        if self.batches is None:
            return
        self._take_in()
        for batch in self.batches.flush():
            self._decide(batch)
        self._malformed.flush()
        if self.batches.late_rows:
            self.logger.warning("%d rows came after their batch was processed", self.batches.late_rows)
        self.batches = None

    def process_command(self, command: dict[str, Any]) -> None:
        """Take in triggers.

        Args:
            command: `{'command': 'trigger', 'trigger': line or list of lines}`
        """
        if command["command"] != "trigger":
            super().process_command(command)
        elif self.batches is not None and self._is_ours(command):
            # AMBER flushes every row, so that messages are small: parsing many together costs a fraction
            lines, step = command.get("trigger", []), command.get("step")
            self._inbox.setdefault(step, []).extend([lines] if isinstance(lines, str) else lines)
            self._at_end[step] = command.get("at_end", True)

    def _take_in(self) -> None:
        """Parse all lines that have arrived."""
        for step, lines in self._inbox.items():
            rows = self._parsers.setdefault(step, AmberParser(self.instrument)).feed(lines)
            self._count(rows=len(rows.batch), malformed=rows.malformed)
            if rows.malformed:
                self._malformed.count(rows.malformed, rows.first_malformed)
            if self.batches is not None:
                self.batches.add(rows.batch, rows.triggers, step, self._at_end[step], self.monotonic())
        self._inbox.clear()

    def _count(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.counts[name] += number

    def _is_ours(self, command: dict[str, Any]) -> bool:
        return command.get("observation") in (None, observation_label(self.obs_config))

    def due_in(self) -> float:
        """Seconds until a batch has settled; none while there are lines to parse."""
        if self._inbox:
            return 0.0
        deadline = self.batches.deadline() if self.batches is not None else None
        return super().due_in() if deadline is None else deadline - self.monotonic()

    def do_what_is_due(self) -> None:
        """Decide on the batches that are complete."""
        self._malformed.tick()
        self._process_triggers()

    # --- what is known about the observation ---------------------------------------------------------------

    def _load_parset(self, obs_config: dict[str, Any]) -> dict[str, Any] | None:
        """Load the observation parset.

        Args:
            obs_config: observation configuration

        Returns:
            the parset, or None if it cannot be read: then nothing is sent to other telescopes
        """
        try:
            return parsets.observation_parset(obs_config)
        except DARCError as error:
            self.logger.error("no observation parset: %s", error)
            return None

    def _load_source_list(self) -> dict[str, dict[str, Any]]:
        """Load the list with known source DMs: a dictionary per category."""
        sources = load_source_list(self.source_file)
        return {
            "pulsars": dict(sources.pulsars),
            "frbs": dict(sources.frbs),
            "aliases": dict(sources.aliases),
        }

    def _get_source(self) -> float | None:
        """Look up the source of the observation; return its DM in pc cm^-3, None for an unknown source."""
        self.source = None
        if self.parset is not None and self.source_file:
            name = str(self.parset.get("task.source.name", ""))
            self.source = load_source_list(self.source_file).lookup(name)
        return self.source.dm if self.source else None

    def _get_pointing(self, time: Time | None = None) -> SkyCoord | None:
        """Return the direction of this compound beam from the parset.

        Args:
            time: when, for a beam that is fixed on the ground; default: the start of the observation

        Returns:
            the direction, or None if the parset does not tell
        """
        if self.parset is None:
            return None
        try:
            task = parsets.Task.from_parset(self.parset)
            first_deg, second_deg = task.phase_centre_deg(self._beam() or 0)
        except DARCError as error:
            self.logger.error("no pointing of this beam: %s", error)
            return None
        if task.reference_frame == "HADEC":
            when = self.utc_start if time is None else time
            return pointings.hadec_to_j2000(first_deg, second_deg, when, self.instrument)
        return SkyCoord(first_deg, second_deg, unit="deg", frame="icrs")

    def _galactic_dm(self, pointing: SkyCoord | None) -> float | None:
        if self.galaxy_model != "ymw16":
            return self.galactic_dm_max
        if pointing is None:
            self.logger.error("no pointing, therefore no Galactic DM: no triggers on new sources")
            return None
        gl, gb = pointings.galactic(pointing)
        return galactic_maximum_dm(float(gl), float(gb))

    def _sys_params(self) -> dict[str, float]:
        min_freq_mhz = float(self.obs_config.get("min_freq", self.instrument.min_freq_mhz))
        return {
            "dt": self.instrument.tsamp_s,
            "delta_nu_MHz": self.instrument.channel_width_mhz,
            "nu_GHz": self.instrument.centre_freq_mhz(min_freq_mhz) / 1000,
        }

    # --- decisions -----------------------------------------------------------------------------------------

    def _process_triggers(self) -> None:
        """Decide on all batches that are ready, on known and new sources in one go."""
        self._take_in()
        if self.batches is not None:
            for batch in self.batches.ready(self.monotonic()):
                self._decide(batch)

    def _decide(self, batch: Batch) -> None:
        if batch.late:
            self.logger.warning("batch %d: %d rows came late", batch.number, len(batch.rows))
        selection = self._select(self._rules().groups(batch.rows))
        context = Context(
            self._sys_params(), self.utc_start, observation_label(self.obs_config), self.dm_gal or 0.0, None
        )
        self._act(selection, context)

    def _rules(self) -> Rules:
        """Return the rules as this object's attributes have them now."""
        shared = {f.name: getattr(self, f.name) for f in fields(Rules) if hasattr(self, f.name)}
        return Rules(
            **shared,
            beam=self._beam(),
            source_name=self.source.name if self.source else None,
            source_kind=self.source.kind if self.source else None,
            source_dm=self.source.dm if self.source else None,
            sb_filter_period=(self.sb_filter_period_min, self.sb_filter_period_max),
        )

    def _beam(self) -> int | None:
        beam = self.obs_config.get("beam", self.config.beam)
        return None if beam is None else int(beam)

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
        self._act(selection, Context(sys_params, Time(utc_start), datetimesource, dmgal, pointing))
        return selection

    # --- consequences --------------------------------------------------------------------------------------

    def _act(self, selection: Selection, context: Context) -> None:
        self._count(
            batches=1,
            clusters=len(selection.verdicts),
            iquv_triggers=len(selection.iquv),
            lofar_triggers=int(selection.lofar is not None),
        )
        if selection.iquv and self.target_queue is not None:
            triggers = [iquv_trigger(verdict, context.utc_start) for verdict in selection.iquv]
            self.target_queue.put({"command": "trigger", "trigger": triggers})
        for verdict in selection.verdicts:
            self.logger.info("%s", verdict)
        if selection.lofar is not None:
            self._send_lofar(selection.lofar, context)

    def _send_lofar(self, verdict: Verdict, context: Context) -> None:
        arrival = self._arrival_at_centre(verdict, context)
        pointing = context.pointing if context.pointing is not None else self._get_pointing(arrival)
        if pointing is None:
            self.logger.error(
                "nothing sent to LOFAR nor as VOEvent, as the pointing is not known: %s", verdict
            )
            return
        width_s = verdict.width * context.sys_params["dt"]
        trigger = {
            "dm": verdict.best_dm,
            "dm_err": 0.0 if verdict.source_dm is not None else width_s * 1e3,
            "width": width_s * 1e3,
            "snr": verdict.snr,
            "flux": float(peak_flux_density_jy(verdict.snr, width_s, self.instrument)),
            "ra": float(pointing.icrs.ra.deg),
            "dec": float(pointing.icrs.dec.deg),
            "cb": self._beam() or 0,
            "sb": verdict.sb,
            "ymw16": context.dm_gal,
            "semiMaj": SEMI_AXIS_ARCMIN,
            "semiMin": SEMI_AXIS_ARCMIN,
            "name": verdict.source_name or NEW_SOURCE,
            "src_name": verdict.source_name,
            "datetimesource": context.datetimesource,
            "utc": arrival.isot,
            "tarr": verdict.time_s,
            "importance": IMPORTANCE,
            **context.sys_params,
        }
        for name, remote in (("LOFAR", self.lofar_queue), ("VOEvent", self.vo_queue)):
            if remote is None:
                self.logger.warning("no %s trigger sent: not connected to the master node", name)
            else:
                remote.put(trigger)

    def _arrival_at_centre(self, verdict: Verdict, context: Context) -> Time:
        """Return the arrival time at the centre of the band, later than at its top, to the microsecond."""
        centre_mhz = context.sys_params["nu_GHz"] * 1e3
        top_mhz = centre_mhz + self.instrument.bandwidth_mhz / 2
        delay = float(delay_s(verdict.best_dm, centre_mhz, top_mhz))
        arrival = context.utc_start + TimeDelta(verdict.time_s + delay, format="sec")
        arrival.format, arrival.precision = "isot", 6
        return arrival


def iquv_trigger(verdict: Verdict, utc_start: Time) -> dict[str, Any]:
    """Return a trigger as the DADA trigger takes it."""
    return {
        "stokes": "IQUV",
        "dm": verdict.best_dm,
        "beam": verdict.sb,
        "width": verdict.width,
        "snr": verdict.snr,
        "time": verdict.time_s,
        "utc_start": utc_start,
    }
