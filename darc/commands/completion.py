"""`darc completion`: the script that lets a shell complete commands, options, services and files."""

from __future__ import annotations

import argparse

import shtab

from darc.commands.catalogue import ADDED, COMMANDS, Parser, UsageError, fill, general_parser, parser_settings
from darc.commands.log import MASTER
from darc.commands.show_trigger import RECEIVERS
from darc.commands.suggestions import did_you_mean, service_names

SHELLS = ("bash", "zsh", "tcsh")


def run(options: argparse.Namespace) -> int:
    """Print the script for a shell."""
    if options.shell not in SHELLS:
        hint = did_you_mean(options.shell, SHELLS, f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
        raise UsageError(f"no completion for {options.shell!r}; {hint}")
    print(script(options.shell))
    return 0


def script(shell: str) -> str:
    """Return the script for a shell."""
    parser = general_parser()
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        filled = fill(commands.add_parser(name, help=command.text, **parser_settings(name)), name)
        _say_what_completes(filled)
    for name, text in ADDED.items():
        commands.add_parser(name, help=text)
    _say_what_completes(parser)
    return shtab.complete(parser, shell)


def _say_what_completes(parser: Parser) -> None:
    services = service_names()
    words = {
        "SERVICE": [*services, "all"],
        "COMMAND": [*COMMANDS, *ADDED],
        "SHELL": list(SHELLS),
        "RECEIVER": list(RECEIVERS),
    }
    for action in parser._actions:  # argparse has no other way to them, nor has shtab
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest == "name":
            action.choices = [*services, MASTER]
        elif isinstance(action.metavar, str) and action.choices is None:
            action.choices = words.get(action.metavar)
