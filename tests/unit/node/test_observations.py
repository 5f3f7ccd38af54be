"""Which observations wait, run and are over."""

import pytest

from darc.errors import DARCError
from darc.node.observations import Observation, ObservationBook


def observation(task_id="1", start=1000.0, end=1100.0):
    return Observation(task_id, {"datetimesource": "x"}, start, end)


@pytest.fixture
def book():
    return ObservationBook(setup_s=5.0, overdue_s=60.0)


def test_an_observation_begins_the_set_up_time_before_its_start(book):
    book.add(observation(start=1000.0))
    assert book.next_event(990.0) == 5.0
    assert book.begin_due(994.9) == []
    assert [o.state for o in book.begin_due(995.0)] == ["running"]
    assert book.begin_due(996.0) == []
    assert [o.task_id for o in book.running()] == ["1"]


def test_observations_may_overlap(book):
    book.add(observation("1", 1000.0, 1100.0))
    book.add(observation("2", 1050.0, 1200.0))
    assert book.next_event(900.0) == 95.0
    book.begin_due(1000.0)
    assert book.next_event(1000.0) == 45.0
    book.begin_due(1060.0)
    assert book.next_event(1060.0) == 100.0
    assert [o.task_id for o in book.running()] == ["1", "2"]


def test_a_task_id_that_is_known_is_refused_until_it_is_struck_out(book):
    book.add(observation())
    with pytest.raises(DARCError, match="already waiting"):
        book.add(observation())
    book.begin_due(2000.0)
    with pytest.raises(DARCError, match="already running"):
        book.add(observation())
    book.remove("1")
    book.add(observation())


def test_one_that_nobody_stopped_becomes_overdue(book):
    book.add(observation(end=1100.0))
    book.begin_due(1000.0)
    assert book.overdue(1159.0) == []
    assert book.next_event(1150.0) == 10.0
    assert [o.task_id for o in book.overdue(1160.0)] == ["1"]


def test_without_observations_nothing_is_coming(book):
    assert book.next_event(0.0) is None
    assert book.remove("unknown") is None


def test_the_summary_tells_state_and_times(book):
    assert observation(start=1558223472.64, end=1558223771.6).summary() == {
        "task_id": "1", "datetimesource": "x", "state": "waiting",
        "start": "2019-05-18T23:51:12", "end": "2019-05-18T23:56:11",
    }  # fmt: skip
