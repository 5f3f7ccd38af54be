"""Which beams are waited for, whom to ask about them, and when to go on without them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.reporting.waiting import LateNews, Waiting

END = 1000.0


def waiting(*beams, max_wait_s=600.0, limit_s=86400.0):
    return Waiting(beams, END, max_wait_s=max_wait_s, check_interval_s=60.0, limit_s=limit_s)


def test_nobody_is_asked_before_the_time_is_over():
    wait = waiting(0, 1)
    assert wait.to_ask(END + 599) == []
    assert wait.to_ask(END + 600) == [0, 1]


def test_a_beam_with_results_is_not_asked_about():
    wait = waiting(0, 1)
    wait.arrived([1])
    assert wait.beams == [0] and wait.to_ask(END + 600) == [0]


# a wait that adds up over beams, so that the last beam is declared dead at once
def test_a_silent_beam_takes_nothing_from_the_time_of_the_others():
    wait = waiting(*range(40))
    now = END + 600
    for cb in wait.to_ask(now):
        wait.answered(cb, "" if cb else "no answer", now)
    wait.give_up(END + 1200)
    assert list(wait.given_up) == [0] and wait.beams == list(range(1, 40))
    # one that falls silent later has all of its time from then on
    wait.answered(39, "no answer", END + 1200)
    wait.give_up(END + 1799)
    assert 39 in wait.beams
    wait.give_up(END + 1800)
    assert wait.given_up == {0: "no answer", 39: "no answer"}


def test_a_node_that_works_is_waited_for_and_asked_again():
    wait = waiting(3)
    assert not wait.answered(3, "", END + 600)
    wait.give_up(END + 5000)
    assert wait.beams == [3]
    assert wait.to_ask(END + 659) == [] and wait.to_ask(END + 660) == [3]


def test_one_warning_per_node():
    wait = waiting(3)
    assert wait.answered(3, "no answer", END + 600)
    assert not wait.answered(3, "no answer", END + 660)
    assert not wait.answered(3, "", END + 720)
    assert not wait.answered(3, "no answer", END + 780)


def test_a_node_that_works_again_has_its_time_again():
    wait = waiting(3)
    wait.answered(3, "no answer", END + 600)
    wait.answered(3, "", END + 660)
    wait.give_up(END + 1200)
    assert wait.beams == [3]


def test_the_limit_holds_whatever_the_node_says():
    wait = waiting(3, limit_s=7200)
    wait.answered(3, "", END + 7190)
    wait.give_up(END + 7200)
    assert wait.beams == [] and "still working" in wait.given_up[3]


def test_the_next_look_is_when_there_is_something_to_look_at():
    wait = waiting(3)
    assert wait.next_look_in(END) == 60
    assert wait.next_look_in(END + 590) == 10
    assert wait.next_look_in(END + 700) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60), st.floats(0, 2000))
def test_the_wait_ends(answers, max_wait_s):
    wait = waiting(*range(5), max_wait_s=max_wait_s, limit_s=max(7200, 2 * max_wait_s))
    now = END
    says = iter(answers)
    while wait.beams:
        for cb in wait.to_ask(now):
            wait.answered(cb, "" if next(says, (0, True))[1] else "silent", now)
        wait.give_up(now)
        if wait.beams:
            now += max(wait.next_look_in(now), 1e-3)
    assert now <= END + max(7200, 2 * max_wait_s) + 1
    assert set(wait.given_up) == set(range(5))


def test_late_results_are_told_together_when_no_more_come():
    news = LateNews()
    assert news.look([7], last=False) == []
    assert news.look([7, 3], last=False) == []
    assert news.look([3, 7], last=False) == [3, 7]
    assert news.look([], last=False) == []
    assert news.look([9], last=False) == []
    assert news.look([9], last=False) == [9]


@pytest.mark.parametrize("untold", [[], [3, 7]])
def test_late_results_are_told_at_once_when_no_more_are_expected(untold):
    assert LateNews().look(untold, last=True) == untold
