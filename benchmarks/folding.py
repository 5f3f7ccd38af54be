"""How fast a pulsar is folded: seconds of data of one TAB at the full rate of ARTS, per second of one core.

The whole path is measured: reading from the kernel's cache, cleaning, dedispersing, folding, the search of
the period. The limit is reading the same bytes once into memory that is used again.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.filterbank import read_once, write
from darc.definitions import ARTS
from darc.processor_tools.filterbank_reader import FilterbankReader
from darc.science.dedispersion import Band
from darc.science.folding import Folder, Rotation
from darc.science.rfi import Cleaning, clean

DURATION_S, BLOCK = 10.0, 49152
#: Period in s and DM of the Crab pulsar: the fastest, with the widest search.
PERIOD_S, DM = 0.0338, 56.8
TARGET = 3.0


def measure() -> list[dict[str, object]]:
    """Return the figure."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "CB00_00.fil", DURATION_S)
        fold(path, BLOCK)  # compiles
        start_s = time.process_time()
        duration_s = fold(path)
        used_s = time.process_time() - start_s
        memory = np.empty(round(duration_s / ARTS.tsamp_s) * ARTS.nchan, np.uint8)
        read_once(path, memory)
        start_s = time.process_time()
        read_once(path, memory)
        limit_s = time.process_time() - start_s
    return [
        {
            "name": "folding one TAB with the Crab pulsar's period, on one core",
            "value": duration_s / used_s,
            "unit": "s of data per s",
            "target": TARGET,
            "better": "more",
            "limit": duration_s / limit_s,
        }
    ]


def fold(path: Path, nsample: int | None = None) -> float:
    """Fold a file, or its beginning; return how long the data are in s."""
    with FilterbankReader(path) as reader:
        header = reader.header
        band = Band(header.fch1_mhz, header.foff_mhz, header.nchan, header.tsamp_s)
        total = nsample or reader.nsample
        folder = Folder(band, Rotation(1 / PERIOD_S), DM, total)
        masked = np.zeros(header.nchan, np.bool_)
        for first in range(0, total, BLOCK):
            data = reader.read(first, min(BLOCK, total - first))
            folder.add(data, clean(data, masked, Cleaning()), first)
        folder.fold()
    return total * header.tsamp_s
