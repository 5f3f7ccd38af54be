"""Results of an observation, on the master node: from the files of all beams to a page and a mail.

`ProcessorMasterManager` is the service: it keeps one `ProcessorMaster` per observation, which waits for the
beams and reports. What has to survive a restart is on disk: which observations are open, which mails wait,
and, in the folder of results, what was mailed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from darc.base import LAST_WAIT_S, LONGEST_WAIT_S, DARCBase
from darc.config import ConfigError, load_config
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.files import write_complete
from darc.formats.observation_name import observation_label
from darc.formats.overview import (
    COORDINATES_NAME,
    INFO_NAME,
    BeamCoordinates,
    ObservationInfo,
    OverviewError,
    build_coordinates,
    build_info,
)
from darc.network.mail_spool import MailSpool, open_spool
from darc.network.process_queue import ProcessQueue
from darc.observation_manager import START_METHOD, ObservationManager
from darc.observation_reporter import Reporter
from darc.reporting.collect import SETTLED, collect_beam, has_results
from darc.reporting.inquiry import problem_of
from darc.reporting.observed import beam_coordinates, observation_info, start_and_duration
from darc.reporting.report import BeamState, ObservationReport
from darc.reporting.waiting import LateNews, Waiting


class ProcessorMaster(DARCBase):
    """Combine results from worker node processors.

    1. At the end of the observation: what was observed, and where its beams looked
    2. Wait for the results of each beam, and look after nodes that are silent
    3. Combine, publish, and mail
    4. Wait for results that come late, and mail about them

    Attributes:
        nodes: name of the node that processes each compound beam; empty if no node does
        result_dir: the observation's folder of results
    """

    check_interval: float
    max_wait_time: float
    late_time: float
    #: from the start of the observation on
    _reporting: Reporter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nodes: dict[int, str] = {}
        self.result_dir = Path()
        self._task_id = ""
        self._end_unix = 0.0
        self._observed: tuple[ObservationInfo, dict[int, BeamCoordinates]] | None = None
        # beams that are waited for, why there are no results of others, and what is wrong with nodes
        self._awaited: set[int] = set()
        self._reasons: dict[int, str] = {}
        self._problems: dict[str, str] = {}
        self._thread: Thread | None = None

    # --- the process ---------------------------------------------------------------------------------------

    def cleanup(self) -> None:
        """Abort observation when stopping service."""
        if self._thread is not None:
            self._thread.join(LONGEST_WAIT_S)
            # what is not sent now waits on disk for the manager
            self._reporting.close(LONGEST_WAIT_S if self._terminated else LAST_WAIT_S)

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Parse obs config and start to work on the observation, in a thread.

        Args:
            obs_config: observation configuration
            reload: reload service settings

        Raises:
            DARCError: the configuration lacks what is needed; the process then ends
        """
        try:
            super().start_observation(obs_config, reload)
            self._take_in(obs_config)
        except DARCError as error:
            # the configuration may be mended: the manager starts a process that died again
            self._defective = isinstance(error, ConfigError)
            self.stop()
            raise
        self._thread = Thread(target=self._process_observation, name="observation", daemon=True)
        self._thread.start()

    def _take_in(self, obs_config: dict[str, Any]) -> None:
        start_unix, duration_s = start_and_duration(obs_config, self.instrument)
        self._end_unix = start_unix + duration_s
        self._task_id = parsets.task_id(obs_config)
        parsets.freq_mhz(obs_config, self.instrument)  # refused now, rather than after the observation
        workers = {worker.beam: worker.name for worker in self.config.nodes.workers}
        self.nodes = {cb: workers.get(cb, "") for cb in sorted(set(obs_config.get("beams") or workers))}
        self.result_dir = self._get_result_dir()
        self._reporting = Reporter(observation_label(obs_config), self.result_dir, self.config, self.logger)
        self._reasons = {cb: "no node has this beam" for cb, node in self.nodes.items() if not node}
        if mailed := self._reporting.mailed:
            self._reasons |= mailed.reasons
        else:
            self._awaited = {cb for cb, node in self.nodes.items() if node}

    def stop_observation(self, *args: Any, abort: bool = False, **kwargs: Any) -> None:
        """Stop observation.

        Args:
            args: not used
            abort: do not wait for results; else the observation has ended, and its results are waited for
            kwargs: not used
        """
        if abort:
            self.stop()
        self._end_unix = min(self._end_unix, self.clock())

    def _stop_observation(self, command: dict[str, Any]) -> None:
        # the manager has chosen the observation, and its label stays in the log until all is done
        self.stop_observation(abort=bool(command.get("abort")))

    # --- the observation -----------------------------------------------------------------------------------

    def _process_observation(self) -> None:
        """Process observation: from its end to the last result."""
        while not self._is_stopping() and (wait_s := self._end_unix - self.clock()) > 0:
            self._pause(min(wait_s, LONGEST_WAIT_S))
        if self._is_stopping():
            return
        self._observed = self._generate_info_file()
        if self._reporting.mailed is None:
            self._wait_for_workers()
        if self._is_stopping():
            return
        report, plots = self._process_results(*self._observed)
        self._publish_results(report, plots)
        if self._reporting.mailed is None:
            self._send_email(report, plots)
        else:
            self.logger.info("the results were mailed before, and are not mailed again")
        self._wait_for_late_results(report)
        self.stop()

    def _get_result_dir(self) -> Path:
        """Get result directory from worker processor config.

        Raises:
            DARCError: the observation's configuration does not name it, or the name is not safe
        """
        worker = next(filter(None, self.nodes.values()), None)
        config = load_config(self.config_file, worker) if worker else self.config
        names = (
            parsets.check_path_component(key, str(self.obs_config.get(key) or ""))
            for key in ("date", "datetimesource")
        )
        return Path(config.processor.result_dir, *names)

    def _generate_info_file(self) -> tuple[ObservationInfo, dict[int, BeamCoordinates]]:
        """Generate observation info files.

        Returns:
            what was observed, and coordinates of each CB of which they are known
        """
        coordinates = beam_coordinates(self.obs_config, self.nodes, self.instrument)
        info = observation_info(self.obs_config, coordinates, self.config)
        for name, content in (
            (INFO_NAME, build_info(info)),
            (COORDINATES_NAME, build_coordinates(coordinates.values())),
        ):
            try:
                write_complete(self.result_dir / name, content, OverviewError)
            except OverviewError as error:
                self.logger.error("%s", error)
        return info, coordinates

    # --- waiting -------------------------------------------------------------------------------------------

    def _wait_for_workers(self) -> None:
        """Wait for all worker nodes to finish processing this observation, as long as that makes sense."""
        waiting = Waiting(
            self._awaited,
            self.clock(),
            max_wait_s=self.max_wait_time,
            check_interval_s=self.check_interval,
            limit_s=max(self.late_time, 2 * self.max_wait_time),
        )
        while not self._is_stopping():
            waiting.arrived([cb for cb in waiting.beams if has_results(self.result_dir, cb)])
            self._look_after(waiting)
            waiting.give_up(self.clock())
            self._awaited, self._reasons = set(waiting.beams), self._reasons | waiting.given_up
            if not waiting.beams:
                return
            self._look_again()
            self._pause(waiting.next_look_in(self.clock()))

    def _look_after(self, waiting: Waiting) -> None:
        """Ask nodes whether they work on their beams, all at once, and warn of those that do not."""
        nodes = {cb: self.nodes[cb] for cb in waiting.to_ask(self.clock())}
        if not nodes:
            return
        with ThreadPoolExecutor(len(nodes)) as pool:
            working = dict(zip(nodes, pool.map(self._check_node_online, nodes.values()), strict=True))
        for cb, node in nodes.items():
            if has_results(self.result_dir, cb):  # it finished meanwhile
                waiting.arrived([cb])
            elif waiting.answered(cb, "" if working[cb] else self._problems[node], self.clock()):
                self._send_warning(node)

    def _check_node_online(self, node: str) -> bool:
        """Check if the processor on a node is still online and processing the current observation.

        Args:
            node: name of node to check

        Returns:
            True if node is online and at it, else False
        """
        (worker,) = (worker for worker in self.config.nodes.workers if worker.name == node)
        # as long as the node may wait for its processor, and as long again
        timeout_s = 2 * self.config.darc_master.control_timeout
        self._problems[node] = problem = problem_of(
            worker, self._task_id, timeout_s, self.config.darc_master.key_file
        )
        self.logger.info("%s: %s", node, problem or "works on this observation")
        return not problem

    def _send_warning(self, node: str) -> None:
        """Send a warning email about a node.

        Args:
            node: node to send warning about
        """
        (cb,) = (cb for cb, name in self.nodes.items() if name == node)
        self._reporting.warn(cb, node, self._problems.get(node) or "the reason is not known")

    def _wait_for_late_results(self, report: ObservationReport) -> None:
        """Wait for the results that were not there in time; show them, and tell of them in few mails."""
        news, reporting = LateNews(), self._reporting
        while (mailed := reporting.mailed) is not None and not self._is_stopping():
            complete = all(beam.state in SETTLED or not beam.node for beam in report.beams)
            last = complete or self.clock() >= mailed.first_unix + self.late_time
            if beams := news.look(mailed.untold(report), last=last):
                reporting.mail_late_results(report, beams)
            if last:
                return
            self._pause(self.check_interval)
            report = self._look_again()

    # --- reporting -----------------------------------------------------------------------------------------

    def _look_again(self) -> ObservationReport:
        """Return what there is now, and publish it if a beam is in another state than when that was done."""
        if self._observed is None:
            self._observed = self._generate_info_file()
        report, plots = self._process_results(*self._observed)
        if not self._reporting.shows(report):
            self._publish_results(report, plots)
        return report

    def _process_results(
        self, info: ObservationInfo, coordinates: Mapping[int, BeamCoordinates]
    ) -> tuple[ObservationReport, list[Path]]:
        """Load statistics and plots from the nodes.

        Args:
            info: what was observed
            coordinates: coordinates of every CB in the observation

        Returns:
            what is published and sent as email, and files to attach
        """
        beams = [
            collect_beam(
                self.result_dir,
                cb,
                node,
                coordinates=coordinates.get(cb),
                absent=BeamState.WAITING if cb in self._awaited else BeamState.MISSING,
                reason=self._reasons.get(cb, ""),
            )
            for cb, node in self.nodes.items()
        ]
        written = datetime.fromtimestamp(self.clock(), UTC)
        report = self._reporting.marked(ObservationReport(info=info, beams=tuple(beams), written=written))
        return report, [beam.pages for beam in beams if beam.pages is not None]

    def _publish_results(self, body: ObservationReport, files: Sequence[Path]) -> None:
        """Publish results as local website. A page that cannot be written costs itself only.

        Args:
            body: what is published
            files: plots that go with it
        """
        self.logger.info("%d files of plots", len(files))
        self._reporting.publish(body)

    def _send_email(self, email: ObservationReport, attachments: Sequence[Path]) -> None:
        """Send email with observation results, and remember that.

        Args:
            email: the results
            attachments: files to attach
        """
        self._reporting.mail_results(email, attachments, self._reasons, self.clock())


