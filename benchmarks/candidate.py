"""Time and memory from a cluster to the candidate's file: default settings, all channels, one core.

The extractor of the processor does here what it does in an observation: it puts the synthesised beam (SB)
together from the files of 9 tied-array beams (TABs), extracts and writes the file. The data stand in the
kernel's cache, the kernels are compiled. The limit of the time is to read the same bytes from the same files
and to add them up, that of the memory the same process before it extracts, with the bytes of the SB.

Usage: python -m benchmarks.candidate; with a folder that `write_beam` filled and the number of a case, it
prints the peak memory in MB of a process before and after it extracts that case.
"""

import json
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.filterbank import HEADER, NTAB
from darc.definitions import ARTS
from darc.formats.filterbank import build_header
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.beam_extractor import extraction_settings
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.filterbank_reader import TiedArrayBeams
from darc.processor_tools.ledger import Cluster
from darc.processor_tools.messages import Extract
from darc.processor_tools.step import Step
from darc.science import _kernels
from darc.science.beams import channel_ranges
from darc.science.dedispersion import Band
from darc.science.extraction import Detection, plan

ROUNDS = 15
#: DM in pc cm^-3, width in samples, target in ms and in MB.
CASES = ((56.8, 1, 15.0, 250.0), (500.0, 25, 45.0, 350.0), (1500.0, 100, 130.0, 600.0))
#: Length of the files, and arrival time of all clusters, in s.
DURATION_S, ARRIVAL_S = 5, 1.0
NODE = "benchmark"
#: TAB of each subband of the only SB.
ROW = np.arange(ARTS.nsubband) * NTAB // ARTS.nsubband


def measure() -> list[dict[str, object]]:
    """Return time and peak memory of each case; times are medians of several runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_beam(folder)
        extractor = make_extractor(folder)
        with TiedArrayBeams(extractor.beam.filterbanks) as tabs:
            return [row for case in range(len(CASES)) for row in figures(folder, extractor, tabs, case)]


def figures(folder: Path, extractor: Extractor, tabs: TiedArrayBeams, case: int) -> list[dict[str, object]]:
    """Measure one candidate."""
    dm, width, target_ms, target_mb = CASES[case]
    name = f"DM {dm:g}, width {width}, SB of {NTAB} TABs"
    before_mb, after_mb = peaks_mb(folder, case)
    duration = {
        "name": f"cluster to HDF5 file, {name}",
        "value": median_ms(partial(extract, extractor, case)),
        "unit": "ms",
        "target": target_ms,
        "better": "less",
        "limit": median_ms(partial(add_up, tabs, *needed(extractor, case))),
    }
    memory = {
        "name": f"peak memory of the extractor, {name}",
        "value": after_mb,
        "unit": "MB",
        "target": target_mb,
        "better": "less",
        "limit": before_mb,
    }
    return [duration, memory]


def write_beam(folder: Path) -> None:
    """Write the TABs' files, one second of noise again and again, the table of SBs and a configuration."""
    (folder / "filterbank").mkdir()
    random = np.random.default_rng(1)
    shape = round(1 / ARTS.tsamp_s), ARTS.nchan
    second = (100 + 12 * random.standard_normal(shape, dtype=np.float32)).astype(np.uint8)
    for tab in range(NTAB):
        with (folder / "filterbank" / f"CB00_{tab:02d}.fil").open("wb") as stream:
            stream.write(build_header(HEADER))
            for _ in range(DURATION_S):
                stream.write(second.data)
    (folder / "table").write_text(" ".join(map(str, ROW)) + "\n")
    settings = {
        "nodes": {"workers": {NODE: 0}},
        "sb_generator": {
            "table_folder": str(folder),
            "table": {"sc3": "table"},
            "numtab": {"sc3": NTAB},
            "numsb": {"sc3": 1},
        },
        # no burst is in the data, but it is to be extracted all the same; a site's mask would save work
        "processor": {
            "log_file": str(folder / "log"),
            "extractor": {"snr_min_local": 0.0, "rfi_apply_mask": False},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


def observed_beam(folder: Path) -> ObservedBeam:
    """Describe the beam of such a folder."""
    return ObservedBeam(
        label="benchmark",
        source="noise",
        beam=0,
        ntab=NTAB,
        start_unix=0.0,
        end_unix=float(DURATION_S),
        band=Band(HEADER.fch1_mhz, HEADER.foff_mhz, HEADER.nchan, HEADER.tsamp_s),
        filterbanks=tuple(folder / "filterbank" / f"CB00_{tab:02d}.fil" for tab in range(NTAB)),
        work_folder=folder,
        result_folder=folder,
        instrument=ARTS,
        obs_config={},
    )


def make_extractor(folder: Path) -> Extractor:
    """Return an extractor that works in this process."""
    extractor = Extractor(
        "extractor",
        observed_beam(folder),
        queue.Queue(),
        queue.Queue(),
        config_file=folder / "config.yaml",
        node=NODE,
    )
    extractor.set_up()
    return extractor


def cluster(case: int, number: int = 0) -> Cluster:
    """Return a cluster of a case; DMs, and so the names of the files, differ in a hundred numbers."""
    dm, width, *_ = CASES[case]
    vary = number % 100 / 100
    return Cluster(number, dm + vary, 10.0, ARRIVAL_S + vary, width, 0)


def extract(extractor: Extractor, case: int) -> None:
    """Extract a case and remove its file: to replace one would take longer, and never happens."""
    extractor.work(Extract(cluster(case), True))
    path = answer(extractor).path
    if path is None:
        raise RuntimeError(f"not extracted: {CASES[case]}")
    path.unlink()


def answer(step: Step) -> Any:
    """Return what a step that works in this process answered."""
    assert step.target_queue is not None
    return step.target_queue.get(block=False)["content"]


def needed(extractor: Extractor, case: int) -> tuple[int, int]:
    """Return the first sample that a case needs, and their number."""
    found = cluster(case)
    detection = Detection(found.dm, found.time_s, found.width)
    todo = plan(detection, extractor.beam.band, extraction_settings(extractor.settings))
    return todo.start, todo.stop - todo.start


def add_up(tabs: TiedArrayBeams, start: int, nsample: int) -> None:
    """Add up the samples of the SB, where they are."""
    total = np.empty(nsample)
    for tab, first, stop in channel_ranges(ROW, ARTS.nchan, highest_first=True):
        window = tabs.reader(tab).window(start, nsample)
        _kernels.add_channels(window[:, first:stop], np.ones(stop - first, np.uint8), total)


def median_ms(function: Callable[[], object]) -> float:
    """Run a function several times, and once before that to warm up."""
    function()
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1e3


def peaks_mb(folder: Path, case: int) -> tuple[float, float]:
    """Return the peak memory of a process before and after it extracts a case; see `report_peaks`."""
    command = [sys.executable, "-m", "benchmarks.candidate", str(folder), str(case)]
    root = Path(__file__).resolve().parents[1]
    before_mb, after_mb = json.loads(
        subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    )
    return before_mb, after_mb


def report_peaks(folder: Path, case: int) -> None:
    """Print the peak memory in MB of this process, plus the bytes of the SB, and after the extraction."""
    extractor = make_extractor(folder)
    nbyte = needed(extractor, case)[1] * ARTS.nchan
    before_mb = peak_mb() + nbyte / 1e6
    extract(extractor, case)
    print(json.dumps([before_mb, peak_mb()]))


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    # not ru_maxrss, which a process inherits from the one that started it
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    if len(sys.argv) > 1:
        report_peaks(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        for row in measure():
            print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
