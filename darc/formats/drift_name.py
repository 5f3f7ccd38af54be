"""Names of drift scans: which source drifts through which compound beams.

`<calibrator>drift<BB>` is a scan of one compound beam, `<calibrator>drift<BBEE>` one of all from the first to
the last, in either order, such as `3C286drift00` and `3C286drift0107`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(?P<calibrator>.+)drift(?P<first>\d\d)(?P<last>\d\d)?", re.ASCII)


@dataclass(frozen=True)
class DriftScan:
    """A source that drifts through compound beams.

    Attributes:
        calibrator: its name
        beams: compound beams that it comes through
    """

    calibrator: str
    beams: range


def build_drift_name(calibrator: str, first: int, last: int | None = None) -> str:
    """Return the name of a drift scan through the beams `first` to `last`, or through one."""
    return f"{calibrator}drift{first:02d}" + ("" if last is None else f"{last:02d}")


def parse_drift_name(name: str) -> DriftScan | None:
    """Read the name of a source; None if it is not that of a drift scan."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    first = int(match["first"])
    ends = sorted((first, int(match["last"] or first)))
    return DriftScan(match["calibrator"], range(ends[0], ends[1] + 1))
