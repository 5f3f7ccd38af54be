"""A configuration that a client pushes to this node: checked first, on all nodes, then applied.

Whoever may do this decides which programs run here, for the configuration names some: a proof is needed from
everybody, clients of this host included (`darc.network.authentication`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from darc.config import check_config, load_config
from darc.config_files import ConfigError, Problem
from darc.errors import DARCError

#: Digits of a digest that people compare.
_DIGITS = 12


class PushError(DARCError):
    """A configuration cannot be checked or applied on this node."""


def check(content: str, path: Path | None, node: str | None) -> str:
    """Check a configuration as this node would read it; nothing is changed.

    Args:
        content: of the site's file
        path: where the site's file of this node is
        node: name of this node

    Returns:
        what applying it would do

    Raises:
        DARCError: with every mistake, or it cannot be applied here
    """
    target = _target(path)
    with _written(content, target, node):
        return _difference(_read(target), content.encode())


def apply(content: str, path: Path | None, node: str | None) -> str:
    """Make a configuration that of this node, and keep the one before beside it, as `FILE.previous`.

    Each of the two files is complete at any time, also after a power cut. Nothing happens where the
    configuration is the same, as on all but the first of the nodes that share a file.

    Args:
        content: of the site's file
        path: where the site's file of this node is
        node: name of this node

    Returns:
        what was done

    Raises:
        DARCError: it has mistakes or cannot be written; the configuration is what it was
    """
    target = _target(path)
    before, after = _read(target), content.encode()
    what = _difference(before, after)
    if before == after:
        return what
    with _written(content, target, node) as aside, _aside(before, target) as kept:
        kept.rename(target.with_name(f"{target.name}.previous"))
        aside.rename(target)
    return what


def _target(path: Path | None) -> Path:
    if path is None:
        raise PushError(
            "this node has no site's file to replace: make one with `darc init`, then restart its master"
        )
    return Path(os.path.realpath(path))


def _read(target: Path) -> bytes:
    try:
        return target.read_bytes()
    except OSError as error:
        raise PushError(f"{target} cannot be read: {error.strerror}") from error


def _difference(before: bytes, after: bytes) -> str:
    old, new = (hashlib.sha256(content).hexdigest()[:_DIGITS] for content in (before, after))
    return f"{new}, as it is" if old == new else f"{old} -> {new}"


@contextlib.contextmanager
def _written(content: str, target: Path, node: str | None) -> Iterator[Path]:
    """Have a configuration without mistakes in a file beside the one in use.

    Raises:
        DARCError: it has mistakes
    """
    with _aside(content.encode(), target) as aside:
        problems = check_config(aside)
        if not problems:
            try:
                load_config(aside, node)
            except ConfigError as error:  # this node is not in it
                problems = list(error.problems)
        if problems:
            # lines count in the file that was pushed, whatever it is called there
            told = (Problem(p.allowed, None, None, _place(p, aside), p.value) for p in problems)
            raise PushError("; ".join(map(str, told)))
        yield aside


def _place(problem: Problem, aside: Path) -> str:
    line = f"line {problem.line}" if problem.line and problem.file == aside else ""
    return ": ".join(filter(None, (line, problem.key)))


@contextlib.contextmanager
def _aside(content: bytes, target: Path) -> Iterator[Path]:
    """Have a file with some content beside another one, with its mode; it is gone afterwards unless moved."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        aside = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(target, aside)
            yield aside
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise PushError(
            f"cannot write beside {target}: {error.strerror}; its folder has to be writable for the user of "
            "this node's master"
        ) from error
