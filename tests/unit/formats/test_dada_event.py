"""Messages to dada_dbevent: exactly what it reads, or no message at all."""

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.dada_event import DadaEvent, DadaEventError, build_message, event_window, parse_message

UTC_START = "2019-05-18-23:51:13"
EVENT = DadaEvent(start_s=10.036, end_s=46.9996, dm=56.8, snr=18.4666, width=25, beam=35)

numbers = st.integers(0, 10**9).map(lambda value: value / 1000)
events = st.builds(
    lambda start_ms, length_ms, dm, snr, width, beam: DadaEvent(
        start_ms / 1000, (start_ms + length_ms) / 1000, dm, snr, width, beam
    ),
    st.integers(0, 10**9),
    st.integers(1, 10**6),
    numbers,
    numbers,
    st.integers(0, 5000).map(float),
    st.integers(0, 10**6),
)


def test_a_message_has_the_form_that_dada_dbevent_reads():
    message = build_message(UTC_START, [EVENT, replace(EVENT, start_s=0, end_s=2.048, width=1000.0)])
    assert message == (
        b"N_EVENTS 2\n"
        b"2019-05-18-23:51:13\n"
        b"2019-05-18-23:51:23 036 2019-05-18-23:52:00 000 56.8 18.4666 25 35\n"
        b"2019-05-18-23:51:13 000 2019-05-18-23:51:15 048 56.8 18.4666 1000 35\n"
    )


@pytest.mark.parametrize(
    ("start_s", "field"),
    [
        (0.9994, "13 999"),
        (0.9996, "14 000"),  # pitfall: rounding to 1000 ms instead of carrying into the next second
        (46.9999, "00 000"),
        (1.005, "14 005"),
    ],
)
def test_times_are_rounded_to_milliseconds_and_carried(start_s, field):
    line = build_message(UTC_START, [replace(EVENT, start_s=start_s, end_s=60)]).splitlines()[2]
    assert line.split()[0][-2:] + b" " + line.split()[1] == field.encode()


def test_midnight_and_new_year_are_carried():
    message = build_message("2019-12-31-23:59:59", [replace(EVENT, start_s=0.5, end_s=0.9999)])
    assert b"2019-12-31-23:59:59 500 2020-01-01-00:00:00 000" in message


@pytest.mark.parametrize("text", ["2019-05-18T23:51:13.000", "2019-05-18 23:51:13"])
def test_line_two_is_the_whole_second_in_the_headers_form(text):
    assert build_message(text, [EVENT]) == build_message(UTC_START, [EVENT])


@given(st.lists(events, min_size=1, max_size=5), st.datetimes())
def test_a_message_comes_back(sent, start):
    utc_start = start.replace(microsecond=0, year=2000 + start.year % 100).strftime("%Y-%m-%d-%H:%M:%S")
    assert parse_message(build_message(utc_start, sent)) == (utc_start, sent)


@pytest.mark.parametrize(
    "change",
    [
        {"dm": nan},
        {"snr": inf},
        {"width": -1},
        {"beam": -1},
        {"beam": 1.5},
        {"beam": 10**9},
        {"start_s": -0.1},
        {"end_s": 10.036},
        {"end_s": 1.0},
        {"end_s": 10.0362},  # the same millisecond
    ],
)
def test_an_event_that_cannot_be_served_is_refused(change):
    with pytest.raises(DadaEventError, match=next(iter(change)).removesuffix("_s")):
        replace(EVENT, **change)


@pytest.mark.parametrize("utc_start", ["soon", "2019-05-18-23:51:13.5", "9999-12-31-23:59:59"])
def test_a_start_that_cannot_be_written_is_refused(utc_start):
    with pytest.raises(DadaEventError):
        build_message(utc_start, [EVENT])


def test_a_message_without_events_is_not_built():
    with pytest.raises(DadaEventError, match="at least one"):
        build_message(UTC_START, [])


GOOD = build_message(UTC_START, [EVENT])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],  # the last newline is missing
        GOOD + b"\n",
        GOOD + GOOD.splitlines(keepends=True)[2],  # more lines than announced
        GOOD.replace(b"N_EVENTS 1", b"N_EVENTS 2"),
        GOOD.replace(b"N_EVENTS 1", b"N_EVENTS one"),
        b"N_EVENTS 0\n" + UTC_START.encode() + b"\n",
        GOOD.replace(b" 35\n", b"\n"),  # a field is missing
        GOOD.replace(b" 35\n", b" 35 1\n"),
        GOOD.replace(b" 036 ", b" 36 "),
        GOOD.replace(b" 56.8 ", b" nan "),
        GOOD.replace(b" 56.8 ", b"  56.8 "),
        GOOD.replace(b"-23:51:13\n", b"T23:51:13\n"),
        GOOD.replace(b"-23:51:13\n", b"-23:51:60\n"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b" 35\n", b" " + b"9" * 5001 + b"\n"),  # more than Python reads
    ],
)
def test_what_deviates_from_the_form_is_refused(data):
    with pytest.raises(DadaEventError):
        parse_message(data)


@given(st.binary(max_size=100), st.integers(0, len(GOOD)))
def test_any_bytes_are_a_message_or_refused(data, place):
    for message in (data, GOOD[:place] + data + GOOD[place:]):
        try:
            assert parse_message(message)[1]
        except DadaEventError as error:
            assert len(str(error)) < 300


# --- the window around a trigger ---------------------------------------------------------------------------


def window(time_s, dm, *, obs_duration_s=300.0):
    return event_window(time_s, dm, obs_duration_s=obs_duration_s, min_window_s=2.048, delay_end_s=2.048)


@pytest.mark.parametrize(
    ("time_s", "dm", "expected"),
    [
        (100.0, 56.8, (97.952, 97.952 + 3 * 2.048)),
        (100.0, 5000.0, (97.952, 97.952 + 5.0 + 2 * 2.048)),
        (1.0, 56.8, (0.0, 3 * 2.048)),  # not before the observation's start
        (299.0, 5000.0, (296.952, 300.0)),  # not after its end
    ],
)
def test_a_window_surrounds_the_trigger_within_the_observation(time_s, dm, expected):
    assert window(time_s, dm) == pytest.approx(expected)


def test_an_observation_of_unknown_length_has_no_end():
    assert window(1e5, 56.8, obs_duration_s=None)[1] > 1e5


@pytest.mark.parametrize("time_s", [302.048, 303.0, -1.0, nan, inf])
def test_a_trigger_outside_the_observation_is_refused(time_s):
    with pytest.raises(DadaEventError, match="outside the observation"):
        window(time_s, 56.8)


@given(st.floats(0, 300), st.floats(0, 1e4))
def test_every_window_makes_an_event(time_s, dm):
    start_s, end_s = window(time_s, dm)
    assert 0 <= start_s <= time_s and start_s < end_s <= 300
    DadaEvent(start_s, end_s, dm, 10, 1, 0)
