"""What the clusters of a batch lead to, and why."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.clustering import Clusters
from darc.science.selection import APERIODIC, SEND, Group, Limits, limit_of, read_verdict, select

CLUSTER = {"dm": 500.0, "snr": 20.0, "time": 10.0, "width": 5.0, "sb": 35, "index": 0, "count": 7}


def clusters(*rows):
    """Clusters that differ from CLUSTER as told."""
    rows = [{**CLUSTER, "index": i, **row} for i, row in enumerate(rows)]
    return Clusters(**{key: np.array([row[key] for row in rows]) for key in CLUSTER})


def new_sources(*rows, **limits):
    return Group(clusters(*rows), iquv=Limits(**limits), lofar=Limits(**limits))


@pytest.mark.parametrize(
    ("limits", "reason", "name"),
    [
        ({"snr_min": 20.5}, "S/N 20.00 < 20.5", "snr"),
        ({"dm_min": 600}, "DM 500.00 < 600", "dm"),
        ({"width_max": 4}, "width 5 > 4 samples", "width"),
        ({"count_max": 6}, "7 triggers > 6 in one cluster", "count"),
        ({"closed": "never for a pulsar"}, "never for a pulsar", "closed"),
        ({}, SEND, SEND),
    ],
)
def test_the_limit_that_stops_a_cluster_is_named_with_its_numbers(limits, reason, name):
    (verdict,) = select([new_sources({}, **limits)]).verdicts
    assert verdict.iquv == verdict.lofar == reason
    assert reason in str(verdict)
    assert limit_of(reason) == name


def test_what_stops_a_cluster_beside_others_has_a_name_without_numbers():
    twice = [new_sources({"snr": 12.0}), new_sources({"snr": 12.0}, {"snr": 20.0})]
    first, again, _ = select(twice, last_iquv_s=9.5, iquv_interval_s=60).verdicts
    assert [limit_of(first.iquv), limit_of(first.lofar)] == ["interval", "not the brightest"]
    assert [limit_of(again.iquv), limit_of(again.lofar)] == ["other selection"] * 2


def test_a_verdict_is_read_back_from_a_line_of_the_log():
    (verdict,) = select([new_sources({"time": 12.3456})]).verdicts
    assert read_verdict(f"2026-11-22 INFO amber_clustering: {verdict}") == (20.0, 500.0, 12.3456)
    assert read_verdict("2026-11-22 INFO amber_clustering: started") is None


def with_filtered(*rows, **limits):
    return replace(
        group := new_sources(**limits), clusters=replace(group.clusters, aperiodic=clusters(*rows))
    )


def test_what_only_the_sb_filter_stopped_is_told_the_brightest_first():
    group = with_filtered(
        {"snr": 15.0}, {"snr": 25.0}, {"snr": 40.0, "width": 99.0}, snr_min=10, width_max=50
    )
    selection = select([group])
    assert (selection.verdicts, selection.iquv, selection.lofar) == ((), (), None)
    assert [(v.snr, v.iquv, v.lofar) for v in selection.filtered] == [
        (25.0, APERIODIC, APERIODIC),
        (15.0, APERIODIC, APERIODIC),
    ]
    assert limit_of(APERIODIC) == "SB filter"
    assert read_verdict(str(selection.filtered[0])) is None


def test_what_two_selections_lost_is_told_once_as_the_known_source():
    known = replace(with_filtered({}), source_name="R1", source_dm=501.0)
    assert [v.source_name for v in select([known, with_filtered({})]).filtered] == ["R1"]


def test_a_cluster_exactly_at_the_limits_passes():
    selection = select([new_sources({}, snr_min=20, dm_min=500, width_max=5, count_max=7)])
    assert [v.iquv for v in selection.verdicts] == [SEND]
    assert selection.lofar == selection.verdicts[0]


def test_every_passing_cluster_is_in_the_iquv_message():
    selection = select([new_sources({"time": 1.0}, {"time": 2.0, "snr": 5.0}, {"time": 3.0}, snr_min=10)])
    assert [v.time_s for v in selection.iquv] == [1.0, 3.0]


def test_of_several_the_brightest_goes_to_lofar_and_the_others_say_so():
    selection = select([new_sources({"snr": 20.0}, {"snr": 30.0}, {"snr": 25.0})])
    assert selection.lofar.snr == 30.0
    assert [v.lofar for v in selection.verdicts] == [
        "S/N 20.00, below the 30.00 that is sent", SEND, "S/N 25.00, below the 30.00 that is sent"
    ]  # fmt: skip


def test_of_equally_bright_ones_the_first_in_time_goes_to_lofar_whichever_selection_it_is_in():
    early, late = {"time": 1.0, "index": 0}, {"time": 2.0, "index": 1}
    for groups in ([new_sources(early, late)], [new_sources(late), new_sources(early)]):
        assert select(groups).lofar.time_s == 1.0


def test_iquv_triggers_keep_their_distance_in_the_time_of_the_data():
    first = select([new_sources({"time": 10.0})], iquv_interval_s=60)
    assert first.last_iquv_s == 10.0
    second = select([new_sources({"time": 69.9})], last_iquv_s=first.last_iquv_s, iquv_interval_s=60)
    assert not second.iquv
    assert second.verdicts[0].iquv == "59.90 s after the last IQUV trigger < 60 s"
    assert second.last_iquv_s == 10.0
    third = select([new_sources({"time": 70.0})], last_iquv_s=second.last_iquv_s, iquv_interval_s=60)
    assert third.iquv and third.last_iquv_s == 70.0


def test_known_and_new_sources_share_one_message_and_one_rate_limit():
    known = Group(clusters({"time": 1.0}), Limits(), Limits(), source_name="R1", source_dm=501.0)
    new = new_sources({"time": 1.5, "index": 9})
    selection = select([known, new], iquv_interval_s=60)
    assert [(v.source_name, v.best_dm) for v in selection.iquv] == [("R1", 501.0), (None, 500.0)]
    assert selection.last_iquv_s == 1.0


def test_a_trigger_that_passes_as_known_and_as_new_is_sent_once_as_known():
    known = Group(clusters({}), Limits(), Limits(), source_name="R1", source_dm=501.0)
    selection = select([known, new_sources({})])
    assert [v.source_name for v in selection.iquv] == ["R1"]
    assert selection.lofar.source_name == "R1"
    assert selection.verdicts[1].lofar == "already counted in another selection"


def test_a_trigger_that_fails_as_known_can_pass_as_new():
    known = Group(clusters({}), Limits(snr_min=30), Limits(closed="x"), source_name="R1", source_dm=501.0)
    assert [v.source_name for v in select([known, new_sources({})]).iquv] == [None]


def test_nothing_in_nothing_out():
    selection = select([new_sources()], last_iquv_s=3.0)
    assert (selection.verdicts, selection.iquv, selection.lofar, selection.last_iquv_s) == ((), (), None, 3.0)


ROW = st.fixed_dictionaries(
    {
        "snr": st.floats(5, 50),
        "dm": st.floats(0, 3000),
        "time": st.floats(0, 100),
        "width": st.integers(1, 1000),
        "count": st.integers(1, 200),
    }
)


@given(st.lists(ROW, max_size=8), st.floats(0, 60))
def test_every_cluster_has_one_verdict_and_the_outcomes_agree_with_it(rows, interval):
    group = new_sources(*rows, snr_min=10, width_max=100, dm_min=100)
    selection = select([group], last_iquv_s=20.0, iquv_interval_s=interval)
    assert len(selection.verdicts) == len(rows)
    for verdict in selection.iquv:
        assert verdict.snr >= 10 and verdict.width <= 100 and verdict.dm >= 100
        assert verdict.time_s >= 20.0 + interval or np.isclose(verdict.time_s, 20.0 + interval)
    unlimited = select([replace(group, iquv=Limits(), lofar=Limits())], last_iquv_s=-inf)
    assert len(unlimited.iquv) == len(rows)
