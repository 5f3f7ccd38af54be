"""Positions as astronomers write them."""

from __future__ import annotations


def hours(ra_deg: float) -> str:
    """Return a right ascension in degrees as hours, minutes and seconds, to 0.1 s (1.5 arcsec)."""
    tenths = round(ra_deg % 360 / 15 * 36000) % 864000  # 24 h is 0 h
    return _parts(tenths // 10) + f".{tenths % 10}"


def sexagesimal(dec_deg: float) -> str:
    """Return a declination in degrees as signed degrees, minutes and seconds of arc."""
    seconds = round(abs(dec_deg) * 3600)
    return ("-" if dec_deg < 0 and seconds else "+") + _parts(seconds)


def _parts(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
