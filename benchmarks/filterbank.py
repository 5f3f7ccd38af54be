"""Time to read a synthesised beam (SB) from the filterbanks of its TABs, for windows of several lengths.

Data have the geometry of ARTS and stand in the kernel's cache, as those of a running observation do. The
limit is reading as many bytes as the SB has, in one piece from one file, into memory that is used again.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.formats.filterbank import FilterbankHeader, build_header
from darc.processor_tools.filterbank_reader import SynthesisedBeamReader, TiedArrayBeams

ROUNDS = 9
#: TABs that the SB takes its subbands from, in equal shares.
NTAB = 9
#: Windows in s and the time in ms that each may take.
TARGETS_MS = {0.5: 4.0, 2.0: 12.0, 10.0: 60.0}

HEADER = FilterbankHeader(
    nchan=ARTS.nchan,
    nbit=ARTS.nbit,
    fch1_mhz=ARTS.min_freq_mhz + (ARTS.nchan - 1) * ARTS.channel_width_mhz,
    foff_mhz=-ARTS.channel_width_mhz,
    tsamp_s=ARTS.tsamp_s,
    tstart_mjd=58621.99390625,
)


def measure() -> list[dict[str, object]]:
    """Return the figures, medians of several runs."""
    row = np.arange(ARTS.nsubband) * NTAB // ARTS.nsubband
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(Path(folder) / f"CB00_{tab:02d}.fil", max(TARGETS_MS)) for tab in range(NTAB)]
        with TiedArrayBeams(paths) as tabs:
            return [figure(tabs, paths[0], row, window_s) for window_s in TARGETS_MS]


def figure(tabs: TiedArrayBeams, path: Path, row: NDArray[np.intp], window_s: float) -> dict[str, object]:
    """Measure one length of the window and its limit, in ms."""
    nsample = round(window_s / ARTS.tsamp_s)
    return {
        "name": f"reading {window_s:g} s of a synthesised beam from {NTAB} TABs",
        "value": median_ms(lambda: SynthesisedBeamReader(tabs, row).read(0, nsample)),
        "unit": "ms",
        "target": TARGETS_MS[window_s],
        "better": "less",
        "limit": median_ms(partial(read_once, path, np.empty(nsample * ARTS.nchan, np.uint8))),
    }


def read_once(path: Path, memory: NDArray[np.uint8]) -> None:
    """Fill the memory from a file."""
    with path.open("rb", buffering=0) as stream:
        stream.readinto(memory.data)


def write(path: Path, duration_s: float) -> Path:
    """Write a file with noise, one second of it again and again."""
    second = np.random.default_rng(4).integers(0, 256, (round(1 / ARTS.tsamp_s), ARTS.nchan), dtype=np.uint8)
    with path.open("wb") as stream:
        stream.write(build_header(HEADER))
        for _ in range(int(duration_s) + 1):
            stream.write(second.data)
    return path


def median_ms(function: Callable[[], object]) -> float:
    """Run a function several times, and once before that to warm up."""
    function()
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1e3


if __name__ == "__main__":
    for result in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(result))
