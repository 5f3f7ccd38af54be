"""Commands about the site's configuration, on this machine."""

from __future__ import annotations

import argparse
import os
import sys

from darc.commands.asking import settings_of
from darc.config_files import default_path, find_config
from darc.errors import DARCError


def run(options: argparse.Namespace) -> int:
    """Check the site's configuration, or edit it."""
    return _edit(options) if options.command == "edit" else _check(options)


def _check(options: argparse.Namespace) -> int:
    """Print every mistake in a configuration."""
    from darc.config import check_config  # noqa: PLC0415 (loads pydantic)

    name = options.file or options.site_config
    problems = check_config(name)
    for problem in problems:
        print(problem)
    where = find_config(name) or "the packaged configuration"
    number = {0: "no mistakes", 1: "1 mistake"}.get(len(problems), f"{len(problems)} mistakes")
    print(f"{where}: {number}")
    return 1 if problems else 0


def _edit(options: argparse.Namespace) -> int:
    """Open the site's configuration in an editor."""
    import subprocess  # noqa: PLC0415

    path = find_config(options.site_config) or default_path()
    try:
        configured = settings_of(options).editor
    except DARCError as error:
        # a broken file is what one wants to edit
        print(f"darc: {error}", file=sys.stderr)
        configured = ""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or configured or "vi"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return subprocess.run([*editor.split(), str(path)], check=False).returncode
    except OSError as error:
        raise DARCError(f"cannot edit {path} with {editor!r}: {error}; $EDITOR names an editor") from error
