"""Blocks of code in the documentation: which there are, and how they are run.

    python      run
    pycon       run, and what is printed compared as by doctest (`...` stands for anything)
    console     lines of `$ command` are run, and what they print compared likewise
    any other   shown only

The blocks of a page share their names and a folder. A comment in the line above a block changes what is done:
`<!-- file: NAME -->` writes it to a file of that folder, `<!-- shown only: REASON -->` does not run it.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).resolve().parent
#: Languages that are run.
RUN = ("python", "pycon", "console")
LONGEST_S = 60.0
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<note>file|shown only): (?P<what>.+?) -->\n)?"
    r"^(?P<indent> *)```(?P<kind>[\w-]+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block: its language, its text, the line of the page that it begins in, and the comment above it."""

    kind: str
    text: str
    line: int
    note: str
    what: str


class WrongError(Exception):
    """What the documentation shows is not what happens."""


def pages() -> list[Path]:
    """Return the pages that people wrote."""
    own = (path for path in sorted(DOCS.rglob("*.md")) if "generated" not in path.parts)
    return [path for path in own if "_build" not in path.parts]


def of_page(path: Path) -> list[Block]:
    """Return the blocks of a page that something is done with."""
    found = blocks(path.read_text(encoding="utf-8"))
    return [block for block in found if block.note or block.kind in RUN]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page."""
    return [
        Block(
            found["kind"],
            textwrap.dedent(found["text"]),
            text.count("\n", 0, found.start("kind")) + 1,
            found["note"] or "",
            found["what"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def run(block: Block, folder: Path, names: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Do what is to be done with a block.

    Args:
        block: the block
        folder: the current folder, for files and commands
        names: those of the page so far, which Python may add to
        environment: of commands

    Raises:
        WrongError: something else is printed than the block shows
    """
    if block.note == "file":
        (folder / block.what).write_text(block.text, encoding="utf-8")
    elif block.note == "shown only":
        return
    elif block.kind == "python":
        exec(compile(block.text, f"line {block.line}", "exec"), names)  # noqa: S102 (our own pages)
    elif block.kind == "pycon":
        _run_doctest(block, names)
    elif block.kind == "console":
        for command, expected in commands(block.text):
            _compare(expected, _output(command, folder, environment), f"line {block.line}: $ {command}")


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a block, each with what it prints."""
    parts = re.split(r"^\$ (.+)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _run_doctest(block: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, f"line {block.line}", None, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    if runner.run(test, out=said.append, clear_globs=False).failed:
        raise WrongError("".join(said))
    names.update(test.globs)


def _output(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return what a command prints; those of DARC are run by this Python."""
    program, *arguments = shlex.split(command)
    if program != "darc":
        raise WrongError(f"{command}: only commands of darc can be run")
    ended = subprocess.run(
        [sys.executable, "-m", "darc.control", *arguments],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    return ended.stdout.replace(f"{folder}/", "")


def _compare(expected: str, found: str, where: str) -> None:
    if not doctest.OutputChecker().check_output(expected, found, FLAGS):
        raise WrongError(f"{where}\nshown:\n{expected}\nprinted:\n{found}")
