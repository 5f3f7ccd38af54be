"""Finds, reads and merges the configuration files, without knowing what the keys mean.

A configuration is made of layers, each laid over the one before: the packaged defaults, the site's file, and
the overrides (`config:`) of the node that is selected. Mappings are merged key by key, everything else
replaces what was there. `{home}`, `{hostname}` and `{node}` are filled in, in every text.

Meaning, types and limits are the business of `darc.config`. This module uses the standard library and PyYAML
only, since the `darc` command needs it to know where to connect and has to start at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.files import read_text, shown
from darc.formats.yaml_text import Key, YAMLTextError, line_of, parse_yaml

#: The defaults that come with the package: every key there is, with its meaning.
PACKAGED = Path(__file__).with_name("config.yaml")

#: Largest file that is read, in bytes; a large site's has some ten thousand.
MAX_BYTES = 1 << 20

#: All addresses of a host: compared with what is configured, never bound here.
_ALL_IPV4 = "0.0.0.0"  # noqa: S104 # nosec B104

_MISSING = object()


@dataclass(frozen=True)
class Problem:
    """One mistake in the configuration.

    Attributes:
        allowed: what is wrong or what is allowed instead, such as `has to be a port number, 1 to 65535`.
        file: file that the mistake stands in; None if it is in no file.
        line: its line, counted from 1; None if the file as a whole is meant.
        key: dotted key as it is written in that file, such as `nodes.workers[3].beam`; may be empty.
        value: what is there now, as Python shows it; empty where there is none, hidden where it is secret.
    """

    allowed: str
    file: Path | None = None
    line: int | None = None
    key: str = ""
    value: str = ""

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else f"{self.file or ''}"
        what = f"{self.key} = {self.value}" if self.value else self.key
        return ": ".join(part for part in (where, what, self.allowed) if part)


class ConfigError(DARCError):
    """The configuration cannot be used; `problems` lists every mistake that was found."""

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__(*problems)
        self.problems = tuple(
            Problem(problem) if isinstance(problem, str) else problem for problem in problems
        )

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return "\n  ".join([f"{len(self.problems)} mistakes in the configuration:", *map(str, self.problems)])


@dataclass(frozen=True)
class Layer:
    """What one file, or the part of it that starts at `prefix`, says."""

    file: Path
    data: dict[str, Any]
    prefix: Key = ()


@dataclass(frozen=True)
class RawConfig:
    """A merged configuration whose values have not been checked.

    Attributes:
        data: sections and their keys, placeholders filled in.
        layers: where the values come from, lowest first.
        path: the site's file; None if there is none.
        node: name of the selected node; None if no node is selected.
    """

    data: dict[str, Any]
    layers: tuple[Layer, ...]
    path: Path | None = None
    node: str | None = None

    def value(self, key: Key) -> Any:
        """Return the value at `key`, None if there is none."""
        found = _look_up(self.data, key)
        return None if found is _MISSING else found

    def origin(self, key: Key) -> tuple[Path, Key] | None:
        """Return the file in which the value of `key` is written and its key there; None if it is derived."""
        for layer in reversed(self.layers):
            if _look_up(layer.data, key) is not _MISSING:
                return layer.file, layer.prefix + key
        return None

    def nodes(self) -> dict[str, tuple[Key, dict[str, Any]]]:
        """Return position and entry of every configured node by name; what is no node is left out."""
        found = _node_entries(self.data)
        return {entry["name"]: (key, entry) for key, entry in found if isinstance(entry.get("name"), str)}

    def for_node(self, name: str | None) -> RawConfig:
        """Return the configuration as the node `name` sees it, its overrides merged.

        Raises:
            ConfigError: no node of that name is configured.
        """
        if name is None:
            return replace(self, data=_filled(self.data, node=host_name()))
        nodes = self.nodes()
        if name not in nodes:
            known = f"it has {', '.join(nodes)}" if nodes else "it has none"
            raise ConfigError(
                Problem(f"no node {name!r} in the configuration: {known}", self.path, key="nodes")
            )
        key, entry = nodes[name]
        overrides = entry.get("config")
        overrides = overrides if isinstance(overrides, dict) else {}
        layer = Layer(self.path or PACKAGED, overrides, (*key, "config"))
        overrides = {section: value for section, value in overrides.items() if section != "nodes"}
        data = _merged(self.data, overrides)
        if isinstance(data.get("darc_master"), dict) and _is_port(entry["port"]):
            data = _merged(data, {"darc_master": {"port": entry["port"]}})
        return replace(self, data=_filled(data, node=name), layers=(*self.layers, layer), node=name)


@dataclass(frozen=True)
class NodeAddress:
    """Where the command port of a node is reached, and its role: `master` or `worker`."""

    address: str
    port: int
    role: str


@dataclass(frozen=True)
class ClientSettings:
    """What the `darc` command needs to know.

    Attributes:
        host: host to connect to when the user names none.
        port: command port there.
        timeout_s: seconds to wait for a reply.
        editor: program that `darc edit` starts.
        key_file: file of the key that lets us ask other hosts.
        path: the site's file; None if there is none.
        nodes: every configured node by name.
    """

    host: str
    port: int
    timeout_s: float
    editor: str
    key_file: Path
    path: Path | None
    nodes: dict[str, NodeAddress]


def host_name() -> str:
    """Return the name of this host as the system knows it, short or full."""
    return os.uname().nodename


def default_path() -> Path:
    """Return where the site's file is if nothing else is said."""
    return Path.home() / "darc" / "config.yaml"


