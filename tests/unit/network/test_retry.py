"""The retry policy, on a clock that only its own pauses move."""

import itertools
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.network.retry import RetryPolicy, RetryStoppedError, retry


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class Flaky:
    """An action that fails a number of times, then returns its count of calls."""

    def __init__(self, failures, error=ConnectionRefusedError):
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return self.calls


def test_pauses_grow_up_to_the_maximum_and_never_end():
    policy = RetryPolicy(first_s=1, factor=3, max_s=20)
    assert list(itertools.islice(policy.delays(), 6)) == [1, 3, 9, 20, 20, 20]


def test_attempts_count_the_first_try():
    assert list(RetryPolicy(first_s=1, attempts=3).delays()) == [1, 2]
    assert list(RetryPolicy(attempts=1).delays()) == []


@given(st.floats(0, 0.9), st.randoms(use_true_random=False))
def test_jitter_stays_within_its_fraction(jitter, rng):
    policy = RetryPolicy(first_s=10, factor=1, max_s=10, attempts=5, jitter=jitter)
    delays = list(policy.delays(uniform=rng.uniform))
    assert all(10 * (1 - jitter) - 1e-9 <= delay <= 10 * (1 + jitter) + 1e-9 for delay in delays)


def test_jitter_repeats_with_the_same_seed():
    policy = RetryPolicy(attempts=5, jitter=0.5)
    first, second = (list(policy.delays(uniform=random.Random(1).uniform)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "wrong", [{"first_s": -1}, {"first_s": 5, "max_s": 1}, {"factor": 0.5}, {"jitter": 1.0}, {"attempts": 0}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="needs"):
        RetryPolicy(**wrong)


def test_success_after_failures_returns_the_result():
    clock, action = Clock(), Flaky(2)
    assert retry(action, RetryPolicy(first_s=1), sleep=clock.sleep, clock=clock) == 3
    assert clock.pauses == [1, 2]


def test_giving_up_raises_the_last_failure_and_reports_each():
    clock, seen = Clock(), []
    with pytest.raises(ConnectionRefusedError, match="failure 3"):
        retry(
            Flaky(9),
            RetryPolicy(first_s=1, attempts=3),
            sleep=clock.sleep,
            clock=clock,
            failed=lambda error, pause: seen.append((str(error), pause)),
        )
    assert seen == [("failure 1", 1), ("failure 2", 2), ("failure 3", None)]


def test_time_limit_counts_the_time_the_action_takes():
    clock = Clock()

    def slow():
        clock.now += 10
        raise TimeoutError

    with pytest.raises(TimeoutError):
        retry(slow, RetryPolicy(first_s=1, factor=1, give_up_after_s=30), sleep=clock.sleep, clock=clock)
    assert len(clock.pauses) == 2  # tries begin at 0, 11 and 22 s, a fourth would begin at 33 s


def test_a_failure_of_another_kind_is_not_retried():
    action = Flaky(1, KeyError)
    with pytest.raises(KeyError):
        retry(action, RetryPolicy(), sleep=lambda seconds: pytest.fail("paused"))
    assert action.calls == 1


def test_stop_ends_the_retries_between_two_tries():
    stop, action = threading.Event(), Flaky(9)
    with pytest.raises(RetryStoppedError):
        retry(action, RetryPolicy(), stop=stop, sleep=lambda seconds: stop.set())
    assert action.calls == 1


def test_stop_ends_a_pause_at_once():
    stop = threading.Event()
    with pytest.raises(RetryStoppedError):
        retry(Flaky(9), RetryPolicy(first_s=3600, max_s=3600), stop=stop, failed=lambda *_: stop.set())
