"""The hub of an observation: it hands work to the processes of the steps, takes their answers, and counts.

    rows -> Clustering -> (hub) -> Extractor x n -> (hub) -> Classifier -> (hub) -> Visualizer -> files

A process has at most two pieces of work in hand, so that a process that dies costs no more than that work's
repetition, extractors share the work evenly, and nothing overtakes what was queued before the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from darc.base import DARCBase
from darc.config import Config
from darc.errors import DARCError
from darc.formats.candidate import CandidateError, read
from darc.formats.files import write_complete
from darc.formats.results import Trigger, build_summary, build_triggers, summary_name, triggers_name
from darc.network.process_queue import ProcessQueue
from darc.processes.forks import prepare_forks
from darc.processor_tools.beam import ObservedBeam, ProcessorException
from darc.processor_tools.beam_extractor import extraction_settings
from darc.processor_tools.classifier import Classifier
from darc.processor_tools.clustering import FINISH, Clustering
from darc.processor_tools.crew import DEATHS_MAX, STUCK_S, Crew, StepProcess, Worker, end_all
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.ledger import Cluster, Item, Ledger, Stage
from darc.processor_tools.messages import (
    Classified,
    Classify,
    Draw,
    Drawn,
    Extract,
    Extracted,
    Grouped,
    Refused,
    message,
)
from darc.processor_tools.progress import Progress
from darc.processor_tools.result_folder import ResultFolder
from darc.processor_tools.step import PRELOADED, START_METHOD, Step
from darc.processor_tools.visualizer import Visualizer
from darc.science.extraction import Detection, ExtractionError, plan

#: Pieces of work in the hand of one process: it never waits for the next one.
IN_HAND_MAX = 2
#: Deaths of the visualiser after which there are no pages: it has the same work every time.
DRAWING_DEATHS_MAX = 2
#: Time in s after which a visualiser that has not finished is killed: it draws all pages in one piece.
DRAWING_STUCK_S = 900.0
#: Time in s after the end of an observation, or after its start here if that was later, at which it is
#: stopped if nobody did.
OVERDUE_S = 120.0
#: Longest time in s between two looks at the processes.
LOOK_INTERVAL_S = 1.0


class Processor(DARCBase):
    """Real-time processing of one observation.

    1. Clustering and thresholding
    2. Extraction of data from filterbank files
    3. Classification
    4. Visualisation, after the observation
    5. Results in a central location, to be picked up by the master node

    Attributes:
        ledger: where each cluster is, and the counts
        beam: what is observed
    """

    interval: float
    num_extractor: int
    stop_delay: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.service_name = "processor"
        self.logger = logging.getLogger("darc.processor")
        self.ledger = Ledger()
        # made where the observation starts: metrics do not cross over to another process
        self._progress: Progress | None = None
        self.beam: ObservedBeam | None = None
        self._crews: dict[str, Crew] = {}
        self._look_at = 0.0
        # on the monotonic clock: until when rows are taken in
        self._closing_at = inf
        # on the clock of the observation: when no more data can be expected
        self._last_data_at = inf
        self._told_to_finish = self._grouped = self._drawing = self._drawn = False
        # whether AMBER's rows have been read before
        self._again = False

    def _settings(self, config: Config) -> dict[str, Any]:
        return config.processor.model_dump()

    # --- the process ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Have what the processes of the steps import imported while the observation is set up."""
        prepare_forks(PRELOADED)

    def cleanup(self) -> None:
        """End the processes of the steps."""
        end_all(self._crews.values())

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Parse the observation's configuration and start the processes of the steps.

        Args:
            obs_config: observation configuration
            reload: whether to read the service's configuration again

        Raises:
            DARCError: the configuration lacks what is needed; the process then ends
        """
        try:
            super().start_observation(obs_config, reload)
            self.beam = beam = ObservedBeam.of(obs_config, self.config)
        except DARCError:
            self.stop()
            raise
        self._progress = Progress()
        self._again = bool(self.resume)
        self._extraction = extraction_settings(self.config.processor.extractor)
        self._delay_s = self.config.processor.extractor.delay
        self._last_data_at = beam.end_unix + self._delay_s
        self._results = ResultFolder(beam.result_folder, self.logger, self.monotonic)
        self._closing_at = self.monotonic() + max(0.0, beam.end_unix - self.clock()) + OVERDUE_S
        for kind, size in ((Clustering, 1), (Extractor, self.num_extractor), (Classifier, 1)):
            self._add_crew(kind, size)
        self.logger.info("beam %d, %d TABs, results in %s", beam.beam, beam.ntab, beam.result_folder)

    def _add_crew(
        self, kind: type[Step], size: int, deaths_max: int = DEATHS_MAX, stuck_s: float = STUCK_S
    ) -> None:
        title = kind.__name__.lower()
        self._crews[title] = Crew(title, size, partial(self._hire, kind), deaths_max, stuck_s)
        self._crews[title].fill()

    def _hire(self, kind: type[Step], name: str) -> Worker:
        """Start a process of a step."""
        inbox = ProcessQueue()
        step = kind(
            name,
            self._beam,
            inbox,
            self.source_queue,
            config_file=self.config_file,
            node=self.node_name,
            start_method=START_METHOD,
        )
        if kind is Clustering:
            step.resume, self._again = self._again, True
        return StepProcess(step, inbox)

    def stop_observation(self, *args: Any, abort: bool = False, **kwargs: Any) -> None:
        """Stop the observation.

        Args:
            args: not used
            abort: drop what is queued; else rows are taken in for `stop_delay` more seconds, and everything
                that is queued is finished
            kwargs: not used
        """
        if abort or self.beam is None:
            self.logger.info("aborted with %d clusters not extracted", len(self.ledger.extraction))
            self.stop()
            return
        self._closing_at = min(self._closing_at, self.monotonic() + self.stop_delay)
        # what was recorded last still takes its time to the disk
        self._last_data_at = min(self._last_data_at, self.clock() + self._delay_s)
        self.ledger.extraction.hurry(self._last_data_at)

    def _stop_observation(self, command: dict[str, Any]) -> None:
        # the manager has chosen the observation, and its label stays in the log until all is done
        self.stop_observation(abort=bool(command.get("abort")))

    # --- messages ------------------------------------------------------------------------------------------

    def process_command(self, command: dict[str, Any]) -> None:
        """Process a command received from the queue: rows of AMBER, or the answer of a step.

        Args:
            command: command to process
        """
        content = command.get("content")
        if command["command"] == "trigger":
            self._forward(command)
        elif isinstance(content, Grouped):
            self._take_clusters(content)
        elif isinstance(content, Extracted):
            self._take_candidate(content)
        elif isinstance(content, Classified):
            self.ledger.judge(content.worker, content.number, content.keep, content.reason)
            self._hand_out()
        elif isinstance(content, Drawn):
            self._drawn = True
        elif isinstance(content, Refused):
            self._crews[content.worker.rpartition(" ")[0]].give_up(content.reason)
        else:
            super().process_command(command)
            return
        if content is not None:
            self._look_at = self.monotonic()

    def _forward(self, command: dict[str, Any]) -> None:
        """Give rows to the clustering."""
        crew = self._crews.get("clustering")
        if crew is not None and not self._told_to_finish and crew.send(command):
            return
        if self._told_to_finish or "place" not in command:  # else it reads them from AMBER's file
            lines = command.get("trigger")
            number = len(lines) if isinstance(lines, list | tuple) else 1
            self.logger.error("%d lines of AMBER lost: the clustering does not take any", number)

    def _take_clusters(self, content: Grouped) -> None:
        ledger, beam = self.ledger, self._beam
        ledger.count_rows(content.worker, content.rows)
        ledger.header_seen |= content.header_seen
        self._grouped |= content.finished
        new = (found for found in content.clusters if ledger.is_new(content.worker, found))
        for dm, snr, time_s, width, sb in new:
            cluster = Cluster(ledger.next_number(), dm, snr, time_s, width, sb)
            try:
                todo = plan(Detection(dm, time_s, width), beam.band, self._extraction)
            except ExtractionError as error:
                self.logger.warning("%s: skipped: %s", cluster, error)
                ledger.refuse("not in the data")
                continue
            on_disk_at = beam.start_unix + todo.stop * beam.band.tsamp_s + self._delay_s
            ledger.add(cluster, min(on_disk_at, self._last_data_at))

    def _take_candidate(self, content: Extracted) -> None:
        ledger, now = self.ledger, self.clock()
        if content.path is not None:
            ledger.extracted_to(content.worker, content.number, content.path, now)
        elif content.too_early:
            again_at = min(now + max(self._delay_s, LOOK_INTERVAL_S), max(now, self._last_data_at))
            ledger.too_early(content.worker, content.number, again_at, content.reason)
        else:
            ledger.skip(content.worker, content.number, content.reason)
        self._hand_out()

    @property
    def _beam(self) -> ObservedBeam:
        if self.beam is None:
            raise ProcessorException("there is no observation")
        return self.beam

    # --- what is due ---------------------------------------------------------------------------------------

    def due_in(self) -> float:
        """Seconds until there is something to hand out, to look after, or to finish."""
        if self.beam is None:
            return super().due_in()
        now = self.monotonic()
        waits = [self._look_at - now]
        if not self._told_to_finish:
            waits.append(self._closing_at - now)
        ready_at = self.ledger.extraction.next_ready_at()
        if ready_at is not None and self._has_room("extractor"):
            waits.append(ready_at - self.clock())
        return min(waits)

    def do_what_is_due(self) -> None:
        """Look after the processes, hand out work, and do what comes after the observation."""
        if self.beam is None:
            return
        self._look_at = self.monotonic() + LOOK_INTERVAL_S
        self._read_and_process_data()
        self._finish()
        if self._progress is not None:
            self._progress.follow(self.ledger)

    def _read_and_process_data(self) -> None:
        """Process incoming AMBER triggers: replace processes that died, and hand out what can be done."""
        for title, crew in self._crews.items():
            crew.kill_stuck(self.monotonic(), partial(self._doing, title))
            for name in crew.replace_dead():
                self._do_without(title, name)
        if reason := self._crews["extractor"].out_of_order:
            self.ledger.give_up_extraction(reason)
        if reason := self._crews["classifier"].out_of_order:
            self.ledger.give_up_classification(reason)
        self._hand_out()

    def _doing(self, title: str, worker: Worker) -> Hashable | None:
        """Return what a process is at, something else as soon as it gets on; None if it has nothing to do."""
        if title == "extractor":
            return self.ledger.extraction.working_on(worker.name)
        if title == "classifier":
            return self.ledger.classification.working_on(worker.name)
        if title == "visualizer":
            return self._drawing or None
        finishing = self._told_to_finish and not self._grouped
        return self.ledger.rows_of(worker.name) if finishing or worker.unread() else None

    def _do_without(self, title: str, name: str) -> None:
        """Take back what a process that died had in hand."""
        ledger = self.ledger
        if number := ledger.extraction.in_hand(name) + ledger.classification.in_hand(name):
            self.logger.warning("%d pieces of work of %s go to others", number, name)
        ledger.take_back(name, self.clock())
        if title == "clustering":
            self._told_to_finish = False
        elif title == "visualizer":
            self._drawing = False

    def _has_room(self, title: str) -> bool:
        ledger = self.ledger
        stage = ledger.extraction if title == "extractor" else ledger.classification
        return any(stage.in_hand(worker.name) < IN_HAND_MAX for worker in self._crews[title].workers)

    def _hand_out(self) -> None:
        """Give each process as much as it may have, one piece at a time each."""
        now = self.clock()
        last_chance = now >= self._last_data_at
        for _ in range(IN_HAND_MAX):
            self._give("extractor", self.ledger.extraction, now, lambda _, it: Extract(it, last_chance))
            self._give("classifier", self.ledger.classification, inf, Classify)

    def _give(
        self, title: str, stage: Stage[Item], now: float, order: Callable[[int, Item], Extract | Classify]
    ) -> None:
        """Give each process of a step one more piece, if it may have it; what it does not take waits on."""
        for worker in self._crews[title].workers:
            if stage.in_hand(worker.name) >= IN_HAND_MAX:
                continue
            piece = stage.hand_out(worker.name, now)
            if piece is not None and not worker.send(message(order(*piece))):
                self.logger.warning("%s does not take piece of work %d", worker.name, piece[0])
                stage.put_back(worker.name, piece[0], self.clock())

    def _finish(self) -> None:
        """Do the next thing after the end of the observation, if it is time."""
        if not self._told_to_finish and self.monotonic() >= self._closing_at:
            crew = self._crews["clustering"]
            # without clustering there is nothing to wait for
            self._grouped |= bool(crew.out_of_order)
            self._told_to_finish = self._grouped or crew.send(FINISH)
        ready = self._grouped and self.ledger.finished and not self._drawing
        if ready and self._results.is_there():
            if "visualizer" not in self._crews:
                self._add_crew(Visualizer, 1, DRAWING_DEATHS_MAX, DRAWING_STUCK_S)
            self._drawing = self._crews["visualizer"].send(message(Draw(tuple(self.ledger.kept))))
            self._drawn |= bool(self._crews["visualizer"].out_of_order)
        if self._drawn and self._results.attempt(self._store_obs_stats):
            self.stop()

    def _store_obs_stats(self) -> None:
        """Store observation statistics to the central result directory.

        The list of kept candidates, then the summary: its presence tells the master node that all is there.
        """
        beam, ledger = self._beam, self.ledger
        triggers = [trigger for path in ledger.kept if (trigger := self._trigger(path, beam.beam))]
        summary = ledger.summary()
        for name, content in (
            (triggers_name(beam.beam), build_triggers(triggers)),
            (summary_name(beam.beam), build_summary(summary)),
        ):
            write_complete(beam.result_folder / name, content, ProcessorException)
        self.logger.info("finished: %s", summary)
        for what, reasons in (("skipped", ledger.skipped), ("not classified", ledger.unjudged)):
            for reason, number in reasons.most_common():
                self.logger.warning("%d %s: %s", number, what, reason)

    def _trigger(self, path: Path, beam: int) -> Trigger | None:
        """Return the row of a candidate in the list of those that were kept; None if it is damaged by now."""
        try:
            candidate = read(path)
        except CandidateError as error:
            self.logger.error("not listed: %s", error)
            return None
        return Trigger(
            cb=beam,
            snr=candidate.snr,
            dm=candidate.dm,
            time_s=candidate.toa_s,
            downsamp=candidate.downsamp,
            sb=candidate.sb,
            probability=candidate.probability or 0.0,
        )
