"""Files that are read or written whole, with errors that name the file.

Small text files of others are read up to a limit; what others wait for appears complete or not at all.
"""

from __future__ import annotations

import errno
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darc.errors import DARCError
from darc.formats.yaml_text import Fault, YAMLTextError, parse_yaml

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 80
_shortener.maxlevel = 2


def shown(value: object) -> str:
    """Return `repr(value)`, shortened so that it fits into a message."""
    return _shortener.repr(value)


def read_text(path: Path, max_bytes: int, error_class: type[DARCError]) -> str:
    """Return the content of a UTF-8 file.

    Raises:
        error_class: as `read_bytes`, or not UTF-8
    """
    try:
        return read_bytes(path, max_bytes, error_class).decode("utf-8")
    except UnicodeDecodeError as error:
        raise error_class(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def read_bytes(path: Path, max_bytes: int, error_class: type[DARCError]) -> bytes:
    """Return the content of a file.

    Raises:
        error_class: no regular file, not readable, or larger than `max_bytes`
    """
    try:
        check_is_file(path, error_class)  # opening a FIFO would wait for its writer
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise error_class(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise error_class(f"{path}: larger than {max_bytes} bytes; is it the right file?")
    return content


def check_is_file(path: Path, error_class: type[DARCError]) -> None:
    """Refuse a path at which there is no regular file.

    Raises:
        error_class: there is none
    """
    if not path.is_file():
        there = "is no file" if path.exists() else "there is no such file"
        raise error_class(f"{path}: {there}; check the path")


def write_complete(
    path: Path, content: str | bytes, error_class: type[DARCError], *, durable: bool = False
) -> None:
    """Write a file that others wait for: it appears complete, in place of an older one, or not at all.

    Args:
        path: the file
        content: text, which is written as UTF-8, or bytes
        error_class: class of errors
        durable: whether it has to survive a power cut from now on

    Raises:
        error_class: as `written_aside`
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with written_aside(path, error_class, durable=durable) as aside:
        aside.write_bytes(data)


@contextmanager
def written_aside(path: Path, error_class: type[DARCError], *, durable: bool = False) -> Iterator[Path]:
    """Give a path beside that of a file, `<name>.<process>.part`; what is written there is then renamed.

    Missing folders are made. Where something fails, nothing is left.

    Args:
        path: the file
        error_class: class of errors
        durable: whether it has to survive a power cut from now on, for which the disk is waited for

    Raises:
        error_class: it could not be written; names the disk's mount point when that is full
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            if durable:
                _sync(aside)
            aside.replace(path)
            if durable:
                _sync(path.parent)
        finally:
            aside.unlink(missing_ok=True)  # not there any more if all went well
    except OSError as error:
        reason = error.strerror or str(error)  # h5py gives no number
        raise error_class(f"{path}: cannot be written: {reason}{_advice(error, path)}") from error


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _advice(error: OSError, path: Path) -> str:
    """Say which disk is full."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    disk = next(folder for folder in (path.absolute().parent, *path.absolute().parents) if folder.is_mount())
    return f"; free space on the disk mounted at {disk}"


def read_yaml_mapping(path: Path, max_bytes: int, error_class: type[DARCError]) -> dict[str, Any]:
    """Return the content of a YAML file whose top level is a mapping; an empty file is an empty mapping.

    Raises:
        error_class: as `read_text`, or not a YAML mapping with text as keys, or a key twice
    """
    text = read_text(path, max_bytes, error_class)
    try:
        content = parse_yaml(text)
    except YAMLTextError as error:
        raise error_class(f"{path}: {'; '.join(map(_fault_text, error.faults))}") from error
    if not all(isinstance(key, str) for key in content):
        raise error_class(f"{path}: the keys have to be text, not {shown(list(content))}")
    return content


def _fault_text(fault: Fault) -> str:
    where = f"line {fault.line}: " if fault.line else ""
    return f"{where}{fault.key or 'the file'} {fault.reason}"
