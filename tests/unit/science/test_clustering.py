"""Grouping of triggers: a slow, obvious implementation, own examples, and results of a reference program."""

import json
from collections import defaultdict
from math import inf

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darc.science.clustering import cluster, dm_edges

# ---------------------------------------------------------------- a slow, obvious implementation


def slow_dm_windows(dms):
    """(lower, upper) of each window, from the top down; the lower edge belongs to the window."""
    windows, top, upper = [], 1.1 * max(dms), inf
    while top >= 50:
        f = 0.2 if top >= 100 else 0.4
        lower = int((1 - f) / (1 + f) * top)
        windows.append((lower, upper))
        top = upper = lower
    return [*windows, (-inf, upper)]


def slow_period(strong, chosen):
    profile = np.zeros(71)
    for dm, snr, time, _, sb in strong:
        if time == chosen[2] and abs(dm - chosen[0]) <= 20:
            profile[int(sb)] = max(profile[int(sb)], snr)
    return 2 + int(np.argmax(np.correlate(profile, profile, "full")[70 + 2 :]))


def slow_cluster(rows, *, snr_min, dm_min, dm_max, window, origin, sb_filter):
    """Set of (DM, S/N, time, width, SB, count)."""
    strong = [row for row in rows if row[1] >= snr_min]
    if not strong:
        return set()
    if origin is None:
        origin = min(row[2] for row in strong) - window / 2
    boxes = defaultdict(list)
    for row in strong:
        if dm_min <= row[0] <= dm_max:
            dm_window = next(w for w in slow_dm_windows([r[0] for r in strong]) if w[0] <= row[0] < w[1])
            start = next(s for s in np.arange(-100, 100) if s * window <= row[2] - origin < (s + 1) * window)
            boxes[dm_window, start].append(row)
    chosen = {}
    for box in boxes.values():
        dm, snr, time, width, sb = min(box, key=lambda r: (-r[1], r[2], r[4], r[0], r[3]))
        chosen[dm, snr, time, width, sb] = len(box)
    if sb_filter:
        chosen = {row: count for row, count in chosen.items() if 10 < slow_period(strong, row) < 15}
    return {(*row, count) for row, count in chosen.items()}


def as_set(clusters):
    columns = (clusters.dm, clusters.snr, clusters.time, clusters.width, clusters.sb, clusters.count)
    return set(zip(*(column.tolist() for column in columns), strict=True))


# Times on a grid on which window edges are exact; few values, so that edges are hit and S/N are equal.
DMS = st.sampled_from(
    [0.0, 0.2, 20.0, 34.0, 49.8, 50.0, 77.0, 150.0, 180.0, 220.0, 300.0, 1000.0]
) | st.floats(0, 3000)
ROWS = st.lists(
    st.tuples(
        DMS,
        st.sampled_from([8.0, 9.0, 10.0, 10.5, 30.0]),
        st.integers(0, 32).map(lambda i: i / 8),
        st.sampled_from([1.0, 50.0]),
        st.integers(0, 70).map(float),
    ),
    max_size=30,
)
LIMITS = st.fixed_dictionaries(
    {
        "snr_min": st.sampled_from([5.0, 9.0, 10.0]),
        "dm_min": st.sampled_from([0.0, 20.0, 34.0]),
        "dm_max": st.sampled_from([40.0, 220.0, inf]),
        "window": st.sampled_from([0.25, 0.5, 1.0]),
        "origin": st.sampled_from([None, 0.0, 0.125, -2.0]),
    }
)


def as_triggers(rows):
    return np.array(rows, dtype=float).reshape(-1, 5)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, limits=LIMITS, sb_filter=st.booleans())
def test_groups_like_the_slow_implementation(rows, limits, sb_filter):
    assert as_set(cluster(as_triggers(rows), **limits, sb_filter=sb_filter)) == slow_cluster(
        rows, **limits, sb_filter=sb_filter
    )


