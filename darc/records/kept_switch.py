"""A switch that holds after a restart, too, where a site wants that."""

from __future__ import annotations

from pathlib import Path

from darc.errors import DARCError
from darc.formats.files import write_complete

#: The words for on and off.
_WORDS = {True: "enabled", False: "disabled"}


class SwitchError(DARCError):
    """A switch cannot be written down."""


def word(is_on: bool) -> str:
    """Return the word for a state."""
    return _WORDS[is_on]


def state(is_on: bool, test: bool) -> str:
    """Return the words for a switch of events, and for whether all of them are tests."""
    return word(is_on) + (", all events are tests" if test else "")


def keep(path: Path, is_on: bool) -> None:
    """Write down how a switch was set.

    Args:
        path: file of what the switch belongs to; the switch is in a file beside it
        is_on: how it was set

    Raises:
        SwitchError: the disk does not take it
    """
    write_complete(_beside(path), word(is_on) + "\n", SwitchError, durable=True)


def kept(path: Path) -> bool | None:
    """Return how a switch was set; None: that is not known."""
    try:
        text = _beside(path).read_text(errors="replace").strip()
    except OSError:
        return None
    return next((is_on for is_on, each in _WORDS.items() if each == text), None)


def _beside(path: Path) -> Path:
    return path.with_suffix(".switch")
