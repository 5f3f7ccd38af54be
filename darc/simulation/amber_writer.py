"""Writes AMBER's trigger files in real time: rows of the fake telescope, or a replay of recorded ones."""

from __future__ import annotations

import heapq
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from darc.definitions import ARTS, Instrument
from darc.errors import DARCError
from darc.simulation.amber import Chunk


class Feed(Protocol):
    """What AMBER writes: `darc.simulation.amber.Amber` or `Recording`."""

    @property
    def headers(self) -> Sequence[bytes]:
        """What each instance writes first."""

    def __iter__(self) -> Iterator[Chunk]:
        """Give chunks ordered by batch, then instance."""


class Stop(Protocol):
    """Event that ends the writing, of threading or multiprocessing; or a test's clock."""

    def wait(self, timeout: float, /) -> bool:
        """Return after `timeout` seconds, or earlier when the event is set; tell whether it is."""


def wait_until(stop: Stop, clock: Callable[[], float], until_unix: float) -> bool:
    """Wait for a time; return False if told to stop."""
    while (remaining_s := until_unix - clock()) > 0:
        if stop.wait(remaining_s):
            return False
    return not stop.wait(0)


@dataclass(frozen=True)
class Flushed:
    """When the last line of a chunk was on its way.

    Attributes:
        batch: of the rows.
        instance: that wrote them, from 0.
        nline: how many there were.
        time_unix: clock after the last flush.

    """

    batch: int
    instance: int
    nline: int
    time_unix: float


def trigger_file(folder: Path, beam: int, step: int) -> Path:
    """Return the path of the file that AMBER's instance `step` (from 1) writes for a compound beam."""
    return folder / f"CB{beam:02d}_step{step}.trigger"


class Recording:
    """Existing trigger files of one compound beam, to be written again byte for byte.

    A line goes with the highest batch that its file has shown so far, so that rows that went back to earlier
    batches, headers in the middle and malformed lines keep their places.

    Args:
        paths: one file per instance, in their order.

    Raises:
        DARCError: a file cannot be read.

    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.headers: list[bytes] = []
        self._lines: defaultdict[tuple[int, int], list[bytes]] = defaultdict(list)
        for instance, path in enumerate(paths):
            try:
                with path.open("rb") as file:
                    self._add(instance, file)
            except OSError as error:
                raise DARCError(f"cannot replay {path}: {error.strerror}") from error

    @classmethod
    def of_beam(cls, folder: Path, beam: int) -> Recording:
        """Read all files of a compound beam.

        Raises:
            DARCError: there are none, or one cannot be read.

        """
        pattern = f"CB{beam:02d}_step*.trigger"
        paths = sorted(folder.glob(pattern), key=lambda path: int(re.sub(r"\D", "", path.stem[4:]) or 0))
        if not paths:
            raise DARCError(f"nothing to replay: no file {folder / pattern}; choose another folder or beam")
        return cls(paths)

    def __iter__(self) -> Iterator[Chunk]:
        """Give the lines, batch by batch."""
        for batch, instance in sorted(self._lines):
            yield Chunk(batch, instance, self._lines[batch, instance])

    def _add(self, instance: int, file: Iterator[bytes]) -> None:
        header, column, batch = b"", 1, -1
        for line in file:
            fields = line.split()
            if fields[:1] == [b"#"]:
                column = fields.index(b"batch_id") - 1 if b"batch_id" in fields else column
            elif len(fields) > column and fields[column].isdigit():
                batch = max(batch, int(fields[column]))
            if batch < 0:
                header += line
            else:
                self._lines[batch, instance].append(line)
        self.headers.append(header)


class Together:
    """Several feeds that cover the same batches and instances, as one: what they find follows each other.

    Args:
        feeds: at least one; the headers are those of the first

    """

    def __init__(self, *feeds: Feed) -> None:
        self.headers = feeds[0].headers
        self._feeds = feeds

    def __iter__(self) -> Iterator[Chunk]:
        """Give the lines of all feeds, batch by batch, instance by instance."""
        for chunks in zip(*self._feeds, strict=True):
            lines = [line for chunk in chunks for line in chunk.lines]
            yield Chunk(chunks[0].batch, chunks[0].instance, lines)


class AmberWriter:
    """Writes the files of all of AMBER's instances for one compound beam as the data come in.

    Args:
        folder: AMBER's output folder, made if necessary; files in it are truncated.
        beam: compound beam.
        feed: what to write.
        start_unix: unix time of the start of the data; in the past, what is due is written at once.
        speed: seconds of data per second; infinite: as fast as possible.
        latency_s: seconds of data between the end of a batch and the writing of its rows; one value per
            instance if they differ, as they do when each waits for the dispersion delay of its own DMs.
        flush_rows: one write per row, as AMBER does, or one per batch and instance.
        report: is told about every chunk that was written.
        instrument: gives the length of a batch.
        clock: unix time.
        stop: event that ends the writing.

    """

    def __init__(
        self,
        folder: Path,
        beam: int,
        feed: Feed,
        *,
        start_unix: float,
        speed: float = 1.0,
        latency_s: float | Sequence[float] = 0.5,
        flush_rows: bool = True,
        report: Callable[[Flushed], object] | None = None,
        instrument: Instrument = ARTS,
        clock: Callable[[], float] = time.time,
        stop: Stop | None = None,
    ) -> None:
        self._folder = folder
        self._beam = beam
        self._feed = feed
        self._start_unix = start_unix
        self._speed = speed
        ninstance = len(feed.headers)
        self._latency_s = [latency_s] * ninstance if isinstance(latency_s, int | float) else list(latency_s)
        if len(self._latency_s) != ninstance:
            raise ValueError(f"{len(self._latency_s)} latencies for {ninstance} instances of AMBER")
        self._flush_rows = flush_rows
        self._report = report
        self._batch_s = instrument.batch_s
        self._clock = clock
        self._stop = stop

    def run(self) -> bool:
        """Write the headers at once and each batch when it is due; return False if stopped before the end.

        It suits as target of a thread or a process.
        """
        stop = self._stop or threading.Event()  # made here, since it cannot be sent to another process
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            files = []
            for step, header in enumerate(self._feed.headers, start=1):
                # unbuffered: every write reaches the file at once
                path = trigger_file(self._folder, self._beam, step)
                files.append(stack.enter_context(path.open("wb", buffering=0)))
                files[-1].write(header)
            for due_s, chunk in self._scheduled():
                if not wait_until(stop, self._clock, self._start_unix + due_s / self._speed):
                    return False
                lines = chunk.lines if self._flush_rows else [b"".join(chunk.lines)]
                for line in lines:
                    files[chunk.instance].write(line)
                if self._report:
                    self._report(Flushed(chunk.batch, chunk.instance, len(chunk.lines), self._clock()))
        return True

    def _scheduled(self) -> Iterator[tuple[float, Chunk]]:
        """Give the chunks that hold lines in the order of their time, in seconds of data."""
        waiting: list[tuple[float, int, int, Chunk]] = []
        for chunk in self._feed:
            end_s = (chunk.batch + 1) * self._batch_s
            # nothing that is still to come from the feed can be due before this
            while waiting and waiting[0][0] < end_s + min(self._latency_s):
                due_s, *_, ready = heapq.heappop(waiting)
                yield due_s, ready
            if chunk.lines:
                due_s = end_s + self._latency_s[chunk.instance]
                heapq.heappush(waiting, (due_s, chunk.batch, chunk.instance, chunk))
        while waiting:
            due_s, *_, ready = heapq.heappop(waiting)
            yield due_s, ready
