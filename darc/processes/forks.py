"""The server that processes are forked from: what it imports once, each of them has at its start."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
from collections.abc import Sequence

_VARIABLE, _VALUE = "PYTHONSAFEPATH", "in processes of darc"


def prepare_forks(module_names: Sequence[str]) -> None:
    """Have the server of this process import modules, while the caller goes on.

    Each process that is forked from it then starts at once and shares their memory. A module that cannot be
    imported is left out there; who needs it says what is wrong with it.

    Args:
        module_names: what to import
    """
    # Whatever multiprocessing tells it, the server looks into the current folder first. In a user's home that
    # has the folder `darc` with the files of a site, which would be taken for this package. The server may
    # have to be started again, so this holds for as long as the process lives.
    os.environ.setdefault(_VARIABLE, _VALUE)
    multiprocessing.set_forkserver_preload(list(module_names))
    multiprocessing.forkserver.ensure_running()


def end_forks() -> None:
    """End the server that processes are forked from, once none of them lives, and what it brought along.

    They would end by themselves a moment after this process. Multiprocessing says so only to its own tests.
    """
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
    multiprocessing.resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


def foreign_environment() -> dict[str, str]:
    """Return the environment for a program that is not ours: one in Python may import from its own folder."""
    return {name: value for name, value in os.environ.items() if (name, value) != (_VARIABLE, _VALUE)}
