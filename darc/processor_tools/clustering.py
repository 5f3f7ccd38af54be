"""The first step: from AMBER's rows to clusters that are worth to be looked at."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.amber_rows import RowIntake, trigger_files
from darc.base import LONGEST_WAIT_S
from darc.config import Config
from darc.formats.amber_config import count_instances
from darc.formats.results import PULSES_HEADER, Pulse, pulse_row
from darc.processor_tools.messages import Grouped
from darc.processor_tools.step import Settings, Step
from darc.science.batch_borders import BatchBorders
from darc.science.batching import Batch
from darc.science.clustering import cluster

#: Message after which no more rows come.
FINISH = {"command": "finish"}
#: Clusters that are told to the hub in one message.
_CLUSTERS_PER_MESSAGE = 1000


def limit(value: float) -> float:
    """Return an upper limit of the configuration, where -1 means that there is none."""
    return inf if value == -1 else value


class Clustering(Step):
    """Groups AMBER's rows, tells the hub of the clusters, and lists them in a file."""

    section = "clustering"

    def _settings(self, config: Config) -> Settings:
        return super()._settings(config) | {"interval": config.processor.interval}

    def set_up(self) -> None:
        """Begin the list of clusters; one that replaces another one begins with AMBER's first row, too."""
        obs_config = self.beam.obs_config
        self._intake = RowIntake(
            count_instances(obs_config["amber_config"]) if "amber_config" in obs_config else 1,
            settle_s=self.interval,
            interval_s=self.interval,
            instrument=self.instrument,
            logger=self.logger,
            clock=self.monotonic,
            files=trigger_files(obs_config, self.beam.beam),
            decided={} if self.resume else None,
        )
        self._borders = BatchBorders(self.instrument, self.interval)
        self._rows_told = 0
        self._list(PULSES_HEADER)

    interval: float

    def process_command(self, command: dict[str, Any]) -> None:
        """Take in rows, or finish.

        Raises:
            DARCError: the rows are something else
        """
        if command["command"] == "trigger":
            self._intake.put(command)
        elif command["command"] == "finish":
            self._intake.look()
            parts = [rows for batch in self._intake.flush() for rows in self._parts(batch)]
            self._tell([*parts, self._borders.release()], finished=True)
        else:
            super().process_command(command)

    def due_in(self) -> float:
        """Seconds until rows have to be parsed or grouped."""
        due_s = [] if (intake_s := self._intake.due_in()) is None else [intake_s]
        if self._borders.deadline is not None:
            due_s.append(self._borders.deadline - self.monotonic())
        return min(due_s, default=LONGEST_WAIT_S)

    def do_what_is_due(self) -> None:
        """Group what is complete."""
        parts = [rows for batch in self._intake.ready() for rows in self._parts(batch)]
        if self._borders.deadline is not None and self._borders.deadline <= self.monotonic():
            parts.append(self._borders.release())
        if parts or self._intake.rows > self._rows_told:
            self._tell(parts)

    def _parts(self, batch: Batch) -> list[NDArray[np.float64]]:
        """Return what is to be grouped now that a batch is there."""
        if batch.late:
            self.logger.warning("batch %d: %d rows came late", batch.number, len(batch.rows))
        return [
            self._borders.take(batch, self.monotonic()) if self.settings.method == "linked" else batch.rows
        ]

    def _tell(self, parts: list[NDArray[np.float64]], finished: bool = False) -> None:
        pulses = [pulse for rows in parts for pulse in self._group(rows)]
        for pulse in pulses:
            self._list(pulse_row(pulse))
        clusters = [(pulse.dm, pulse.snr, pulse.time_s, pulse.downsamp, pulse.sb) for pulse in pulses]
        while True:
            part, clusters = tuple(clusters[:_CLUSTERS_PER_MESSAGE]), clusters[_CLUSTERS_PER_MESSAGE:]
            rows = self._intake.rows - self._rows_told
            self.answer(Grouped(rows, self._intake.header_seen, part, finished and not clusters, self.name))
            self._rows_told += rows
            if not clusters:
                return

    def _group(self, rows: NDArray[np.float64]) -> list[Pulse]:
        settings = self.settings
        found = cluster(
            rows,
            snr_min=settings.snr_min_clustering,
            dm_min=settings.dm_min,
            dm_max=limit(settings.dm_max),
            window=settings.clustering_window,
            origin=0.0,
            sb_filter=settings.sb_filter,
            sb_filter_period=(settings.sb_filter_period_min, settings.sb_filter_period_max),
            method=settings.method,
            earlier=self._borders.found,
            instrument=self.instrument,
        )
        self._borders.note(found)
        keep = np.flatnonzero((found.snr >= settings.snr_min) & (found.width <= limit(settings.width_max)))
        return [
            Pulse(
                snr=float(found.snr[i]),
                dm=float(found.dm[i]),
                time_s=float(found.time[i]),
                downsamp=round(float(found.width[i])),
                sb=int(found.sb[i]),
            )
            for i in keep
        ]

    def _list(self, line: str) -> None:
        """Append a line to the list of clusters, which is read while the observation runs."""
        path = self.beam.work_folder / self.settings.output_file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if line == PULSES_HEADER else "a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")
        except OSError as error:
            self.logger.error("%s: a cluster is not listed: %s", path, error.strerror)
