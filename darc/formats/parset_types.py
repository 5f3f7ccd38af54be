"""What the values of parset keys have to be: from text, or from what YAML made of it, to typed values.

Every reader takes any object and raises ValueError, TypeError or AttributeError for one that it does not
allow.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from darc.formats.utc import header_text

_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


def whole_number(value: Any) -> int:
    """Read an integer of at most 18 digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not _WHOLE_NUMBER.fullmatch(value):
        raise ValueError
    return int(value)


def finite_number(value: Any) -> float:
    """Read a number, but no infinity and no NaN."""
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def boolean(value: Any) -> bool:
    """Read true or false, yes or no, on or off, 1 or 0, in any case."""
    if isinstance(value, bool):
        return value
    word = value.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def beam_list(value: Any) -> list[int]:
    """Read a list of integers, in text as JSON."""
    beams = json.loads(value) if isinstance(value, str) else value
    if not isinstance(beams, list) or not all(type(beam) is int for beam in beams):
        raise ValueError
    return beams


def plain_text(value: Any) -> str:
    """Read text that YAML may have taken for a number, a date or a time."""
    if isinstance(value, datetime):
        return header_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return str(value)


#: Keys of an observation's configuration that hold more than text: the reader, and what it allows.
TYPED_KEYS: dict[str, tuple[Callable[[Any], Any], str]] = {
    **dict.fromkeys(
        ("startpacket", "beam", "ntabs", "nsynbeams", "network_port_event_i", "network_port_event_iquv"),
        (whole_number, "a whole number"),
    ),
    **dict.fromkeys(
        ("duration", "history_i", "history_iquv", "snrmin", "min_freq"), (finite_number, "a finite number")
    ),
    **dict.fromkeys(("proctrigger", "enable_iquv"), (boolean, "True or False")),
    "beams": (beam_list, "a list of beam numbers such as [0, 1, 2]"),
}
#: Keys that hold text, whatever YAML makes of their value.
TEXT_KEYS: dict[str, tuple[Callable[[Any], Any], str]] = dict.fromkeys(
    ("amber_config", "amber_dir", "output_dir", "master_dir", "date", "datetimesource", "source", "freq",
     "utc_start", "parset"),
    (plain_text, "text"),
)  # fmt: skip
