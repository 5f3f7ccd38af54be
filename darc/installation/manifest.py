"""Files and folders that were installed: made with a record of each, and removed by that record only."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darc.errors import DARCError
from darc.formats.files import read_text, write_complete

#: Longest record, in bytes.
_BYTES_MAX = 1 << 20


class InstallationError(DARCError):
    """Something cannot be installed, or not be undone."""


@dataclass(frozen=True)
class Item:
    """What is to be there.

    Attributes:
        path: file or folder
        content: of a file; None: a folder
        mode: permissions
        owned: whether it belongs to the user of the service, with the folders that have to be made for it
        kept: whether a file that is there already stays as it is, as keys do
    """

    path: Path
    content: str | None = None
    mode: int = 0o755
    owned: bool = False
    kept: bool = False


class Installation:
    """What was made on a host, and by which record.

    Args:
        record: file that names what was made
        owner: user and group IDs that files and folders of the service get; None: those of this process
        tell: told each thing that is done
        dry_run: whether it is told only
    """

    def __init__(
        self,
        record: Path,
        owner: tuple[int, int] | None = None,
        tell: Callable[[str], object] = print,
        dry_run: bool = False,
    ) -> None:
        self.record = record
        self.owner = owner
        self.tell = tell
        self.dry_run = dry_run
        self._told: set[Path] = set()
        # digest of what was written, empty for a folder; in the order in which they were made
        self.made: dict[str, str] = self._read()

    def _read(self) -> dict[str, str]:
        if not self.record.exists():
            return {}
        try:
            made = json.loads(read_text(self.record, _BYTES_MAX, InstallationError))["made"]
            return {str(path): str(digest) for path, digest in made.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InstallationError(
                f"{self.record}: no record of an installation; remove by hand what it was to name"
            ) from error

    def install(self, items: Sequence[Item]) -> None:
        """Make what is not there, and replace files that were made before and nobody changed.

        Raises:
            InstallationError: a file is there that this did not make, or something cannot be made
        """
        for item in items:
            self._refuse_others(item)
        try:
            for item in items:
                self._make_folders(item)
                if item.content is not None:
                    self._make_file(item)
        except OSError as error:
            raise InstallationError(f"{error.filename}: {error.strerror}; run this as root?") from error

    def _refuse_others(self, item: Item) -> None:
        if item.content is None or item.kept or not item.path.exists():
            return
        present = digest_of(item.path)
        if present not in (self.made.get(str(item.path)), digest(item.content)):
            whose = "was changed since" if str(item.path) in self.made else "is there and is not of DARC"
            raise InstallationError(f"{item.path} {whose}: move it away first; nothing was done")

    def _make_folders(self, item: Item) -> None:
        path, mode = (item.path, item.mode) if item.content is None else (item.path.parent, 0o755)
        for folder in reversed([each for each in (path, *path.parents) if not each.exists()]):
            if folder in self._told:
                continue
            self._told.add(folder)
            self.tell(f"make folder   {folder}")
            if not self.dry_run:
                folder.mkdir(mode)
                if item.owned and self.owner is not None:
                    os.chown(folder, *self.owner, follow_symlinks=False)
                self._note(folder, "")

    def _make_file(self, item: Item) -> None:
        assert item.content is not None
        if item.path.exists() and (item.kept or digest_of(item.path) == digest(item.content)):
            self.tell(f"there already {item.path}")
            return
        self.tell(f"write file    {item.path}{' (a new key)' if item.kept else ''}")
        if self.dry_run:
            return
        item.path.unlink(missing_ok=True)
        # whoever owns the folder may have put a link there meanwhile
        number = os.open(item.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, item.mode)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            os.fchmod(number, item.mode)
            if item.owned and self.owner is not None:
                os.fchown(number, *self.owner)
            file.write(item.content)
        self._note(item.path, digest(item.content))

    def _note(self, path: Path, what: str) -> None:
        """Record at once what was made, so that also an installation that was interrupted can be undone."""
        self.made[str(path)] = what
        if self.record.parent.is_dir():
            content = json.dumps({"made": self.made}, indent=2) + "\n"
            write_complete(self.record, content, InstallationError, durable=True)

    def undo(self) -> list[str]:
        """Remove what was made, the last first; what was changed or filled since is left and returned.

        Raises:
            InstallationError: there is no record, or something cannot be removed
        """
        if not self.record.exists():
            raise InstallationError(f"nothing to undo: there is no {self.record}")
        return list(self._remove_all())

    def _remove_all(self) -> Iterator[str]:
        own = {str(self.record.parent), *map(str, self.record.parents)}
        later = []
        for name, what in reversed(self.made.items()):
            if not what and name in own:
                later.append(Path(name))
                continue
            yield from self._remove(Path(name), what)
        self.tell(f"remove file   {self.record}")
        if not self.dry_run:
            self.record.unlink()
        for folder in later:
            yield from self._remove(folder, "")

    def _remove(self, path: Path, what: str) -> Iterator[str]:
        if not os.path.lexists(path):
            return
        if what and (not path.is_file() or path.is_symlink() or digest_of(path) != what):
            yield f"{path} was changed since"
            return
        if not what and not path.is_dir():
            yield f"{path} is no folder any more"
            return
        if self.dry_run:
            self.tell(f"remove {'file  ' if what else 'folder'} {path}{'' if what else ', if it is empty'}")
            return
        try:
            if what:
                path.unlink()
            else:
                path.rmdir()
        except OSError as error:
            if what or not any(path.iterdir()):
                raise InstallationError(f"{path}: {error.strerror}; run this as root?") from error
            yield f"{path} is not empty"
            return
        self.tell(f"remove {'file  ' if what else 'folder'} {path}")


def digest(content: str) -> str:
    """Return what a file of this content is known by."""
    return hashlib.sha256(content.encode()).hexdigest()


def digest_of(path: Path) -> str:
    """Return what a file is known by; of no use where it cannot be read."""
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return "unreadable"
