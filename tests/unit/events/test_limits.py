"""How often other telescopes may be interrupted."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.events.limits import refusal


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([], None),
        ([60.0], None),
        ([59.5, 4000.0], "the last one was 59.5 s ago, less than min_spacing, 60 s"),
        ([100.0, 200.0], None),
        ([100.0, 200.0, 3599.0], "3 within the last hour, max_per_hour is 3"),
        ([100.0, 200.0, 3600.0], None),
        # a clock that was set back
        ([-10.0], "the last one was 10.0 s ago, less than min_spacing, 60 s"),
        ([-100_000.0], None),
    ],
)
def test_an_event_is_refused_with_numbers(ages, expected):
    now = 1e9
    assert refusal(now, [now - age for age in ages], 60.0, 3) == expected


def test_limits_can_be_absent():
    assert refusal(0.0, [0.0] * 1000, 0.0, None) is None


@given(st.lists(st.floats(0, 20_000), max_size=60))
def test_no_more_go_out_than_the_limits_say(times):
    sent = []
    for now in sorted(times):
        if refusal(now, sent, 30.0, 5) is None:
            sent.append(now)
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(sent))
    assert all(sum(now - 3600 < time <= now for time in sent) <= 5 for now in sent)
