"""Settings file of AMBER, of which one thing matters here: how many instances it runs."""

from __future__ import annotations

import json
from pathlib import Path

from darc.errors import DARCError
from darc.formats.parset import parse_parset


def count_instances(path: Path | str) -> int:
    """Return the number of AMBER instances: the length of the list `opencl_device`.

    Args:
        path: AMBER's settings file, lines `key=value`

    Raises:
        DARCError: the file cannot be read, or the list is missing, no list or empty
    """
    try:
        settings = parse_parset(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DARCError(
            f"cannot read AMBER's settings {path}: {error}; see `amber_config` of the observation"
        ) from error
    text = settings.get("opencl_device")
    try:
        devices = json.loads(str(text))
    except ValueError:
        devices = None
    if not isinstance(devices, list) or not devices:
        raise DARCError(
            f"{path}: opencl_device is {text!r}; it has to be a list with one entry per AMBER instance, "
            "such as [1, 2, 3]"
        )
    return len(devices)
