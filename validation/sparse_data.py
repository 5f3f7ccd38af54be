"""Filterbank files of hours of data, of which only what is read is ever written.

The file has the length of the whole observation, as a hole; before a part is read, the samples of the sky are
written there, and taken out again afterwards. Whoever reads the file cannot tell.
"""

from __future__ import annotations

import os
from pathlib import Path

from darc.formats.filterbank import build_header
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import filterbank_file, filterbank_header

#: Samples that are written at once.
BLOCK = 8192


class SparseFilterbank:
    """The file of the incoherent beam of a compound beam.

    It holds the samples of TAB 0, as signals without a direction are in all of them.

    Args:
        folder: for the file.
        sky: of the samples.
        start_unix: unix time of the first sample.

    """

    def __init__(self, folder: Path, sky: FilterbankSky, start_unix: float) -> None:
        self._sky, self._nchan = sky, sky.instrument.nchan
        header = build_header(filterbank_header(sky.instrument, start_unix))
        self.path = filterbank_file(folder, 0)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(header)
        self._header = len(header)
        self.nsample = sky.nbatch * sky.instrument.samples_per_batch
        self.clear()

    def clear(self) -> None:
        """Take all samples out again."""
        os.truncate(self.path, self._header)
        os.truncate(self.path, self._header + self.nsample * self._nchan)

    def fill(self, start: int, stop: int) -> None:
        """Write samples, from the beginning of a block to the end of one, as far as there are any."""
        with self.path.open("r+b") as stream:
            for first in range(max(start, 0) // BLOCK * BLOCK, min(stop, self.nsample), BLOCK):
                number = min(BLOCK, self.nsample - first)
                stream.seek(self._header + first * self._nchan)
                stream.write(self._sky.block(0, first, number).data)
