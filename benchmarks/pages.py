"""Time to draw a page of 25 candidates, and to write one candidate's file.

The limit of a page is a page with 25 empty axes, drawn by matplotlib into a PDF as well. The limit of a file
is to write and rename the same bytes.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from darc.config import load_config
from darc.errors import DARCError
from darc.formats.candidate import Candidate, build, write
from darc.formats.files import write_complete
from darc.processor_tools.pages import write_pages
from darc.processor_tools.panels import Observed

OBSERVED = Observed("2019-05-18-23:51:13.B1933+16", 0, "B1933+16", (1219.6, 1519.6), 250.0)


def measure() -> list[dict[str, object]]:
    """Return the figures, medians of several runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [figure_page(folder), figure_file(folder)]


def figure_page(folder: Path) -> dict[str, object]:
    """Measure a page: a PDF with one page of each type of plot, divided by their number."""
    settings = load_config().processor.visualizer
    side, types = settings.nplot_per_side, settings.plot_types
    files = [write(folder, candidate(number)) for number in range(side**2)]
    draw = partial(write_pages, folder / "pages.pdf", files, settings, OBSERVED)
    return {
        "name": f"page of {len(files)} panels",
        "value": median_s(draw, 3) / len(types),
        "unit": "s",
        "target": 3.0,
        "better": "less",
        "limit": median_s(partial(draw_empty, side, settings.figsize), 3),
    }


def figure_file(folder: Path) -> dict[str, object]:
    """Measure the file of one candidate with 64 x 64 values in each array."""
    one = candidate(0)
    content, path = build(one), folder / "bytes"
    return {
        "name": "HDF5 file of a candidate",
        "value": median_s(partial(write, folder, one), 200) * 1e3,
        "unit": "ms",
        "target": 2.0,
        "better": "less",
        "limit": median_s(partial(write_complete, path, content, DARCError), 200) * 1e3,
    }


def median_s(function: Callable[[], object], rounds: int) -> float:
    """Run a function several times, and once before that to warm up."""
    function()
    durations = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def draw_empty(side: int, figsize: float) -> None:
    """Draw a page of empty axes."""
    figure = Figure(figsize=(figsize, figsize))
    figure.subplots(side, side)
    with PdfPages(BytesIO()) as pdf:
        pdf.savefig(figure)


def candidate(number: int) -> Candidate:
    """Make a candidate of noise with a pulse."""
    random = np.random.default_rng(number)
    data = random.normal(size=(64, 64)).astype(np.float32)
    data[:, 32] += 2
    return Candidate(
        data_freq_time=data,
        data_dm_time=data,
        dms=np.linspace(480.0, 520.0, 64),
        tsamp_s=81.92e-6,
        sb=number,
        dm=500.0,
        snr=16.0,
        toa_s=float(number),
        downsamp=25,
        dm_amber=500.0,
        snr_amber=15.0,
        toa_amber_s=float(number),
        downsamp_amber=25,
        prob_freqtime=0.9,
        prob_dmtime=0.8,
    )


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
