"""What the master node has to know of observations after a restart: which are open, and what was mailed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from darc.errors import DARCError
from darc.formats.files import read_yaml_mapping, write_complete
from darc.formats.parset_types import beam_list, finite_number
from darc.reporting.report import BeamReport, BeamState, ObservationReport

#: Name of the file in an observation's folder of results that says what was mailed.
MAILED_NAME = "mailed.yaml"
_MAILED_COMMENT = (
    "# The results were mailed. Remove this file to have them mailed again with the next start.\n"
)
#: Limit in bytes of what is read; an observation's configuration has 10 kB.
_MAX_BYTES = 2**22


class MemoryFileError(DARCError):
    """What was remembered cannot be written or read."""


@dataclass(frozen=True, kw_only=True)
class Mailed:
    """What was mailed of an observation.

    Attributes:
        first_unix: when the mail with the results was, in unix seconds
        beams: compound beams that it had results of
        late: those that a later mail had results of
        reasons: why there were no results of other beams, by beam
    """

    first_unix: float
    beams: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)

    def untold(self, report: ObservationReport) -> list[int]:
        """Return the beams with results that no mail told of."""
        return [beam.cb for beam in report.beams if beam.late and beam.cb not in self.late]

    def is_late(self, beam: BeamReport) -> bool:
        """Return whether the results of a beam came after the mail with the results."""
        return beam.state in (BeamState.DONE, BeamState.NO_AMBER) and beam.cb not in self.beams

    def write(self, folder: Path) -> None:
        """Keep it in an observation's folder of results.

        Raises:
            MemoryFileError: it cannot be written
        """
        content = {
            "mailed": self.first_unix,
            "beams": list(self.beams),
            "late": list(self.late),
            "reasons": {str(cb): reason for cb, reason in self.reasons.items()},
        }
        write_complete(folder / MAILED_NAME, _MAILED_COMMENT + yaml.safe_dump(content), MemoryFileError)

    @classmethod
    def read(cls, folder: Path) -> Mailed | None:
        """Return what was kept in a folder; None if nothing was, or if it is damaged."""
        try:
            content = read_yaml_mapping(folder / MAILED_NAME, _MAX_BYTES, MemoryFileError)
            return cls(
                first_unix=finite_number(content["mailed"]),
                beams=tuple(beam_list(content["beams"])),
                late=tuple(beam_list(content["late"])),
                reasons={int(cb): str(reason) for cb, reason in content["reasons"].items()},
            )
        except (MemoryFileError, KeyError, TypeError, ValueError, AttributeError):
            # one mail too many rather than none
            return None


class OpenObservations:
    """Configurations of the observations that are not finished, one file each.

    Args:
        folder: where they are
        logger: where to log what cannot be kept
    """

    def __init__(self, folder: Path, logger: logging.Logger) -> None:
        self._folder, self._logger = folder, logger

    def keep(self, task_id: str, obs_config: Mapping[str, Any]) -> None:
        """Remember an observation."""
        try:
            write_complete(self._path(task_id), yaml.safe_dump(dict(obs_config)), MemoryFileError)
        except (MemoryFileError, yaml.YAMLError) as error:
            self._logger.error("after a restart, task %s will be forgotten: %s", task_id, error)

    def drop(self, task_id: str) -> None:
        """Forget an observation."""
        with contextlib.suppress(OSError):
            self._path(task_id).unlink(missing_ok=True)

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the configurations by task ID; one that cannot be read is forgotten."""
        found = {}
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                found[path.stem] = read_yaml_mapping(path, _MAX_BYTES, MemoryFileError)
            except MemoryFileError as error:
                self._logger.error("an observation is forgotten: %s", error)
                self.drop(path.stem)
        return found

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{task_id}.yaml"