def find_config(path: str | Path | None = None) -> Path | None:
    """Return the site's file: `path`, else `$DARC_CONFIG`, else the one at `default_path` if that exists."""
    named = path or os.environ.get("DARC_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    default = default_path()
    return default if default.exists() else None


def read_layers(path: str | Path | None = None) -> RawConfig:
    """Return the packaged defaults with the site's file over them, no node selected.

    Args:
        path: site's file, found by `find_config` if None.

    Raises:
        ConfigError: a file cannot be read, is no YAML, or names a key twice.
    """
    site = find_config(path)
    layers = [Layer(PACKAGED, read_file(PACKAGED))]
    if site is not None:
        layers.append(Layer(site, _with_worker_list(read_file(site))))
    data = reduce(_merged, (layer.data for layer in layers))
    data = _filled(data, home=str(Path.home()), hostname=host_name())
    return RawConfig(_with_derived_values(data), tuple(layers), site)


def load_raw(path: str | Path | None = None, node: str | None = None) -> RawConfig:
    """Return the merged configuration of a node.

    Args:
        path: site's file, found by `find_config` if None.
        node: node to be, found by `this_node` if None.

    Raises:
        ConfigError: a file cannot be read, or the node is not configured.
    """
    raw = read_layers(path)
    return raw.for_node(node or this_node(raw))


def this_node(raw: RawConfig) -> str | None:
    """Return the node that this is: `$DARC_NODE`, else the one with this host's name, full or short."""
    named = os.environ.get("DARC_NODE")
    if named:
        return named
    host, names = host_name(), list(raw.nodes())
    if host in names:
        return host
    short = host.partition(".")[0]
    same = [name for name in names if name == short or name.partition(".")[0] == host]
    return same[0] if len(same) == 1 else None


def client_settings(path: str | Path | None = None, node: str | None = None) -> ClientSettings:
    """Return the settings of the `darc` command; nothing else in the configuration is checked.

    A node that is named and is not this host's own is reached at its address; otherwise the host is where the
    command port of this node listens, which may be the loopback interface only.

    Raises:
        ConfigError: a file cannot be read, the node is not configured, or a setting is unusable.
    """
    raw = load_raw(path, node)
    nodes = {
        name: NodeAddress(
            str(entry["address"]), _port(raw, (*key, "port")), "worker" if "workers" in key else "master"
        )
        for name, (key, entry) in raw.nodes().items()
    }
    if node and node != this_node(raw):
        host = nodes[node].address
    else:
        host = reached_at(str(raw.value(("darc_master", "address"))))
    timeout = raw.value(("darc_master", "socket_timeout"))
    if not isinstance(timeout, int | float) or timeout <= 0:
        raise ConfigError(problem_at(raw, ("darc_master", "socket_timeout"), "has to be a positive number"))
    editor = str(raw.value(("darc_master", "editor")))
    key_file = Path(str(raw.value(("darc_master", "key_file"))))
    port = _port(raw, ("darc_master", "port"))
    return ClientSettings(host, port, float(timeout), editor, key_file, raw.path, nodes)


def reached_at(listening: str) -> str:
    """Return the address at which this host reaches what listens at one of its own, or at all of them."""
    return {_ALL_IPV4: "127.0.0.1", "::": "::1"}.get(listening, listening)


def read_file(file: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; an empty file is an empty mapping.

    Raises:
        ConfigError: the file cannot be read, is too large, is no YAML, or names a key twice.
    """
    try:
        return parse_yaml(read_text(file, MAX_BYTES, ConfigError))
    except YAMLTextError as error:
        raise ConfigError(*(Problem(f.reason, file, f.line, f.key) for f in error.faults)) from error


def problem_at(raw: RawConfig, key: Key, allowed: str, hide: bool = False) -> Problem:
    """Return a problem with the value of `key`, told as it is written in the file that it comes from.

    If it is not in the site's file, that is where it has to be added: the packaged defaults are right.
    """
    origin, parent = raw.origin(key), raw.origin(key[:-1])
    written = origin[1] if origin else (*parent[1], key[-1]) if parent else key
    file = raw.path or PACKAGED
    value = raw.value(key)
    text = "" if value is None else "(hidden)" if hide else shown(value)
    line = line_of(read_text(file, MAX_BYTES, ConfigError), written)
    return Problem(allowed, file, line, dotted(written), text)


def dotted(key: Key) -> str:
    """Return a key as people write it: `nodes.workers[3].beam`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def _port(raw: RawConfig, key: Key) -> int:
    """Return the port at `key`."""
    value = raw.value(key)
    if not _is_port(value):
        raise ConfigError(problem_at(raw, key, "has to be a port number, 1 to 65535"))
    return int(value)


def _is_port(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 65535


def _look_up(data: Any, key: Key) -> Any:
    """Return the value at `key`, `_MISSING` if there is none."""
    for part in key:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return data


def _merged(base: Any, over: Any) -> Any:
    """Lay `over` over `base`; a mapping without content (`section:`) changes nothing."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: _merged(base.get(key), value) for key, value in over.items()}
    return base if isinstance(base, dict) and over is None else over


def _filled(value: Any, **names: str) -> Any:
    """Replace the placeholders of these names in every text; other braces stay."""
    pattern = re.compile("{(" + "|".join(names) + ")}")

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda found: names[found[1]], value) if "{" in value else value
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    return fill(value)


def _with_worker_list(data: dict[str, Any]) -> dict[str, Any]:
    """Write out the short form of the workers, `{arts001: 0}`."""
    workers = _look_up(data, ("nodes", "workers"))
    if not isinstance(workers, dict):
        return data
    entries = [{"name": name, "beam": beam} for name, beam in workers.items()]
    return data | {"nodes": data["nodes"] | {"workers": entries}}


def _node_entries(data: Mapping[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Yield position and content of everything that may be a node."""
    workers = _look_up(data, ("nodes", "workers"))
    candidates: list[tuple[Key, Any]] = [(("nodes", "master"), _look_up(data, ("nodes", "master")))]
    if isinstance(workers, list):
        candidates += [(("nodes", "workers", position), entry) for position, entry in enumerate(workers)]
    return ((key, entry) for key, entry in candidates if isinstance(entry, dict))


def _with_derived_values(data: dict[str, Any]) -> dict[str, Any]:
    """Fill in what follows from other values (`data` is changed).

    A node's address is its name and its port that of the section darc_master, if it does not say otherwise;
    the queue servers are at the master node.
    """
    for _, entry in _node_entries(data):
        if entry.get("address") is None:
            entry["address"] = entry.get("name", "?")
        if entry.get("port") is None:
            entry["port"] = _look_up(data, ("darc_master", "port"))
    master = _look_up(data, ("nodes", "master", "address"))
    for section in ("voevent_generator", "lofar_trigger"):
        if _look_up(data, (section, "server_address")) is None:
            data[section]["server_address"] = "127.0.0.1" if master is _MISSING else master
    return data
