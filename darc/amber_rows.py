"""Lines of AMBER's files on their way in: checked, parsed, put together to batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats.amber import AmberParser
from darc.logs import Burst
from darc.science.batching import Batch, BatchAssembler


class RowIntake:
    """Takes the messages of the listener, or of other programs, and hands out batches of rows.

    AMBER flushes every row, so that messages are small. They are parsed together when batches are asked for,
    which costs a fraction.

    Args:
        ninstance: number of AMBER instances
        settle_s: pause in s after which no more of a batch is expected
        interval_s: longest time in s that a row waits for others
        instrument: sampling time and samples per batch
        logger: where malformed and late rows are reported
        clock: monotonic time in s

    Attributes:
        rows: number of rows so far
        malformed: number of lines so far that are neither a row nor a header
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
    ) -> None:
        self.rows = 0
        self.malformed = 0
        self._ninstance = ninstance
        self._instrument = instrument
        self._clock = clock
        self._logger = logger
        self._batches = BatchAssembler(ninstance, settle_s, interval_s)
        self._parsers: dict[int | None, AmberParser] = {}
        self._inbox: dict[int | None, list[str]] = {}
        self._at_end: dict[int | None, bool] = {}
        self._bad_lines = Burst(logger, "malformed lines in AMBER's files", clock=clock)

    def put(self, message: dict[str, Any]) -> None:
        """Take in the lines of a message.

        Args:
            message: `trigger`, a line or a list of lines; optionally `step`, the AMBER instance that wrote
                them, and `at_end`, whether its file held no more

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
        self._inbox.setdefault(step, []).extend(lines)
        self._at_end[step] = bool(message.get("at_end", True))

    def due_in(self) -> float | None:
        """Seconds until a batch is ready or lines have to be parsed; None if nothing waits."""
        if self._inbox:
            return 0.0
        deadline = self._batches.deadline()
        return None if deadline is None else deadline - self._clock()

    def ready(self) -> list[Batch]:
        """Return the batches of which no more is expected, ordered by number."""
        self._parse()
        self._bad_lines.tick()
        return self._batches.ready(self._clock())

    def flush(self) -> list[Batch]:
        """Return all batches there are, and report what was wrong."""
        self._parse()
        self._bad_lines.flush()
        if self._batches.late_rows:
            self._logger.warning("%d rows came after their batch was processed", self._batches.late_rows)
        return self._batches.flush()

    def _parse(self) -> None:
        for step, lines in self._inbox.items():
            rows = self._parsers.setdefault(step, AmberParser(self._instrument)).feed(lines)
            self.rows += len(rows)
            self.malformed += rows.malformed
            if rows.malformed:
                self._bad_lines.count(rows.malformed, rows.first_malformed)
            self._batches.add(rows.batch, rows.triggers, step, self._at_end[step], self._clock())
        self._inbox.clear()
