"""How often other telescopes may be interrupted."""

from __future__ import annotations

from collections.abc import Iterable

_HOUR_S = 3600.0


def refusal(now: float, times: Iterable[float], min_spacing_s: float, max_per_hour: int | None) -> str | None:
    """Return why an event may not be sent now, with numbers; None if it may.

    Args:
        now: unix s
        times: when events were sent before, in unix s
        min_spacing_s: least time between two events in s
        max_per_hour: number of events within an hour; None: any
    """
    # a clock that was set back must not let more through: the time between two events has no sign
    ages = sorted(abs(now - time) for time in times)
    if ages and ages[0] < min_spacing_s:
        return f"the last one was {ages[0]:.1f} s ago, less than min_spacing, {min_spacing_s:g} s"
    within = sum(age < _HOUR_S for age in ages)
    if max_per_hour is not None and within >= max_per_hour:
        return f"{within} within the last hour, max_per_hour is {max_per_hour}"
    return None
