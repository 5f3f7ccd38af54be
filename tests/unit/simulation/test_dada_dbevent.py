"""The decisions of the dada_dbevent stand-in, without sockets."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.simulation.dada_dbevent import (
    PAGE_MS,
    Crashed,
    Dropped,
    Dump,
    Event,
    MalformedMessageError,
    RingBuffer,
    pages,
    parse_message,
)

UTC_START = datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC)
GOOD = "2019-05-18-23:51:20 036 2019-05-18-23:51:25 000 56.8 12.5 25 35"


def line(start_s: float, end_s: float, utc_start: datetime = UTC_START) -> str:
    times = [utc_start + timedelta(milliseconds=round(1000 * s)) for s in (start_s, end_s)]
    dates = [f"{t:%Y-%m-%d-%H:%M:%S} {t.microsecond // 1000:03d}" for t in times]
    return f"{dates[0]} {dates[1]} 56.8 12.5 25 35"


def message(*lines: str, utc_start: datetime = UTC_START) -> bytes:
    head = [f"N_EVENTS {len(lines)}", f"{utc_start:%Y-%m-%d-%H:%M:%S}"]
    return "".join(f"{text}\n" for text in [*head, *lines]).encode()


def at(seconds: float) -> float:
    """Unix time, in seconds after the start of the data."""
    return UTC_START.timestamp() + seconds


def send(buffer: RingBuffer, now_s: float, *windows: tuple[float, float]) -> list[object]:
    """Outcomes as (start, end) of dumps in pages, and the word dropped."""
    outcomes = buffer.receive(message(*(line(*window) for window in windows)), at(now_s))
    return [
        (o.start_ms / PAGE_MS, o.end_ms / PAGE_MS) if isinstance(o, Dump) else type(o).__name__.lower()
        for o in outcomes
    ]


def test_a_message_is_read_with_its_milliseconds() -> None:
    utc_start, events = parse_message(message(GOOD))
    assert utc_start == UTC_START
    assert events == [Event(7036, 12000, dm=56.8, snr=12.5, width=25.0, beam=35)]


@pytest.mark.parametrize(
    ("malformed", "reason"),
    [
        (b"", "N_EVENTS"),
        (b"\n", "N_EVENTS"),
        (b"N_EVENTS 0\n", "received"),
        (b"N_EVENTS " + b"9" * 5000 + b"\n2019-05-18-23:51:13\n", "N_EVENTS"),
        (b"N_EVENTS one\n2019-05-18-23:51:13\n", "N_EVENTS"),
        (message(GOOD)[:-1], "newline"),
        (message(GOOD)[:-9], "newline"),
        (message(GOOD, GOOD).replace(b"N_EVENTS 2", b"N_EVENTS 3"), "3 events announced, 2 received"),
        (message(GOOD, GOOD).replace(b"N_EVENTS 2", b"N_EVENTS 1"), "1 events announced, 2 received"),
        (message(GOOD) + b"\n", "1 events announced, 2 received"),
        (message(GOOD.rsplit(" ", 1)[0]), "7 fields instead of 8"),
        (message(GOOD + " 1"), "9 fields instead of 8"),
        (message(GOOD.replace(" 56.8", "  56.8")), "9 fields instead of 8"),
        (message(GOOD + "\r"), "BEAM"),
        (message(GOOD.replace(" 036", " 36")), "FRAC of START"),
        (message(GOOD.replace(" 000", " 0.0")), "FRAC of END"),
        (message(GOOD.replace("-23:51:25", "T23:51:25")), "END"),
        (message(GOOD.replace("23:51:20", "23:61:20")), ""),
        (message(GOOD.replace("56.8", "nan")), "DM"),
        (message(GOOD.replace("56.8", "1e999")), "too large"),
        (message(GOOD.replace(" 35", " 35.0")), "BEAM"),
        (message(line(8, 8)), "does not end after its start"),
        (message(GOOD).replace(b"23:51:13", b"23:51:13.0"), "date"),
        (message(GOOD.replace("56.8", "\u0665\u0666.8")), "ASCII"),
    ],
)
def test_a_malformed_message_crashes_it_with_the_reason(malformed: bytes, reason: str) -> None:
    buffer = RingBuffer(UTC_START)
    (outcome,) = buffer.receive(malformed, at(12))
    assert isinstance(outcome, Crashed)
    assert reason in outcome.reason
    assert buffer.state == "crashed"
    assert buffer.crash_reason == outcome.reason
    # nothing brings it back
    assert buffer.receive(message(GOOD), at(12)) == [outcome]


def test_whole_pages_are_dumped() -> None:
    assert send(RingBuffer(UTC_START), 12, (5, 9)) == [(4, 9)]


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "expected"),
    [
        (0, 2048, (0, 2048)),
        (1, 2049, (1024, 3072)),
        (1023, 3000, (1024, 3072)),
        (1024, 3072, (1024, 3072)),
        (2047, 3073, (1024, 4096)),
    ],
)
def test_starts_are_rounded_down_save_in_the_first_page(
    start_ms: int, end_ms: int, expected: tuple[int, int]
) -> None:
    assert pages(Event(start_ms, end_ms, 0, 0, 0, 0)) == expected


def test_an_event_inside_the_first_page_has_nothing_to_dump() -> None:
    assert send(RingBuffer(UTC_START), 3, (0.1, 0.9)) == ["dropped"]


@pytest.mark.parametrize("off_s", [-1, 1])
def test_one_second_off_in_utc_start_drops_all_events(off_s: int) -> None:
    other = UTC_START + timedelta(seconds=off_s)
    outcomes = RingBuffer(UTC_START).receive(message(line(4, 6), line(7, 9), utc_start=other), at(12))
    assert len(outcomes) == 2
    assert all(isinstance(outcome, Dropped) and "UTC_START" in outcome.reason for outcome in outcomes)


def test_only_the_whole_seconds_of_the_header_count() -> None:
    assert send(RingBuffer(UTC_START + timedelta(milliseconds=640)), 12, (5, 9)) == [(4, 9)]


def test_an_event_that_starts_before_the_history_is_dropped_whole() -> None:
    assert send(RingBuffer(UTC_START), 30.0, (20.48, 31)) == [(20, 31)]
    assert send(RingBuffer(UTC_START), 30.6, (20.48, 31)) == ["dropped"]
    assert send(RingBuffer(UTC_START, history_s=20), 30.6, (20.48, 31)) == [(20, 31)]


def test_the_page_in_which_an_event_starts_has_to_be_kept_whole() -> None:
    assert send(RingBuffer(UTC_START), 30.6, (20.9, 31)) == ["dropped"]


def test_an_event_before_the_first_sample_is_dropped() -> None:
    (outcome,) = RingBuffer(UTC_START).receive(message(line(-0.001, 3)), at(3))
    assert isinstance(outcome, Dropped)
    assert "kept from 0.000 s" in outcome.reason


def test_the_history_counts_from_the_time_the_first_sample_was_written() -> None:
    late = RingBuffer(UTC_START, observation_start_unix=at(5))
    assert send(late, 35.4, (20.48, 31)) == [(20, 31)]


def test_a_dump_is_complete_when_its_last_page_is_recorded() -> None:
    buffer = RingBuffer(UTC_START, observation_start_unix=at(0.5))
    (dump,) = buffer.receive(message(line(100, 101)), at(12))
    assert isinstance(dump, Dump)
    assert buffer.complete_at(dump) == pytest.approx(at(0.5 + 99 * 1.024), abs=1e-6)


def test_an_event_that_starts_before_the_end_of_the_last_dump_is_dropped_whole() -> None:
    buffer = RingBuffer(UTC_START)
    assert send(buffer, 12, (4.096, 7.5)) == [(4, 8)]
    assert send(buffer, 12, (8.191, 11)) == ["dropped"]
    assert send(buffer, 12, (8.192, 11)) == [(8, 11)]


def test_a_dropped_event_does_not_move_the_end_of_the_last_dump() -> None:
    buffer = RingBuffer(UTC_START)
    assert send(buffer, 30, (2, 29)) == ["dropped"]
    assert send(buffer, 30, (21, 25)) == [(20, 25)]


def test_overlapping_events_of_one_message_share_a_dump() -> None:
    buffer = RingBuffer(UTC_START)
    outcomes = buffer.receive(message(line(7, 10), line(5, 8), line(5.5, 6)), at(12))
    assert [(o.start_ms, o.end_ms, len(o.events)) for o in outcomes if isinstance(o, Dump)] == [
        (4 * PAGE_MS, 10 * PAGE_MS, 3)
    ]


def test_events_apart_are_dumped_in_order_of_time() -> None:
    assert send(RingBuffer(UTC_START), 12, (8.5, 10), (4.5, 6)) == [(4, 6), (8, 10)]


def test_events_that_only_touch_are_dumped_one_after_the_other() -> None:
    assert send(RingBuffer(UTC_START), 12, (4.5, 6.144), (6.144, 8)) == [(4, 6), (6, 8)]


def test_an_event_that_is_too_old_is_not_saved_by_one_that_overlaps_it() -> None:
    assert send(RingBuffer(UTC_START), 30, (18, 24), (21, 25)) == ["dropped", (20, 25)]


@given(st.binary(max_size=300), st.floats(-20, 100))
def test_any_bytes_are_parsed_or_crash_it_with_a_reason(data: bytes, now_s: float) -> None:
    buffer = RingBuffer(UTC_START)
    outcomes = buffer.receive(data, at(now_s))
    if buffer.state == "crashed":
        assert buffer.crash_reason
        with pytest.raises(MalformedMessageError):
            parse_message(data)
    else:
        assert len(outcomes) <= len(parse_message(data)[1])


fields = st.sampled_from(
    ["", "0", "-1", "036", "1e9", "9" * 40, "9" * 5000, "inf", "2019-02-30-00:00:00", "x"]
)


@given(st.lists(st.one_of(st.just(GOOD), st.lists(fields, max_size=9).map(" ".join)), max_size=3), st.data())
def test_a_damaged_message_crashes_it_or_is_accounted_for(lines: list[str], data: st.DataObject) -> None:
    whole = bytearray(message(*lines))
    for _ in range(data.draw(st.integers(0, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from(b"0 9\n-:.e\x00\xff"))
    RingBuffer(UTC_START).receive(bytes(whole), at(12))


windows = st.tuples(st.integers(0, 60_000), st.integers(1, 20_000)).map(
    lambda w: (w[0] / 1000, sum(w) / 1000)
)


@given(st.lists(st.tuples(st.lists(windows, max_size=5), st.floats(0, 5)), max_size=5))
def test_every_event_is_in_one_outcome_and_no_page_is_dumped_twice(
    messages: list[tuple[list[tuple[float, float]], float]],
) -> None:
    buffer, now_s, dumped_ms = RingBuffer(UTC_START), 0.0, 0
    for sent, later_s in messages:
        now_s += later_s
        outcomes = buffer.receive(message(*(line(*window) for window in sent)), at(now_s))
        dumps = [outcome for outcome in outcomes if isinstance(outcome, Dump)]
        dropped = [outcome for outcome in outcomes if isinstance(outcome, Dropped)]
        assert len(dropped) + sum(len(dump.events) for dump in dumps) == len(sent)
        for dump in dumps:
            assert dumped_ms <= dump.start_ms < dump.end_ms
            assert dump.start_ms % PAGE_MS == dump.end_ms % PAGE_MS == 0
            assert all(event.end_ms <= dump.end_ms for event in dump.events)
            dumped_ms = dump.end_ms
