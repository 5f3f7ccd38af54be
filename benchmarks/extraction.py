"""Time and memory to extract one candidate from data in memory: full band, default settings.

The limit of the time is to read the same bytes once and add them up, that of the memory a process that has
loaded the same code and holds the same data. What comes before and after, the synthesised beam and the file
of the candidate, is not part of it: 2 ms are taken off the targets for the file.

Usage: python -m benchmarks.extraction; with DM, width and `yes` or `no`, it prints the peak memory in MB of a
process that extracts such a candidate, or only holds the data.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.science import _kernels
from darc.science.dedispersion import Band
from darc.science.extraction import Detection, Extractor, Plan, Settings, warm_up

ROUNDS = 15
#: DM in pc cm^-3, width in samples, target in ms and in MB.
CASES = ((56.8, 1, 15.0, 250.0), (500.0, 25, 45.0, 350.0), (1500.0, 100, 130.0, 600.0))
#: Allowance for writing the candidate's file, in ms.
FILE_MS = 2.0
WIDTH_MHZ = ARTS.channel_width_mhz
BAND = Band(ARTS.min_freq_mhz + ARTS.bandwidth_mhz - WIDTH_MHZ, -WIDTH_MHZ, ARTS.nchan, ARTS.tsamp_s)


def measure() -> list[dict[str, object]]:
    """Return time and peak memory of each case; times are medians of several runs."""
    warm_up()
    return [row for case in CASES for row in figures(*case)]


def figures(dm: float, width: int, target_ms: float, target_mb: float) -> list[dict[str, object]]:
    """Measure one candidate."""
    extractor, todo, data = prepare(dm, width)
    ones, total = np.ones(BAND.nchan, dtype=np.uint8), np.empty(len(data))
    name = f"DM {dm:g}, width {width}, {data.nbytes / 1e6:.1f} MB"
    duration = {
        "name": f"extraction of {name}",
        "value": median_ms(partial(extractor.extract, data, todo)),
        "unit": "ms",
        "target": target_ms - FILE_MS,
        "better": "less",
        "limit": median_ms(partial(_kernels.add_channels, data, ones, total)),
    }
    memory = {
        "name": f"peak memory, {name}",
        "value": peak_mb(dm, width, "yes"),
        "unit": "MB",
        "target": target_mb,
        "better": "less",
        "limit": peak_mb(dm, width, "no"),
    }
    return [duration, memory]


def prepare(dm: float, width: int) -> tuple[Extractor, Plan, NDArray[np.uint8]]:
    """Return noise for a candidate, and what extracts it."""
    extractor = Extractor(BAND, Settings(snr_min_local=0.0))
    todo = extractor.plan(Detection(dm, 10.0, width))
    random = np.random.default_rng(1)
    data = np.empty((todo.stop - todo.start, BAND.nchan), dtype=np.uint8)
    for first in range(0, len(data), 500):
        part = data[first : first + 500]
        part[:] = 100 + 12 * random.standard_normal(part.shape, dtype=np.float32)
    return extractor, todo, data


def median_ms(function: Callable[[], object]) -> float:
    """Run a function several times, and once before that to warm up."""
    function()
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1e3


def peak_mb(dm: float, width: int, extract: str) -> float:
    """Return the peak memory of a process that does `report_memory`."""
    command = [sys.executable, "-m", "benchmarks.extraction", str(dm), str(width), extract]
    folder = Path(__file__).resolve().parents[1]
    return float(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout)


def report_memory(dm: float, width: int, *, extract: bool) -> None:
    """Print the peak memory of this process in MB after a candidate was extracted, or only its data made."""
    extractor, todo, data = prepare(dm, width)
    if extract:
        warm_up()
        extractor.extract(data, todo)
    # not ru_maxrss, which a process inherits from the one that started it
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        report_memory(float(sys.argv[1]), int(sys.argv[2]), extract=sys.argv[3] == "yes")
    else:
        for row in measure():
            print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
