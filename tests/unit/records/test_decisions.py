"""The record of decisions: what a successor finds in it, and when it is on disk."""

from math import inf

import pytest

from darc.records.decisions import DecisionLog, decided_dumps


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "decisions"


def decide(path, observation="first", batch=7, sendings=None, resume=True):
    log = DecisionLog(path, observation, resume)
    log.decide(batch, {1: 3}, {"rows": 3}, -inf, sendings or {})
    log.close()


def batches(path, observation, resume=True):
    log = DecisionLog(path, observation, resume)
    log.close()
    return list(log.before.rows)


def test_a_successor_goes_on_with_the_decisions_of_its_observation_only(path):
    decide(path)
    assert batches(path, "first") == [7]
    assert batches(path, "second") == []
    assert batches(path, "first") == [], "the record of one observation is kept"


def test_an_observation_that_begins_anew_has_no_decisions_of_an_earlier_start(path):
    decide(path)
    decide(path, batch=8, resume=False)
    assert batches(path, "first") == [8]


def test_dumps_are_those_of_the_observation_that_is_asked_for(path):
    assert decided_dumps(path, "first") == []
    decide(path, sendings={"iquv": {"trigger": [1]}})
    assert decided_dumps(path, "first") == [{"trigger": [1]}]
    assert decided_dumps(path, "second") == []


def test_a_decision_is_on_disk_before_anything_is_sent_and_nobody_waits_for_the_others(path, monkeypatch):
    synced = []
    monkeypatch.setattr("darc.records.decisions.os.fsync", lambda _: synced.append(path.read_text()))
    decide(path, batch=1)
    assert synced == []
    decide(path, batch=2, sendings={"iquv": {"trigger": []}})
    assert len(synced) == 1 and '"batch": 2' in synced[0]


def test_a_damaged_line_costs_itself_and_is_told(path, caplog):
    decide(path, batch=1)
    with path.open("a") as stream:
        stream.write('{"batch": 5, "ro\n{"batch": "x", "rows": {}}\n')
    decide(path, batch=2)
    assert batches(path, "first") == [1, 2]
    assert caplog.text.count("passed over that is damaged") == 4  # two lines, read twice
