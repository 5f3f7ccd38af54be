from math import erf, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.formats.amber import AmberParser, format_row
from darc.simulation.amber import ARTS_PLANS, Amber, SearchPlan, compact, format_rows, pulse_response
from darc.simulation.sky import Burst, Pulsar, RfiStorm, Sky, random_sky

#: columns of the parsed rows
DM, SNR, TIME, WIDTH, SB = range(5)

CELL = [("beam", "i4"), ("dm_id", "i4"), ("step", "i4"), ("sample", "i4"), ("snr", "f8")]


def parsed(feed):
    """All rows of all instances as a reader of the files gets them: columns DM, S/N, time, width, SB."""
    rows = AmberParser().feed(b"".join(line for chunk in feed for line in chunk.lines))
    assert rows.malformed == 0
    return rows.triggers


def passes_sb_filter(rows, row, snr_min):
    """Whether the S/N over the SBs repeats itself as that of a celestial signal does."""
    snr = np.zeros(71)
    for other in rows:
        if other[TIME] == row[TIME] and abs(other[DM] - row[DM]) <= 20 and other[SNR] >= snr_min:
            snr[int(other[SB])] = max(snr[int(other[SB])], other[SNR])
    autocorrelation = [np.dot(snr[lag:], snr[: 71 - lag]) for lag in range(71)]
    return 10 < 2 + np.argmax(autocorrelation[2:]) < 15


def brightest(rows):
    return rows[np.argmax(rows[:, SNR])]


bursts = st.builds(
    Burst,
    time_s=st.floats(1.5, 4),
    dm=st.floats(5, 3300),
    snr=st.floats(25, 100),
    width_samples=st.integers(1, 1000),
    sb=st.integers(0, 70),
)


@settings(max_examples=40, deadline=None)
@given(bursts, st.integers(0, 2**32))
def test_the_brightest_row_of_a_burst_shows_what_was_injected(burst, seed):
    best = brightest(parsed(Amber(Sky(7.0, (burst,)), seed=seed)))
    assert best[SB] == burst.sb
    # noise of 1, and the highest of many
    assert abs(best[SNR] - burst.snr) < 5
    # the smear may move the pulse into step with the boxcars, by no more than twice its width; trial DMs
    # are up to 1.25 away
    assert abs(best[DM] - burst.dm) * 0.00101 < 3 * max(best[WIDTH], burst.width_samples) * 82e-6 + 0.0013
    assert burst.width_samples / 8 <= best[WIDTH] <= max(8 * burst.width_samples, 25)
    middle_s = burst.time_s + burst.width_samples * ARTS.tsamp_s / 2
    window_s = (2 * best[WIDTH] + 2 * burst.width_samples) * ARTS.tsamp_s
    assert abs(best[TIME] + best[WIDTH] * ARTS.tsamp_s / 2 - middle_s) <= window_s


def test_a_burst_on_a_sample_at_a_trial_dm_is_found_there():
    burst = Burst(41_000 * ARTS.tsamp_s, 56.8, 60.0, 1, sb=20)
    best = brightest(parsed(Amber(Sky(10.0, (burst,)))))
    assert best[TIME] == pytest.approx(burst.time_s, abs=1e-9)
    assert (best[DM], best[WIDTH], best[SB]) == (56.8, 1, 20)


def test_the_injected_snr_is_what_amber_reports_on_average():
    rng = np.random.default_rng(8)
    sky = random_sky(rng, 400.0, 200, snr=(30, 60), dm=(20, 3300), width_samples=(1, 500))
    rows = parsed(Amber(sky, seed=3))
    excess = [brightest(rows[abs(rows[:, TIME] - b.time_s) < 0.3])[SNR] - b.snr for b in sky.bursts]
    assert -0.2 < np.mean(excess) < 1.5
    assert 0.7 < np.std(excess) < 1.3


def test_a_burst_shows_in_several_sbs_dms_and_widths():
    rows = Amber(Sky(3.0, (Burst(1.5, 300.0, 60.0, 5),))).rows(1, 0)
    assert len(np.unique(rows["beam_id"])) > 5
    best = rows[np.argmax(rows["SNR"])]
    assert best["compacted_DMs"] > 5
    assert best["compacted_integration_steps"] > 3


