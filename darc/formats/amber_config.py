"""Settings file of AMBER, of which one thing matters here: how many instances it runs; and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.files import read_text, shown
from darc.formats.parset import ParsetError, parse_parset

#: Limit of the file in bytes; real ones have less than 10 kB.
MAX_FILE_BYTES = 2**20


def count_instances(path: Path | str) -> int:
    """Return the number of AMBER instances: the length of the list `opencl_device`.

    Args:
        path: AMBER's settings file, lines `key=value`

    Raises:
        DARCError: the file cannot be read, or the list is missing, no list or empty
    """
    if not isinstance(path, str | Path):
        raise DARCError(f"amber_config of the observation is {path!r}, not the path of AMBER's settings")
    try:
        settings = parse_parset(read_text(Path(path), MAX_FILE_BYTES, DARCError))
    except ParsetError as error:
        raise DARCError(f"{path}: {error}") from error
    text = settings.get("opencl_device")
    try:
        devices = json.loads(str(text))
    except (ValueError, RecursionError):
        devices = None
    if not isinstance(devices, list) or not devices:
        raise DARCError(
            f"{path}: opencl_device is {shown(text)}; it has to be a list with one entry per AMBER instance, "
            "such as [1, 2, 3]"
        )
    return len(devices)


def trigger_file(folder: Path | str, beam: Any, step: int) -> Path:
    """Return the file in which an AMBER instance writes what it finds.

    Args:
        folder: where AMBER writes
        beam: compound beam, or a text that is one
        step: number of the instance, from 1

    Raises:
        TypeError: one of them is something else
        ValueError: `beam` is no number
    """
    return Path(folder) / f"CB{int(beam):02d}_step{step}.trigger"
