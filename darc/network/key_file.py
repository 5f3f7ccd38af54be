"""Keys that nodes share, each in a file of its own that nobody but its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from darc.errors import DARCError

#: Bytes of a key that we make; written in hexadecimal.
KEY_BYTES = 32


class KeyFileError(DARCError):
    """A key cannot be read, or can be read by others."""


def read_key(path: Path | str, purpose: str, *, make: bool = False) -> bytes:
    """Return the key that a file holds, without white space around it.

    Args:
        path: the file
        purpose: what the key is for, such as `the command port`
        make: whether to make the file with a new key if it is missing

    Raises:
        KeyFileError: there is no key, or one that others than its owner may read or change
    """
    path = Path(path)
    try:
        if make and not path.exists():
            _make_key(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise KeyFileError(
                    f"{path} (the key for {purpose}) has mode {mode:04o} and can be read or changed by "
                    f"others than its owner; chmod 600 {path}"
                )
            key = file.read().strip()
    except OSError as error:
        raise KeyFileError(
            f"no key for {purpose}: {path}: {error.strerror}; copy the file from the master node, which "
            "makes it at its first start"
        ) from error
    if not key:
        raise KeyFileError(f"{path} (the key for {purpose}) is empty: remove it and copy or make it again")
    return key


def _make_key(path: Path) -> None:
    """Make a file with a new key, complete or not at all; one that another process makes meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
