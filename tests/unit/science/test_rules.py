"""Which clusters are looked for, and what each receiver asks of them."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from darc.science.rules import Rules
from darc.science.selection import SEND, select

UNKNOWN = Rules(
    beam=3,
    source_name=None,
    source_kind=None,
    source_dm=None,
    dm_gal=100.0,
    clustering_window=1.0,
    dm_range=10.0,
    dm_min_global=5.0,
    snr_min_global=10.0,
    sb_filter=False,
    sb_filter_period=(10.0, 15.0),
    thresh_iquv={"dm_frac_min": 1.2, "width_max": 100, "snr_min": 11.0, "interval": 60.0},
    thresh_lofar={"max_cands_per_cluster": 100, "dm_frac_min": 2.0, "width_max": 80, "snr_min": 20.0},
    lofar_trigger_sources=[],
    thresh_lofar_override={"snr_min": 12.0, "width_max": 50, "cb": [3], "trigger_on_new_sources": False},
)
REPEATER = replace(UNKNOWN, source_name="R1", source_kind="frb", source_dm=348.8)
PULSAR = replace(UNKNOWN, source_name="B0531+21", source_kind="pulsar", source_dm=56.8)
#: DM, S/N, time, width, SB
NEAR_R1, BEYOND, GALACTIC = (
    (350.0, 15.0, 1.0, 10.0, 35.0),
    (900.0, 25.0, 1.0, 10.0, 35.0),
    (90.0, 50.0, 1.0, 1, 0),
)


def groups(rules, *triggers):
    return rules.groups(np.array(triggers, dtype=float).reshape(-1, 5))


def test_without_a_known_source_only_new_ones_are_looked_for():
    (new,) = groups(UNKNOWN, NEAR_R1, BEYOND, GALACTIC)
    assert new.source_name is None
    assert sorted(new.clusters.dm) == [350.0, 900.0]


def test_a_known_source_comes_first():
    known, new = groups(REPEATER, NEAR_R1, BEYOND, GALACTIC)
    assert (known.source_name, known.source_dm, known.clusters.dm.tolist()) == ("R1", 348.8, [350.0])
    assert sorted(new.clusters.dm) == [350.0, 900.0]


# a guess of 0 would trigger on every pulsar in the Galactic plane
def test_without_a_galactic_dm_new_sources_are_not_looked_for():
    assert groups(replace(UNKNOWN, dm_gal=None), BEYOND) == []


def test_the_lowest_dm_ever_holds_for_new_sources_too():
    rules = replace(UNKNOWN, dm_gal=1.0, dm_min_global=400.0)
    (new,) = groups(rules, NEAR_R1, BEYOND)
    assert new.clusters.dm.tolist() == [900.0]
    assert new.lofar.dm_min == 400.0


# a threshold looked up in the wrong group
def test_each_receiver_of_new_sources_has_its_own_limits():
    (new,) = groups(UNKNOWN)
    assert (new.iquv.snr_min, new.iquv.width_max, new.iquv.count_max) == (11.0, 100, inf)
    assert (new.lofar.snr_min, new.lofar.dm_min, new.lofar.width_max, new.lofar.count_max) == (
        20,
        200,
        80,
        100,
    )


def test_a_known_source_is_dumped_at_any_width_and_sent_with_any_number_of_triggers():
    known = groups(REPEATER)[0]
    assert (known.iquv.snr_min, known.iquv.width_max) == (10.0, inf)
    assert (known.lofar.snr_min, known.lofar.width_max, known.lofar.count_max) == (20.0, 80, inf)
    assert known.lofar.dm_min == 0.0


def test_time_windows_count_from_the_start_of_the_observation():
    just_before, just_after = (900.0, 25.0, 6.99, 1, 35), (900.0, 24.0, 7.01, 1, 35)
    (new,) = groups(UNKNOWN, just_before, just_after)
    assert new.clusters.time.tolist() == [6.99, 7.01]


def test_triggers_are_grouped_as_configured():
    pair = (900.0, 25.0, 7.1, 1, 35), (901.0, 24.0, 7.4, 1, 35)
    for method, number in (("windows", 1), ("linked", 2)):
        (new,) = groups(replace(UNKNOWN, clustering_method=method), *pair)
        assert len(new.clusters) == number


def test_the_sb_filter_is_applied_if_wanted():
    lone = [(900.0, 25.0, 7.0, 1, 35)]
    periodic = [(900.0, 25.0 - abs(sb - 35) / 9, 7.0, 1, sb) for sb in (11, 23, 35, 47, 59)]
    rules = replace(UNKNOWN, sb_filter=True)
    assert len(groups(rules, *lone)[0].clusters) == 0
    assert len(groups(rules, *periodic)[0].clusters) == 1


def test_pulsars_are_never_sent_nor_anything_new_beside_them():
    for group in groups(PULSAR, (56.8, 90, 1, 1, 0), BEYOND):
        assert group.lofar.closed == "never for a pulsar"
    assert all(verdict.lofar != SEND for verdict in select(groups(PULSAR, BEYOND)).verdicts)


# --- sources with limits of their own ----------------------------------------------------------------------


def listed(rules, *names, **override):
    return replace(
        rules,
        lofar_trigger_sources=list(names),
        thresh_lofar_override=dict(UNKNOWN.thresh_lofar_override) | override,
    )


def test_they_replace_the_general_limits():
    known, new = groups(listed(REPEATER, "R1"))
    assert (known.lofar.snr_min, known.lofar.width_max, known.lofar.closed) == (12.0, 50, "")
    assert new.lofar.closed == "no new sources in observations of R1"


def test_other_sources_keep_the_general_limits():
    known, new = groups(listed(REPEATER, "R7"))
    assert (known.lofar.snr_min, new.lofar.closed) == (20.0, "")


def test_the_source_may_be_listed_as_it_is_called_in_the_observation():
    known, new = groups(replace(listed(REPEATER, "alias"), observed_name="alias"))
    assert known.lofar.snr_min == 12.0
    assert new.lofar.closed == "no new sources in observations of alias"


def test_a_listed_source_without_a_known_dm_still_keeps_new_ones_back():
    (new,) = groups(replace(listed(UNKNOWN, "field"), observed_name="field"))
    assert new.lofar.closed


def test_new_sources_are_sent_as_usual_if_that_is_wanted():
    _, new = groups(listed(REPEATER, "R1", trigger_on_new_sources=True))
    assert (new.lofar.closed, new.lofar.snr_min) == ("", 20.0)


# an integer where a list is expected
@pytest.mark.parametrize(
    ("cb", "closed"),
    [(3, False), ([1, 3], False), ((3,), False), ([], False), (None, False), (0, True), ([0, 1], True)],
)
def test_only_the_given_beams_send(cb, closed):
    known, _ = groups(listed(REPEATER, "R1", cb=cb))
    assert bool(known.lofar.closed) == closed


@pytest.mark.parametrize("name", ["R1", "field"])
def test_other_beams_send_no_new_sources_either(name):
    observed = replace(UNKNOWN, observed_name=name) if name == "field" else REPEATER
    *_, new = groups(listed(observed, name, cb=[0, 1], trigger_on_new_sources=True))
    assert new.lofar.closed == f"beam 3 is not among those that trigger on {name} (0, 1)"


def test_the_reason_names_the_beams():
    known, _ = groups(listed(REPEATER, "R1", cb=[0, 1]))
    assert known.lofar.closed == "beam 3 is not among those that trigger on R1 (0, 1)"


def test_even_a_listed_pulsar_is_never_sent():
    rules = listed(PULSAR, "B0531+21", trigger_on_new_sources=True)
    assert [group.lofar.closed for group in groups(rules)] == ["never for a pulsar"] * 2
