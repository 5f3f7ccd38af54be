"""Processing after an observation: a thread for each, which begins some time after its end.

The steps are functions of `darc.offline`, which the command `darc process-offline` calls, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc import logs
from darc.base import LAST_WAIT_S, LONGEST_WAIT_S, DARCBase
from darc.errors import DARCError
from darc.formats.observation_name import observation_label, observation_names
from darc.network.mail_spool import MailSpool, open_spool
from darc.offline import drift_scan, folding, gather, master
from darc.offline.amber_files import merge_amber_files
from darc.offline.classify import classify_candidates
from darc.offline.clusters import find_clusters
from darc.offline.extract import extract_clusters
from darc.offline.merge import merge_candidates
from darc.offline.plan import Account, Interrupted
from darc.offline.process import local_workers, process
from darc.offline.unfinished import Running, Unfinished
from darc.offline.work import LAST_BEAM, BusyError, Work


class OfflineProcessingException(DARCError):  # noqa: N818 (documented name)
    """An observation cannot be processed as asked."""


class OfflineProcessing(DARCBase):
    """Full processing of observations after their end.

    On a worker node: candidate clustering, extraction of filterbank data, classification, plots, results;
    folding of test pulsars and calibration with drift scans. On the master node: the summary of all beams.

    An observation that is stopped is processed from then on; one that is aborted is dropped. Below a master,
    those that are not finished are on disk, and the next process of the service goes on with them.
    """

    delay: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: dict[str, Running] = {}
        folder = self.config.darc_master.state_dir / self.service_name
        self._unfinished = Unfinished(folder if self.below_master else None)
        self._spool: MailSpool | None = None

    def prepare(self) -> None:
        """Go on with what is not finished; on the master node, send the mails that wait."""
        if self.config.role == "master":
            self._spool = open_spool(self.config, self.logger)
        self.host_type = self.config.role
        for running in self._unfinished.all():
            with logs.observation_of_thread(*observation_names(running.obs_config)):
                self.logger.warning("goes on, since it is not finished")
                self._start(running)

    def cleanup(self) -> None:
        """End what is processed; the next process of this service, or `darc process-offline`, goes on."""
        threads = [running.thread for running in self._running.values() if running.thread]
        for running in self._running.values():
            if running.alive and not self._defective:
                running.attempts = 0
                self._unfinished.keep(running)
            running.aborted.set()
        for thread in threads:
            thread.join(LAST_WAIT_S / 2)
        if self._spool is not None:
            self._spool.close(LONGEST_WAIT_S)

    # --- observations --------------------------------------------------------------------------------------

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Process an observation once it has ended, in a thread of its own.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            OfflineProcessingException: it is processed already
        """
        super().start_observation(obs_config, reload)
        label = observation_label(obs_config)
        known = self._running.get(label)
        if known is None or not known.alive:
            self._start(Running(obs_config))
        elif not self.resume:
            raise OfflineProcessingException(f"{label} is processed already, or waits for its end")

    def _start(self, running: Running) -> None:
        label = observation_label(running.obs_config)
        self._running = {name: one for name, one in self._running.items() if one.alive}
        self._running[label] = running
        self._unfinished.keep(running)
        target = (
            self._start_observation_master if self.host_type == "master" else self._start_observation_worker
        )
        running.thread = threading.Thread(
            target=self._logged, args=(target, running), name=label, daemon=True
        )
        running.thread.start()

    def _stop_observation(self, command: dict[str, Any]) -> None:
        # several are processed at once, so that it need not be the one that was started last
        self.stop_observation(command.get("obs_config") or {}, abort=bool(command.get("abort")))

    def stop_observation(self, obs_config: dict[str, Any], abort: bool = False) -> None:
        """Take note of the end of an observation.

        Args:
            obs_config: observation configuration
            abort: drop what is processed of it; else it is processed from now on, if it had not ended yet
        """
        label = observation_label(obs_config)
        running = self._running.get(label)
        if running is None:
            self.logger.info("%s is not processed here", label)
        elif abort:
            self.logger.info("%s is aborted", label)
            running.aborted.set()
        elif running.stopped_unix is None:
            running.stopped_unix = self.clock()
            self._unfinished.keep(running)

    def _logged(self, start: Callable[[dict[str, Any], bool], None], running: Running) -> None:
        """Be the thread of an observation."""
        with logs.observation_of_thread(*observation_names(running.obs_config)):
            try:
                start(running.obs_config, False)
            except DARCError as error:
                self.logger.error("not processed: %s", error)
            except Interrupted:
                self.logger.warning("the processing was ended; `darc process-offline` goes on where it was")
                if self._is_stopping():
                    return
            self._unfinished.forget(running)

    def _start_observation_worker(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Process an observation on a worker node once it has ended; returns when all is done.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the configuration lacks something, or the observation is processed already
            Interrupted: the observation was aborted, or this service is to end
        """
        if reload:
            self.load_config()
        work = Work.of(obs_config, self.config)
        account = self._once_ended(obs_config, work.beam.end_unix)
        patience_s = self.monotonic() + 2 * LAST_WAIT_S
        while True:
            try:
                process(work, account)
                return
            except BusyError:
                # a predecessor whose master was killed needs a while to end
                if self.monotonic() > patience_s:
                    raise
                self._pause(LONGEST_WAIT_S)

    def _start_observation_master(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Summarise an observation on the master node once all workers are done.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the configuration lacks something
            Interrupted: the observation was aborted, or this service is to end
        """
        if reload:
            self.load_config()
        account = self._once_ended(obs_config, master.end_unix(obs_config, self.instrument))
        pause = self._run_of(obs_config).aborted.wait
        master.process(obs_config, self.config, account, clock=self.clock, pause=pause)

    def _run_of(self, obs_config: dict[str, Any]) -> Running:
        return self._running.get(observation_label(obs_config)) or Running(obs_config)

    def _account(self, obs_config: dict[str, Any]) -> Account:
        running = self._run_of(obs_config)
        return Account(cancelled=lambda: running.aborted.is_set() or self._is_stopping())

    def _once_ended(self, obs_config: dict[str, Any], end_unix: float) -> Account:
        """Return where is told what becomes of an observation, when it is time to begin with it.

        Raises:
            Interrupted: the observation was aborted, or this service is to end
        """
        account, running = self._account(obs_config), self._run_of(obs_config)
        self._wait_for_end(obs_config, end_unix)
        account.check()
        running.attempts += 1
        self._unfinished.keep(running)
        return account

    def _wait_for_end(self, obs_config: dict[str, Any], end_unix: float) -> None:
        """Wait until `delay` seconds after the end of the data, or until it is aborted."""
        running = self._run_of(obs_config)
        while not self._is_stopping():
            stopped = end_unix if running.stopped_unix is None else min(end_unix, running.stopped_unix)
            remaining_s = stopped + self.delay - self.clock()
            if remaining_s <= 0 or running.aborted.wait(min(remaining_s, LONGEST_WAIT_S)):
                return

    # --- steps ---------------------------------------------------------------------------------------------

    def _merge_triggers(self, obs_config: dict[str, Any]) -> None:
        """Merge AMBER triggers into one file.

        Args:
            obs_config: observation configuration
        """
        self._tell(merge_amber_files(self._work(obs_config), self._account(obs_config)).problems)

    def _cluster(
        self,
        obs_config: dict[str, Any],
        filterbank_name: str,
        tab: int | None = None,
        ind: int | None = None,
        sbmin: int | None = None,
        sbmax: int | None = None,
        out: NDArray[np.integer] | None = None,
    ) -> int:
        """Cluster the merged triggers of some beams, and extract their data.

        Args:
            obs_config: observation configuration
            filterbank_name: full path of the file (TAB, incoherent beam), or that of the files of all TABs
                up to the underscore (SB)
            tab: TAB to process; 0 for the incoherent beam; None: SBs
            ind: place of the result in `out`
            sbmin: first SB to process
            sbmax: last SB to process
            out: where the result is put

        Returns:
            number of clusters
        """
        first, last = (sbmin or 0, LAST_BEAM if sbmax is None else sbmax) if tab is None else (tab, tab)
        work = self._work(obs_config).with_files(filterbank_name, tab)
        part, account = work.part(first, last), self._account(obs_config)
        found = find_clusters(work, part, account)
        extracted = extract_clusters(work, part, local_workers(work), account)
        self._tell([*found.problems, *extracted.problems])
        number = found.numbers["ncand_trigger"]
        if out is not None:
            out[0 if ind is None else ind] = number
        return number

    def _merge_hdf5(self, obs_config: dict[str, Any], output_file: Path | str) -> int:
        """Merge the extracted data into one file.

        Args:
            obs_config: observation configuration
            output_file: the file

        Returns:
            number of candidates in it
        """
        work = self._work(obs_config)
        number, problems = merge_candidates(work, Path(output_file), self._account(obs_config))
        self._tell(problems)
        return number

    def _classify(self, obs_config: dict[str, Any], input_file: Path | str) -> str:
        """Classify the candidates of a merged file.

        Args:
            obs_config: observation configuration
            input_file: the file

        Returns:
            path of the plots, which `_merge_plots` makes, without its suffix
        """
        work = self._work(obs_config)
        classify_candidates(work, self._account(obs_config), Path(input_file))
        return str(work.pages.with_suffix(""))

    def _merge_plots(self, obs_config: dict[str, Any]) -> None:
        """Plot the candidates that the classification kept to one PDF.

        Args:
            obs_config: observation configuration
        """
        self._tell(gather.draw_kept(self._work(obs_config), self._account(obs_config)).problems)

    def _gather_results(self, obs_config: dict[str, Any], **kwargs: Any) -> None:
        """Write the results to their place.

        Args:
            obs_config: observation configuration
            kwargs: numbers of candidates, by the names of the summary; others are not used
        """
        account = self._account(obs_config)
        account.numbers = {name: value for name, value in kwargs.items() if isinstance(value, int)}
        gather.gather_results(self._work(obs_config), account)

    def _work(self, obs_config: dict[str, Any]) -> Work:
        return Work.of(obs_config, self.config)

    def _tell(self, problems: Any) -> None:
        for problem in problems:
            self.logger.error("%s", problem)

    # --- folding, drift scans, and the master node ---------------------------------------------------------

    def _fold_pulsar(self, source: str, obs_config: dict[str, Any]) -> None:
        """Fold a pulsar.

        Args:
            source: name of the pulsar, including B or J
            obs_config: observation configuration
        """
        self._tell(folding.fold(self._work(obs_config), source, self._account(obs_config)).problems)

    def _run_calibration_tools(self, source: str, obs_config: dict[str, Any]) -> None:
        """Measure the sensitivity with a drift scan.

        Args:
            source: name of the calibrator (like 3C296, not 3C286drift0107)
            obs_config: observation configuration
        """
        self._tell(drift_scan.calibrate(self._work(obs_config), source, self._account(obs_config)).problems)

    def _get_overview(self, obs_config: dict[str, Any]) -> None:
        """Write the overview of an observation.

        Args:
            obs_config: observation configuration
        """
        master.write_overview(obs_config, self.config)

    def _get_coordinates(self, obs_config: dict[str, Any]) -> tuple[float, float] | None:
        """Write the coordinates of all compound beams of an observation.

        Args:
            obs_config: observation configuration

        Returns:
            RA and Dec of CB00 in degrees; None if it was not observed
        """
        return master.write_coordinates(obs_config, self.config)

    def _plot_known_frb_cands(
        self, obs_config: dict[str, Any], coord_cb00: tuple[float, float] | None
    ) -> None:
        """Plot the candidates near known fast radio bursts.

        Args:
            obs_config: observation configuration
            coord_cb00: RA and Dec of CB00 in degrees
        """
        master.plot_known_frbs(obs_config, self.config, coord_cb00)