@pytest.mark.parametrize("smear_over_width", [0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_snr_falls_with_the_dm_error_as_expected(smear_over_width):
    # Cordes & McLaughlin 2003, eq. 12: zeta = 6.91e-3 dDM bandwidth_MHz / (width_ms nu_GHz^3), which is
    # sqrt(ln 2) of the smear over the width at half maximum. Theirs is a Gaussian, ours a rectangular pulse.
    zeta = 6.91e-3 / 8.3e-3 * smear_over_width
    width = 200
    response, _ = pulse_response(
        width * (3 - (1 + smear_over_width) / 2 + 0.5), width, np.array([smear_over_width * width]),
        np.array([width]), 6 * width,
    )  # fmt: skip
    assert response[0, 0] == pytest.approx(sqrt(pi) / 2 / zeta * erf(zeta), rel=0.1)


@given(st.floats(-2000, 14000), st.integers(1, 2000), st.floats(-3000, 3000))
def test_no_boxcar_finds_more_than_a_fitting_one(start, width, smear):
    widths = np.array(ARTS_PLANS[0].widths)
    response, sample = pulse_response(start, width, np.array([smear]), widths, 12500)
    assert np.all(response >= -1e-6)
    assert np.all(response <= 1 + 1e-6)
    assert np.all(response <= np.sqrt(widths / width) + 1e-6)
    assert np.all((sample >= 0) & ((sample + 1) * widths <= 12500))


def test_a_pulse_across_two_batches_is_found_in_both():
    burst = Burst(2 * ARTS.batch_s - 100 * ARTS.tsamp_s, 300.0, 50.0, 200)
    amber = Amber(Sky(5.0, (burst,)))
    before, after = (amber.rows(batch, 0) for batch in (1, 2))
    assert before["SNR"].max() == pytest.approx(50, abs=5)
    assert after["SNR"].max() == pytest.approx(50, abs=5)


def test_a_wrong_dm_moves_the_pulse_away_from_the_top_of_the_band():
    # too low a trial DM leaves the lower frequencies late, too high a one makes them early
    response, sample = pulse_response(5000, 10, np.array([400.0, -400.0]), np.array([10]), 12500)
    assert sample[0, 0] * 10 > 5100
    assert sample[1, 0] * 10 < 4900
    assert response[0, 0] == pytest.approx(response[1, 0])


def test_rows_follow_from_seed_and_batch_alone():
    sky = random_sky(np.random.default_rng(1), 20.0, 5, noise_rows_per_s=30, pulsars=(Pulsar(0.7, 56.8, 15),))
    amber = Amber(sky, seed=4)
    forwards = [format_rows(amber.rows(batch, 0)) for batch in range(amber.nbatch)]
    backwards = [format_rows(Amber(sky, seed=4).rows(batch, 0)) for batch in reversed(range(amber.nbatch))]
    assert forwards == backwards[::-1]
    assert forwards != [format_rows(Amber(sky, seed=5).rows(batch, 0)) for batch in range(amber.nbatch)]


def test_rows_are_ordered_unique_and_above_the_threshold():
    storm = RfiStorm(3.0, 5.0, 2e4)
    sky = random_sky(np.random.default_rng(2), 12.0, 4, noise_rows_per_s=100, storms=(storm,))
    amber = Amber(sky, snr_min=9.0)
    for batch in range(amber.nbatch):
        for instance, plan in enumerate(ARTS_PLANS):
            rows = amber.rows(batch, instance)
            place = rows["beam_id"].astype(int) * plan.ndm + rows["DM_id"]
            assert np.all(np.diff(place) > 0)
            assert np.all(rows["batch_id"] == batch)
            assert np.all(rows["SNR"] >= 9.0)
            assert np.isin(rows["integration_step"], plan.widths).all()


def test_lines_are_printed_as_amber_prints_them():
    rows = Amber(Sky(2000.0, (Burst(1999.3, 1500.3, 12345.6789, 30),))).rows(1952, 2)
    assert len(rows) > 10
    for row, line in zip(rows, format_rows(rows), strict=True):
        beam, batch, sample, step, steps, time_s, dm_id, dm, dms, snr = row.tolist()
        assert line.decode() == format_row(
            beam=beam, batch=batch, sample=sample, integration_step=step, time_s=time_s, dm=dm, snr=snr,
            dm_id=dm_id, compacted_integration_steps=steps, compacted_dms=dms,
        )  # fmt: skip


def test_compaction_keeps_the_best_width_of_the_best_dm_of_each_run():
    plan = SearchPlan(0.0, 0.2, 10, widths=(1, 5, 10))
    cells = np.array(
        [
            (0, 2, 0, 7, 9.0),
            (0, 2, 1, 1, 12.0),
            (0, 3, 0, 8, 15.0),
            (0, 3, 2, 0, 11.0),
            (0, 3, 0, 9, 14.0),  # same DM and width: only the best boxcar of a batch counts
            (0, 5, 1, 3, 10.0),  # DM 4 is missing: another run
            (0, 9, 1, 3, 8.0),
            (1, 0, 1, 3, 9.5),  # follows DM 9 of the SB before, but is another SB
        ],
        CELL,
    )
    found, widths, dms = compact(np.random.default_rng(0).permutation(cells), plan)
    assert found[["beam", "dm_id", "step", "sample", "snr"]].tolist() == [
        (0, 3, 0, 8, 15.0), (0, 5, 1, 3, 10.0), (0, 9, 1, 3, 8.0), (1, 0, 1, 3, 9.5)
    ]  # fmt: skip
    assert widths.tolist() == [2, 1, 1, 1]
    assert dms.tolist() == [2, 1, 1, 1]


def test_nothing_there_gives_no_rows():
    assert [chunk.lines for chunk in Amber(Sky(3.1))] == [[]] * 3 * 3


def test_only_the_brightest_of_close_pulses_at_one_dm_shows_in_an_sb():
    pair = (Burst(1.5, 300.0, 40.0, 5), Burst(1.7, 300.0, 25.0, 5))
    rows = Amber(Sky(3.0, pair)).rows(1, 0)
    central = rows[(rows["beam_id"] == 35) & (abs(rows["DM"] - 300) < 1)]
    assert len(central) == 1
    assert central["time"][0] == pytest.approx(1.5, abs=0.001)


def test_bursts_show_the_sb_period_of_celestial_signals():
    sky = random_sky(np.random.default_rng(5), 300.0, 100, snr=(35, 100))
    rows = parsed(Amber(sky, seed=3))
    passed = 0
    for burst in sky.bursts:
        near = rows[abs(rows[:, TIME] - burst.time_s) < 1]
        passed += passes_sb_filter(near, brightest(near), snr_min=10)
    assert passed >= 97


@pytest.mark.parametrize(
    ("interference", "fraction"),
    [
        (Sky(20.0, storms=(RfiStorm(0, 20, 5e3, all_beams=True),)), 0.0),
        (Sky(20.0, storms=(RfiStorm(0, 20, 5e3),)), 0.2),
        (Sky(20.0, storms=(RfiStorm(0, 20, 2e3, dm_scale=20),)), 0.2),
        (Sky(20.0, tuple(Burst(t + 0.5, 0.0, 40.0, 10, sb=None) for t in range(1, 19))), 0.0),
    ],
)
def test_interference_does_not_show_it(interference, fraction):
    rows = parsed(Amber(interference, seed=1))
    batch = rows[:, TIME] // ARTS.batch_s
    strongest = [brightest(rows[batch == number]) for number in np.unique(batch)]
    assert len(strongest) >= 17
    passed = [passes_sb_filter(rows, row, snr_min=8) for row in strongest]
    assert np.mean(passed) <= fraction


@pytest.mark.parametrize("all_beams", [False, True])
@pytest.mark.parametrize("rows_per_s", [3000, 1e5])
def test_a_storm_has_the_rate_and_the_span_that_were_asked_for(rows_per_s, all_beams):
    storm = RfiStorm(3.3, 2.6, rows_per_s, all_beams=all_beams)
    rows = parsed(Amber(Sky(9.0, storms=(storm,))))
    assert len(rows) == pytest.approx(2.6 * rows_per_s, rel=0.4 if all_beams and rows_per_s < 1e4 else 0.06)
    widest_s = 1000 * ARTS.tsamp_s
    assert rows[:, TIME].min() >= 3.3 - widest_s
    assert rows[:, TIME].max() <= 5.9 + widest_s
    assert len(np.unique(rows[:, SB])) == 71


def test_a_broad_band_storm_thins_out_with_dm():
    rows = parsed(Amber(Sky(3.0, storms=(RfiStorm(0, 3, 500, dm_scale=30),))))
    assert np.median(rows[:, DM]) == pytest.approx(30 * np.log(2), rel=0.3)
    # so steeply that there are no numbers for the highest DMs
    assert parsed(Amber(Sky(3.0, storms=(RfiStorm(0, 3, 50, dm_scale=0.3),))))[:, DM].max() < 20


def test_a_burst_in_a_storm_is_still_there():
    burst = Burst(2.5, 700.0, 40.0, 10)
    rows = parsed(Amber(Sky(5.0, (burst,), storms=(RfiStorm(0, 5, 1e5),))))
    best = brightest(rows)
    assert best[SNR] == pytest.approx(40, abs=5)
    assert best[TIME] == pytest.approx(2.5, abs=0.01)


def test_a_burst_beyond_the_search_leaves_nothing():
    burst = Burst(2.5, 9000.0, 50.0, 1)
    amber = Amber(Sky(5.0, (burst,)))
    assert len(parsed(amber)) == 0
    assert amber.place(burst) is None


@pytest.mark.parametrize(
    ("time_s", "dm", "width", "place"),
    [(0.5, 100, 5, (0, 0)), (3.1, 500, 5, (3, 1)), (3.1, 2000, 5, (3, 2)), (2.045, 100, 300, (2, 0))],
)
def test_the_place_of_a_burst_is_where_its_brightest_row_is(time_s, dm, width, place):
    burst = Burst(time_s, dm, 50.0, width)
    amber = Amber(Sky(5.0, (burst,)))
    highest = {
        (batch, instance): amber.rows(batch, instance)["SNR"].max(initial=0)
        for batch in range(amber.nbatch)
        for instance in range(3)
    }
    assert amber.place(burst) == place == max(highest, key=highest.get)


def real_rows(folder, step):
    return np.loadtxt(folder / "amber" / f"CB00_step{step}.trigger", ndmin=2)


@pytest.mark.parametrize("step", [1, 3])
def test_real_rows_lie_on_the_grids_of_the_search_plans(reference_data: Path, step):
    plan = ARTS_PLANS[step - 1]
    rows = real_rows(reference_data, step)
    dm_id, dm = rows[:, 6].astype(int), rows[:, 7]
    assert dm_id.max() < plan.ndm
    assert np.allclose(plan.dms[dm_id], dm, rtol=1e-5)
    assert np.isin(rows[:, 3], plan.widths).all()


def test_generated_files_look_like_real_ones(reference_data: Path):
    pulsar = Pulsar(0.0337, 56.8, snr=7, snr_modulation=0.5)
    amber = Amber(Sky(60.0, pulsars=(pulsar,), noise_rows_per_s=5), snr_min=10)
    with (reference_data / "amber" / "CB00_step1.trigger").open("rb") as real:
        assert amber.headers[0] == real.readline()
    rows = np.concatenate([amber.rows(batch, 0) for batch in range(amber.nbatch)])
    made = np.array(rows.tolist())
    for columns in (made, real_rows(reference_data, 1)):
        beam, batch, sample, step, _, time_s, dm_id, dm, _, snr = columns.T
        order = np.lexsort((dm_id, beam, batch))
        assert np.array_equal(order, np.arange(len(columns)))
        assert np.allclose((batch * 12500 + sample * step) * 81.92e-6, time_s, rtol=5e-6)
        assert np.allclose(dm, dm_id * 0.2)
        assert snr.min() >= 10
    assert len(rows) > 20
