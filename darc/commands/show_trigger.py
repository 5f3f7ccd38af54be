"""`darc show-trigger`: what the master node would send for a trigger, without sending it."""

from __future__ import annotations

import argparse
import queue
import sys
from datetime import datetime
from pathlib import Path

from darc.commands.catalogue import UsageError
from darc.commands.suggestions import did_you_mean
from darc.commands.terminal import printable
from darc.errors import DARCError
from darc.formats.files import read_yaml_mapping
from darc.formats.yaml_text import YAMLTextError, parse_yaml

RECEIVERS = ("lofar", "voevent")
_MAX_BYTES = 1 << 20


def run(options: argparse.Namespace) -> int:
    """Print the packet or the document of a trigger, and whether it would be sent."""
    if options.receiver not in RECEIVERS:
        hint = did_you_mean(options.receiver, RECEIVERS, f"there are {' and '.join(RECEIVERS)}")
        raise UsageError(f"no receiver {options.receiver!r}; {hint}")
    trigger = {key: _as_text(value) for key, value in _read(options.file).items()}
    for line in _preview(options, trigger).splitlines():
        print(printable(line))
    return 0


def _read(name: str) -> dict[str, object]:
    """Return the trigger that a file or the standard input holds."""
    if name != "-":
        return read_yaml_mapping(Path(name), _MAX_BYTES, DARCError)
    try:
        return parse_yaml(sys.stdin.read(_MAX_BYTES))
    except YAMLTextError as error:
        faults = (f"line {fault.line or 1}: {fault.key} {fault.reason}" for fault in error.faults)
        raise DARCError(f"standard input: {'; '.join(faults)}") from error


def _as_text(value: object) -> object:
    """Turn back what YAML has taken for a time."""
    return value.isoformat() if isinstance(value, datetime) else value


def _preview(options: argparse.Namespace, trigger: dict[str, object]) -> str:
    # these load numpy, astropy and pydantic
    from darc.lofar_trigger import LOFARTrigger  # noqa: PLC0415
    from darc.voevent_generator import VOEventGenerator  # noqa: PLC0415

    service_class = LOFARTrigger if options.receiver == "lofar" else VOEventGenerator
    service = service_class(queue.Queue(), config_file=options.site_config, node=options.node)
    return service.dry_run(trigger)
