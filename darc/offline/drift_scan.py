"""Drift scans over calibrators: the system-equivalent flux density (SEFD) of each tied-array beam."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc.config.processing import FluxModel as FluxEntry
from darc.errors import DARCError
from darc.formats.drift_name import parse_drift_name
from darc.formats.files import read_yaml_mapping, write_complete
from darc.formats.parset import check_path_component
from darc.offline import external
from darc.offline.blocks import band_of, blocks, open_filterbank
from darc.offline.plan import Account, Done, OfflineError, Step
from darc.offline.work import Work
from darc.processor_tools.beam_extractor import channels_to_mask
from darc.science.drift_scan import (
    FluxModel,
    Scan,
    band_averages,
    centres,
    fit_transit,
    polynomial_model,
)
from darc.science.rfi import clip, masked_channels

#: Lowest S/N of a calibrator that is there, and length of the times in s.
SNR_MIN = 6.0
TIME_S = 1.024
#: Shorter data are cut into so many times.
NTIME = 64
#: Interference in single samples is left out beyond so many standard deviations, in so many rounds.
_THRESHOLD, _ROUNDS = 3.25, 3
_TABLE = Path(__file__).with_name("flux_models.yaml")
_TABLE_BYTES_MAX = 2**16
_ANY_MHZ = (1e-3, 1e9)

Doubles = NDArray[np.float64]

_logger = logging.getLogger("darc.offline")


class CalibrationError(OfflineError):
    """A drift scan cannot be evaluated."""


def steps(work: Work) -> list[Step]:
    """Return the step that evaluates a drift scan; none if no calibrator drifts through this beam."""
    source = calibrator_in_beam(work)
    if source is None:
        return []
    makes = () if work.settings.calibration_tools else (result_path(work),)
    return [Step("calibrate", partial(calibrate, work, source), work.mark("calibrate"), makes)]


def calibrator_in_beam(work: Work) -> str | None:
    """Return the calibrator that drifts through this beam, by the name of the source; None: none does."""
    scan = parse_drift_name(work.beam.source)
    if scan is None or work.beam.beam not in scan.beams:
        return None
    if scan.calibrator not in work.settings.calibrators:
        _logger.error(
            "%s is none of offline_processing.calibrators: this drift scan is not evaluated", scan.calibrator
        )
        return None
    return scan.calibrator


def calibrate(work: Work, source: str, account: Account) -> Done:
    """Measure the SEFD of all tied-array beams, or of the incoherent beam, or have a program do that.

    Args:
        work: what was observed
        source: name of the calibrator
        account: is told how far it is, and ends it

    Raises:
        DARCError: there is no flux density of the source, the program failed, or no beam could be measured
    """
    if work.settings.calibration_tools:
        return _run_tools(work, source, account)
    model = flux_model(source, work.settings.calibrators)
    scans, problems = [], []
    for number, path in enumerate(work.beam.filterbanks):
        tab = number if work.beam.ntab > 1 else None
        try:
            scan = measure(work, path, tab, model, account)
        except DARCError as error:
            problems.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        if scan.transit.snr < SNR_MIN:
            problems.append(f"{path}: {source} is not seen: S/N {scan.transit.snr:.1f}")
            continue
        scans.append(scan)
        _logger.info("%s: SEFD of the %s is %.1f Jy", source, scan.name, float(np.nanmedian(scan.sefd_jy)))
    if not scans:
        raise CalibrationError(f"no beam was measured with {source}: {'; '.join(problems)}")
    _write(work, source, scans)
    return Done(problems=problems)


def measure(work: Work, path: Path, tab: int | None, model: FluxModel, account: Account) -> Scan:
    """Measure the SEFD of one beam.

    Raises:
        DARCError: the file cannot be read or is too short, or the flux model does not hold for its band
        Interrupted: the work was ended from outside
    """
    with closing(open_filterbank(work.beam, path)) as reader:
        band = band_of(reader)
        nband = min(work.settings.nfreq_plot, band.nchan)
        mask = channels_to_mask(work.extractor, band, _logger)
        usable = ~masked_channels(mask, band.nchan, descending=band.descending)
        times, powers = [], []
        length = round(min(TIME_S, reader.nsample * band.tsamp_s / NTIME) / band.tsamp_s)
        for first, data in blocks(reader, max(1, length), account, "calibrate"):
            times.append((first + len(data) / 2) * band.tsamp_s)
            powers.append(band_averages(_mean_power(data, usable), usable, nband))
    power = np.array(powers).reshape(-1, nband) - work.settings.drift_zero_level
    freq_mhz, time_s = centres(band.freq_mhz, usable, nband), np.array(times)
    flux_density_jy = model.flux_density_jy(freq_mhz)
    transit = fit_transit(time_s, freq_mhz, power)
    return Scan(tab, time_s, freq_mhz, power, transit, flux_density_jy, *transit.sefd_jy(flux_density_jy))


def _mean_power(data: NDArray[np.generic], usable: NDArray[np.bool_]) -> Doubles:
    """Return the mean of each channel, (nchan,), in counts; without interference, if data are bytes."""
    if data.dtype != np.uint8:
        return np.asarray(data.mean(axis=0, dtype=np.float64))
    skipped = np.zeros(len(data), np.bool_)
    levels = np.ascontiguousarray(data, dtype=np.uint8)
    return clip(levels, usable, skipped, threshold=_THRESHOLD, niter=_ROUNDS).mean


def flux_model(name: str, configured: list[str] | Mapping[str, FluxEntry | float | None]) -> FluxModel:
    """Return the flux model of a calibrator: that of the configuration, else a published one.

    Raises:
        CalibrationError: there is none; names the key of the configuration
    """
    entry = configured.get(name) if isinstance(configured, Mapping) else None
    if isinstance(entry, FluxEntry):
        return polynomial_model(entry.coefficients, entry.range_mhz)
    if entry is not None:
        return polynomial_model([np.log10(entry)], _ANY_MHZ)
    table = read_yaml_mapping(_TABLE, _TABLE_BYTES_MAX, CalibrationError)
    if name not in table:
        raise CalibrationError(
            f"no flux density of {name} is known: give offline_processing.calibrators a mapping with "
            f"'{name}: {{coefficients: [...], range_mhz: [...]}}', or '{name}: ...' in Jy"
        )
    return polynomial_model(**table[name])


def result_path(work: Work) -> Path:
    """Return the path of the numbers, beside which the plots are."""
    label = check_path_component("datetimesource", work.beam.result_folder.name)
    return work.settings.calibration_dir / label / f"CB{work.beam.beam:02d}_sefd.npz"


def _run_tools(work: Work, source: str, account: Account) -> Done:
    """Have the site's program evaluate a drift scan."""
    folder = result_path(work).parent
    filterbanks = work.beam.filterbanks[0].parent
    command = [
        *work.settings.calibration_tools,
        source,
        f"{work.beam.beam:02d}",
        str(filterbanks),
        str(folder),
    ]
    external.run(command, folder, work.settings.external_timeout, account.check)
    _logger.info("%s: evaluated by %s in %s", source, command[0], folder)
    return Done()