@settings(max_examples=60, deadline=None)
@given(
    period=st.integers(2, 20),
    first=st.integers(0, 10),
    others=st.lists(
        st.tuples(st.floats(30, 90), st.just(8.0), st.just(2.0), st.just(1.0), st.integers(0, 70).map(float)),
        max_size=10,
    ),
)
@example(period=12, first=0, others=[])
def test_periods_like_the_slow_implementation(period, first, others):
    rows = [(60.0, 20.0 - sb / 10, 2.0, 1.0, float(sb)) for sb in range(first, 71, period)] + others
    limits = {"snr_min": 5.0, "dm_min": 0.0, "dm_max": inf, "window": 1.0, "origin": 0.0}
    assert as_set(cluster(as_triggers(rows), **limits, sb_filter=True)) == slow_cluster(
        rows, **limits, sb_filter=True
    )


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, limits=LIMITS)
def test_every_trigger_within_the_limits_is_in_exactly_one_group(rows, limits):
    in_range = [r for r in rows if r[1] >= limits["snr_min"] and limits["dm_min"] <= r[0] <= limits["dm_max"]]
    assert cluster(as_triggers(rows), **limits).count.sum() == len(in_range)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, limits=LIMITS, sb_filter=st.booleans(), random=st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(rows, limits, sb_filter, random):
    shuffled = random.sample(rows, len(rows))
    one = cluster(as_triggers(rows), **limits, sb_filter=sb_filter)
    other = cluster(as_triggers(shuffled), **limits, sb_filter=sb_filter)
    for name in ("dm", "snr", "time", "width", "sb", "count"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(as_triggers(rows)[one.index], as_triggers(shuffled)[other.index])


# ---------------------------------------------------------------- examples


def trigger(dm=100.0, snr=10.0, time=0.0, width=1.0, sb=0.0):
    return (dm, snr, time, width, sb)


def test_no_triggers_no_groups():
    clusters = cluster(np.empty((0, 5)), sb_filter=True)
    assert len(clusters) == 0
    assert len(clusters.index) == len(clusters.count) == 0


def test_one_trigger_is_one_group():
    clusters = cluster([trigger(56.8, 18.5, 3.25, 25.0, 7.0)])
    assert as_set(clusters) == {(56.8, 18.5, 3.25, 25.0, 7, 1)}
    assert clusters.index.tolist() == [0]


def test_triggers_at_dm_0_share_one_window():
    clusters = cluster([trigger(dm=0.0, snr=snr) for snr in (6.0, 8.0, 7.0)])
    assert clusters.index.tolist() == [1]
    assert clusters.count.tolist() == [3]


def test_groups_are_ordered_by_time_and_name_their_row():
    clusters = cluster([trigger(time=9.0), trigger(time=1.0, snr=1.0), trigger(time=5.0), trigger(time=2.0)])
    assert clusters.time.tolist() == [2.0, 5.0, 9.0]
    assert clusters.index.tolist() == [3, 2, 0]


def test_groups_at_the_same_time_are_ordered_by_dm():
    clusters = cluster([trigger(dm=900.0, snr=9.0), trigger(dm=20.0, snr=30.0), trigger(dm=300.0, snr=20.0)])
    assert clusters.dm.tolist() == [20.0, 300.0, 900.0]


def test_each_group_has_its_own_count():
    # box order (time window, then DM) differs from the order in time
    rows = [trigger(dm=900.0, time=0.1), trigger(dm=20.0, time=0.2), trigger(dm=21.0, time=0.2, snr=9.0)]
    clusters = cluster(rows, origin=0.0)
    assert clusters.dm.tolist() == [900.0, 20.0]
    assert clusters.count.tolist() == [1, 2]


def test_limits_in_snr_and_dm_are_included():
    rows = [
        trigger(dm=dm, snr=snr, time=10 * dm + snr) for dm in (9.0, 10.0, 20.0, 21.0) for snr in (5, 6, 8, 9)
    ]
    clusters = cluster(rows, snr_min=6, snr_max=8, dm_min=10, dm_max=20)
    assert {(c[0], c[1]) for c in as_set(clusters)} == {(10.0, 6.0), (10.0, 8.0), (20.0, 6.0), (20.0, 8.0)}


def test_dm_windows_narrow_downwards():
    # 1.1 x 1000 = 1100; 2/3 of it = 733.3; ... 96 is below 100: 3/7 of it = 41.1, below 50: down to 0
    assert dm_edges(1000.0) == [41, 96, 144, 216, 325, 488, 733]
    assert dm_edges(46.0) == [21]
    assert dm_edges(45.0) == []
    assert dm_edges(0.0) == []


def test_trigger_on_a_dm_edge_belongs_to_the_window_above():
    rows = [trigger(dm=1000.0), trigger(dm=733.0), trigger(dm=732.9)]
    assert as_set(cluster(rows)) == {(733.0, 10.0, 0.0, 1.0, 0, 2), (732.9, 10.0, 0.0, 1.0, 0, 1)}


def test_highest_dm_is_in_the_topmost_window():
    # int(1.1 x 0.5) is below 0.5
    assert cluster([trigger(dm=0.5), trigger(dm=0.0)]).count.tolist() == [2]


def test_trigger_on_a_time_edge_belongs_to_the_later_window():
    rows = [trigger(time=0.0), trigger(time=0.999), trigger(time=1.0), trigger(time=1.001)]
    assert cluster(rows, window=1.0, origin=0.0).count.tolist() == [2, 2]


def test_windows_are_counted_from_the_origin_whichever_trigger_is_first():
    late, rest = [trigger(time=0.9)], [trigger(time=1.1), trigger(time=1.9)]
    assert cluster(rest, window=1.0, origin=0.0).count.tolist() == [2]
    assert cluster(late + rest, window=1.0, origin=0.0).count.tolist() == [1, 2]
    assert cluster([trigger(time=1.1), trigger(time=1.3)], window=1.0, origin=0.25).count.tolist() == [1, 1]


def test_without_origin_the_earliest_trigger_above_the_snr_limit_is_amid_its_window():
    rows = [trigger(time=3.0, snr=4.0), trigger(time=4.25), trigger(time=4.5), trigger(time=4.75)]
    assert cluster(rows, window=1.0).count.tolist() == [2, 1]


def test_brighter_trigger_outside_the_dm_range_hides_none_inside():
    rows = [trigger(dm=56.0, snr=8.0), trigger(dm=70.0, snr=50.0)]
    assert cluster(rows, dm_min=46, dm_max=66).dm.tolist() == [56.0]


def test_windows_follow_from_triggers_outside_the_dm_range_but_not_from_weak_ones():
    pair = [trigger(dm=40.0), trigger(dm=41.0)]
    far = trigger(dm=1000.0)
    assert len(cluster(pair, dm_max=50)) == 1
    assert len(cluster([*pair, far], dm_max=50)) == 2
    assert len(cluster([*pair, trigger(dm=1000.0, snr=4.0)], dm_max=50)) == 1


def test_of_equally_bright_triggers_the_first_in_ambers_order_is_chosen():
    rows = [trigger(time=0.1), trigger(sb=2.0), trigger(dm=101.0, sb=1.0), trigger(dm=100.5, sb=1.0)]
    assert cluster(rows, origin=0.0).index.tolist() == [3]


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("value", [np.nan, inf, -inf])
def test_rows_that_are_not_finite_are_ignored(column, value):
    bad = list(trigger(snr=99.0))
    bad[column] = value
    clusters = cluster([bad, trigger()])
    assert clusters.index.tolist() == [1]
    assert clusters.count.tolist() == [1]


def test_negative_dms_are_out_of_range_unless_asked_for():
    rows = [trigger(dm=-5.0), trigger(dm=-50.0)]
    assert len(cluster(rows)) == 0
    assert cluster(rows, dm_min=-inf).count.tolist() == [2]


def test_absurd_times_do_no_harm():
    assert (
        cluster([trigger(time=1e200), trigger(time=1.0), trigger(time=-1e200)], origin=0.0).count.sum() == 3
    )


@pytest.mark.parametrize("shape", [(0,), (5,), (3, 4), (2, 3, 5)])
def test_triggers_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must have shape \(n, 5\)"):
        cluster(np.zeros(shape))


@pytest.mark.parametrize("window", [0.0, -1.0, np.nan, inf])
def test_window_has_to_be_positive(window):
    with pytest.raises(ValueError, match="window"):
        cluster([trigger()], window=window)


def burst(sbs, *, snr=20.0, weak=8.0, time=1.0, dm=60.0):
    """A burst in several synthesised beams, brightest in the first."""
    return [trigger(dm=dm, snr=snr if sb == sbs[0] else weak, time=time, sb=float(sb)) for sb in sbs]


@pytest.mark.parametrize(
    ("sbs", "kept"),
    [
        (range(3, 71, 12), True),  # as a source in the grating lobes
        (range(46, 71, 12), True),  # up to the last of 71 beams, and of 114
        (range(89, 114, 12), True),
        (range(3, 71, 10), False),  # the limits themselves are excluded
        (range(3, 71, 15), False),
        (range(0, 71), False),  # in all beams: interference
        ([0, 12], True),  # the first beam is one like the others
        ([115, 127], True),
        ([116, 128], False),  # no layout has as many
        ([7], False),  # in one beam only
        ([7, 8], False),
    ],
)
def test_sb_filter_keeps_bursts_with_a_period_within_the_limits(sbs, kept):
    assert len(cluster(burst(list(sbs)), sb_filter=True, sb_filter_period=(10, 15))) == kept


def test_what_the_sb_filter_leaves_out_is_not_forgotten():
    rows = burst([7], time=1.0) + burst([0, 12, 24], time=3.0) + burst([8], time=5.0)
    clusters = cluster(rows, sb_filter=True)
    assert clusters.time.tolist() == [3.0]
    assert clusters.aperiodic.time.tolist() == [1.0, 5.0]
    assert clusters.aperiodic.sb.tolist() == [7, 8]
    assert clusters.aperiodic.index.tolist() == [0, 4]
    assert cluster(rows).aperiodic is None


def test_sb_period_comes_from_triggers_above_the_snr_limit_only():
    rows = burst([0, 12, 24])
    assert len(cluster(rows, snr_min=8.0, sb_filter=True)) == 1
    assert len(cluster(rows, snr_min=8.1, sb_filter=True)) == 0


def test_sb_period_comes_from_triggers_at_the_same_time_and_similar_dm():
    for others in (burst([12, 24], time=1.001), burst([12, 24], dm=85.0)):
        assert len(cluster(burst([0]) + others, sb_filter=True)) == 0
    assert len(cluster(burst([0]) + burst([12, 24], dm=79.0, snr=8.0), sb_filter=True)) == 1


def test_sb_period_may_come_from_triggers_outside_the_dm_range():
    rows = burst([0]) + burst([12, 24], dm=75.0, snr=8.0)
    assert cluster(rows, dm_min=50, dm_max=70, sb_filter=True).count.tolist() == [1]


# ---------------------------------------------------------------- results of a reference program


class Case:
    """Input and output of a program whose boxes are open at both edges and that applies the DM range last."""

    def __init__(self, path):
        arguments = json.loads(path.read_text())
        self.name = path.stem
        self.triggers = np.load(path.parent / f"{path.stem.partition('__')[0]}.npz")["triggers"]
        self.limits = {
            "snr_min": arguments["sig_thresh"],
            "dm_min": arguments["dm_min"],
            "dm_max": float(arguments["dm_max"]),
            "window": arguments["t_window"],
        }
        self.sb_filter = arguments["sb_filter"]
        strong = np.flatnonzero(self.triggers[:, 1] >= self.limits["snr_min"])
        with np.load(path.with_suffix(".npz")) as result:
            self.rows = set(strong[result["ind"]].tolist())
        dm, time = self.triggers[:, 0], self.triggers[:, 2]
        edges = dm_edges(dm[strong].max())
        window_number = (time - time[strong].min()) / self.limits["window"] + 0.5
        self.box = np.column_stack([np.searchsorted(edges, dm, side="right"), np.floor(window_number)])
        on_time_edge = np.abs(window_number - np.round(window_number)) < 1e-9
        self.on_edge = np.isin(dm, [0, *edges]) | on_time_edge
        self.in_range = (self.limits["dm_min"] <= dm) & (dm <= self.limits["dm_max"])

    def brighter_in_box(self, row):
        """Rows in the box of `row` with a higher S/N."""
        same_box = (self.box == self.box[row]).all(axis=1)
        return np.flatnonzero(same_box & (self.triggers[:, 1] > self.triggers[row, 1]))


@pytest.fixture(scope="module")
def cases(reference_data):
    return [Case(path) for path in sorted((reference_data / "clustering").glob("*.json"))]


def test_reference_groups_come_back_or_yield_to_a_brighter_trigger_on_an_edge(cases):
    for case in cases:
        ours = set(cluster(case.triggers, **case.limits, sb_filter=case.sb_filter).index.tolist())
        unfiltered = set(cluster(case.triggers, **case.limits).index.tolist())
        for row in case.rows - ours:
            brighter = unfiltered.intersection(case.brighter_in_box(row).tolist())
            assert brighter, (case.name, case.triggers[row])
            assert case.on_edge[list(brighter)].all(), (case.name, case.triggers[row])


def test_groups_beyond_the_references_are_those_it_lost(cases):
    for case in cases:
        ours = set(cluster(case.triggers, **case.limits, sb_filter=case.sb_filter).index.tolist())
        for row in ours - case.rows:
            hidden = not case.in_range[case.brighter_in_box(row)].all()
            assert case.on_edge[row] or hidden, (case.name, case.triggers[row])


def test_all_reference_triggers_are_counted(cases):
    for case in cases:
        strong = case.triggers[:, 1] >= case.limits["snr_min"]
        counted = cluster(case.triggers, **case.limits).count.sum()
        assert counted == np.count_nonzero(strong & case.in_range), case.name
