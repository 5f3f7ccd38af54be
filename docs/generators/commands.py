"""The reference of the commands: from the catalogue of `darc`, and from what other commands say."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest import mock

from darc import darc_master
from darc.commands.catalogue import ADDED, COMMANDS, GENERAL_OPTIONS, OWN_OPTIONS, Command

#: Programs of the shell that are installed with the package.
SCRIPTS = Path(__file__).parents[2] / "bin"

INTRODUCTION = """\
# Commands

`darc` is what operators and the scheduler use, `darc_service` runs a node; the programs of the shell at the
end are for nodes that no systemd runs. Made from the catalogue that also makes `darc help` and the completion
of shells, and from what the programs say of themselves.

Options stand before or after the command. The exit code is 0, 1 if a node does not answer or refuses (with
`--all-nodes`: any of them), and 2 for a wrong command line.
"""


def page() -> str:
    """Return the reference as Markdown."""
    parts = [INTRODUCTION, *(_section(name, command) for name, command in COMMANDS.items())]
    found = {each.name: each for each in entry_points(group="darc.commands")}
    for name in sorted(found):
        text = ADDED.get(name, "")
        parts.append(
            _foreign(f"darc {name}", f"{text[:1].upper()}{text[1:]}.", found[name].load(), f"darc {name}")
        )
    parts.append(_foreign("darc_service", "Runs the master of a node.", darc_master.main, "darc_service"))
    parts += [_script(path) for path in sorted(SCRIPTS.glob("darc_*"))]
    return "\n\n".join(parts) + "\n"


def _script(path: Path) -> str:
    """Return what a program of the shell says of itself."""
    told = subprocess.run([path, "-h"], capture_output=True, text=True, check=True).stdout
    return f"## {path.name}\n\n```text\n{told.strip()}\n```"


def _section(name: str, command: Command) -> str:
    """Return what there is to know of a command of the catalogue."""
    arguments = " ".join(metavar if needed else f"[{metavar}]" for _, metavar, _, needed in command.arguments)
    parts = [f"## darc {name}", f"{command.text[0].upper()}{command.text[1:]}."]
    parts.append(f"```text\ndarc {name} [options] {arguments}".rstrip() + "\n```")
    settings = GENERAL_OPTIONS | OWN_OPTIONS
    rows = [(metavar, text) for _, metavar, text, _ in command.arguments]
    for flag in command.options:
        rows.append((f"{flag} {settings[flag].get('metavar', '')}".rstrip(), settings[flag]["help"]))
    if rows:
        parts.append(_table(rows))
    if command.examples:
        lines = [(line if "darc" in line else f"darc {line}", text) for line, text in command.examples]
        width = max(len(line) for line, _ in lines)
        shown = (f"{line:{width}}   # {text}" if text else line for line, text in lines)
        parts.append("\n".join(["```bash", *shown, "```"]))
    return "\n\n".join(parts)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| `{left}` | {right} |" for left, right in rows)])


def _foreign(name: str, text: str, main: Callable[[list[str]], Any], program: str) -> str:
    """Return what a command with a parser of its own says of itself."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="100"),
        mock.patch("sys.argv", [program]),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main(["--help"])
    return f"## {name}\n\n{text}\n\n```text\n{printed.getvalue().strip()}\n```"
