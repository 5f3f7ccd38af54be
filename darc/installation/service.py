"""What systemd needs to run DARC on a host: the packaged unit, and a drop-in with what differs here."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from darc.config import Config
from darc.errors import DARCError
from darc.installation.host import written_folders
from darc.installation.manifest import Item
from darc.network.key_file import KEY_BYTES
from darc.network.sockets import is_loopback

UNIT = Path(__file__).with_name("darc.service")
#: Folder of units that the host's administrator installs.
UNITS = Path("/etc/systemd/system")
DROP_IN = UNITS / "darc.service.d" / "host.conf"
RECORD = UNITS / "darc.service.d" / "installed.json"
#: Home folder of the user in the packaged unit, made by systemd.
STATE = Path("/var/lib/darc")
#: Time in s in which systemd ends what has not stopped, in the packaged unit; and what is added to the times
#: that the configuration allows.
STOP_S, STOP_MARGIN_S = 60.0, 10.0


@dataclass(frozen=True)
class Host:
    """What the service is on this host.

    Attributes:
        user: unprivileged user that it runs as
        home: home folder of that user
        programs: folder of `darc` and `darc_service`
        site_file: configuration of the site
        node: name of the node, where that is not the host's; None: the host's
    """

    user: str
    home: Path
    programs: Path
    site_file: Path
    node: str | None = None


def program_folder() -> Path:
    """Return the folder of the installed programs, those of this environment first.

    Raises:
        DARCError: they are not installed
    """
    beside = Path(sys.executable).parent
    if (beside / "darc_service").exists():
        return beside
    found = shutil.which("darc_service")
    if found is None:
        raise DARCError(f"no darc_service in {beside} or on the search path: install DARC with pip first")
    return Path(found).parent


def items(config: Config, host: Host, root: Path) -> list[Item]:
    """Return what is to be on the host: units, folders, keys.

    Args:
        config: configuration of this node
        host: what the service is here
        root: what all paths are below
    """
    units = [
        Item(below(root, UNITS / "darc.service"), UNIT.read_text(encoding="utf-8"), 0o644),
        Item(below(root, DROP_IN), drop_in(config, host), 0o644),
    ]
    folders = [Item(below(root, path), owned=True) for path in sorted(written_folders(config))]
    # first of all the folder of the record
    return [Item(below(root, RECORD.parent)), *folders, *_keys(config, root), *units]


def below(root: Path, path: Path) -> Path:
    """Return a path of the host below another root."""
    return root / path.relative_to("/")


def _keys(config: Config, root: Path) -> Iterator[Item]:
    """Yield the keys that the master node makes; other nodes get a copy of them."""
    if config.role != "master":
        return
    wanted: list[Path | None] = []
    if not is_loopback(config.darc_master.address):
        wanted.append(config.darc_master.key_file)
    for section in (config.lofar_trigger, config.voevent_generator):
        if section.server_auth is None:
            wanted.append(section.server_auth_file)
    for path in dict.fromkeys(filter(None, wanted)):
        yield Item(below(root, path.parent), mode=0o700, owned=True)
        key = secrets.token_hex(KEY_BYTES) + "\n"
        yield Item(below(root, path), key, 0o600, owned=True, kept=True)


def drop_in(config: Config, host: Host) -> str:
    """Return what differs on this host from the packaged unit."""
    environment = {"HOME": host.home, "DARC_CONFIG": host.site_file, "DARC_NODE": host.node}
    lines = [
        "# made by `darc install-service`; `darc install-service --undo` removes it",
        "[Service]",
        f"User={host.user}",
        *(f"Environment={_quoted(f'{key}={value}')}" for key, value in environment.items() if value),
        f"WorkingDirectory={_escaped(host.home)}",
        "ExecStart=",
        f"ExecStart={_quoted(host.programs / 'darc_service')}",
        "ExecReload=",
        f"ExecReload={_quoted(host.programs / 'darc')} reload",
    ]
    if host.home != STATE:
        lines.append("StateDirectory=")
    folders = [*written_folders(config), *_key_folders(config), host.site_file.parent]
    lines += [f"ReadWritePaths={_quoted(f'-{folder}')}" for folder in outermost(folders)]
    stop_s = 2 * config.darc_master.stop_timeout + config.darc_master.socket_timeout + STOP_MARGIN_S
    if stop_s > STOP_S:
        lines.append(f"TimeoutStopSec={stop_s:.0f}")
    if config.processor.classifier.gpu is not None and "processor" in config.services:
        lines.append("PrivateDevices=false")
    return "\n".join(lines) + "\n"


def _key_folders(config: Config) -> list[Path]:
    """Return the folders of the keys that the master makes at its start if they are missing."""
    files = (
        config.darc_master.key_file,
        config.lofar_trigger.server_auth_file,
        config.voevent_generator.server_auth_file,
    )
    return [path.parent for path in files if path is not None and config.role == "master"]


def outermost(folders: Iterable[Path]) -> list[Path]:
    """Return folders without those that are below another one."""
    found: list[Path] = []
    for folder in sorted(set(folders)):
        if not any(folder.is_relative_to(each) for each in found):
            found.append(folder)
    return found


def _escaped(value: object) -> str:
    """Return a value as it stands in a unit, where % begins a specifier."""
    return str(value).replace("%", "%%")


def _quoted(value: object) -> str:
    """Return a value as one word of a unit (systemd.syntax(7))."""
    text = _escaped(value)
    if text and not set(text) & set(" \t\"'\\"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
