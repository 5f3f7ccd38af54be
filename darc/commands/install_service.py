"""`darc install-service`: systemd's unit, folders and keys of this host; and the same undone."""

from __future__ import annotations

import argparse
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from darc.commands.catalogue import UsageError
from darc.config_files import default_path
from darc.errors import DARCError

if TYPE_CHECKING:
    from darc.config import Config
    from darc.installation.manifest import Installation
    from darc.installation.service import Host

#: User that the service runs as if nothing else is said.
USER = "darc"


def run(options: argparse.Namespace) -> int:
    """Install the service, or undo that; say each thing that is done."""
    from darc.installation.manifest import Installation  # noqa: PLC0415 (loads pydantic)
    from darc.installation.service import RECORD, below, items  # noqa: PLC0415

    root = Path(options.root or "/").absolute()
    record = below(root, RECORD)
    if options.undo:
        return _undo(Installation(record, dry_run=options.dry_run), options.root)
    config, host, owner = _wanted(options)
    installation = Installation(record, owner, dry_run=options.dry_run)
    installation.install(items(config, host, root))
    if not options.dry_run:
        print(_next(options.root, config.path, below(root, host.site_file)))
    return 0


def _next(root: str | None, read: Path | None, site_file: Path) -> str:
    """Return what remains to be done, here or in the image of another host."""
    if root:
        copy = "" if read == site_file else f"  copy {read} to {site_file}\n"
        return (
            f"\nnext:\n{copy}  systemctl --root {root} enable darc\n"
            f"undo:\n  systemctl --root {root} disable darc; darc install-service --root {root} --undo"
        )
    return (
        "\nnext:\n  systemctl daemon-reload\n  systemctl enable --now darc\n  systemctl status darc\n"
        "undo:\n  systemctl disable --now darc; darc install-service --undo"
    )


def _wanted(options: argparse.Namespace) -> tuple[Config, Host, tuple[int, int] | None]:
    """Return configuration, service and owner of its files.

    Raises:
        DARCError: there is no such user, or the configuration is not usable here
    """
    user = options.user or USER
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        if not options.root:
            raise DARCError(
                f"there is no user {user}: useradd --system --create-home --home-dir /var/lib/darc {user}, "
                "or --user with another one"
            ) from None
        home, owner = Path("/var/lib") / user, None  # of another host, whose image this is
    else:
        if entry.pw_uid == 0:
            raise UsageError(f"--user {user}: the service needs no rights, and gets none")
        home, owner = Path(entry.pw_dir), (entry.pw_uid, entry.pw_gid)
    # {home} in the configuration is that of the user of the service
    os.environ["HOME"] = str(home)
    from darc.config import load_config  # noqa: PLC0415
    from darc.installation.service import Host, program_folder  # noqa: PLC0415

    config = load_config(options.site_config, options.node)
    if config.path is None:
        raise DARCError(f"there is no {default_path()}: `darc init` as {user}, or --site-config FILE")
    if config.role == "unknown":
        raise DARCError(f"{config.path}: this host is none of its nodes: --node NAME")
    site_file = _in_image(config.path, options.root) if options.root else config.path
    host = Host(user, home, program_folder(), site_file, options.node)
    return config, host, owner if os.geteuid() == 0 else None


def _in_image(path: Path, root: str) -> Path:
    """Return where a host finds its configuration: what lies elsewhere belongs to its default place."""
    image = Path(root).absolute()
    return Path("/") / path.relative_to(image) if path.is_relative_to(image) else default_path()


def _undo(installation: Installation, root: str | None) -> int:
    for reason in installation.undo():
        print(f"left          {reason}")
    if not installation.dry_run and not root:
        print("\nnext:\n  systemctl daemon-reload")
    return 0
