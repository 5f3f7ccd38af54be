"""What the steps of the processing have to know of an observation of one compound beam (CB)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darc.config import Config
from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.observation_name import observation_label
from darc.science.dedispersion import Band

#: Largest difference in channels between frequencies of the data and of the observation.
_CHANNEL_TOLERANCE = 0.1
#: Largest relative difference of channel widths and sampling times.
_RELATIVE_TOLERANCE = 1e-4


class ProcessorException(DARCError):  # noqa: N818 (documented name)
    """An observation cannot be processed as asked."""


@dataclass(frozen=True)
class ObservedBeam:
    """One compound beam in one observation.

    Attributes:
        label: name of the observation
        source: name of what was observed
        beam: compound beam
        ntab: number of tied-array beams; 1: the incoherent beam is searched
        start_unix: start of the data in unix seconds
        end_unix: end of the data in unix seconds
        band: channels and sampling time, as the filterbank files should have them
        filterbanks: files of the tied-array beams, or of the incoherent beam
        work_folder: for what is made on the way
        result_folder: for the results
        instrument: telescope and search
        obs_config: the observation's configuration
    """

    label: str
    source: str
    beam: int
    ntab: int
    start_unix: float
    end_unix: float
    band: Band
    filterbanks: tuple[Path, ...]
    work_folder: Path
    result_folder: Path
    instrument: Instrument
    obs_config: dict[str, Any]

    @classmethod
    def of(
        cls,
        obs_config: dict[str, Any],
        config: Config,
        *,
        output_subdir: str | None = None,
        result_dir: Path | None = None,
    ) -> ObservedBeam:
        """Read the configuration of an observation.

        Args:
            obs_config: the observation's configuration
            config: the node's configuration
            output_subdir: folder in the observation's output; None: that of the real-time processor
            result_dir: folder for the results of all observations; None: that of the real-time processor

        Raises:
            DARCError: it lacks something, or a value is not as it has to be
        """
        instrument = config.instrument
        beam = _whole(obs_config, "beam", config.beam)
        ntab = _whole(obs_config, "ntabs", instrument.ntab)
        start_unix = parsets.start_time_unix(obs_config, instrument)
        half_mhz = (instrument.bandwidth_mhz - instrument.channel_width_mhz) / 2
        top_mhz = parsets.freq_mhz(obs_config, instrument) + half_mhz
        output = _folder(obs_config, "output_dir")
        names = [f"CB{beam:02d}_{tab:02d}.fil" for tab in range(ntab)] if ntab > 1 else [f"CB{beam:02d}.fil"]
        return cls(
            label=observation_label(obs_config),
            source=_source(obs_config),
            beam=beam,
            ntab=ntab,
            start_unix=start_unix,
            end_unix=start_unix + _number(obs_config, "duration"),
            band=Band(top_mhz, -instrument.channel_width_mhz, instrument.nchan, instrument.tsamp_s),
            filterbanks=tuple(output / "filterbank" / name for name in names),
            work_folder=output / (output_subdir or config.processor.output_subdir),
            result_folder=Path(
                result_dir or config.processor.result_dir, *_names(obs_config, "date", "datetimesource")
            ),
            instrument=instrument,
            obs_config=obs_config,
        )

    @property
    def candidate_folder(self) -> Path:
        """Folder for the files of the candidates."""
        return self.work_folder / "data"

    def differences(self, band: Band) -> list[str]:
        """Say in what the band of a file differs from the observation's, in either order of channels."""
        ours, found = self.band, []
        if band.nchan != ours.nchan:
            found.append(f"{band.nchan} channels instead of {ours.nchan}")
        for name, unit in (("channel_width_mhz", "MHz wide channels"), ("tsamp_s", "s of sampling time")):
            value, expected = getattr(band, name), getattr(ours, name)
            if abs(value - expected) > _RELATIVE_TOLERANCE * expected:
                found.append(f"{value:g} {unit} instead of {expected:g}")
        if abs(band.centre_mhz - ours.centre_mhz) > _CHANNEL_TOLERANCE * ours.channel_width_mhz:
            found.append(f"centred on {band.centre_mhz:.4f} MHz instead of {ours.centre_mhz:.4f}")
        return found


def _source(obs_config: dict[str, Any]) -> str:
    try:
        return parsets.Task.from_parset(parsets.observation_parset(obs_config)).source_name
    except DARCError:
        return ""


def _number(obs_config: dict[str, Any], key: str) -> float:
    try:
        return float(obs_config[key])
    except KeyError:
        raise ProcessorException(f"the observation's configuration has no key {key!r}") from None
    except (TypeError, ValueError):
        raise ProcessorException(
            f"{key} of the observation is {obs_config[key]!r:.100}, not a number"
        ) from None


def _whole(obs_config: dict[str, Any], key: str, default: int | None) -> int:
    number = _number({key: default} | obs_config if default is not None else obs_config, key)
    if not (number.is_integer() and 0 <= number < 1000):
        raise ProcessorException(f"{key} of the observation is {number:g}: no whole number from 0 to 999")
    return int(number)


def _folder(obs_config: dict[str, Any], key: str) -> Path:
    (text,) = _texts(obs_config, key)
    return Path(text)


def _names(obs_config: dict[str, Any], *keys: str) -> list[str]:
    return [
        parsets.check_path_component(key, text)
        for key, text in zip(keys, _texts(obs_config, *keys), strict=True)
    ]


def _texts(obs_config: dict[str, Any], *keys: str) -> list[str]:
    for key in keys:
        if not obs_config.get(key):
            raise ProcessorException(f"the observation's configuration has no key {key!r}")
    return [str(obs_config[key]) for key in keys]
