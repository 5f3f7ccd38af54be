"""Extraction of one candidate: from data around a detection to the arrays that are classified and plotted.

`plan` says which samples are needed, `Extractor.extract` turns them into a `Candidate`:

1. masked channels are left out, interference is replaced (`darc.science.rfi`), and each channel's median is
subtracted; 2. data are downsampled as far as the smearing within a channel allows, and dedispersed; 3. a
matched filter finds the pulse (`darc.science.snr`); 4. the data around it are binned in frequency and time at
its DM, and in DM and time.

Arrival times refer to the top of the band and to the middle of the pulse, in s from the first sample of the
data. They are computed from the position at which the pulse was found, so that neither a shift of the window
nor the shift that puts the pulse in the centre has to be corrected for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.science.dedispersion import Band, Windows, dm_trials
from darc.science.dispersion import smearing_s
from darc.science.rfi import Cleaning, clean, masked_channels
from darc.science.snr import Pulse, matched_filter

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: The DM range grows by this much per ms of the downsampled sampling time, and by this fraction of the DM (pc
#: cm^-3).
HALFRANGE_PER_MS = 5.0
HALFRANGE_PER_DM = 0.01
#: The window is longer on either side than what is stored by this fraction of it, and at least by so many
#: samples: the pulse is put in the centre, and AMBER's times can be off by 5 ms, since it prints six digits.
MARGIN = 1 / 8
MARGIN_SAMPLES = 128
#: Bins of data that a candidate needs at least: with fewer there is nothing to measure the noise with.
NBIN_MIN = 16
#: Most values that a candidate may need, samples times channels: as many as for DM 100,000 in 1536 channels.
NVALUE_MAX = 2**31
#: Levels per standard deviation, and the level of the median, when data that are not bytes are turned into
#: bytes.
LEVELS_PER_SIGMA = 16.0
MEDIAN_LEVEL = 96.0
#: Samples from which median and scatter are taken then, and what stands for values that are not finite.
NSAMPLE_STATISTICS = 1024
FAR = 1e30


class ExtractionError(DARCError):
    """A candidate cannot be extracted; the message says why."""


class TooFaintError(ExtractionError):
    """The data hold no pulse above the S/N limit."""


@dataclass(frozen=True)
class Settings:
    """How candidates are extracted; the names are those of the configuration.

    Attributes:
        dm_halfrange: Half the range of DMs at the best time resolution, in pc cm^-3.
        ndm: Number of DMs.
        ntime: Number of time bins.
        nfreq: Number of frequency bins.
        snr_min_local: Lowest S/N of a candidate.
        cleaning: How interference is removed.

    """

    dm_halfrange: float = 10.0
    ndm: int = 64
    ntime: int = 64
    nfreq: int = 64
    snr_min_local: float = 5.0
    cleaning: Cleaning = field(default_factory=Cleaning)


@dataclass(frozen=True)
class Detection:
    """What AMBER found.

    Attributes:
        dm: DM in pc cm^-3.
        time_s: Start of the pulse, at the top of the band, in s from the first sample of the data.
        width: Width in samples.

    """

    dm: float
    time_s: float
    width: int


@dataclass(frozen=True, eq=False)
class Plan:
    """The samples that a candidate needs, and how they are added up.

    Attributes:
        start: First sample.
        stop: Sample after the last one.
        predownsampling: Samples that are added up before dedispersion.
        downsampling: How many of these make up a bin.
        dms: DMs of the DM-time plane in pc cm^-3, ascending, (ndm,).
        main: Index of the detection's DM among them.

    """

    start: int
    stop: int
    predownsampling: int
    downsampling: int
    dms: Doubles
    main: int


@dataclass(frozen=True, eq=False)
class Candidate:
    """The data around a pulse, in the units of the input relative to the median of each channel.

    The pulse is in bin ntime // 2. What lies outside of the data, as may happen for a pulse near their start
    or end, is zero.

    Attributes:
        data_freq_time: Mean over the samples and channels of each bin, dedispersed, (nfreq, ntime), lowest
            frequency first. Masked channels count as zero.
        data_dm_time: Mean over the samples of each bin and over all channels, (ndm, ntime).
        dms: DMs of the latter in pc cm^-3, ascending, (ndm,).
        dm: The detection's DM, one of them.
        snr: S/N of the best boxcar.
        width: Its width in samples.
        downsampling: Samples per bin.
        time_s: Arrival time of the pulse: the middle of the best boxcar, at the top of the band, in s from
            the first sample of the data. The centre of bin ntime // 2, to half a sample as they were
            dedispersed.
        tsamp_s: Length of a bin in s.

    """

    data_freq_time: Floats
    data_dm_time: Floats
    dms: Doubles
    dm: float
    snr: float
    width: int
    downsampling: int
    time_s: float
    tsamp_s: float


def plan(detection: Detection, band: Band, settings: Settings, nsample: int | None = None) -> Plan:
    """Find the samples that a candidate needs.

    The window reaches from half the stored time and a margin before the pulse to as long after it, and
    further by the delay of the lowest channel at the highest DM. Where it would begin before the first sample
    or end after the last, it is shifted, and where it is longer than the data, it is cut.

    Args:
        detection: The candidate.
        band: The data's band.
        settings: Size of the arrays to make.
        nsample: Number of samples there are. None: not known, the data go on.

    Raises:
        ExtractionError: The pulse is not in the data, or these are too short for it or too many.

    """
    smearing = float(smearing_s(detection.dm, band.centre_mhz, band.channel_width_mhz))
    before = max(1, int(smearing / band.tsamp_s / 4))
    after = max(1, detection.width // before)
    factor = before * after
    halfrange = (
        settings.dm_halfrange
        + HALFRANGE_PER_MS * factor * band.tsamp_s * 1e3
        + HALFRANGE_PER_DM * detection.dm
    )
    dms = dm_trials(detection.dm, halfrange, settings.ndm)
    main = int(np.abs(dms - detection.dm).argmin())
    delays = band.delays(dms[[main, -1]], before * band.tsamp_s).max(axis=0) * before
    _check_covered(detection, band, int(delays[0]) + NBIN_MIN * factor, nsample)
    margin = max(int(MARGIN * settings.ntime * factor), MARGIN_SAMPLES)
    length = -(-(settings.ntime * factor + 2 * margin) // before) * before
    start = max(0, round(detection.time_s / band.tsamp_s + (detection.width - length) / 2))
    stop = start + length + int(delays[1])
    if nsample is not None and stop > nsample:
        start, stop = max(0, start - (stop - nsample)), nsample
    _check_memory(detection, band, stop - start)
    return Plan(start, stop, before, after, dms, main)


def _check_covered(detection: Detection, band: Band, needed: int, nsample: int | None) -> None:
    """Refuse a detection that the data cannot hold."""
    if not (detection.time_s >= 0 and detection.dm >= 0 and detection.width >= 1):
        raise ExtractionError(f"arrival time and DM have to be at least 0 and the width 1, not {detection}")
    if nsample is None:
        return
    if detection.time_s >= nsample * band.tsamp_s:
        raise ExtractionError(
            f"the pulse arrives at {detection.time_s:.4f} s, after the end of the data "
            f"at {nsample * band.tsamp_s:.4f} s"
        )
    if nsample < needed:
        raise ExtractionError(
            f"a pulse of DM {detection.dm:.2f} and {detection.width} samples needs "
            f"{needed * band.tsamp_s:.4f} s of data, but there are {nsample * band.tsamp_s:.4f} s"
        )


def _check_memory(detection: Detection, band: Band, needed: int) -> None:
    """Refuse a detection, such as that of a damaged row, whose data would take all memory of the node."""
    if needed * band.nchan > NVALUE_MAX:
        raise ExtractionError(
            f"a pulse of DM {detection.dm:.2f} and {detection.width} samples needs "
            f"{needed * band.tsamp_s:.4f} s of data: too much for the memory"
        )


class Extractor:
    """Extracts candidates of one beam. From one to the next it keeps the memory it works in, nothing else.

    Args:
        band: The data's band.
        settings: What is to be extracted.
        mask: Channels to leave out, counted from the lowest frequency.

    Raises:
        MaskError: The mask lists a channel that does not exist.
        ExtractionError: There are fewer channels than frequency bins, or none that is not masked.

    """

    def __init__(self, band: Band, settings: Settings, mask: Iterable[int] = ()) -> None:
        self._band, self._settings = band, settings
        self._masked = masked_channels(mask, band.nchan, descending=band.descending)
        if self._masked.all():
            raise ExtractionError(f"the RFI mask lists all {band.nchan} channels: nothing is left to look at")
        if settings.nfreq > band.nchan:
            raise ExtractionError(
                f"nfreq = {settings.nfreq} is more than the {band.nchan} channels of the data: set it lower"
            )
        from_lowest = np.arange(band.nchan)[:: -1 if band.descending else 1]
        self._freq_bin = from_lowest * settings.nfreq // band.nchan
        self._scratch: Floats = np.empty(0, dtype=np.float32)

    def plan(self, detection: Detection, nsample: int | None = None) -> Plan:
        """Find the samples that a candidate needs; see the function `plan`."""
        return plan(detection, self._band, self._settings, nsample)

    def extract(self, data: NDArray[np.generic], todo: Plan) -> Candidate:
        """Extract a candidate.

        Args:
            data: Samples todo.start to todo.stop, all channels in the order of the band, (nsample, nchan).
                Bytes are used as they are; other types are turned into bytes (`to_levels`), which takes
                longer.
            todo: What `plan` returned.

        Raises:
            TooFaintError: The S/N is below `snr_min_local`.
            ExtractionError: The data have another shape than planned, or interference left nothing of them.

        """
        if data.shape != (todo.stop - todo.start, self._band.nchan):
            raise ExtractionError(
                f"{todo.stop - todo.start} samples of {self._band.nchan} channels are needed, "
                f"but the data have shape {data.shape}"
            )
        windows = self._dedisperse(data, todo)
        pulse = matched_filter(windows.series(), todo.downsampling)
        if pulse.snr < self._settings.snr_min_local:
            raise TooFaintError(
                f"S/N {pulse.snr:.2f} is below snr_min_local, {self._settings.snr_min_local:.2f}"
            )
        return self._candidate(windows, pulse, todo)

    def _dedisperse(self, data: NDArray[np.generic], todo: Plan) -> Windows:
        levels, scale = to_levels(data)
        verdict = clean(levels, self._masked, self._settings.cleaning)
        if not verdict.usable.any():
            raise ExtractionError("no channel is left after the removal of interference")
        windows = Windows(
            levels,
            verdict,
            scale,
            self._band.delays(todo.dms, todo.predownsampling * self._band.tsamp_s),
            main=todo.main,
            downsampling=todo.predownsampling,
            scratch=self._scratch,
        )
        self._scratch = windows.sums.reshape(-1) if windows.sums.size > self._scratch.size else self._scratch
        return windows

    def _candidate(self, windows: Windows, pulse: Pulse, todo: Plan) -> Candidate:
        """Bin the data such that the middle of the pulse is in the middle of bin ntime // 2."""
        ntime, step = self._settings.ntime, todo.downsampling
        centre = pulse.start + (pulse.width - step) // 2
        start = centre - ntime // 2 * step
        factor = step * todo.predownsampling
        nchan = np.bincount(self._freq_bin)[:, np.newaxis]
        freq_time = windows.freq_time(self._freq_bin, start, step, ntime) / (factor * nchan)
        dm_time = windows.dm_time(start, step, ntime) / (factor * self._band.nchan)
        middle = todo.start + (pulse.start + pulse.width / 2) * todo.predownsampling
        return Candidate(
            data_freq_time=freq_time.astype(np.float32),
            data_dm_time=dm_time.astype(np.float32),
            dms=todo.dms,
            dm=float(todo.dms[todo.main]),
            snr=pulse.snr,
            width=pulse.width * todo.predownsampling,
            downsampling=factor,
            time_s=middle * self._band.tsamp_s,
            tsamp_s=factor * self._band.tsamp_s,
        )


