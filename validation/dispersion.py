"""Dispersion: delays against the formula in exact arithmetic, dedispersion against a direct sum."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
from numpy.typing import NDArray

from darc.definitions import ARTS
from darc.science.dedispersion import Band, Windows
from darc.science.dispersion import delay_s
from darc.science.extraction import Detection, Settings, plan
from darc.science.rfi import Cleaning, clean
from validation.result import Check, Section

TOP_MHZ = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
#: Both orders of the band.
BANDS = (
    Band(TOP_MHZ - ARTS.channel_width_mhz / 2, -ARTS.channel_width_mhz, ARTS.nchan, ARTS.tsamp_s),
    Band(ARTS.min_freq_mhz, ARTS.channel_width_mhz, ARTS.nchan, ARTS.tsamp_s),
)
DMS = (0.0, 0.1, 1.0, 12.3, 56.77, 348.8, 565.1, 1000.0, 2596.4, 3777.7, 5000.0)
#: Sample of the pulse at the top of the band, level of all samples, height of the pulse; bins of a plane.
PULSE, LEVEL, HEIGHT, NTIME = 4000, 96, 100, 64
PEAK = HEIGHT * ARTS.nchan


def measure(short: bool) -> Section:
    """Compare delays, and dedispersed pulses."""
    checks = [
        Check(
            "delay at LOFAR's 200 MHz and over the band of ARTS, DM 0-5000",
            "k DM (f^-2 - f_ref^-2) with 50 decimal digits, k = 4148.808",
            delay_error_us(),
            1.0,
            "us",
        ),
    ]
    for band, order in zip(BANDS, ("highest", "lowest"), strict=True):
        dms = DMS[::4] if short else DMS
        errors = np.array([dedispersion_errors(band, dm) for dm in dms])
        what = f"noise-free pulse, DM {dms[0]:g}-{dms[-1]:g}, {order} frequency first"
        reference = "sum of each channel's sample at its delay, written out"
        checks += [
            Check(
                f"{what}: series at the DM of the pulse", reference, errors[:, 0].max(), 1e-4, "of the peak"
            ),
            Check(f"{what}: DM-time plane, 64 DMs", reference, errors[:, 1].max(), 1e-4, "of the peak"),
            Check(f"{what}: place of the peak", "sample of the pulse", errors[:, 2].max(), 0.0, "samples"),
        ]
    text = (
        "Delays refer to the top of the band. A pulse of one sample is put into each channel at its delay, "
        "in whole samples, and dedispersed. Where the smearing in a channel allows it, data are added up "
        "before they are dedispersed; the direct sum does the same. Each channel's median is estimated from "
        "its data, which is why sums differ in the sixth digit."
    )
    return Section("Dispersion", text, checks)


def delay_error_us() -> float:
    """Return the largest error of a delay."""
    getcontext().prec = 50
    k, worst = Decimal("4148.808"), Decimal(0)
    for dm in (*DMS, 3.14159):
        for freq in (110.0, 200.0, ARTS.min_freq_mhz, 1370.0, TOP_MHZ):
            for ref in (ARTS.min_freq_mhz, 1370.0, TOP_MHZ, np.inf):
                inverse = Decimal(0) if np.isinf(ref) else 1 / Decimal(ref) ** 2
                exact = k * Decimal(dm) * (1 / Decimal(freq) ** 2 - inverse)
                worst = max(worst, abs(exact - Decimal(float(delay_s(dm, freq, ref)))))
    return float(worst) * 1e6


def dedispersion_errors(band: Band, dm: float) -> tuple[float, float, float]:
    """Return the largest differences of series and DM-time plane, and that of the arrival time in samples."""
    todo = plan(Detection(dm, PULSE * band.tsamp_s, 1), band, Settings())
    down = todo.predownsampling
    data = np.full((todo.stop - todo.start, band.nchan), LEVEL, np.uint8)
    place = (PULSE - todo.start) // down
    rows = (place + delays_samples(band, dm, down * band.tsamp_s)) * down
    data[rows, np.arange(band.nchan)] += HEIGHT
    windows = Windows(
        data,
        clean(data, np.zeros(band.nchan, bool), Cleaning("none")),
        np.ones(band.nchan, np.float32),
        band.delays(todo.dms, down * band.tsamp_s),
        main=todo.main,
        downsampling=down,
        scratch=np.empty(0, np.float32),
    )
    series, first, ntime = windows.series(), place - NTIME // 2, NTIME
    summed = (
        data[: len(data) // down * down].reshape(-1, down, band.nchan).sum(axis=1, dtype=np.int64)
        - LEVEL * down
    )
    plane = np.stack([direct_sum(summed, band, each, down, first, ntime) for each in todo.dms])
    whole = direct_sum(summed, band, dm, down, 0, len(series))
    found = windows.dm_time(first, 1, ntime)
    arrival = (todo.start + series.argmax() * down) - (todo.start + place * down)
    return np.abs(series - whole).max() / PEAK, np.abs(found - plane).max() / PEAK, float(abs(arrival))


def delays_samples(band: Band, dm: float, sample_s: float) -> NDArray[np.int64]:
    """Return the delays of all channels, from the formula and channel by channel."""
    freqs = [band.fch1_mhz + channel * band.foff_mhz for channel in range(band.nchan)]
    return np.array([round(4148.808 * dm * (f**-2 - TOP_MHZ**-2) / sample_s) for f in freqs])


def direct_sum(
    summed: NDArray[np.int_], band: Band, dm: float, down: int, first: int, ntime: int
) -> NDArray[np.int_]:
    """Return the sum of all channels, each from its delay on; what is not there counts as nothing."""
    place = first + delays_samples(band, dm, down * band.tsamp_s)[:, None] + np.arange(ntime)
    there = (place >= 0) & (place < len(summed))
    values = summed[np.where(there, place, 0), np.arange(band.nchan)[:, None]]
    return np.asarray(np.where(there, values, 0).sum(axis=0))