def _write(work: Work, source: str, scans: list[Scan]) -> None:
    """Write the numbers for numpy, and the plot as PDF and PNG; the numbers last."""
    from darc.offline.drift_plot import draw_scans  # noqa: PLC0415 (matplotlib: a second)

    path = result_path(work)
    title = f"{source}   {work.beam.label}   CB{work.beam.beam:02d}"
    for suffix in (".pdf", ".png"):
        content = draw_scans(scans, title, suffix.removeprefix("."))
        write_complete(path.with_suffix(suffix), content, CalibrationError)
    # files may be of different lengths: what is not there is NaN
    ntime = max(len(scan.time_s) for scan in scans)

    def padded(array: Doubles) -> Doubles:
        return np.pad(array, ((0, ntime - len(array)), (0, 0)), constant_values=np.nan)

    numbers = BytesIO()
    np.savez(
        numbers,
        tab=np.array([-1 if scan.tab is None else scan.tab for scan in scans]),
        freq_mhz=np.stack([scan.freq_mhz for scan in scans]),
        flux_density_jy=np.stack([scan.flux_density_jy for scan in scans]),
        sefd_jy=np.stack([scan.sefd_jy for scan in scans]),
        sefd_error_jy=np.stack([scan.sefd_error_jy for scan in scans]),
        off=np.stack([scan.transit.off for scan in scans]),
        rise=np.stack([scan.transit.rise for scan in scans]),
        transit_s=np.array([scan.transit.time_s for scan in scans]),
        fwhm_s=np.array([scan.transit.fwhm_s for scan in scans]),
        snr=np.array([scan.transit.snr for scan in scans]),
        time_s=np.stack([padded(scan.time_s[:, np.newaxis])[:, 0] for scan in scans]),
        power=np.stack([padded(scan.power) for scan in scans]),
    )
    write_complete(path, numbers.getvalue(), CalibrationError)
