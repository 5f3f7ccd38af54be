"""What an observation is called, in the logs of all nodes and in the names of its files."""

from __future__ import annotations

from typing import Any

from darc.errors import DARCError
from darc.formats import parset as parsets

#: Label of an observation that says neither what it is called nor its task ID.
UNNAMED = "unnamed observation"


def observation_label(obs_config: dict[str, Any]) -> str:
    """Label of an observation for the log: date, time and source, or the task ID."""
    return str(obs_config.get("datetimesource") or obs_config.get("taskid") or UNNAMED)


def observation_names(obs_config: dict[str, Any]) -> tuple[str, str]:
    """Label and task ID (empty: none) of an observation, by which all nodes name it in their logs."""
    try:
        return observation_label(obs_config), parsets.task_id(obs_config)
    except DARCError:
        return observation_label(obs_config), ""
