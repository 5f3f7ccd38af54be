"""UTC as text, in the forms that parsets, data headers, queues and VOEvents carry.

Times are `datetime` objects in UTC or whole unix milliseconds, never unix seconds as floats: those cannot
hold every millisecond. Like unix time itself, none of them can hold a leap second: what is read as
23:59:60 becomes the second after it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from darc.errors import DARCError

if TYPE_CHECKING:
    from astropy.time import Time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAP_SECOND = "23:59:60"
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[-T ](\d\d:\d\d:\d\d)(\.\d+)?Z?", re.ASCII)


class UTCError(DARCError):
    """A text is not a time in UTC, or a time is out of range."""


def parse_utc(text: str) -> datetime:
    """Read `2019-05-18-23:51:13`, `2019-05-18T23:51:13.123456` or `2019-05-18 23:51:13`.

    Digits beyond the microsecond are dropped; a leap second becomes the second after it.

    Raises:
        UTCError: the text has another form or is no date of the calendar
    """
    form = _FORM.fullmatch(text.strip())
    try:
        if form is None:
            raise ValueError(
                "not of the form YYYY-MM-DD-HH:MM:SS, YYYY-MM-DDTHH:MM:SS or YYYY-MM-DD HH:MM:SS"
            )
        date, time, fraction = form.groups(default="")
        leap = time == _LEAP_SECOND
        text_in_calendar = f"{date}T{'23:59:59' if leap else time}{fraction[:7]}"
        return datetime.fromisoformat(text_in_calendar).replace(tzinfo=UTC) + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise UTCError(f"{text[:80]!r} is not a time in UTC: {error}") from error


def header_text(moment: datetime) -> str:
    """Return `2019-05-18-23:51:13`, as data headers carry it; a fraction of a second is dropped."""
    return _text(moment, "-", "seconds")


def isot_text(moment: datetime, timespec: str = "microseconds") -> str:
    """Return `2019-05-18T23:51:13.123456`, or less of it: `timespec` is that of `datetime.isoformat`."""
    return _text(moment, "T", timespec)


def _text(moment: datetime, separator: str, timespec: str) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(separator, timespec)


def unix_ms(moment: datetime) -> int:
    """Return unix time in ms, rounded."""
    return ((moment - EPOCH) // _MICROSECOND + 500) // 1000


def from_unix_ms(milliseconds: int) -> datetime:
    """Return the time that is so many ms after 1970.

    Raises:
        UTCError: the calendar ends before
    """
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError as error:
        raise UTCError(f"{milliseconds} ms after 1970 is outside the years 1 to 9999") from error


def mjd(moment: datetime) -> float:
    """Return the modified Julian date."""
    return (moment - _MJD_ZERO) / timedelta(days=1)


def as_astropy(text: str) -> Time:
    """Return an `astropy.time.Time` for any text that `parse_utc` reads. Imports astropy."""
    from astropy.time import Time  # noqa: PLC0415 (whoever does not need it must not wait for the import)

    return Time(isot_text(parse_utc(text)), format="isot", scale="utc", precision=6)


def unix_as_astropy(seconds: int, fraction_s: float = 0.0) -> Time:
    """Return an `astropy.time.Time` for unix time. Imports astropy.

    `Time(..., format="unix")` spreads a leap second over its day: it is up to 1 s late on such a day.

    Args:
        seconds: whole seconds
        fraction_s: what is added to them; one number of that size cannot hold every microsecond

    """
    from astropy.time import TimeDelta  # noqa: PLC0415 (as above)

    return as_astropy(isot_text(from_unix_ms(1000 * seconds))) + TimeDelta(fraction_s, format="sec")
