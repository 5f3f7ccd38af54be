"""Triggers as they travel: to the DADA trigger on the same node, and to the queues of the master node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from darc.errors import DARCError
from darc.formats.utc import header_text, parse_utc

if TYPE_CHECKING:
    from astropy.time import Time

#: Keys of an item of the master node's queues that have to be numbers.
NUMBERS = (
    *("dm", "dm_err", "width", "snr", "flux", "semiMaj", "semiMin", "ra", "dec", "ymw16", "importance"),
    *("cb", "sb", "tarr", "dt", "delta_nu_MHz", "nu_GHz"),
)
#: Units of those that have one.
UNITS = {
    **{"dm": "pc/cm3", "dm_err": "pc/cm3", "ymw16": "pc/cm3", "width": "ms", "flux": "Jy", "ra": "deg"},
    **{"dec": "deg", "semiMaj": "arcmin", "semiMin": "arcmin", "tarr": "s", "dt": "s"},
    **{"delta_nu_MHz": "MHz", "nu_GHz": "GHz"},
}
#: Those of them that have to be above 0.
POSITIVE = ("width", "dt", "delta_nu_MHz", "nu_GHz")
#: No number that has to be above 0 is as small as this, in the units that travel.
TINY = 1e-9
NEEDED_BY_LOFAR = ("dm", "utc", "snr", "cb")
NEEDED_BY_VOEVENT = (
    *("dm", "dm_err", "width", "snr", "flux", "semiMaj", "semiMin", "ra", "dec", "ymw16"),
    *("name", "importance", "utc"),
)

#: Name of a trigger that comes from no known source.
NEW_SOURCE = "candidate"
#: Semi-axes in arcmin of the position sent with a trigger: half the width of a compound beam.
SEMI_AXIS_ARCMIN = 15.0
#: Importance of a trigger, 0 to 1: found by a machine, seen by nobody.
IMPORTANCE = 0.1

STOKES = ("I", "IQUV")


class TriggerError(DARCError):
    """A trigger is not as its receiver needs it."""


@dataclass(frozen=True)
class DumpTrigger:
    """A trigger as the DADA trigger takes it.

    Attributes:
        stokes: which data to dump, I or IQUV
        dm: dispersion measure in pc cm^-3
        beam: SB index
        width: width in samples
        snr: signal-to-noise ratio
        time_s: arrival time in s from the start of the data, top of the band
        utc_start: start of the data, a time or a text that is one; not needed in an observation
    """

    stokes: str
    dm: float
    beam: int
    width: float
    snr: float
    time_s: float
    utc_start: Time | str | None = None

    def as_item(self) -> dict[str, Any]:
        """Return the dictionary that travels."""
        return {
            "stokes": self.stokes,
            "dm": self.dm,
            "beam": self.beam,
            "width": self.width,
            "snr": self.snr,
            "time": self.time_s,
            "utc_start": self.utc_start,
        }

    @classmethod
    def from_item(cls, item: Any) -> DumpTrigger:
        """Read the dictionary that travels.

        Raises:
            TriggerError: a key is missing, or a value is not what it has to be
        """
        trigger = _mapping(item, ("stokes", "dm", "beam", "width", "snr", "time"))
        if trigger["stokes"] not in STOKES:
            raise TriggerError(f"stokes of the trigger is {trigger['stokes']!r:.100}, neither I nor IQUV")
        dm, beam, width, snr, time_s = (
            _number(key, trigger[key]) for key in ("dm", "beam", "width", "snr", "time")
        )
        return cls(trigger["stokes"], dm, int(beam), width, snr, time_s, trigger.get("utc_start"))

    @property
    def utc_start_text(self) -> str:
        """Start of the data in whole seconds, `YYYY-MM-DD-HH:MM:SS`.

        Raises:
            DARCError: `utc_start` is neither a time nor a text that is one
        """
        text = getattr(self.utc_start, "isot", self.utc_start)
        if not isinstance(text, str):
            raise TriggerError(f"utc_start of the trigger is {self.utc_start!r:.100}, not a time")
        return header_text(parse_utc(text))


def check_item(item: Any, needed: Iterable[str]) -> dict[str, Any]:
    """Return an item of a trigger queue of the master node, checked.

    Args:
        item: dictionary with `dm` and `dm_err` (pc cm^-3), `width` (ms), `snr`, `flux` (Jy), `ra` and `dec`
            (deg), `semiMaj` and `semiMin` (arcmin), `ymw16` (pc cm^-3), `utc` (ISOT, centre of the band),
            `cb`, `sb`, `name`, `importance`, `dt` (s), `delta_nu_MHz`, `nu_GHz` and optionally `test` and
            `arrived`, when AMBER's rows came to the node in unix s, which is not checked
        needed: keys that have to be there; others are left as they are

    Raises:
        DARCError: a key is missing, or a value is not what it has to be
    """
    checked = _mapping(item, needed)
    for key in NUMBERS:
        if checked.get(key) is not None:
            checked[key] = _number(key, checked[key])
            if key in POSITIVE and checked[key] < TINY:
                raise TriggerError(f"{key} of the trigger is {checked[key]}; it has to be above 0")
    if checked.get("dec") is not None and abs(checked["dec"]) > 90:
        raise TriggerError(f"dec of the trigger is {checked['dec']} deg; it has to be from -90 to 90")
    for key in ("utc", "name"):
        if not isinstance(checked.get(key, ""), str):
            raise TriggerError(f"{key} of the trigger is {checked[key]!r:.100}, not text")
    if "utc" in checked:
        checked["utc"] = checked["utc"].strip()
        parse_utc(checked["utc"])
    return checked


def _mapping(item: Any, needed: Iterable[str]) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise TriggerError(f"a trigger has to be a dictionary, not {type(item).__name__}: {item!r:.100}")
    missing = [key for key in needed if item.get(key) is None]
    if missing:
        raise TriggerError(f"the trigger has no {', '.join(missing)}: {dict(item)!r:.200}")
    return dict(item)


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if isinstance(value, bool) or not isfinite(number):
        raise TriggerError(f"{key} of the trigger is {value!r:.100}, not a number")
    return value if isinstance(value, int) else number


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
