"""Groups of triggers that follow the burst: what is put together, and what is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.science.clustering import cluster
from darc.science.dispersion import delay_s
from darc.science.linked_clustering import CROWD, EARLIER, linked_groups
from darc.simulation.amber import Amber
from darc.simulation.sky import Burst, RfiStorm, Sky

MS = 1 / 0.08192  # samples
#: Delay over the band for each unit of DM.
TOP_MHZ = ARTS.top_freq_mhz(ARTS.min_freq_mhz)
SWEEP_S = delay_s(1.0, TOP_MHZ - ARTS.bandwidth_mhz, TOP_MHZ)


def rows_of(*bursts, duration_s=8.0, storms=(), seed=1):
    """What AMBER finds: DM, S/N, time, width, SB; and the numbers of the batches."""
    amber = Amber(Sky(duration_s, bursts, storms=storms), seed=seed)
    rows = np.concatenate([amber.rows(batch, plan) for batch in range(amber.nbatch) for plan in range(3)])
    columns = ("DM", "SNR", "time", "integration_step", "beam_id")
    return np.column_stack([rows[name] for name in columns]).astype(float), rows["batch_id"]


def linked(rows, **options):
    return cluster(rows, **{"snr_min": 8.0, "window": 0.5, "origin": 0.0, "method": "linked", **options})


def trigger(dm=500.0, snr=10.0, time=1.0, width=10.0, sb=0.0):
    return (dm, snr, time, width, sb)


@pytest.mark.parametrize("dm", [20.0, 410.0, 819.0, 3000.0])
@pytest.mark.parametrize("width_ms", [0.08, 1.0, 50.0])
@pytest.mark.parametrize("snr", [12.0, 100.0])
def test_a_burst_is_one_group_wherever_boxes_have_their_edges(dm, width_ms, snr):
    for time_s in (2.45, 2.4995, 2.502):  # 2.5: an edge of the time windows; batches end at 2.048 and 3.072
        burst = Burst(time_s, dm, snr, max(1, round(width_ms * MS)))
        rows, _ = rows_of(burst)
        found = linked(rows)
        assert found.count.tolist() == [len(rows)]
        assert found.snr[0] == rows[:, 1].max()


@pytest.mark.parametrize("width_ms", [0.08, 3.0, 50.0])
@pytest.mark.parametrize("snrs", [(12.0, 12.0), (100.0, 12.0), (100.0, 80.0)])
def test_two_bursts_at_the_same_dm_a_fifth_of_a_second_apart_stay_two(width_ms, snrs):
    width = max(1, round(width_ms * MS))
    pair = [Burst(2.3 + 0.2 * i, 560.0, snr, width) for i, snr in enumerate(snrs)]
    # each in a telescope of its own: in one batch, AMBER keeps only the best boxcar of a width
    rows = np.concatenate([rows_of(burst, seed=i)[0] for i, burst in enumerate(pair)])
    found = linked(rows)
    assert found.time == pytest.approx([burst.time_s for burst in pair], abs=0.06)


def test_a_burst_beside_a_brighter_signal_is_found():
    burst, impulse = trigger(dm=500.0, snr=12.0, time=1.1), trigger(dm=420.0, snr=60.0, time=1.3)
    assert len(cluster([burst, impulse], window=1.0, origin=0.0)) == 1
    assert linked([burst, impulse]).snr.tolist() == [12.0, 60.0]


def test_a_trigger_too_bright_for_the_smeared_pulse_is_another_burst():
    # 100 units of DM smear a pulse of 10 samples over 1200: S/N 30 falls to about 0.8
    pulse, arm = trigger(dm=500.0, snr=30.0, time=1.0), trigger(dm=600.0, time=0.95)
    assert len(linked([pulse, arm])) == 2
    assert len(linked([trigger(dm=500.0, snr=1000.0, time=1.0), arm])) == 1


# AMBER's trial DMs are up to 2.5 pc/cm3 apart: so close, a trigger is the same burst however bright it is
@pytest.mark.parametrize(("apart", "ngroup"), [(0.95, 1), (1.05, 2)])
def test_triggers_3_units_and_2_per_cent_apart_in_dm_are_one_burst(apart, ngroup):
    dm_offset = apart * (3.0 + 0.02 * 500.0)
    # both agree in the middle of the delay over the band
    other = trigger(dm=500.0 + dm_offset, snr=29.0, time=1.0 - dm_offset * SWEEP_S / 2)
    assert len(linked([trigger(dm=500.0, snr=30.0, time=1.0), other])) == ngroup


# 100 units of DM smear a pulse over 0.1 s: earlier for a DM that is too high, from where it is to that time
@pytest.mark.parametrize(
    ("dm", "offset_s", "ngroup"),
    [(600.0, -0.105, 1), (600.0, -0.115, 2), (600.0, 0.005, 1), (600.0, 0.015, 2),
     (400.0, 0.105, 1), (400.0, 0.115, 2), (400.0, -0.005, 1), (400.0, -0.015, 2)],
)  # fmt: skip
def test_a_trigger_at_another_dm_belongs_to_the_pulse_where_that_is_smeared_to(dm, offset_s, ngroup):
    arm = trigger(dm=dm, snr=8.0, time=1.0 + offset_s)
    assert len(linked([trigger(dm=500.0, snr=1000.0, time=1.0), arm])) == ngroup


def test_each_trigger_gets_the_column_of_the_brightest_one_of_its_group():
    rows = np.array([trigger(snr=9.0), trigger(snr=30.0), trigger(time=5.0), trigger(time=9.0)])
    found = linked_groups(rows.T, np.array([0, 0, 1, 2]), rows[3:].T, ARTS)
    assert found.tolist() == [1, 1, 2, EARLIER]


def test_a_crowded_box_takes_in_nothing_of_the_next_one():
    crowd = [trigger(dm=300.0, snr=30.0, time=time) for time in (0.05, 0.2, 0.35)]
    rest, beside = trigger(dm=300.0, snr=9.0, time=0.45), trigger(dm=500.0, snr=9.0, time=0.3)
    assert linked([*crowd, rest, beside]).snr.tolist() == [30.0, 30.0, 9.0, 30.0]


def test_interference_makes_no_more_groups_than_can_be_looked_at():
    rows, _ = rows_of(duration_s=3.0, storms=(RfiStorm(0.0, 3.0, 2000.0),))
    boxes = len(cluster(rows, snr_min=8.0, window=0.5, origin=0.0))
    assert boxes < len(linked(rows)) <= CROWD * boxes


ROWS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 20.0, 21.0, 60.0, 300.0, 1000.0]),
        st.sampled_from([8.0, 10.0, 10.5, 30.0, 300.0]),
        st.integers(0, 40).map(lambda i: i / 32),
        st.sampled_from([1.0, 50.0, 1000.0]),
        st.integers(0, 70).map(float),
    ),
    max_size=30,
).map(lambda rows: np.array(rows).reshape(-1, 5))


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, random=st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(rows, random):
    shuffled = rows[random.sample(range(len(rows)), len(rows))]
    one, other = linked(rows), linked(shuffled)
    np.testing.assert_array_equal(one.representatives, other.representatives)
    np.testing.assert_array_equal(one.count, other.count)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_every_trigger_within_the_limits_is_in_exactly_one_group(rows):
    in_range = (rows[:, 0] >= 20.5) & (rows[:, 1] >= 9.0)
    found = linked(rows, snr_min=9.0, dm_min=20.5)
    assert found.count.sum() == np.count_nonzero(in_range)
    assert in_range[found.index].all()


def test_no_group_is_made_of_what_an_earlier_one_explains():
    rows, _ = rows_of(Burst(2.4, 560.0, 90.0, 120), Burst(5.0, 100.0, 20.0, 3))
    found = linked(rows)
    assert len(found) == 2
    assert len(linked(rows, earlier=found.representatives)) == 0
    assert linked(rows, earlier=found.representatives[:1]).time.tolist() == found.time[1:].tolist()


def test_a_brighter_trigger_than_that_of_the_earlier_group_is_told():
    earlier = np.array([trigger(snr=10.0)])
    assert len(linked([trigger(snr=10.0)], earlier=earlier)) == 0
    assert linked([trigger(snr=11.0)], earlier=earlier).snr.tolist() == [11.0]


@pytest.mark.parametrize("value", [1e9, -5.0, 0.0])
def test_absurd_widths_and_dms_do_no_harm(value):
    rows = [trigger(width=value), trigger(dm=value, time=3.0), trigger(time=9.0)]
    assert linked(rows, dm_min=-np.inf).count.sum() == 3
