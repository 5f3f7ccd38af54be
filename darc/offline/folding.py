"""A test pulsar folded: shows within minutes whether the telescope and the recording work."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.time import Time

from darc.config.processing import TestPulsar
from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.files import read_yaml_mapping, write_complete
from darc.offline import external
from darc.offline.blocks import band_of, blocks, open_filterbank
from darc.offline.plan import Account, Done, OfflineError, Step
from darc.offline.work import Work
from darc.processor_tools.beam_extractor import channels_to_mask, extraction_settings
from darc.processor_tools.filterbank_reader import FilterbankReader
from darc.science.extraction import to_levels
from darc.science.folding import Fold, Folder, Rotation
from darc.science.pointing import velocity_towards
from darc.science.rfi import Cleaning, clean, masked_channels

#: Lowest S/N of a pulsar that is there.
SNR_MIN = 7.0
#: Shortest and longest block in s, and periods in it: the mean of a channel is taken from a block.
_BLOCK_S, _LONGEST_BLOCK_S, _PERIODS_PER_BLOCK = 4.0, 16.0, 4
#: A pulse that moves by more bins is folded once more with the period that was found.
_SHIFT_MAX_BINS = 2.0
_TABLE = Path(__file__).with_name("test_pulsars.yaml")
_TABLE_BYTES_MAX = 2**16

_logger = logging.getLogger("darc.offline")


class FoldError(OfflineError):
    """A pulsar cannot be folded."""


def steps(work: Work) -> list[Step]:
    """Return the step that folds a pulsar; none if no test pulsar is in this beam."""
    try:
        name = pulsar_in_beam(work)
    except DARCError as error:
        unknown = Done(problems=[f"whether a test pulsar is in the beam is not known: {error}"])
        return [Step("fold", lambda account: unknown, work.mark("fold"))]
    if name is None:
        return []
    return [Step("fold", partial(fold, work, name), work.mark("fold"))]


def pulsar_in_beam(work: Work) -> str | None:
    """Return the name of the test pulsar that this beam is pointed at; None if it is at none.

    Raises:
        ParsetError: the observation's parset does not say, or there is none
    """
    task = parsets.Task.from_parset(parsets.observation_parset(work.beam.obs_config))
    pulsars = map(_own_name, work.settings.test_pulsars)
    here = task.source_beam == work.beam.beam and _own_name(task.source_name) in pulsars
    return task.source_name if here else None


def fold(work: Work, source: str, account: Account) -> Done:
    """Fold a pulsar: with PRESTO's prepfold if it is installed, else here, as well if it fails.

    Args:
        work: what was observed; TAB 0 is used, or the incoherent beam
        source: name of the pulsar
        account: is told how far it is, and ends it

    Raises:
        DARCError: there are no numbers of this pulsar, or the data cannot be read or are too short
    """
    command, problems = work.settings.prepfold, []
    if command and shutil.which(command[0]):
        try:
            _run_prepfold(work, source, account)
        except external.ExternalError as error:
            problems.append(f"{error}; {source} is folded without it")
            _logger.error("%s", problems[-1])
        else:
            return Done()
    parsets.check_path_component("source", source)
    pulsar = find_pulsar(source, work.settings.test_pulsars)
    with closing(open_filterbank(work.beam, work.beam.filterbanks[0])) as reader:
        found = fold_file(work, reader, pulsar, account)
        time_s = reader.nsample * reader.header.tsamp_s
        freqs_mhz = reader.freqs_mhz
    _logger.info(
        "%s: period %.9f s, S/N %.1f, %d pulses", source, found.period_s, found.peak.snr, found.npulse
    )
    _write(work, source, pulsar, found, time_s, (float(freqs_mhz[0]), float(freqs_mhz[-1])))
    if found.peak.snr < SNR_MIN:
        problems.append(
            f"{source} is not seen: S/N {found.peak.snr:.1f} after {found.npulse} pulses, see "
            f"{plot_path(work, source)}"
        )
    return Done(problems=problems)


def fold_file(work: Work, reader: FilterbankReader, pulsar: TestPulsar, account: Account) -> Fold:
    """Fold a file with the numbers of a pulsar.

    Raises:
        FoldingError: there are too few data
        Interrupted: the work was ended from outside
    """
    band, nsample, section = band_of(reader), reader.nsample, work.extractor
    start = Time(reader.header.tstart_mjd, format="mjd", scale="utc")
    mask = channels_to_mask(section, band, _logger)
    masked = masked_channels(mask, band.nchan, descending=band.descending)
    cleaning = _harmless(extraction_settings(section).cleaning)
    block_s = min(max(_BLOCK_S, _PERIODS_PER_BLOCK * pulsar.period_s), _LONGEST_BLOCK_S)

    def folded(rotation: Rotation) -> Fold:
        folder = Folder(band, rotation, pulsar.dm, nsample, work.settings.nfreq_plot)
        for first, data in blocks(reader, round(block_s / band.tsamp_s), account, "fold"):
            levels, _ = to_levels(data)
            folder.add(levels, clean(levels, masked, cleaning), first)
        return folder.fold()

    found = folded(expected_rotation(pulsar, start, nsample * band.tsamp_s, work.beam.instrument))
    again = found.peak.snr >= SNR_MIN and abs(found.shift_bins) > _SHIFT_MAX_BINS
    return folded(found.rotation) if again else found


def expected_rotation(pulsar: TestPulsar, start: Time, duration_s: float, instrument: Instrument) -> Rotation:
    """Return the rotation that the telescope sees, with its motion if the position of the pulsar is known.

    Args:
        pulsar: its numbers
        start: of the data
        duration_s: length of the data
        instrument: where the telescope is
    """
    period_s = pulsar.period_s
    if pulsar.epoch_mjd is not None:
        period_s += pulsar.period_derivative * (float(start.tdb.mjd) - pulsar.epoch_mjd) * 86400
    if pulsar.position_deg is None:
        return Rotation(1 / period_s)
    position = SkyCoord(*pulsar.position_deg, unit=u.deg)
    ends = (start, start + max(duration_s, 1.0) * u.s)
    first, last = (velocity_towards(position, time, instrument) for time in ends)
    return Rotation((1 + first) / period_s, (last - first) / period_s / max(duration_s, 1.0))


def find_pulsar(name: str, configured: list[str] | Mapping[str, TestPulsar | None]) -> TestPulsar:
    """Return the numbers of a pulsar: those of the configuration, else those that DARC has.

    Raises:
        FoldError: there are none; names the key of the configuration
    """
    found = _configured(name, configured) or known_pulsars().get(_own_name(name))
    if found is None:
        raise FoldError(
            f"no period and DM of {name} are known: give offline_processing.test_pulsars a mapping with "
            f"'{name}: {{period_s: ..., dm: ...}}'"
        )
    return found


def _configured(name: str, configured: list[str] | Mapping[str, TestPulsar | None]) -> TestPulsar | None:
    """Return the numbers of a pulsar that the configuration has, under any of its names."""
    if not isinstance(configured, Mapping):
        return None
    return {_own_name(key): value for key, value in configured.items()}.get(_own_name(name))


@cache
def _table() -> dict[str, Any]:
    return read_yaml_mapping(_TABLE, _TABLE_BYTES_MAX, FoldError)


def known_pulsars() -> dict[str, TestPulsar]:
    """Return the pulsars that DARC knows by name."""
    return {
        name: TestPulsar(**{key: value for key, value in entry.items() if key != "also"})
        for name, entry in _table().items()
    }


def _own_name(name: str) -> str:
    """Return the name under which DARC knows a pulsar, which may have others."""
    return next((known for known, entry in _table().items() if name in entry["also"]), name)


def _harmless(cleaning: Cleaning) -> Cleaning:
    """Do without what looks at the sum of all channels: it would remove the pulses of a pulsar of low DM."""
    others = {"time": "perchannel", "both": "frequency"}
    kind = cleaning.clean_type
    return replace(cleaning, clean_type=others[kind]) if kind in others else cleaning  # type: ignore[arg-type]


def plot_path(work: Work, source: str) -> Path:
    """Return the path of the plot of a folded pulsar; that of prepfold has another name beside it."""
    return work.beam.result_folder / f"{_stem(work, source)}.pdf"


def _stem(work: Work, source: str) -> str:
    return f"CB{work.beam.beam:02d}_{source}"


def _run_prepfold(work: Work, source: str, account: Account) -> None:
    """Fold with PRESTO: it knows pulsars by name, but for those that the site has numbers of.

    Raises:
        ExternalError: it failed, took too long, or left no fold
        FilterbankError: the data cannot be read
    """
    settings, folder = work.settings, work.beam.result_folder
    own = _configured(source, settings.test_pulsars)
    which = ["-psr", source] if own is None else _rotation_for_prepfold(work, own)
    name = _stem(work, source)
    command = [*settings.prepfold, *which, "-o", name, str(work.beam.filterbanks[0])]
    for stale in folder.glob(f"{name}*.pfd*"):
        stale.unlink(missing_ok=True)
    said = external.run(command, folder, settings.external_timeout, account.check)
    plots = sorted(folder.glob(f"{name}*.pfd.ps")) + sorted(folder.glob(f"{name}*.pfd"))
    if not plots:
        raise external.ExternalError(f"{command[0]} left no file {name}*.pfd: {said.strip()[-400:]}")
    _logger.info("%s folded by %s: %s", source, command[0], plots[0])


def _rotation_for_prepfold(work: Work, pulsar: TestPulsar) -> list[str]:
    """Return the arguments that tell prepfold how the telescope sees a pulsar rotate in these data."""
    with closing(open_filterbank(work.beam, work.beam.filterbanks[0])) as reader:
        start = Time(reader.header.tstart_mjd, format="mjd", scale="utc")
        duration_s = reader.nsample * reader.header.tsamp_s
    seen = expected_rotation(pulsar, start, duration_s, work.beam.instrument)
    frequency = ["-f", f"{seen.frequency_hz!r}", "-fd", f"{seen.derivative_hz_s!r}"]
    # without -topo it takes them for those at the barycentre
    return ["-topo", *frequency, "-dm", f"{pulsar.dm!r}"]


def _write(
    work: Work, source: str, pulsar: TestPulsar, found: Fold, time_s: float, ends_mhz: tuple[float, float]
) -> None:
    """Write the plot as PDF and PNG, and the numbers for numpy."""
    from darc.offline.fold_plot import draw_fold  # noqa: PLC0415 (matplotlib: a second)

    path = plot_path(work, source)
    title = f"{source}   {work.beam.label}   CB{work.beam.beam:02d}"
    for suffix in (".pdf", ".png"):
        content = draw_fold(found, title, pulsar.dm, time_s, ends_mhz, suffix.removeprefix("."))
        write_complete(path.with_suffix(suffix), content, FoldError)
    numbers = BytesIO()
    np.savez(
        numbers,
        profile=found.profile,
        time_phase=found.time_phase,
        freq_phase=found.freq_phase,
        period_s=found.period_s,
        dm=pulsar.dm,
        snr=found.peak.snr,
        npulse=found.npulse,
    )
    write_complete(path.with_suffix(".npz"), numbers.getvalue(), FoldError)
