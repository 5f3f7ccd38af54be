"""Rows of several AMBER instances are handed out batch by batch, whatever the order of their arrival."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.science.batching import BatchAssembler

SETTLE_S, INTERVAL_S = 0.125, 1.0


class Feed:
    """A `BatchAssembler` whose rows carry their batch number and a serial number."""

    def __init__(self, ninstance=1, settle_s=SETTLE_S, interval_s=INTERVAL_S):
        self.assembler = BatchAssembler(ninstance, settle_s, interval_s)
        self.serial = 0

    def add(self, batches, instance=1, *, at_end=True, now=0.0):
        serials = range(self.serial, self.serial + len(batches))
        self.serial += len(batches)
        rows = np.array(list(zip(batches, serials, strict=True)), dtype=float).reshape(-1, 2)
        self.assembler.add(np.array(batches, dtype=np.int64), rows, instance, at_end, now)

    def ready(self, now=0.0):
        """(number, reason) of the batches that are ready."""
        return [(batch.number, batch.reason) for batch in self.assembler.ready(now)]


# ---------------------------------------------------------------- complete


def test_batch_is_complete_when_all_instances_are_beyond_it():
    feed = Feed(ninstance=2)
    feed.add([4, 4, 5], instance=1)
    assert feed.ready() == []
    feed.add([5], instance=2)
    assert feed.ready() == [(4, "complete")]


def test_an_instance_without_rows_of_a_batch_counts_once_it_is_beyond():
    feed = Feed(ninstance=2)
    feed.add([9], instance=2)
    feed.add([4, 6, 10], instance=1, at_end=False)
    assert feed.ready() == [(4, "complete"), (6, "complete")]


def test_a_block_is_split_by_batch_and_rows_keep_their_order():
    feed = Feed()
    feed.add([3, 1, 3, 2, 1, 4], now=7.0)
    batches = feed.assembler.ready(7.0)
    assert [batch.rows.tolist() for batch in batches] == [
        [[1, 1], [1, 4]],
        [[2, 3]],
        [[3, 0], [3, 2]],
    ]
    assert all(batch.first_arrival == 7.0 and not batch.late for batch in batches)


def test_a_program_of_unknown_name_does_not_complete_a_batch():
    feed = Feed()
    feed.add([1, 2, 3], instance=None)
    assert feed.ready() == []


# ---------------------------------------------------------------- settled


def test_batch_settles_when_nothing_more_comes():
    feed = Feed(ninstance=3)
    feed.add([4], instance=1, now=0.0)
    feed.add([4], instance=2, now=0.0625)
    assert feed.ready(0.1250) == []
    assert feed.ready(0.1875) == [(4, "settled")]


def test_rows_of_later_batches_do_not_hold_up_settling():
    feed = Feed(ninstance=2)
    feed.add([4], now=0.0)
    feed.add([5], now=0.0625)
    assert feed.ready(0.125) == [(4, "settled")]
    assert feed.ready(0.1875) == [(5, "settled")]


def test_rows_of_earlier_batches_hold_up_settling_so_that_batches_settle_in_order():
    feed = Feed(ninstance=2)
    feed.add([5], instance=1, now=0.0)
    feed.add([4], instance=2, now=0.0625)
    assert feed.ready(0.125) == []
    assert feed.ready(0.1875) == [(4, "settled"), (5, "settled")]


def test_batch_does_not_settle_while_a_file_holds_unread_rows():
    feed = Feed(ninstance=2)
    feed.add([4], instance=1, at_end=True)
    feed.add([3], instance=2, at_end=False)
    assert feed.ready(0.5) == []
    feed.add([], instance=2, at_end=True, now=0.5)
    assert feed.ready(0.5) == [(3, "settled"), (4, "settled")]


def test_instances_that_never_delivered_anything_do_not_hold_up_settling():
    feed = Feed(ninstance=3)
    feed.add([], instance=2, at_end=False)
    feed.add([4], instance=1)
    assert feed.ready(SETTLE_S) == [(4, "settled")]


def test_rows_of_unknown_source_settle():
    feed = Feed(ninstance=3)
    feed.add([4], instance=None)
    assert feed.ready(SETTLE_S) == [(4, "settled")]


# ---------------------------------------------------------------- interval, flush


def test_no_row_waits_longer_than_the_interval():
    feed = Feed(ninstance=2)
    for step in range(16):
        feed.add([4], now=step / 16, at_end=False)
        assert feed.ready(step / 16) == []
    assert feed.ready(1.0) == [(4, "interval")]


def test_flush_hands_out_everything_in_order():
    feed = Feed(ninstance=2)
    feed.add([5, 6], instance=1)
    feed.add([4], instance=2)
    assert [(batch.number, batch.reason) for batch in feed.assembler.flush()] == [
        (4, "flush"),
        (5, "flush"),
        (6, "flush"),
    ]
    assert feed.assembler.deadline() is None
    assert feed.assembler.flush() == []


# ---------------------------------------------------------------- late rows


def test_rows_of_a_batch_that_was_handed_out_make_a_late_batch_of_their_own():
    feed = Feed(ninstance=2)
    feed.add([4], instance=1, now=0.0)
    assert feed.ready(0.125) == [(4, "settled")]
    feed.add([4, 4], instance=2, now=2.0)
    assert feed.ready(2.0) == []
    (late,) = feed.assembler.ready(2.125)
    assert (late.number, late.late, late.reason, len(late.rows)) == (4, True, "settled", 2)
    assert feed.assembler.late_rows == 2


def test_late_rows_wait_for_the_rest_of_their_batch():
    feed = Feed(ninstance=2)
    feed.add([4, 5, 6], instance=1)
    feed.add([9], instance=2)
    assert [number for number, _ in feed.ready()] == [4, 5]
    # a file made by concatenation: its batches go back
    feed.add([4], instance=1, at_end=False)
    assert feed.ready() == []
    feed.add([4, 5], instance=1, at_end=False)
    (late,) = feed.assembler.ready(0.0)
    assert (late.number, late.late, late.reason, len(late.rows)) == (4, True, "complete", 2)
    assert feed.assembler.late_rows == 3


# ---------------------------------------------------------------- deadline


def test_deadline_is_none_when_idle():
    feed = Feed()
    assert feed.assembler.deadline() is None
    feed.add([], at_end=False)
    assert feed.assembler.deadline() is None


ADDITIONS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), max_size=4),  # batches
        st.sampled_from([1, 2, None]),  # instance
        st.booleans(),  # at_end
        st.floats(0, 0.3),  # pause before
        st.booleans(),  # ask what is ready
    ),
    max_size=12,
)


@settings(deadline=None)
@given(additions=ADDITIONS)
def test_something_is_ready_at_the_deadline_and_nothing_before(additions):
    feed, now = Feed(ninstance=2), 100.0
    for batches, instance, at_end, pause, _ in additions:
        now += pause
        feed.add(batches, instance, at_end=at_end or instance is None, now=now)
        deadline = feed.assembler.deadline()
        if deadline is None or deadline <= now:
            assert bool(feed.ready(now)) == (deadline is not None)
        else:
            assert feed.ready(np.nextafter(deadline, 0)) == []
            assert feed.ready(deadline) != []


@settings(deadline=None)
@given(additions=ADDITIONS)
def test_every_row_is_handed_out_once_in_a_batch_of_its_number(additions):
    feed, now, batches = Feed(ninstance=2), 0.0, []
    for numbers, instance, at_end, pause, ask in additions:
        now += pause
        feed.add(numbers, instance, at_end=at_end, now=now)
        batches += feed.assembler.ready(now) if ask else []
    batches += feed.assembler.flush()
    assert sorted(row[1] for batch in batches for row in batch.rows) == list(range(feed.serial))
    assert all((batch.rows[:, 0] == batch.number).all() for batch in batches)
    assert feed.assembler.late_rows == sum(len(batch.rows) for batch in batches if batch.late)
    on_time = [batch.number for batch in batches if not batch.late]
    assert len(on_time) == len(set(on_time))


# ---------------------------------------------------------------- independence of arrival

# Instance i delivers the rows of batch b within SETTLE_S of the moment the batch ends; each writes its own
# batches in order, and a reader takes what is there at arbitrary times.
DELAYS = st.lists(st.floats(0, 0.9 * SETTLE_S), min_size=4, max_size=4)
ROWS_PER_BATCH = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@settings(deadline=None)
@given(
    delays=st.lists(DELAYS, min_size=3, max_size=3),
    nrows=st.lists(ROWS_PER_BATCH, min_size=3, max_size=3),
    batch_s=st.sampled_from([1.024, 0.25, 0.05, 0.0]),  # real time, and replays at high speed
    polls=st.lists(st.floats(0, 6), max_size=20),
)
def test_order_and_speed_of_arrival_do_not_change_what_is_handed_out(delays, nrows, batch_s, polls):
    feed, batches, events = Feed(ninstance=3, interval_s=10.0), [], []
    for instance in range(3):
        arrival = 0.0
        for number in range(4):
            arrival = max(arrival, number * batch_s + delays[instance][number])
            events.append((arrival, number, instance + 1, nrows[instance][number]))
    for now, number, instance, n in sorted(
        [*events, *((poll, 0, None, 0) for poll in polls)], key=lambda e: e[0]
    ):
        if instance is None:
            batches += feed.assembler.ready(now)
        else:
            feed.add([number] * n, instance, now=now)
    batches += feed.assembler.flush()
    expected = {number: sum(n[number] for n in nrows) for number in range(4)}
    assert {b.number: len(b.rows) for b in batches} == {number: n for number, n in expected.items() if n}
    assert feed.assembler.late_rows == 0
    assert all(earlier.number < later.number for earlier, later in pairwise(batches))


# ---------------------------------------------------------------- refusals


def test_at_least_one_instance_is_needed():
    with pytest.raises(ValueError, match="at least one"):
        BatchAssembler(0, SETTLE_S, INTERVAL_S)


@pytest.mark.parametrize("instance", [0, 3])
def test_rows_of_an_instance_that_does_not_exist_are_refused(instance):
    with pytest.raises(ValueError, match=f"no AMBER instance {instance}"):
        Feed(ninstance=2).add([1], instance)


def test_every_row_needs_a_batch_number():
    with pytest.raises(ValueError, match="2 batch numbers for 3 rows"):
        BatchAssembler(1, SETTLE_S, INTERVAL_S).add(np.array([1, 2]), np.zeros((3, 5)), 1, True, 0.0)


# ---------------------------------------------------------------- going on where another one stopped


def test_what_a_predecessor_handed_out_is_late():
    assembler = BatchAssembler(1, SETTLE_S, INTERVAL_S, handed_out=[4])
    assembler.add(np.array([4, 5]), np.zeros((2, 1)), 1, True, 0.0)
    assert [(batch.number, batch.late) for batch in assembler.flush()] == [(4, True), (5, False)]


def test_a_batch_says_how_many_rows_each_instance_gave():
    feed = Feed(ninstance=2)
    feed.add([4, 4], instance=1)
    feed.add([4], instance=2)
    feed.add([4], instance=None)
    assert [batch.counts for batch in feed.assembler.flush()] == [{1: 2, 2: 1, None: 1}]


def test_who_catches_up_does_not_wait_for_an_instance_that_has_no_more():
    feed = Feed(ninstance=2)
    feed.add([4], instance=2)
    feed.add([4, 5, 9], instance=1)
    assert [batch.number for batch in feed.assembler.passed([1])] == [4, 5]
    assert feed.assembler.passed([1, 2]) == []
