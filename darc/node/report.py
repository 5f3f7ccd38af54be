"""What a node tells of itself: the answers to the commands `details` and `log`.

Nothing here asks a service: it has to be answered at once, also while all of them are busy.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from darc import __version__, metrics_store
from darc.config import SERVICES, Config
from darc.errors import DARCError
from darc.formats.node_details import Disk, LastTrigger, NodeDetails, ObservationDetails
from darc.log_rotation import old_log
from darc.node.observations import Observation
from darc.node.supervisor import Supervisor
from darc.records.kept_switch import state, word

#: Largest part of a log file that is read for its last lines, in bytes.
MAX_LOG_BYTES = 1 << 20

#: Metric with the time of the last trigger of a kind.
_LAST_TRIGGER = re.compile(
    r'darc_trigger_last_time_seconds\{kind="(?P<kind>\w+)",outcome="(?P<outcome>\w+)"\}'
)

#: Metric with what a service sends, and the words for its values.
_SENDING = re.compile(r'darc_events_sending\{service="(?P<service>\w+)"\}')
_SENDING_WORDS = {0: word(False), 1: state(True, test=True), 2: state(True, test=False)}


def node_details(
    config: Config,
    supervisor: Supervisor,
    observations: Sequence[Observation],
    up_since: float,
    now: float,
) -> NodeDetails:
    """Return what `details` tells.

    Args:
        config: configuration of the node
        supervisor: keeps its services
        observations: those in its book
        up_since: when the master started, unix s
        now: unix s
    """
    figures = _figures(config)
    return NodeDetails(
        node=config.node.name if config.node else os.uname().nodename,
        role=config.role,
        beam=config.beam,
        version=__version__,
        time=now,
        up_since=up_since,
        services={name: supervisor.details(name) for name in supervisor.handles},
        observations=tuple(map(_observation, observations)),
        delay_s=figures.get("darc_seconds_behind"),
        last_triggers=last_triggers(figures),
        sending=sending(figures),
        disks=disks(_result_folders(config)),
        figures=figures,
    )


def _observation(observation: Observation) -> ObservationDetails:
    label = str(observation.obs_config.get("datetimesource", ""))
    return ObservationDetails(
        task_id=observation.task_id,
        datetimesource=label,
        source=str(observation.obs_config.get("source", label.partition(".")[2])),
        state=observation.state,
        start=observation.start_unix,
        end=observation.end_unix,
    )


def _figures(config: Config) -> dict[str, float]:
    from darc.metrics import reading  # noqa: PLC0415 (the master starts sooner, and may never be asked)

    try:
        return reading(metrics_store.folder_in(config.darc_master.state_dir))
    except (OSError, ValueError, RuntimeError) as error:  # damaged; all the rest is told still
        logging.getLogger("darc.master").warning("the figures of this node cannot be read: %s", error)
        return {}


def last_triggers(figures: Mapping[str, float]) -> dict[str, LastTrigger]:
    """Return the last trigger of each kind, as the metrics have it."""
    found: dict[str, LastTrigger] = {}
    for name, time in figures.items():
        match = _LAST_TRIGGER.fullmatch(name)
        if match and time > 0 and (match["kind"] not in found or time > found[match["kind"]].time):
            found[match["kind"]] = LastTrigger(time, match["outcome"])
    return found


def sending(figures: Mapping[str, float]) -> dict[str, str]:
    """Return which services send events, and what: in words, by service, as the metrics have it."""
    found = ((_SENDING.fullmatch(name), value) for name, value in figures.items())
    return {match["service"]: _SENDING_WORDS[int(value)] for match, value in found if match}


# --- disks -------------------------------------------------------------------------------------------------


def _result_folders(config: Config) -> Iterable[tuple[str, Path]]:
    """Yield what is written on this node and where."""
    folders = {
        "processor": ("results", config.processor.result_dir),
        "offline_processing": ("offline results", config.offline_processing.result_dir),
        "voevent_generator": ("VOEvents", config.voevent_generator.voevent_dir),
        "processor_master": ("pages", config.processor_master.webdir),
    }
    yield from (folder for service, folder in folders.items() if service in config.services)
    yield "state", config.darc_master.state_dir


def disks(folders: Iterable[tuple[str, Path]]) -> dict[str, Disk]:
    """Return the space on the disks of some folders, each disk once, labelled with all that it holds.

    Args:
        folders: what is written, and into which folder, which need not be there yet
    """
    found: dict[int, tuple[list[str], Disk]] = {}
    for label, folder in folders:
        place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        device = place.stat().st_dev
        if device not in found:
            space = os.statvfs(place)
            disk = Disk(str(folder), space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)
            found[device] = ([], disk)
        found[device][0].append(label)
    return {", ".join(labels): disk for labels, disk in found.values()}


# --- logs --------------------------------------------------------------------------------------------------


def log_tail(config: Config, service: str | None) -> dict[str, Any]:
    """Return what `log` tells: the path of a log file that the configuration names, and its last lines.

    Args:
        config: configuration of the node
        service: whose log; None: that of the master

    Raises:
        DARCError: there is no such service, or no log of it
    """
    if service is not None and service not in SERVICES:
        raise DARCError(
            f"Invalid service: {service}; logs are those of {', '.join(SERVICES)}, and the master's"
        )
    path: Path = config.section(service or "darc_master").log_file  # type: ignore[attr-defined]
    number = config.status_website.log_lines
    before = old_log(path)
    lines = last_lines(path, number) if path.exists() or not before.exists() else []
    if len(lines) < number and before.exists():  # it was rotated a while ago
        lines = last_lines(before, number - len(lines)) + lines
    return {"path": str(path), "lines": lines}


def last_lines(path: Path, number: int, max_bytes: int = MAX_LOG_BYTES) -> list[str]:
    """Return the last lines of a text file, fewer if they are longer than `max_bytes` together.

    Raises:
        DARCError: it cannot be read
    """
    try:
        if not path.is_file():  # opening a FIFO would wait for its writer
            raise DARCError(f"{path}: there is no such log yet")
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - max_bytes)
            stream.seek(start)
            text = stream.read(size - start)
    except OSError as error:
        raise DARCError(f"{path}: cannot be read: {error.strerror}") from error
    lines = text.decode(errors="replace").removesuffix("\n").split("\n") if text else []
    # what comes first may be the end of a longer line
    return lines[-number:] if start == 0 or len(lines) <= 1 else lines[1:][-number:]
