"""AMBER's files put together to one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from darc.errors import DARCError
from darc.formats.amber import COMPACTED_COLUMNS, header
from darc.formats.amber_config import count_instances
from darc.formats.files import read_bytes, write_complete
from darc.offline.plan import Account, Done, OfflineError
from darc.offline.work import Work

#: Largest file that is read, in bytes: some 15 million rows.
AMBER_BYTES_MAX = 2**30


def merge_amber_files(work: Work, account: Account) -> Done:
    """Write all rows of all AMBER instances to one file.

    Raises:
        OfflineError: there is no file, or the merged one cannot be written
    """
    contents: list[bytes] = []
    files, problems = trigger_files(work)
    for path in files:
        account.check()
        try:
            contents.append(read_bytes(path, AMBER_BYTES_MAX, OfflineError))
        except OfflineError as error:
            problems.append(str(error))
            continue
        if not contents[-1].strip():
            problems.append(f"{path}: is empty, without even a header: was this instance of AMBER running?")
    if not contents:
        raise OfflineError(f"no trigger files of AMBER: {'; '.join(problems) or 'see amber_dir'}")
    write_complete(work.amber, merged(contents), OfflineError)
    return Done(problems=problems)


def trigger_files(work: Work) -> tuple[list[Path], list[str]]:
    """Return the files that AMBER should have written, and no problem.

    If its settings cannot be read, return the files that are there, and why.

    Raises:
        OfflineError: the observation's configuration does not say where they are
    """
    folder, name = Path(_setting(work, "amber_dir")), f"CB{work.beam.beam:02d}_step"
    try:
        number = count_instances(_setting(work, "amber_config"))
    except DARCError as error:
        there = sorted(folder.glob(f"{name}*.trigger"))
        return there, [f"how many files AMBER should have written is not known: {error}"]
    return [folder / f"{name}{step}.trigger" for step in range(1, number + 1)], []


def _setting(work: Work, key: str) -> str:
    value = work.beam.obs_config.get(key)
    if not value:
        raise OfflineError(f"the observation's configuration has no key {key!r}")
    return str(value)


def merged(contents: Iterable[bytes]) -> bytes:
    r"""Return the content of files of AMBER, one after the other.

    A header counts until the next one. So that none counts for the rows of another file, each file begins
    with one: if it has none, with that of the form its first row has. A last line without its end gets one.

    >>> merged([b"", b"1 2 3 4 5 6 7 8"]).split(b"\\n")[1]
    b'1 2 3 4 5 6 7 8'
    """
    parts = []
    for content in contents:
        if not content.strip():
            continue
        first = content.lstrip().partition(b"\n")[0]
        if not first.startswith(b"#"):
            parts.append(header(compacted=len(first.split()) == len(COMPACTED_COLUMNS.split())).encode())
        parts.append(content if content.endswith(b"\n") else content + b"\n")
    return b"".join(parts)
