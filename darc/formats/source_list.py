"""List of known sources and their DMs: a YAML file with `pulsars`, `frbs` and `aliases`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from darc.errors import DARCError
from darc.formats.files import read_yaml_mapping, shown
from darc.formats.parset_types import finite_number

#: Limit of the file in bytes: some 30,000 sources.
MAX_FILE_BYTES = 2**20


class SourceListError(DARCError):
    """The list of known sources cannot be used; the message names file, key and value."""


@dataclass(frozen=True)
class Source:
    """A known source.

    Attributes:
        name: its name in the list
        kind: `pulsar` or `frb`
        dm: dispersion measure in pc cm^-3
    """

    name: str
    kind: Literal["pulsar", "frb"]
    dm: float


@dataclass(frozen=True)
class SourceList:
    """Known sources: DM in pc cm^-3 per name of a pulsar or FRB, and name of the source per alias."""

    pulsars: Mapping[str, float] = field(default_factory=dict)
    frbs: Mapping[str, float] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def lookup(self, name: str) -> Source | None:
        """Return the source with this name or alias, None for an unknown one.

        An alias may lead to another alias; aliases that lead in a circle lead nowhere.
        """
        visited = set()
        while name in self.aliases and name not in visited:
            visited.add(name)
            name = self.aliases[name]
        if name in self.pulsars:
            return Source(name, "pulsar", self.pulsars[name])
        if name in self.frbs:
            return Source(name, "frb", self.frbs[name])
        return None


def load_source_list(path: Path | str) -> SourceList:
    """Read a list of known sources.

    An alias counts if it is text; anything else, such as the number 0, means that the name is no alias.

    Raises:
        SourceListError: the file cannot be read, has another section, or a DM that is none, or a name
            stands among the pulsars and among the FRBs
    """
    path = Path(path)
    content = read_yaml_mapping(path, MAX_FILE_BYTES, SourceListError)
    unknown = content.keys() - {"pulsars", "frbs", "aliases"}
    if unknown:
        raise SourceListError(f"{path}: {min(unknown)}: allowed sections are pulsars, frbs and aliases")
    pulsars, frbs = (_dms(path, kind, _section(path, content, kind)) for kind in ("pulsars", "frbs"))
    both = pulsars.keys() & frbs.keys()
    if both:
        raise SourceListError(f"{path}: {min(both)} stands in pulsars and in frbs: leave it in one of them")
    aliases = _section(path, content, "aliases")
    return SourceList(
        pulsars, frbs, {name: target for name, target in aliases.items() if isinstance(target, str)}
    )


def _section(path: Path, content: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = {} if content.get(name) is None else content[name]
    if not isinstance(section, dict):
        raise SourceListError(f"{path}: {name} = {shown(section)}: has to hold lines `name: value`")
    return {str(key): value for key, value in section.items()}


def _dms(path: Path, kind: str, section: Mapping[str, Any]) -> dict[str, float]:
    dms = {}
    for name, value in section.items():
        try:
            dms[name] = finite_number(value)
        except (TypeError, ValueError, OverflowError):
            dms[name] = -1.0
        if dms[name] < 0:
            allowed = "allowed is a DM in pc cm^-3, a number that is not negative"
            raise SourceListError(f"{path}: {kind}: {name} = {shown(value)}: {allowed}")
    return dms
