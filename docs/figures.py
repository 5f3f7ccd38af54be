"""Draw the pictures of the documentation: what DARC's own functions make of simulated data.

    python docs/figures.py [FOLDER]

writes to `docs/images`, or to FOLDER. The picture of the data flow is drawn by `docs/data_flow.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.science.clustering import Method, cluster
from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s
from darc.science.extraction import Detection, Extractor, Settings
from darc.science.rfi import Cleaning
from darc.simulation.amber import Amber
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.sky import Burst, Sky
from docs import data_flow

#: A burst for the extraction.
DM, ARRIVAL_S = 222.4, 3.3
#: A bright burst that begins just before a time window ends, and a faint one within its box of time and DM.
EDGE_S = 4.0
BURSTS = (Burst(EDGE_S - 0.003, 350.0, 150.0, 25), Burst(EDGE_S + 0.25, 330.0, 14.0, 5))
STYLE: Any = {
    "figure.dpi": 100,
    "font.size": 9,
    "svg.hashsalt": "darc",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
BLUE, RED, GREY = "#1f5fa8", "#c2401c", "#9aa3ad"


def main() -> None:
    """Draw all pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data-flow.svg").write_text(data_flow.svg(), encoding="utf-8")
    with mpl.rc_context(STYLE):
        save(clustering(), folder / "clustering.png")
        save(timing(), folder / "timing.svg")
        save(extraction(), folder / "extraction.png")


def save(figure: Figure, path: Path) -> None:
    """Write a figure without the date, so that the same figure is the same file."""
    figure.savefig(path, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    print(path)


def triggers() -> NDArray[np.float64]:
    """Return what AMBER finds of the bursts: DM, S/N, time, width, SB; shape (n, 5)."""
    amber = Amber(Sky(7.2, bursts=BURSTS), seed=3)
    rows = [
        amber.rows(batch, instance) for batch in range(amber.nbatch) for instance in range(len(amber.plans))
    ]
    columns = ("DM", "SNR", "time", "integration_step", "beam_id")
    found = [np.column_stack([each[name] for name in columns]) for each in rows]
    return np.concatenate(found)


def clustering() -> Figure:
    """Draw AMBER's triggers of two bursts, grouped in both ways."""
    found = triggers()
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.4), sharey=True, layout="constrained")
    # synthesised beams show the same, but for their brightness
    _, distinct = np.unique(found[:, [0, 2]], axis=0, return_index=True)
    shown = found[distinct]
    shown = shown[(abs(shown[:, 2] - 4.1) < 0.5) & (abs(shown[:, 0] - 350) < 110)]
    methods: tuple[Method, ...] = ("windows", "linked")
    for ax, method in zip(axes, methods, strict=True):
        groups = cluster(found, window=1.0, origin=0.0, method=method)
        ax.scatter(
            shown[:, 2],
            shown[:, 0],
            s=4 + shown[:, 1] / 4,
            color=GREY,
            linewidths=0,
            label="trigger of AMBER",
        )
        ax.scatter(
            groups.time, groups.dm, s=90, facecolors="none", edgecolors=RED, label="cluster: its brightest"
        )
        ax.axvline(EDGE_S, color="black", linestyle=":", linewidth=0.8)
        ax.set(xlim=(3.6, 4.6), ylim=(240, 460), xlabel="arrival time (s)")
        ax.set_title(f"{method}: {len(groups)} clusters", fontsize=9, loc="left")
    axes[0].set_ylabel("DM (pc cm$^{-3}$)")
    axes[0].legend(frameon=False, loc="upper right")
    return figure


def extraction() -> Figure:
    """Draw a burst in the data, and what the extraction makes of it."""
    sky = FilterbankSky(Sky(9.5, bursts=(Burst(ARRIVAL_S, DM, 60.0, 10),)), seed=1)
    band = Band(
        ARTS.top_freq_mhz(ARTS.min_freq_mhz) - ARTS.channel_width_mhz / 2,
        -ARTS.channel_width_mhz,
        ARTS.nchan,
        ARTS.tsamp_s,
    )
    extractor = Extractor(band, Settings(cleaning=Cleaning("perchannel")))
    todo = extractor.plan(Detection(DM, ARRIVAL_S, 10))
    # the tied-array beams of the central synthesised beam are alike at the centre
    data = np.asarray(sky.block(0, todo.start, todo.stop - todo.start))
    candidate = extractor.extract(data, todo)
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 2.9), layout="constrained")
    step = 24, 32
    whole = (
        data[: len(data) // step[1] * step[1]]
        .reshape(-1, step[1], ARTS.nchan // step[0], step[0])
        .mean((1, 3))
    )
    whole = whole - np.median(whole, axis=0)
    freqs = band_edges(band)
    extent = (todo.start * band.tsamp_s, todo.stop * band.tsamp_s, *freqs)
    axes[0].imshow(whole.T, aspect="auto", extent=extent, cmap="viridis", interpolation="nearest")
    axes[0].set(xlabel="time (s)", ylabel="frequency (MHz)", title="data")
    half_ms = candidate.tsamp_s * candidate.data_freq_time.shape[1] / 2 * 1e3
    axes[1].imshow(
        candidate.data_freq_time,
        aspect="auto",
        origin="lower",
        extent=(-half_ms, half_ms, *freqs),
        cmap="viridis",
    )
    axes[1].set(xlabel="time (ms)", title=f"dedispersed, S/N {candidate.snr:.0f}")
    dms = (candidate.dms[0], candidate.dms[-1])
    axes[2].imshow(
        candidate.data_dm_time,
        aspect="auto",
        origin="lower",
        extent=(-half_ms, half_ms, *dms),
        cmap="viridis",
    )
    axes[2].set(xlabel="time (ms)", ylabel="DM (pc cm$^{-3}$)", title="DM against time")
    for ax in axes:
        ax.title.set_fontsize(9)
    return figure


def band_edges(band: Band) -> tuple[float, float]:
    """Return the lowest and highest frequency of a band in MHz."""
    top = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
    return top - ARTS.bandwidth_mhz, top


def timing() -> Figure:
    """Draw when a burst arrives at which frequency and telescope, against what is in the memories."""
    figure, ax = plt.subplots(figsize=(8.6, 3.0), layout="constrained")
    top = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
    freqs = np.geomspace(120.0, top, 400)
    for dm, colour in ((100.0, GREY), (350.0, BLUE), (1000.0, RED)):
        ax.plot(delay_s(dm, freqs, top), freqs, color=colour, label=f"DM {dm:.0f} pc cm$^{{-3}}$")
    ax.axhspan(top - ARTS.bandwidth_mhz, top, color=BLUE, alpha=0.12, linewidth=0)
    ax.axhspan(120, 240, color=RED, alpha=0.10, linewidth=0)
    ax.axvline(ARTS.ring_buffer_s, color="black", linestyle=":")
    ax.text(ARTS.ring_buffer_s * 1.05, 420, "the ring buffer\nforgets", va="center")
    ax.text(0.0115, 1360, "Apertif", va="center", color=BLUE)
    ax.text(0.0115, 170, "LOFAR", va="center", color=RED)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(0.01, 300)
    ax.set_yticks([150, 200, 500, 1000, 1500], labels=["150", "200", "500", "1000", "1500"])
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("time after the arrival at 1.52 GHz (s)")
    ax.set_ylabel("frequency (MHz)")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.28))
    return figure


if __name__ == "__main__":
    main()
