"""`darc push-config`: a configuration for all nodes, which each of them checks before any applies it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from darc.commands import all_nodes
from darc.config_files import MAX_BYTES, ConfigError
from darc.errors import DARCError
from darc.formats.files import read_text
from darc.network.command_protocol import APPLY_CONFIG, CHECK_CONFIG, Request


def run(options: argparse.Namespace) -> int:
    """Have all nodes check a configuration and, if none of them objects, apply it."""
    content = read_text(Path(options.file), MAX_BYTES, DARCError)
    _check_here(options.file)
    replies = all_nodes.ask_all(options, Request(command=CHECK_CONFIG, payload=content))
    if failed := all_nodes.failures(replies):
        all_nodes.print_table(Request(command=CHECK_CONFIG), failed)
        print(
            f"darc: {len(failed)} of {len(replies)} nodes do not take {options.file}: nothing was changed "
            "on any of them",
            file=sys.stderr,
        )
        return 1
    print(f"{options.file}: no mistakes on {len(replies)} of {len(replies)} nodes")
    if options.dry_run:
        all_nodes.print_table(Request(command=CHECK_CONFIG), replies)
        return 0
    applied = all_nodes.ask_all(options, Request(command=APPLY_CONFIG, payload=content))
    all_nodes.print_table(Request(command=APPLY_CONFIG), applied)
    if failed := all_nodes.failures(applied):
        print(
            f"darc: {len(failed)} nodes did not apply it, the others have it now: repeat the command, or "
            "push the FILE.previous of one of those",
            file=sys.stderr,
        )
    return int(bool(failed))


def _check_here(file: str) -> None:
    """Tell every mistake in the words of the file that was named, before any node is asked."""
    from darc.config import check_config  # noqa: PLC0415 (loads pydantic)

    if problems := check_config(file):
        raise ConfigError(*problems)
