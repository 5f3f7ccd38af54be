"""Counts and places of clusters, whatever the extractors do."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from darc.formats.results import NOTHING_CAME, Summary
from darc.processor_tools.ledger import Cluster, Ledger


def ledger_with(*ready_at):
    ledger = Ledger(header_seen=True)
    for moment in ready_at:
        ledger.add(Cluster(ledger.next_number(), 100.0, 12.0, moment, 5, 35), moment)
    return ledger


def test_a_cluster_waits_until_its_data_are_on_disk():
    ledger = ledger_with(10.0)
    assert ledger.hand_out("a", 9.9) is None
    assert ledger.next_ready_at() == 10.0
    assert ledger.hand_out("a", 10.0).number == 0
    assert ledger.next_ready_at() is None


def test_an_observation_is_finished_when_every_candidate_is_classified():
    ledger = ledger_with(1.0, 2.0)
    for number in range(2):
        ledger.hand_out("a", 5.0)
        assert not ledger.finished
        ledger.answer("a", number, "" if number else "no filterbank")
    assert not ledger.finished
    ledger.judge(Path("x.hdf5"), keep=True)
    assert ledger.finished
    assert ledger.summary() == Summary(0, 2, 1, 1)
    assert ledger.skipped == {"no filterbank": 1}


def test_what_a_dead_extractor_had_in_hand_goes_to_another_one_once():
    ledger = ledger_with(1.0)
    ledger.hand_out("a", 5.0)
    ledger.take_back("a", 6.0)
    assert ledger.hand_out("b", 6.0).number == 0
    ledger.answer("a", 0)  # too late: it is not counted twice
    assert ledger.extracted == 0
    ledger.take_back("b", 7.0)
    assert ledger.hand_out("c", 8.0) is None
    assert ledger.finished
    assert ledger.skipped == {"two extractors died of it": 1}


def test_without_a_header_from_amber_all_counts_say_so():
    assert Ledger().summary() == NOTHING_CAME


@given(st.lists(st.sampled_from(["out", "good", "bad", "die"])), st.integers(1, 4), st.integers(0, 12))
def test_every_cluster_ends_in_exactly_one_place(events, nextractor, ncluster):
    ledger = ledger_with(*[0.0] * ncluster)
    held = {f"e{i}": [] for i in range(nextractor)}

    def step(name, event):
        if event == "out" and (cluster := ledger.hand_out(name, 1.0)):
            held[name].append(cluster.number)
        elif event in ("good", "bad") and held[name]:
            ledger.answer(name, held[name].pop(), "bad data" if event == "bad" else "")
        elif event == "die":
            held[name].clear()
            ledger.take_back(name, 1.0)

    for i, event in enumerate(events):
        step(f"e{i % nextractor}", event)
    while any(held.values()) or ledger.next_ready_at() is not None:
        for name in held:
            step(name, "out")
            step(name, "good")
    assert ledger.extracted + sum(ledger.skipped.values()) == ncluster
    for _ in range(ledger.extracted):
        ledger.judge(Path("x"), keep=False)
    assert ledger.finished
