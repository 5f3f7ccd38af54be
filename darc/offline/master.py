"""The master node after an observation: what was observed, and one report of the results of all beams.

Results are collected, shown and mailed as those of the processing in real time, on pages of their own: below
the folder `offline` of `processor_master.webdir`. Recipients are those of `processor_master`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from darc.base import LAST_WAIT_S
from darc.config import Config
from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.files import write_complete
from darc.formats.observation_name import observation_label
from darc.formats.offline_results import pages_name, parse_summary, parse_triggers
from darc.formats.overview import (
    COORDINATES_NAME,
    INFO_NAME,
    BeamCoordinates,
    ObservationInfo,
    build_coordinates,
    build_info,
)
from darc.formats.results import Trigger
from darc.observation_reporter import Reporter
from darc.offline.known_frbs import TITLE, plot_near_known_frbs
from darc.offline.plan import Account, OfflineError
from darc.reporting.collect import SETTLED, ResultFiles, Told, collect_beam, has_results
from darc.reporting.observed import beam_coordinates, observation_info, start_and_duration
from darc.reporting.report import BeamReport, BeamState, ObservationReport, Plot
from darc.reporting.waiting import Waiting

#: Folder of the pages below those of the processing in real time, which have the same names.
WEB_SUBDIR = "offline"
#: What pages and mails call this processing.
PROCESSING = "offline processing"
#: Task ID of an observation without one.
UNKNOWN = "unknown"
#: Labels of the steps, and what a summary calls the numbers after them.
COUNTS = {
    "AMBER triggers": "ncand_raw",
    "clusters": "ncand_trigger",
    "skipped": "ncand_skipped",
    "extracted": "ncand_abovethresh",
    "kept": "ncand_classifier",
}

_Result = TypeVar("_Result")

_logger = logging.getLogger("darc.offline")


def offline_files(instrument: Instrument) -> ResultFiles:
    """Return how the results of the offline processing are written."""
    return ResultFiles(
        labels=tuple(COUNTS), summary=_told, triggers=partial(_triggers, instrument.tsamp_s), pages=pages_name
    )


def _told(text: str) -> Told | None:
    summary = parse_summary(text)
    if summary is None:
        return None
    numbers = tuple(getattr(summary, name) for name in COUNTS.values())
    return Told(numbers=numbers, problems=summary.problems)


def _triggers(tsamp_s: float, text: str, cb: int) -> list[Trigger]:
    return [
        Trigger(
            cb=cb,
            snr=row.snr,
            dm=row.dm,
            time_s=row.time_s,
            downsamp=round(row.width_ms / 1e3 / tsamp_s),
            sb=row.beam,
            probability=row.probability,
        )
        for row in parse_triggers(text)[0]
    ]


@dataclass
class Master:
    """All beams of one observation.

    Attributes:
        obs_config: the observation's configuration
        config: configuration of this node
        nodes: name of the node that processes each compound beam; empty if no node does
        folder: the observation's folder of results
        coordinates: where the beams looked, as far as that is known
        problems: what went wrong, a line each
    """

    obs_config: dict[str, Any]
    config: Config
    nodes: dict[int, str]
    folder: Path
    coordinates: dict[int, BeamCoordinates]
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, obs_config: dict[str, Any], config: Config) -> Master:
        """Read the configuration of an observation.

        Raises:
            ParsetError: it lacks something, or a name in it is not safe
        """
        names = (
            parsets.check_path_component(key, str(obs_config.get(key, "")))
            for key in ("date", "datetimesource")
        )
        workers = {worker.beam: worker.name for worker in config.nodes.workers}
        nodes = {cb: workers.get(cb, "") for cb in sorted(set(obs_config.get("beams") or workers))}
        coordinates = beam_coordinates(obs_config, nodes, config.instrument)
        folder = Path(config.offline_processing.result_dir, *names)
        master = cls(obs_config, config, nodes, folder, coordinates)
        try:
            parsets.task_id(obs_config)
        except DARCError as error:
            master._problem(error)
            master.obs_config = {**obs_config, "taskid": UNKNOWN}
        return master

    # --- overview ------------------------------------------------------------------------------------------

    def write_overview(self) -> ObservationInfo:
        """Write what was observed; return it. A file that cannot be written is a problem.

        Raises:
            ParsetError: the task ID, the start, the duration or the frequency is not known
        """
        info = observation_info(self.obs_config, self.coordinates, self.config)
        self._write(INFO_NAME, build_info(info))
        return info

    def write_coordinates(self) -> tuple[float, float] | None:
        """Write where the beams looked; return RA and Dec in degrees of CB00, None if they are not known.

        A file that cannot be written is a problem.
        """
        self._write(COORDINATES_NAME, build_coordinates(self.coordinates.values()))
        found = self.coordinates.get(0)
        return None if found is None else (found.ra_deg, found.dec_deg)

    def _write(self, name: str, content: str) -> None:
        try:
            write_complete(self.folder / name, content, OfflineError)
        except DARCError as error:
            self._problem(error)

    def _problem(self, error: DARCError) -> None:
        _logger.error("%s", error)
        self.problems.append(str(error))

    # --- results -------------------------------------------------------------------------------------------

    def results(self, awaited: Collection[int], reasons: Mapping[int, str]) -> list[BeamReport]:
        """Return what there is of each beam.

        Args:
            awaited: beams whose results may still come
            reasons: why there are none of others
        """
        return [
            collect_beam(
                self.folder,
                cb,
                node,
                coordinates=self.coordinates.get(cb),
                absent=BeamState.WAITING if cb in awaited else BeamState.MISSING,
                reason=reasons.get(cb, "") if node else "no node has this beam",
                files=offline_files(self.config.instrument),
            )
            for cb, node in self.nodes.items()
        ]

    def plot_known_frbs(
        self, beams: list[BeamReport], coord_cb00: tuple[float, float] | None = None
    ) -> tuple[Plot, ...]:
        """Plot the candidates near known bursts; return the plot, if there is something to show.

        Args:
            beams: results of the beams
            coord_cb00: RA and Dec of CB00 in degrees, if another than the observation's
        """
        positions = {cb: (where.ra_deg, where.dec_deg) for cb, where in self.coordinates.items()}
        positions |= {0: coord_cb00} if coord_cb00 else {}
        triggers = [candidate.trigger for beam in beams for candidate in beam.candidates]
        try:
            freq_mhz = parsets.freq_mhz(self.obs_config, self.config.instrument)
            path = plot_near_known_frbs(self.folder, triggers, positions, freq_mhz, self.config)
        except DARCError as error:
            self._problem(error)
            return ()
        return () if path is None else (Plot(title=TITLE, path=path),)

    # --- report --------------------------------------------------------------------------------------------

    def report(
        self, info: ObservationInfo, beams: list[BeamReport], plots: tuple[Plot, ...], written: datetime
    ) -> ObservationReport:
        """Return what observers are told.

        Args:
            info: what was observed
            beams: results of the beams
            plots: plots of all beams together
            written: when
        """
        return ObservationReport(
            info=info,
            beams=tuple(beams),
            written=written,
            processing=PROCESSING,
            sub_beam="SB" if self.config.offline_processing.process_sb else "TAB",
            plots=plots,
            problems=tuple(self.problems),
        )

    def reporter(self) -> Reporter:
        """Return who tells of the results: as in real time, but on pages of their own."""
        own = self.config.processor_master
        url = own.web_url and f"{own.web_url.rstrip('/')}/{WEB_SUBDIR}"
        own = own.model_copy(update={"webdir": own.webdir / WEB_SUBDIR, "web_url": url})
        config = self.config.model_copy(update={"processor_master": own})
        return Reporter(observation_label(self.obs_config), self.folder, config, _logger)

    def wait(
        self,
        look: Callable[[list[int]], object],
        account: Account,
        clock: Callable[[], float],
        pause: Callable[[float], object],
    ) -> dict[int, str]:
        """Wait for the results of all beams, no longer than `timeout`; return why there are none of others.

        Args:
            look: called after each look for results, with the beams that are still waited for
            account: says whether the work is to end
            clock: unix time in s
            pause: waits for a time in s, or less

        Raises:
            Interrupted: the work is to end
        """
        settings = self.config.offline_processing
        waiting = Waiting(
            [cb for cb, node in self.nodes.items() if node],
            clock(),
            max_wait_s=settings.timeout,
            check_interval_s=settings.interval,
            limit_s=settings.timeout,
        )
        while True:
            account.check()
            waiting.arrived([cb for cb in waiting.beams if has_results(self.folder, cb)])
            waiting.give_up(clock())
            if not waiting.beams:
                return dict.fromkeys(waiting.given_up, f"nothing came within {settings.timeout:g} s")
            look(waiting.beams)
            pause(waiting.next_look_in(clock()))


def process(
    obs_config: dict[str, Any],
    config: Config,
    account: Account,
    *,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Summarise an observation that has ended: overview, results of all beams, page and mail.

    It may be done again: the page is then made anew, and nothing is mailed a second time.

    Args:
        obs_config: observation configuration
        config: configuration of this node
        account: says whether the work is to end; is told what was wrong
        clock: unix time in s
        pause: waits for a time in s, or less

    Raises:
        DARCError: the configuration of the observation lacks something
        Interrupted: the work was ended from outside
    """
    master = Master.of(obs_config, config)
    info = master.write_overview()
    master.write_coordinates()
    reporter = master.reporter()

    def publish(
        awaited: list[int], reasons: Mapping[int, str], plots: tuple[Plot, ...] = (), *, last: bool = False
    ) -> ObservationReport:
        beams = master.results(awaited, reasons)
        report = reporter.marked(master.report(info, beams, plots, datetime.fromtimestamp(clock(), UTC)))
        if last or not reporter.shows(report):
            reporter.publish(report)
        return report

    try:
        reasons: Mapping[int, str]
        if reporter.mailed is None:
            reasons = master.wait(lambda awaited: publish(awaited, {}), account, clock, pause)
        else:
            reasons = reporter.mailed.reasons
        plots = master.plot_known_frbs(master.results([], reasons))
        report = publish([], reasons, plots, last=True)
        if reporter.mailed is None:
            files = [plot.path for plot in plots] + [beam.pages for beam in report.beams if beam.pages]
            reporter.mail_results(report, files, reasons, clock())
        account.problems += master.problems
        account.problems += [
            f"CB{beam.cb:02d}: {beam.state.value}{beam.reason and ': '}{beam.reason}"
            for beam in report.beams
            if beam.reason or beam.state not in SETTLED
        ]
    finally:
        reporter.close(LAST_WAIT_S)


