"""Writes the filterbank files of one compound beam as the data come in, one batch after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats.filterbank import FilterbankHeader, build_header
from darc.formats.utc import EPOCH, mjd
from darc.simulation.amber_writer import Stop, wait_until
from darc.simulation.signals import channel_freqs_mhz

_MJD_EPOCH, _DAY_S = mjd(EPOCH), 86400.0


class Source(Protocol):
    """Where samples come from: `darc.simulation.filterbank_sky.FilterbankSky`."""

    instrument: Instrument
    nbatch: int
    clipped: int

    def prepare(self) -> None:
        """Do what takes long."""

    def block(self, tab: int | None, first: int, nsample: int) -> NDArray[np.uint8]:
        """Return samples of a TAB, or of the incoherent beam, shape (nsample, nchan)."""


@dataclass(frozen=True)
class Grown:
    """When the files had grown.

    Attributes:
        batch: that was written to all files.
        nbyte: that all files together grew by.
        clipped: samples of these data that did not fit into 8 bits.
        time_unix: clock after the last write.

    """

    batch: int
    nbyte: int
    clipped: int
    time_unix: float


def filterbank_file(folder: Path, beam: int, tab: int | None = None) -> Path:
    """Return the path of the file of a compound beam's TAB, or of its incoherent beam."""
    return folder / (f"CB{beam:02d}.fil" if tab is None else f"CB{beam:02d}_{tab:02d}.fil")


def filterbank_header(
    instrument: Instrument, start_unix: float, *, beam: int = 0, source_name: str = ""
) -> FilterbankHeader:
    """Return the header of the files: 8 bits, highest frequency first."""
    return FilterbankHeader(
        nchan=instrument.nchan,
        nbit=8,
        fch1_mhz=float(channel_freqs_mhz(instrument)[0]),
        foff_mhz=-instrument.channel_width_mhz,
        tsamp_s=instrument.tsamp_s,
        tstart_mjd=_MJD_EPOCH + start_unix / _DAY_S,
        source_name=source_name,
        nbeams=instrument.ncompound_beam,
        ibeam=beam,
    )


class FilterbankWriter:
    """Writes the files of all TABs of one compound beam as the data come in.

    Like the real ones, all files have their headers at once and grow by a batch when it is complete, one file
    after the other: for a moment, some are longer than others.

    Args:
        folder: for the files, made if necessary; files in it are truncated.
        beam: compound beam.
        source: of the samples.
        start_unix: unix time of the start of the data; in the past, what is due is written at once.
        speed: seconds of data per second; infinite: as fast as possible.
        incoherent: whether the incoherent beam is written, too.
        source_name: what was looked at, for the headers.
        report: is told about every batch.
        clock: unix time.
        stop: event that ends the writing.

    """

    def __init__(
        self,
        folder: Path,
        beam: int,
        source: Source,
        *,
        start_unix: float,
        speed: float = 1.0,
        incoherent: bool = False,
        source_name: str = "",
        report: Callable[[Grown], object] | None = None,
        clock: Callable[[], float] = time.time,
        stop: Stop | None = None,
    ) -> None:
        self._source = source
        self._start_unix = start_unix
        self._speed = speed
        tabs = [*range(source.instrument.ntab), *([None] if incoherent else [])]
        self._paths = {tab: filterbank_file(folder, beam, tab) for tab in tabs}
        self._header = filterbank_header(source.instrument, start_unix, beam=beam, source_name=source_name)
        self._report = report
        self._clock = clock
        self._stop = stop

    def run(self) -> bool:
        """Write the headers at once and each batch when it is due; return False if stopped before the end.

        It suits as target of a thread or a process.

        Raises:
            DARCError: a file cannot be written.

        """
        stop = self._stop or threading.Event()  # made here, since it cannot be sent to another process
        try:
            with ExitStack() as stack:
                return self._write(stack, stop)
        except OSError as error:
            where = error.filename or next(iter(self._paths.values())).parent
            reason = f"{error.strerror}; make room there or choose another folder"
            raise DARCError(f"cannot write filterbanks to {where}: {reason}") from error

    def _write(self, stack: ExitStack, stop: Stop) -> bool:
        source, files = self._source, {}
        for tab, path in self._paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            files[tab] = stack.enter_context(path.open("wb"))
            files[tab].write(build_header(self._header))
            files[tab].flush()
        source.prepare()
        nsample = source.instrument.samples_per_batch
        for batch in range(source.nbatch):
            if not wait_until(
                stop, self._clock, self._start_unix + (batch + 1) * source.instrument.batch_s / self._speed
            ):
                return False
            nbyte, clipped = 0, source.clipped
            for tab, file in files.items():
                nbyte += file.write(source.block(tab, batch * nsample, nsample).data)
                file.flush()
            if self._report:
                self._report(Grown(batch, nbyte, source.clipped - clipped, self._clock()))
        return True
