"""What the rules of each receiver make of differences to the undisturbed observation."""

from collections import Counter

import pytest

from darc.simulation.chaos import Plan
from darc.simulation.chaos_outcome import (
    CANDIDATES,
    DOCUMENTS,
    DUMPS,
    FREEZES,
    MAILS,
    RULES,
    Arrived,
    compare,
    excused_in,
)

ALL = (DUMPS, FREEZES, DOCUMENTS, MAILS, CANDIDATES)


def arrived(change=None, **excused):
    times = {what: Counter({"a": 1, "b": 1}) for what in RULES}
    for what, things in (change or {}).items():
        times[what] = Counter(things)
    return Arrived(times, Counter({ALL[int(place[1:])]: number for place, number in excused.items()}))


def broken(disturbed):
    return {row.what for row in compare(arrived(), disturbed) if row.wrong}


def test_the_same_is_right():
    assert broken(arrived()) == set()


@pytest.mark.parametrize("what", ALL)
def test_what_is_missing_without_a_reason_is_wrong(what):
    assert what in broken(arrived({what: ["a"]}))


@pytest.mark.parametrize("what", ALL)
def test_what_nothing_led_to_is_wrong(what):
    assert broken(arrived({what: ["a", "b", "c"]})) == {what}


def test_only_some_may_be_told_twice():
    assert broken(arrived({what: ["a", "b", "b"] for what in ALL})) == {FREEZES, CANDIDATES}


def test_what_is_lost_by_the_rule_is_excused_and_counted():
    disturbed = arrived({DUMPS: ["a"], FREEZES: ["a"], MAILS: ["a"]}, r0=1, r1=1)
    assert broken(disturbed) == set()
    assert [row.excused for row in compare(arrived(), disturbed)] == [1, 1, 0, 1, 0]


def test_each_dump_of_a_message_that_came_too_late_is_excused():
    text = """
ERROR dada_trigger: a dump was decided on and not sent, and its data are gone: 'N_EVENTS 2\\n2026-11-22'
ERROR dada_trigger: Stokes IQUV: nobody listens; its data are lost: 'N_EVENTS 1\\n2026-11-22'
ERROR amber_clustering: LOFAR may not have been told of a trigger: {}
"""
    assert excused_in(text) == {DUMPS: 3, FREEZES: 1}


def test_each_seed_has_its_own_sky_again_and_again():
    assert Plan(1, 100, 25, 30.0).sky() == Plan(1, 100, 25, 30.0).sky() != Plan(2, 100, 25, 30.0).sky()
    assert Plan(1, 60, 25, 30.0).portions() == [25, 25, 10]
