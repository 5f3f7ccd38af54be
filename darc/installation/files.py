"""Checks of what the services of this node work with: models, tables, lists, keys and programs."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import darc
from darc.config import Config
from darc.errors import DARCError
from darc.installation.findings import Finding, ok, tried, warning, wrong
from darc.network.key_file import read_key
from darc.network.mail import read_login
from darc.network.master_queues import server_key
from darc.network.sockets import is_loopback

if TYPE_CHECKING:
    from darc.processor_tools.networks import Network

#: Folder of the networks that come with DARC.
PACKAGED_MODELS = Path(darc.__file__).parent / "models"
#: Age in days from which a table of the Earth's orientation no longer predicts.
IERS_AGE_MAX_DAYS = 365.0


def keys(config: Config) -> Iterator[Finding]:
    """Check that keys are there and that nobody else can read them."""
    master = config.darc_master
    if not is_loopback(master.address):
        yield _key(config, "command port", master.key_file, partial(read_key, purpose="the command port"))
    if config.services and config.nodes.master is not None:
        for name in ("lofar_trigger", "voevent_generator"):
            settings = config.lofar_trigger if name == "lofar_trigger" else config.voevent_generator
            path = None if settings.server_auth is not None else settings.server_auth_file
            yield _key(config, name, path, lambda _, its=settings, name=name: server_key(its, name))  # type: ignore[misc]
    login = config.mail.login_file
    if login is not None and config.role == "master":
        yield tried("key: mail", lambda: f"login of {read_login(login)[0]} in {login}")


def _key(config: Config, what: str, path: Path | None, read: Callable[[Any], bytes]) -> Finding:
    if config.role == "master" and path is not None and not path.exists():
        return ok(f"key: {what}", f"{path}: made when the master starts")
    return tried(f"key: {what}", lambda: f"{len(read(path))} bytes in {path or 'the configuration'}")


def models(config: Config) -> Iterator[Finding]:
    """Check that the networks can be loaded and answer."""
    if config.role == "master":
        return
    real_time, offline = config.processor.classifier, config.offline_processing
    used = {
        "processor": (real_time.model_dir, real_time.model_freqtime, real_time.model_dmtime),
        "offline_processing": (offline.model_dir, offline.model_freqtime, offline.model_dmtime),
    }
    paths = {
        (folder or PACKAGED_MODELS) / model
        for name, (folder, *models) in used.items()
        if name in config.services
        for model in models
    }
    if not paths:
        return
    from darc.processor_tools.networks import Network  # noqa: PLC0415 (slow)

    gpu = real_time.gpu if "processor" in config.services else None
    for path in sorted(paths):
        yield tried("model", lambda path=path: f"{path}: on the {_device(Network(path, gpu=gpu))}")  # type: ignore[misc]
    if gpu is not None and not any(Network(path, gpu=gpu).on_gpu for path in paths if path.exists()):
        yield warning("GPU", f"ONNX Runtime finds no GPU {gpu}: install onnxruntime-gpu, or set gpu to null")


def _device(network: Network) -> str:
    return "GPU" if network.on_gpu else "CPU"


def galaxy(config: Config) -> Iterator[Finding]:
    """Check the model of the Galaxy that limits the DM of what is no pulsar."""
    settings = config.amber_clustering
    if config.role != "worker":
        return
    if settings.galaxy_model == "none":
        limit = settings.galactic_dm_max
        said = "no limit by direction" if limit is None else f"{limit:g} pc/cm3 in every direction"
        yield warning("Galactic DM", f"{said}: `galaxy_model: ymw16` is better")
        return
    from darc.science.galaxy import galactic_maximum_dm  # noqa: PLC0415 (slow)

    def pole() -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the package imports
            return f"YMW16: {galactic_maximum_dm(0.0, 90.0):.1f} pc/cm3 towards the pole"

    yield tried("Galactic DM", pole)


def earth(config: Config, now_unix: float) -> Iterator[Finding]:
    """Check the table of the Earth's orientation, on which pointings depend."""
    if config.role == "unknown":
        return
    from astropy.time import Time  # noqa: PLC0415 (slow)

    from darc.science.pointing import iers_table_age_days  # noqa: PLC0415

    age = iers_table_age_days(Time(now_unix, format="unix"))
    text = f"measured until {max(age, 0.0):.0f} days ago"
    if age > IERS_AGE_MAX_DAYS:
        yield warning("Earth orientation", f"{text}: pip install --upgrade astropy-iers-data")
    else:
        yield ok("Earth orientation", text)


def tables(config: Config) -> Iterator[Finding]:
    """Check the files that a site provides: sources, RFI masks, synthesised beams."""
    if "amber_clustering" in config.services:
        yield _sources(config.amber_clustering.source_file)
    if not {"processor", "offline_processing"}.intersection(config.services) or config.role == "master":
        return
    from darc.processor_tools.rfi_mask import find_mask, read_mask  # noqa: PLC0415
    from darc.processor_tools.sb_generator import SBGenerator  # noqa: PLC0415

    instrument, extractor = config.instrument, config.processor.extractor

    def mask() -> str:
        path = find_mask(extractor.rfi_mask, instrument.min_freq_mhz + instrument.bandwidth_mhz / 2)
        return f"{path}: {len(read_mask(path))} channels are left out"

    def beams(ntab: int) -> str:
        return SBGenerator.for_observation(config.sb_generator, ntab, instrument).source

    if extractor.rfi_apply_mask:
        yield tried("RFI mask", mask)
    for case, ntab in dict(config.sb_generator.numtab).items():
        yield tried(f"synthesised beams {case}", partial(beams, ntab))


def _sources(path: Path) -> Finding:
    from darc.formats.source_list import load_source_list  # noqa: PLC0415

    try:
        found = load_source_list(path)
    except DARCError as error:
        return wrong("known sources", f"{error}; put the list of known pulsars and FRBs there")
    return ok(
        "known sources",
        f"{path}: {len(found.pulsars)} pulsars, {len(found.frbs)} FRBs, {len(found.aliases)} aliases",
    )


def programs(config: Config) -> Iterator[Finding]:
    """Check the programs of others that process an observation afterwards."""
    if "offline_processing" not in config.services or config.role == "master":
        return
    settings = config.offline_processing
    for key, command, without in (
        ("prepfold", settings.prepfold, "test pulsars are folded by DARC itself"),
        ("calibration_tools", settings.calibration_tools, ""),
    ):
        subject = f"program: {key}"
        path = shutil.which(command[0]) if command else None
        if path:
            yield ok(subject, path)
        elif command and without:
            yield warning(subject, f"{command[0]} is not installed: {without}")
        elif command:
            yield wrong(
                subject,
                f"{command[0]} is not installed: install it, or set offline_processing.{key} to []",
            )
