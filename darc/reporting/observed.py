"""What the configuration of an observation and its parset say, for the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from astropy.time import Time

from darc.beam_pointing import beam_pointing
from darc.config import Config
from darc.config.sections import AMBERClustering
from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.overview import BeamCoordinates, ObservationInfo
from darc.formats.parset_types import finite_number
from darc.formats.utc import EPOCH, unix_as_astropy
from darc.science.galaxy import galactic_dm
from darc.science.pointing import galactic

_logger = logging.getLogger("darc.reporting")

Value = TypeVar("Value")


def start_and_duration(obs_config: Mapping[str, Any], instrument: Instrument) -> tuple[float, float]:
    """Return the start of the data in unix seconds, and their length in s.

    Raises:
        ParsetError: the configuration of the observation does not say
    """
    start_unix = parsets.start_time_unix(obs_config, instrument)
    try:
        return start_unix, finite_number(obs_config["duration"])
    except (KeyError, TypeError, ValueError):
        raise parsets.ParsetError(
            f"duration of the observation has to be a number, not {obs_config.get('duration')!r:.100}"
        ) from None


def observation_info(
    obs_config: Mapping[str, Any], coordinates: Mapping[int, BeamCoordinates], config: Config
) -> ObservationInfo:
    """Return what was observed; what the parset does not tell is empty, and logged.

    Args:
        obs_config: observation configuration
        coordinates: where the beams looked
        config: configuration of this node

    Raises:
        ParsetError: the task ID, the start, the duration or the frequency is not known
    """
    start_unix, duration_s = start_and_duration(obs_config, config.instrument)
    parset = _parset(obs_config)
    task = parsets.Task.from_parset(parset)
    source_beam = _known(lambda: task.source_beam, None)
    towards = coordinates.get(-1 if source_beam is None else source_beam) or next(
        iter(coordinates.values()), None
    )
    return ObservationInfo(
        task_id=parsets.task_id(obs_config),
        datetimesource=str(obs_config.get("datetimesource", "")),
        # not checked as part of a path: it is shown, and nothing else
        source=str(parset.get("task.source.name", obs_config.get("source", ""))),
        start=EPOCH + timedelta(seconds=start_unix),
        duration_s=duration_s,
        telescopes=tuple(_known(lambda: task.telescopes, [])),
        frame=_known(lambda: task.reference_frame, ""),
        dm_galactic=_known(lambda: _galactic_dm(towards, config.amber_clustering), None),
        centre_mhz=parsets.freq_mhz(obs_config, config.instrument),
        bandwidth_mhz=config.instrument.bandwidth_mhz,
    )


def beam_coordinates(
    obs_config: Mapping[str, Any], beams: Iterable[int], instrument: Instrument
) -> dict[int, BeamCoordinates]:
    """Return where beams looked in the middle of the observation, as far as that is known.

    Args:
        obs_config: observation configuration
        beams: compound beams
        instrument: where

    Raises:
        ParsetError: the start or the duration is not known
    """
    start_unix, duration_s = start_and_duration(obs_config, instrument)
    middle = unix_as_astropy(int(start_unix), start_unix % 1 + duration_s / 2)
    parset = _parset(obs_config)
    if not parset:
        return {}
    found = {cb: _known(partial(_looked, parset, cb, middle, instrument), None) for cb in beams}
    return {cb: coordinates for cb, coordinates in found.items() if coordinates is not None}


def _looked(parset: Mapping[str, Any], cb: int, time: Time, instrument: Instrument) -> BeamCoordinates:
    coord = beam_pointing(parset, cb, time, instrument).icrs
    gl_deg, gb_deg = galactic(coord)
    return BeamCoordinates(
        cb=cb,
        ra_deg=float(coord.ra.deg),
        dec_deg=float(coord.dec.deg),
        gl_deg=float(gl_deg),
        gb_deg=float(gb_deg),
    )


def _galactic_dm(towards: BeamCoordinates | None, settings: AMBERClustering) -> float | None:
    return galactic_dm(
        settings.galaxy_model,
        settings.galactic_dm_max,
        lambda: None if towards is None else (towards.gl_deg, towards.gb_deg),
    )


def _parset(obs_config: Mapping[str, Any]) -> dict[str, Any]:
    return _known(lambda: parsets.observation_parset(obs_config), {})


def _known(value: Callable[[], Value], otherwise: Value) -> Value:
    """Return a value, or another one if that is not known, which is logged."""
    try:
        return value()
    except DARCError as error:
        _logger.warning("not in the report: %s", error)
        return otherwise
