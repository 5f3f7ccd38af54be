"""Lines of AMBER's files on their way in: checked, parsed, put together to batches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats.amber import AmberParser
from darc.formats.amber_config import count_instances, trigger_file
from darc.growing_file import Continuation, Place
from darc.logs import Burst
from darc.science.batching import Batch, BatchAssembler

#: Longest time in s for which files are read before messages are looked at again.
CATCH_UP_S = 0.1

#: How many rows of a batch, in the order of its file, an AMBER instance contributed to what was decided.
Decided = Mapping[int, Mapping[int, int]]


def trigger_files(obs_config: dict[str, Any], beam: int | None) -> dict[int, Path]:
    """Return the file of each AMBER instance by its number, from 1; none if the observation does not say.

    Args:
        obs_config: observation configuration
        beam: compound beam

    Raises:
        DARCError: AMBER's settings cannot be read
    """
    if "amber_config" not in obs_config or "amber_dir" not in obs_config or beam is None:
        return {}
    steps = range(1, count_instances(obs_config["amber_config"]) + 1)
    return {step: trigger_file(str(obs_config["amber_dir"]), beam, step) for step in steps}


class RowIntake:
    """Takes the messages of the listener, or of other programs, and hands out batches of rows.

    AMBER flushes every row, so that messages are small. They are parsed together when batches are asked for,
    which costs a fraction.

    AMBER's files are the record: lines whose messages were lost, or handled by a predecessor, are read from
    there, and lines that come again are passed over (`darc.growing_file.Continuation`). So are, of each
    batch, the rows that a predecessor has decided on; what is left of it is late, as it was for that one.

    Args:
        ninstance: number of AMBER instances
        settle_s: pause in s after which no more of a batch is expected
        interval_s: longest time in s that a row waits for others
        instrument: sampling time and samples per batch
        logger: where malformed and late rows are reported
        clock: monotonic time in s
        files: AMBER's files by instance; lines of other instances are taken as they come
        decided: rows that a predecessor has decided on; None: there was none

    Attributes:
        rows: number of rows so far, those that are passed over included
        malformed: number of lines so far that are neither a row nor a header
        header_seen: whether a header has come
    """

    def __init__(
        self,
        ninstance: int,
        *,
        settle_s: float,
        interval_s: float,
        instrument: Instrument,
        logger: logging.Logger,
        clock: Callable[[], float],
        files: Mapping[int, Path] | None = None,
        decided: Decided | None = None,
    ) -> None:
        self.rows = 0
        self.malformed = 0
        self.header_seen = False
        self._ninstance = ninstance
        self._instrument = instrument
        self._clock = clock
        self._logger = logger
        self._batches = BatchAssembler(ninstance, settle_s, interval_s, decided or ())
        self._decided = {number: Counter(counts) for number, counts in (decided or {}).items()}
        self._files = {step: Continuation(path) for step, path in (files or {}).items()}
        self._parsers: dict[int | None, AmberParser] = {}
        self._inbox: dict[int | None, list[str]] = {}
        self._at_end: dict[int | None, bool] = {}
        self._bad_lines = Burst(logger, "malformed lines in AMBER's files", clock=clock)
        self._has_predecessor = decided is not None
        self.look()

    def look(self) -> None:
        """Have everything read that AMBER's files hold, if lines come from there or may have come before."""
        for file in self._files.values():
            if file.told or self._has_predecessor:
                file.look()

    def put(self, message: dict[str, Any]) -> None:
        """Take in the lines of a message.

        Args:
            message: `trigger`, a line or a list of lines; optionally `step`, the AMBER instance that wrote
                them, `at_end`, whether its file held no more, and `place`, where in that they are

        Raises:
            DARCError: it holds something else
        """
        lines, step = message.get("trigger"), message.get("step")
        if isinstance(lines, str):
            lines = [lines]
        if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
            raise DARCError(f"a trigger has to be a line of AMBER or a list of lines, not {lines!r:.200}")
        if step is not None and (not isinstance(step, int) or not 1 <= step <= self._ninstance):
            raise DARCError(f"there is no AMBER instance {step!r:.100}, only 1 to {self._ninstance}")
        self._at_end[step] = bool(message.get("at_end", True))
        if self._follow(step, message.get("place")):
            self._inbox.setdefault(step, []).extend(lines)

    def _follow(self, step: int | None, place: Any) -> bool:
        """Return whether lines of a place are the next ones of their file, as far as that is known."""
        file = self._files.get(step) if step is not None else None
        if file is None or place is None:
            return True
        try:
            return file.take(Place(*place))
        except TypeError as error:
            raise DARCError(f"{place!r:.100} is no place in AMBER's file") from error

    def due_in(self) -> float | None:
        """Seconds until a batch is ready or lines have to be parsed; None if nothing waits."""
        if self._inbox or self._behind():
            return 0.0
        deadline = self._batches.deadline()
        return None if deadline is None else deadline - self._clock()

    def ready(self) -> list[Batch]:
        """Return the batches of which no more is expected, ordered by number."""
        self._parse()
        self._bad_lines.tick()
        end, ready = self._clock() + CATCH_UP_S, []
        while (behind := self._behind()) and self._clock() < end:
            ready += self._catch_up(behind)
        return ready if behind else ready + self._batches.ready(self._clock())

    def flush(self) -> list[Batch]:
        """Return all batches there are, and report what was wrong."""
        self._parse()
        ready = []
        while behind := self._behind():
            ready += self._catch_up(behind)
        self._bad_lines.flush()
        if self._batches.late_rows:
            self._logger.warning("%d rows came after their batch was processed", self._batches.late_rows)
        return ready + self._batches.flush()

    def _behind(self) -> list[int]:
        return [step for step, file in self._files.items() if file.behind]

    def _catch_up(self, behind: list[int]) -> list[Batch]:
        """Read on in the file that is furthest back; return the batches that are complete by that."""
        step = min(behind, key=self._batches.reached)
        file = self._files[step]
        try:
            self._inbox[step] = file.read()
        except OSError as error:
            self._logger.error("%s: lines lost that were not read yet: %s", file.path, error.strerror)
        self._parse()
        behind = self._behind()
        return self._batches.passed(behind) if behind else []

    def _parse(self) -> None:
        for step, lines in self._inbox.items():
            self.header_seen = self.header_seen or any(line.lstrip().startswith("#") for line in lines)
            rows = self._parsers.setdefault(step, AmberParser(self._instrument)).feed(lines)
            self.rows += len(rows)
            self.malformed += rows.malformed
            if rows.malformed:
                self._bad_lines.count(rows.malformed, rows.first_malformed)
            left = slice(None) if step is None else self._undecided(step, rows.batch)
            at_end = self._at_end.get(step, True)
            self._batches.add(rows.batch[left], rows.triggers[left], step, at_end, self._clock())
        self._inbox.clear()

    def _undecided(self, step: int, batch: NDArray[np.int64]) -> Any:
        """Return which rows of a file nobody has decided on: of each batch, those after the first ones."""
        if not self._decided:
            return slice(None)
        left = np.ones(len(batch), dtype=bool)
        for number in np.unique(batch).tolist():
            counts = self._decided.get(number, Counter())
            if counts.get(step):
                passed_over = np.flatnonzero(batch == number)[: counts[step]]
                left[passed_over] = False
                counts[step] -= len(passed_over)
        return left
