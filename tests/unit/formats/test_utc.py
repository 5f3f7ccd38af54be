"""Times as text."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.utc import (
    UTCError,
    as_astropy,
    from_unix_ms,
    header_text,
    isot_text,
    mjd,
    parse_utc,
    unix_as_astropy,
    unix_ms,
)

START = datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2019-05-18-23:51:13", "2019-05-18T23:51:13", " 2019-05-18 23:51:13.000 ", "2019-05-18T23:51:13Z"],
)
def test_every_form_in_use_is_read(text):
    assert parse_utc(text) == START


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [(".5", 500_000), (".036", 36_000), (".123456", 123_456), (".123456999", 123_456)],
)
def test_fractions_are_read_to_the_microsecond(fraction, microseconds):
    assert parse_utc("2019-05-18T23:51:13" + fraction) == START + timedelta(microseconds=microseconds)


@pytest.mark.parametrize(
    "text",
    ["", "2019-05-18", "2019-02-30-00:00:00", "2019-05-18-23:51:60", "2019-05-18T23:51:13+01:00", "x" * 999],
)
def test_what_is_no_time_is_refused_with_its_text(text):
    with pytest.raises(UTCError, match=f"'{text[:40].replace('+', '.')}.* is not a time in UTC"):
        parse_utc(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text):
    try:
        parse_utc(text)
    except UTCError as error:
        assert str(error)


@given(st.datetimes(timezones=st.just(UTC)))
def test_text_and_milliseconds_come_back(moment):
    assert parse_utc(isot_text(moment)) == moment
    assert parse_utc(header_text(moment)) == moment.replace(microsecond=0)
    assert abs(from_unix_ms(unix_ms(moment)) - moment) <= timedelta(microseconds=500)


def test_text_is_in_utc_whatever_the_zone_of_the_object():
    assert isot_text(START.astimezone(timezone(timedelta(hours=2))), "seconds") == "2019-05-18T23:51:13"


def test_milliseconds_are_rounded_not_cut():
    assert unix_ms(START + timedelta(microseconds=999_500)) == unix_ms(START) + 1000
    assert unix_ms(START + timedelta(microseconds=999_499)) == unix_ms(START) + 999


def test_times_beyond_the_calendar_are_refused():
    with pytest.raises(UTCError, match="outside the years"):
        from_unix_ms(10**18)


def test_a_leap_second_is_read_as_the_second_after_it():
    # astropy writes it so; times of triggers that arrive within it have to be readable
    assert parse_utc("2016-12-31T23:59:60.250000") == datetime(2017, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)
    for text in ("2016-12-31T23:58:60", "2016-12-31T22:59:60", "9999-12-31T23:59:60"):
        with pytest.raises(UTCError):
            parse_utc(text)


@pytest.mark.parametrize(
    "day",
    [datetime(2016, 12, 31, tzinfo=UTC), datetime(2019, 5, 18, tzinfo=UTC)],
    ids=["leap second", "none"],
)
@pytest.mark.parametrize("seconds", [0, 1, 43_200, 86_399])
def test_unix_time_has_the_same_clock_on_the_day_of_a_leap_second(day, seconds):
    # astropy's own format spreads the leap second over the day, half a second at noon
    found = unix_as_astropy(int(day.timestamp()) + seconds, 0.125)
    assert parse_utc(found.isot) == day + timedelta(seconds=seconds + 0.125)


def test_mjd_and_astropy_agree():
    time = as_astropy("2019-05-18-23:51:13.25")
    assert time.isot == "2019-05-18T23:51:13.250000"
    assert mjd(parse_utc("2019-05-18-23:51:13.25")) == pytest.approx(time.mjd, abs=1e-10)