def write_overview(obs_config: dict[str, Any], config: Config) -> None:
    """Write the overview of an observation.

    Raises:
        DARCError: the configuration of the observation lacks something, or the file cannot be written
    """
    _checked(master := Master.of(obs_config, config), master.write_overview())


def write_coordinates(obs_config: dict[str, Any], config: Config) -> tuple[float, float] | None:
    """Write where the beams looked; return RA and Dec in degrees of CB00, None if they are not known.

    Raises:
        DARCError: the configuration of the observation lacks something, or the file cannot be written
    """
    return _checked(master := Master.of(obs_config, config), master.write_coordinates())


def plot_known_frbs(
    obs_config: dict[str, Any], config: Config, coord_cb00: tuple[float, float] | None = None
) -> Path | None:
    """Plot the candidates near known bursts; return the plot, None if there is nothing to show.

    Args:
        obs_config: observation configuration
        config: configuration of this node
        coord_cb00: RA and Dec of CB00 in degrees; None: those of the observation

    Raises:
        DARCError: the configuration of the observation lacks something, or there can be no plot
    """
    master = Master.of(obs_config, config)
    plots = _checked(master, master.plot_known_frbs(master.results([], {}), coord_cb00))
    return plots[0].path if plots else None


def _checked(master: Master, result: _Result) -> _Result:
    """Return the result of what was done.

    Raises:
        OfflineError: there was a problem
    """
    if master.problems:
        raise OfflineError("; ".join(master.problems))
    return result


def end_unix(obs_config: Mapping[str, Any], instrument: Instrument) -> float:
    """Return the end of an observation in unix seconds.

    Raises:
        ParsetError: the configuration of the observation does not say
    """
    return sum(start_and_duration(obs_config, instrument))
