"""Other programs that read filterbank files, each installed on its own: they need other packages."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

#: Header fields, as both programs name them, and samples, shape (nsample, nchan).
Answer = tuple[np.ndarray, dict[str, float]]
Reader = Callable[[Path, int, int], Answer]
#: Versions that are installed; where they go.
YOUR, SIGPYPROC = "your==0.6.7", "sigpyproc==2.0.0"
FOLDER = Path(sys.prefix) / "readers"
INSTALL_S = 600.0
#: What sigpyproc makes of a file, as a program of its own.
PROGRAM = """
import json, sys
from sigpyproc.readers import FilReader
fil = FilReader(sys.argv[1])
block = fil.read_block(int(sys.argv[2]), int(sys.argv[3]))
header = fil.header
print(json.dumps({"data": block.data.astype(float).tolist() if hasattr(block, "data") else block.tolist(),
  "nchans": header.nchans, "tsamp": header.tsamp, "fch1": header.fch1, "foff": header.foff,
  "nsamples": header.nsamples, "tstart": header.tstart}))
"""
VERSIONS = "import platform, sigpyproc; print(f'{sigpyproc.__version__}, Python {platform.python_version()}')"


class NotHereError(Exception):
    """A program is not here; the message says what to do."""


def readers(short: bool) -> tuple[tuple[str, Callable[[], tuple[str, Reader]]], ...]:
    """Return the names of the programs, and what gets each: its version, and what reads with it.

    Args:
        short: take only what is installed

    """
    return ("your", lambda: by_your(short)), ("sigpyproc", lambda: by_sigpyproc(short))


def by_your(short: bool) -> tuple[str, Reader]:
    """Return `your`, of which the reader of SIGPROC files needs numpy alone.

    Raises:
        NotHereError: it is not installed

    """
    folder = Path(os.environ.get("DARC_TEST_YOUR") or FOLDER / "your")
    if not (folder / "your").exists():
        if short:
            raise NotHereError(
                f"pip install --no-deps --target FOLDER {YOUR}, and set DARC_TEST_YOUR to that folder"
            )
        install([sys.executable, "-m", "pip"], "--no-deps", "--target", str(folder), YOUR)
    package = ModuleType("your")
    package.__path__ = [str(folder / "your")]
    sys.modules["your"] = package
    module = importlib.import_module("your.formats.pysigproc")
    (about,) = folder.glob("your-*.dist-info")

    def read(path: Path, first: int, number: int) -> Answer:
        file = module.SigprocFile(str(path))
        found = {name: getattr(file, name) for name in ("nchans", "tsamp", "fch1", "foff", "tstart")}
        return np.asarray(file.get_data(first, number)[:, 0]), {**found, "nsamples": file.nspectra()}

    return about.stem.removeprefix("your-"), read


def by_sigpyproc(short: bool) -> tuple[str, Reader]:
    """Return sigpyproc, which needs Python 3.12 or later.

    Raises:
        NotHereError: it is not installed, or there is no such Python

    """
    python = os.environ.get("DARC_TEST_SIGPYPROC") or str(FOLDER / "sigpyproc" / "bin" / "python")
    if not Path(python).exists():
        if short:
            raise NotHereError(f"set DARC_TEST_SIGPYPROC to a Python 3.12 or later that has {SIGPYPROC}")
        answer([newer_python(), "-m", "venv", str(FOLDER / "sigpyproc")])
        install([python, "-m", "pip"], SIGPYPROC)

    def read(path: Path, first: int, number: int) -> Answer:
        found: dict[str, Any] = json.loads(
            answer([python, "-c", PROGRAM, str(path), str(first), str(number)]).splitlines()[-1]
        )
        return np.array(found.pop("data")).T, found

    return answer([python, "-c", VERSIONS]).splitlines()[-1], read


def newer_python() -> str:
    """Return a Python 3.12 or later; raise NotHereError if there is none that runs."""
    names = [sys.executable] * (sys.version_info >= (3, 12)) + ["python3.12", "python3.13"]
    for name in filter(None, map(shutil.which, names)):
        try:
            answer([name, "-c", "import ensurepip, venv"])
        except NotHereError:
            continue
        return name
    raise NotHereError("no Python 3.12 or later here; or set DARC_TEST_SIGPYPROC to one that has sigpyproc")


def install(pip: list[str], *what: str) -> None:
    """Install a package; raise NotHereError if that fails."""
    answer([*pip, "install", "--quiet", "--disable-pip-version-check", *what])


def answer(command: list[str]) -> str:
    """Return what a command prints; raise NotHereError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode:
        raise NotHereError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-300:]}")
    return done.stdout
