"""Triggers as they travel: to the DADA trigger on the same node, and to the queues of the master node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from darc.errors import DARCError

#: Keys of an item of the master node's queues that have to be numbers.
NUMBERS = (
    *("dm", "dm_err", "width", "snr", "flux", "semiMaj", "semiMin", "ra", "dec", "ymw16", "importance"),
    *("cb", "sb", "tarr", "dt", "delta_nu_MHz", "nu_GHz"),
)
NEEDED_BY_LOFAR = ("dm", "utc", "snr", "cb")
NEEDED_BY_VOEVENT = (
    *("dm", "dm_err", "width", "snr", "flux", "semiMaj", "semiMin", "ra", "dec", "ymw16"),
    *("name", "importance", "utc"),
)

#: Name of a trigger that comes from no known source.
NEW_SOURCE = "candidate"


class TriggerError(DARCError):
    """An item of a trigger queue is not as its receiver needs it."""


def check_item(item: Any, needed: Iterable[str]) -> dict[str, Any]:
    """Return an item of a trigger queue, checked.

    Args:
        item: dictionary with `dm` and `dm_err` (pc cm^-3), `width` (ms), `snr`, `flux` (Jy), `ra` and `dec`
            (deg), `semiMaj` and `semiMin` (arcmin), `ymw16` (pc cm^-3), `utc` (ISOT, centre of the band),
            `cb`, `sb`, `name`, `importance`, `dt` (s), `delta_nu_MHz`, `nu_GHz` and optionally `test`
        needed: keys that have to be there; others are left as they are

    Raises:
        TriggerError: a key is missing or no number where one is needed
    """
    if not isinstance(item, Mapping):
        raise TriggerError(f"a trigger has to be a dictionary, not {type(item).__name__}: {item!r:.100}")
    missing = [key for key in needed if item.get(key) is None]
    if missing:
        raise TriggerError(f"the trigger has no {', '.join(missing)}: {dict(item)!r:.200}")
    checked = dict(item)
    for key in NUMBERS:
        if checked.get(key) is not None:
            checked[key] = _number(key, checked[key])
    return checked


def _number(key: str, value: Any) -> float:
    if isinstance(value, int):
        return value
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TriggerError(f"{key} of the trigger is {value!r}, not a number") from error


def pick(triggers: list[dict[str, Any]], *, known_first: bool) -> tuple[dict[str, Any], int]:
    """Return the trigger with the highest S/N and the number of distinct compound beams.

    Args:
        triggers: checked items
        known_first: whether any trigger of a known source goes before all others
    """

    def rank(trigger: dict[str, Any]) -> tuple[bool, float]:
        known = trigger.get("name", NEW_SOURCE) != NEW_SOURCE
        return known_first and known, trigger["snr"]

    beams = {trigger.get("cb") for trigger in triggers}
    return max(triggers, key=rank), len(beams)
