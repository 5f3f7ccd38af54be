"""Counts and places of clusters, whatever the extractors do."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from darc.formats.results import NOTHING_CAME, Summary
from darc.processor_tools.ledger import LATE_MAX, Cluster, Ledger, Stage

DIED = "two extractors died of it"


def ledger_with(*ready_at):
    ledger = Ledger(header_seen=True)
    for moment in ready_at:
        ledger.add(Cluster(ledger.next_number(), 100.0, 12.0, moment, 5, 35), moment)
    return ledger


def number_out(ledger, worker, now):
    handed = ledger.extraction.hand_out(worker, now)
    return handed and handed[0]


def test_a_cluster_waits_until_its_data_are_on_disk():
    ledger = ledger_with(10.0)
    assert number_out(ledger, "a", 9.9) is None
    assert ledger.extraction.next_ready_at() == 10.0
    assert number_out(ledger, "a", 10.0) == 0
    assert ledger.extraction.next_ready_at() is None


def test_an_observation_is_finished_when_every_candidate_is_classified():
    ledger = ledger_with(1.0, 2.0)
    number_out(ledger, "a", 5.0), number_out(ledger, "a", 5.0)
    ledger.skip("a", 0, "no filterbank")
    assert not ledger.finished
    ledger.extracted_to("a", 1, Path("x.hdf5"), 5.0)
    assert not ledger.finished
    ledger.classification.hand_out("c", 5.0)
    ledger.judge("c", 1, keep=True)
    assert ledger.finished
    assert ledger.summary() == Summary(0, 2, 1, 1)
    assert ledger.skipped == {"no filterbank": 1}


def test_what_a_dead_extractor_had_in_hand_goes_to_another_one_once():
    ledger = ledger_with(1.0)
    number_out(ledger, "a", 5.0)
    ledger.take_back("a", 6.0)
    assert number_out(ledger, "b", 6.0) == 0
    ledger.extracted_to("a", 0, Path("x"), 6.0)  # too late: it is not counted twice
    assert ledger.extracted == 0
    ledger.take_back("b", 7.0)
    assert number_out(ledger, "c", 8.0) is None
    assert ledger.finished
    assert ledger.skipped == {DIED: 1}


def test_only_the_piece_that_was_worked_on_is_suspected_of_a_death():
    ledger = ledger_with(1.0, 2.0)
    for worker in ("a", "b"):
        assert [number_out(ledger, worker, 5.0) for _ in range(2)] == [0, 1]
        ledger.take_back(worker, 1.5)
    assert ledger.skipped == {DIED: 1}
    assert number_out(ledger, "c", 5.0) == 1


def test_a_piece_that_was_not_taken_waits_again_and_nobody_is_suspected():
    ledger = ledger_with(1.0)
    for worker in ("a", "b"):
        assert number_out(ledger, worker, 5.0) == 0
        assert ledger.extraction.working_on(worker) == 0
        ledger.extraction.put_back(worker, 0, 5.0)
        assert ledger.extraction.working_on(worker) is None
        ledger.take_back(worker, 5.0)
    assert number_out(ledger, "c", 5.0) == 0 and not ledger.skipped


def test_rows_that_were_given_and_never_answered_for_are_lost_once():
    ledger = Ledger()
    for worker, number in (("first", 30), ("second", 20), ("second", 15), ("first", 1)):
        ledger.count_rows(worker, number)
    assert ledger.rows == 35


def test_a_cluster_is_new_once_however_often_it_is_told_of():
    ledger, twice, once = Ledger(), (100.0, 12.0), (200.0, 12.0)
    told = [("first", twice), ("first", twice), ("second", twice), ("first", once), ("second", twice)]
    assert [ledger.is_new(*each) for each in told] == [True, True, False, True, False]
    assert [ledger.is_new("second", each) for each in (once, twice, twice)] == [False, True, True]


def test_data_that_do_not_come_are_waited_for_a_limited_number_of_times():
    ledger = ledger_with(1.0)
    for _ in range(LATE_MAX - 1):
        number_out(ledger, "a", 5.0)
        assert ledger.too_early("a", 0, 5.0, "too short")
    number_out(ledger, "a", 5.0)
    assert not ledger.too_early("a", 0, 5.0, "too short")
    assert ledger.finished and ledger.skipped == {"too short": 1}


def test_after_the_end_of_the_data_nothing_waits_any_longer():
    stage = Stage()
    stage.add(0, "early", 1.0)
    stage.add(1, "late", 100.0)
    stage.hurry(7.0)
    assert stage.hand_out("a", 7.0) == (0, "early")
    assert stage.hand_out("a", 6.9) is None
    assert stage.hand_out("a", 7.0) == (1, "late")


def test_a_candidate_that_cannot_be_classified_counts_as_extracted_but_not_as_kept():
    ledger = ledger_with(1.0, 1.0)
    for number in range(2):
        number_out(ledger, "a", 5.0)
        ledger.extracted_to("a", number, Path(f"{number}.hdf5"), 5.0)
    ledger.classification.hand_out("c", 5.0)
    ledger.judge("c", 0, keep=False, reason="damaged")
    ledger.give_up_classification("no models")
    assert ledger.finished
    assert ledger.unjudged == {"damaged": 1, "no models": 1}
    assert ledger.summary() == Summary(0, 2, 2, 0)


def test_two_clusters_of_one_burst_that_share_a_file_are_kept_once():
    ledger = ledger_with(1.0, 1.0)
    for number in range(2):
        number_out(ledger, "a", 5.0)
        ledger.extracted_to("a", number, Path("same.hdf5"), 5.0)
        ledger.classification.hand_out("c", 5.0)
        ledger.judge("c", number, keep=True)
    assert ledger.summary() == Summary(0, 2, 2, 1)


def test_without_a_header_from_amber_all_counts_say_so():
    assert Ledger().summary() == NOTHING_CAME


# counters shared by processes and incremented without a lock
@given(
    st.lists(st.sampled_from(["out", "good", "bad", "early", "die"])), st.integers(1, 4), st.integers(0, 12)
)
def test_every_cluster_ends_in_exactly_one_place(events, nextractor, ncluster):
    ledger = ledger_with(*[0.0] * ncluster)
    held = {f"e{i}": [] for i in range(nextractor)}

    def step(name, event):
        if event == "out":
            if (number := number_out(ledger, name, 1.0)) is not None:
                held[name].append(number)
        elif event == "die":
            held[name].clear()
            ledger.take_back(name, 1.0)
        elif held[name]:
            number = held[name].pop(0)
            if event == "good":
                ledger.extracted_to(name, number, Path(str(number)), 1.0)
            elif event == "bad":
                ledger.skip(name, number, "bad data")
            else:
                ledger.too_early(name, number, 1.0, "too short")

    for i, event in enumerate(events):
        step(f"e{i % nextractor}", event)
    while ledger.extraction:
        for name in held:
            step(name, "out")
            step(name, "good")
    assert ledger.extracted + sum(ledger.skipped.values()) == ncluster
    while (handed := ledger.classification.hand_out("c", 1.0)) is not None:
        ledger.judge("c", handed[0], keep=False)
    assert ledger.finished
