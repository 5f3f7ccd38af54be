"""The `darc` command: what operators and the scheduler say to a node.

It starts in a fraction of the time that the libraries of the services take to load: nothing here may import
numpy, astropy or pydantic before a command needs them, and what not all commands need is imported by those
that do. What the commands are stands in `darc.commands.catalogue`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from darc.commands.catalogue import (
    COMMANDS,
    GENERAL_OPTIONS,
    LOCAL_COMMANDS,
    NODE_COMMANDS,
    OWN_OPTIONS,
    UsageError,
    command_parser,
    general_parser,
)
from darc.errors import DARCError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = ["LOCAL_COMMANDS", "NODE_COMMANDS", "UsageError", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `darc` command and return its exit code: 0, 1 for an error, 2 for a wrong command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # where the locale has no letters but those of ASCII, the others are written as numbers
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(_parse(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except DARCError as error:
        print(f"darc: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read the output has seen enough, as head does; Python would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says; the arguments of a command of another package stay as they are.

    Raises:
        UsageError: it cannot be understood
    """
    parser = general_parser()
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS).required = False
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise _not_understood(unknown, [*GENERAL_OPTIONS, "--version", "--help"])
    if options.command in COMMANDS:
        parser, command = command_parser(options.command), COMMANDS[options.command]
        options, unknown = parser.parse_known_intermixed_args(options.rest, options)
        if unknown:
            raise _not_understood(unknown, [*command.options, "--help"])
        for flag in ("--all-nodes", "--json"):
            if flag not in command.options and getattr(options, flag[2:].replace("-", "_")):
                raise UsageError(
                    f"{options.command} has no option {flag}; see 'darc {options.command} --help'"
                )
    return options


def _not_understood(unknown: Sequence[str], known: Iterable[str]) -> UsageError:
    from darc.commands.suggestions import did_you_mean  # noqa: PLC0415

    flag = unknown[0].partition("=")[0]
    if not flag.startswith("-"):
        return UsageError(f"cannot understand {' '.join(unknown)}; see 'darc --help'")
    whose = [f"darc {name} {flag}" for name, command in COMMANDS.items() if flag in command.options]
    if flag in OWN_OPTIONS:
        return UsageError(f"{flag} is an option of one command and stands after it: {whose[0]}")
    hint = did_you_mean(flag, known, "see 'darc --help'")
    return UsageError(f"unrecognized arguments: {flag}; {hint}")


def _run(options: argparse.Namespace) -> int:
    command = options.command
    if command == "help":
        return _help(options.about)
    if command in COMMANDS:
        module = importlib.import_module(f"darc.commands.{COMMANDS[command].module}")
        run: Callable[[argparse.Namespace], int] = module.run
        return run(options)
    return _added(command)(options.rest)


def _help(command: str | None) -> int:
    """Print how to use a command, or which there are."""
    if command is not None and command not in COMMANDS:
        return _added(command)(["--help"])
    (general_parser() if command is None else command_parser(command)).print_help()
    return 0


def _added(command: str) -> Callable[[list[str]], int]:
    """Return a command that a package adds.

    Raises:
        UsageError: no package does
    """
    added = _added_commands()
    if command in added.names:
        run: Callable[[list[str]], int] = added[command].load()
        return run
    from darc.commands.suggestions import did_you_mean  # noqa: PLC0415

    hint = did_you_mean(command, [*COMMANDS, *added.names], "'darc --help' lists the commands")
    raise UsageError(f"no command {command!r}; {hint}")


def _added_commands() -> EntryPoints:
    """Commands that packages add as entry points of the group `darc.commands`."""
    from importlib.metadata import entry_points  # noqa: PLC0415 (slow, and needed by few commands)

    return entry_points(group="darc.commands")


def _main() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _main()