def to_levels(data: NDArray[np.generic]) -> tuple[NDArray[np.uint8], Floats]:
    """Turn data of any type into bytes, and say by which factor each channel has to be multiplied afterwards.

    Bytes stay as they are. Anything else is rounded to sixteenths of the standard deviation of its channel
    (from the median absolute deviation of about a thousand samples), which adds 0.03 % to the variance; from
    6 below to 10 standard deviations above the median the range is complete, and what is beyond or not
    finite, at its end.

    Args:
        data: Shape (nsample, nchan).

    Returns:
        Bytes, (nsample, nchan), C-contiguous, and factors, (nchan,).

    """
    nchan = data.shape[1]
    if data.dtype == np.uint8:
        return np.ascontiguousarray(data, dtype=np.uint8), np.ones(nchan, dtype=np.float32)
    values = np.nan_to_num(data.astype(np.float32), nan=FAR, posinf=FAR, neginf=-FAR)
    some = values[:: -(-len(values) // NSAMPLE_STATISTICS)]
    median = np.median(some, axis=0)
    sigma = 1.4826 * np.median(np.abs(some - median), axis=0)
    spread = np.where(sigma > 0, sigma, np.ptp(some, axis=0))
    step = np.where(spread > 0, spread, 1.0) / np.float32(LEVELS_PER_SIGMA)
    values -= median
    values /= step
    values += MEDIAN_LEVEL
    return np.rint(values, out=values).clip(0, 255).astype(np.uint8), step.astype(np.float32)


def warm_up() -> None:
    """Compile the kernels, or load them from the cache, so that the first candidate does not have to wait.

    Compiling takes 5 to 10 s, loading less than 1 s; see `darc.science._kernels` on where the cache is.
    """
    band = Band(1519.5, -4.0, 76, 1e-3)
    settings = Settings(ndm=2, ntime=16, nfreq=2, snr_min_local=0.0, cleaning=Cleaning("both"))
    extractor = Extractor(band, settings)
    todo = extractor.plan(Detection(1.0, 0.0, 1))
    data = np.arange((todo.stop - todo.start) * band.nchan, dtype=np.uint32) * np.uint32(2654435761) >> 24
    noise = data.astype(np.uint8).reshape(-1, band.nchan)
    extractor.extract(noise, todo)
    # data mapped from a file cannot be written to, which is another type
    noise.flags.writeable = False
    extractor.extract(noise, todo)
