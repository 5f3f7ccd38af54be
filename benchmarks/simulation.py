"""The fake telescope: bytes per second of one beam's filterbanks at full geometry, signals included.

The limit is what the same files take when a ready block is written to them over and over.
"""

import math
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from darc.definitions import ARTS
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter, filterbank_file
from darc.simulation.signals import ShapedBurst, drifting, narrow_band, radar
from darc.simulation.sky import Burst, Sky

NBATCH = 3
BYTES = NBATCH * ARTS.samples_per_batch * ARTS.nchan * ARTS.ntab
#: what a beam produces
TARGET = ARTS.ntab * ARTS.nchan / ARTS.tsamp_s / 1e6


def measure() -> list[dict[str, object]]:
    """Return the megabytes per second that the writer reaches when it does not wait."""
    sky = busy_sky()
    sky.prepare()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        FilterbankWriter(Path(folder), 0, sky, start_unix=0.0, speed=math.inf).run()
        rate = BYTES / (time.perf_counter() - begin) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        limit = write_block(Path(folder), sky)
    return [
        {
            "name": "filterbanks of one beam written, full geometry",
            "value": rate,
            "unit": "MB/s",
            "target": TARGET,
            "better": "more",
            "limit": limit,
        }
    ]


def busy_sky() -> FilterbankSky:
    """Return a sky with a burst per second, a line, and a radar."""
    duration_s = NBATCH * ARTS.batch_s
    bursts = (
        Burst(0.2, 500.0, 30.0, 5),
        ShapedBurst(1.2, 300.0, 30.0, 20, 20, 0.002, drifting(3, 0.004, -5000, 1420, 80)),
        Burst(2.2, 0.0, 100.0, 10, None),
    )
    lines = narrow_band(1300, 1, 2, duration_s=duration_s, duty=0.3)
    sweeps = radar(1250, 1330, 5, duration_s=duration_s)
    return FilterbankSky(Sky(duration_s, bursts), (*lines, *sweeps))


def write_block(folder: Path, sky: FilterbankSky) -> float:
    """Return the megabytes per second of writing one block into all files, batch by batch."""
    block = sky.block(0, 0, ARTS.samples_per_batch)
    begin = time.perf_counter()
    with ExitStack() as stack:
        paths = [filterbank_file(folder, 0, tab) for tab in range(ARTS.ntab)]
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for _ in range(NBATCH):
            for file in files:
                file.write(block.data)
    return BYTES / (time.perf_counter() - begin) / 1e6


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.4g} {unit} (target {target:.4g}, limit {limit:.4g})".format_map(row))