class ProcessorMasterManager(ObservationManager):
    """Control logic for running several ProcessorMaster instances, one per observation.

    Observations that are not finished are on disk, and worked on again after a restart or a death. Mails that
    the processes of observations could not send are sent from here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spool: MailSpool | None = None

    def new_process(self) -> ProcessorMaster:
        """Return the process of an observation, not yet started."""
        return ProcessorMaster(
            ProcessQueue(), config_file=self.config_file, node=self.node_name, start_method=START_METHOD
        )

    def prepare(self) -> None:
        """Have what observations import imported, and send the mails that wait."""
        super().prepare()
        self._spool = open_spool(self.config, self.logger)

    def cleanup(self) -> None:
        """Upon stop of the manager, abort any remaining observations; they go on after its next start."""
        super().cleanup()
        if self._spool is not None:
            self._spool.close(LONGEST_WAIT_S)

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Initialize a ProcessorMaster and have it start the observation.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: this observation is worked on already, or has no task ID
        """
        self.unfinished.keep(parsets.task_id(obs_config), obs_config)
        super().start_observation(obs_config, reload)

    def stop_observation(self, obs_config: dict[str, Any], abort: bool = False) -> None:
        """Stop observation with task ID as given in parset.

        Args:
            obs_config: observation configuration
            abort: do not wait for results
        """
        if abort:
            self.unfinished.drop(parsets.task_id(obs_config))
        super().stop_observation(obs_config, abort)

    def go_on(self, task: str, kept: dict[str, Any]) -> None:
        """Work on an observation again whose process has died, or was stopped."""
        try:
            self.start_observation(kept, reload=False)
        except ConfigError as error:
            self.logger.error("task %s waits: %s", task, error)
        except DARCError as error:
            self.logger.error("task %s is given up: %s", task, error)
            self.unfinished.drop(task)
