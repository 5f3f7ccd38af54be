import numpy as np
import pytest

from darc.definitions import Instrument
from darc.formats.amber import AmberParser
from darc.simulation.amber import ROW, SearchPlan
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.search import Search, Target, boxcar_snr, targets
from darc.simulation.signals import ShapedBurst, SubBurst, narrow_band, radar
from darc.simulation.sky import Burst, Sky

SMALL = Instrument(ntab=4, nsynthesised_beam=9, nsubband=8, nchan=64, samples_per_batch=5000)
BATCH_S = 5000 * 81.92e-6
#: two instances, the second on data downsampled by 5
PLANS = (
    SearchPlan(0.0, 0.2, 1000, widths=(1, 5, 10, 25, 50, 100, 250)),
    SearchPlan(200.0, 2.0, 200, widths=(5, 10, 25, 50, 100, 250)),
)
#: smear over the band in samples per unit of DM
PER_DM = 4.148808e3 * (1219.7**-2 - 1515.0**-2) / 81.92e-6


def search(*bursts, duration_s=6 * BATCH_S, emissions=(), seed=1, **settings):
    sky = FilterbankSky(Sky(duration_s, bursts), emissions, seed=seed, instrument=SMALL)
    return Search(sky, targets(sky), plans=PLANS, **settings)


def found(feed):
    """All rows, by columns."""
    rows = [feed.rows(batch, instance) for batch in range(6) for instance in range(len(PLANS))]
    return np.concatenate([np.empty(0, ROW), *rows])


def brightest(rows):
    return rows[rows["SNR"].argmax()]


BURSTS = {
    "short": Burst(0.7, 40.0, 30.0, 1, 4),
    "on another beam": Burst(1.1, 120.0, 40.0, 10, 7),
    "in downsampled data": Burst(0.9, 400.0, 40.0, 25, 2),
    "wide": Burst(1.3, 150.0, 50.0, 150, 4),
    "scattered": ShapedBurst(0.6, 80.0, 40.0, 10, 5, scattering_s=0.002),
    "narrow": ShapedBurst(0.6, 80.0, 40.0, 10, 5, parts=(SubBurst(centre_mhz=1400, fwhm_mhz=80),)),
    "across two batches": Burst(2 * BATCH_S - 0.002, 60.0, 40.0, 50, 4),
}


@pytest.mark.parametrize("burst", BURSTS.values(), ids=BURSTS)
def test_an_injected_burst_is_found_where_it_is(burst):
    rows = found(search(burst))
    best = brightest(rows[rows["beam_id"] == burst.sb])
    # a narrow band looks much the same in SBs that are one period apart
    assert best["SNR"] > brightest(rows)["SNR"] - 3
    # boxcars of fixed widths and places lose up to a third, and it is the highest of many
    assert 0.66 * burst.snr - 2 < best["SNR"] < burst.snr + 4
    length = burst.width_samples + PER_DM * burst.dm / 64 + 3  # smeared within a channel
    if isinstance(burst, ShapedBurst):
        length += burst.scattering_s / 81.92e-6
    assert abs(best["DM"] - burst.dm) * PER_DM < 2 * max(length, best["integration_step"]) + PER_DM
    middle = best["time"] / 81.92e-6 + best["integration_step"] / 2
    assert abs(middle - burst.time_s / 81.92e-6 - length / 2) < 2 * max(length, best["integration_step"])


def test_interference_in_channels_that_are_zapped_changes_nothing():
    burst = Burst(0.7, 40.0, 30.0, 10, 4)
    flicker = narrow_band(1400.0, 0.1, 10.0, duration_s=2.0, duty=0.5, slot_s=0.005)
    channel = round((1400.0 - SMALL.min_freq_mhz) / SMALL.channel_width_mhz)  # from the lowest frequency

    def snr(emissions, zapped):
        quiet, sky = (
            FilterbankSky(Sky(6 * BATCH_S, (burst,)), each, seed=1, instrument=SMALL)
            for each in ((), emissions)
        )
        return brightest(found(Search(sky, targets(quiet), plans=PLANS, zapped=zapped)))["SNR"]

    assert snr(flicker, ()) < 0.8 * snr((), ())
    assert snr(flicker, (channel,)) == snr((), (channel,)) == pytest.approx(snr((), ()), rel=0.1)


def test_dm_and_time_are_exact_for_a_burst_on_the_grid():
    burst = Burst(7000 * 81.92e-6, 60.0, 120.0, 25, 4)
    best = brightest(found(search(burst)))
    assert (best["DM"], best["time"]) == pytest.approx((60.0, 7000 * 81.92e-6))
    assert (best["batch_id"], best["sample_id"], best["integration_step"]) == (1, 80, 25)


def test_snr_of_a_boxcar_that_fits_is_what_was_injected_but_for_the_sigma_of_amber():
    starts = range(500, 25_000, 1250)
    bursts = tuple(Burst(start * 81.92e-6, 2.0, 25.0, 25, 4) for start in starts)
    sky = FilterbankSky(Sky(6 * BATCH_S, bursts), instrument=SMALL)
    plan = SearchPlan(0.0, 0.2, 1000, widths=(25,))
    snr = [
        Search(sky, [Target(start, start + 25, (2.0,), (4,))], plans=(plan,)).rows(start // 5000, 0)["SNR"]
        for start in starts
    ]
    # 3-sigma clipping leaves 0.985 of a Gaussian's sigma; AMBER takes 1.048 of that
    assert np.mean(np.concatenate(snr)) == pytest.approx(25 / (1.048 * 0.985), abs=1)


def test_rows_are_those_that_amber_would_write():
    feed = search(*BURSTS.values(), snr_min=9.0)
    lines = [line for chunk in feed for line in chunk.lines]
    parsed = AmberParser(SMALL).feed(b"".join((*feed.headers[:1], *lines)))
    rows = found(feed)
    assert parsed.malformed == 0
    assert len(parsed) == len(rows) > 50
    assert rows["SNR"].min() >= 9.0
    start = rows["batch_id"] * 5000 + rows["sample_id"] * rows["integration_step"]
    assert np.allclose(start * 81.92e-6, rows["time"])
    assert parsed.triggers[:, 2] == pytest.approx(rows["time"], abs=1e-4)
    for batch in range(6):
        for instance, plan in enumerate(PLANS):
            rows = feed.rows(batch, instance)
            place = rows["beam_id"] * plan.ndm + rows["DM_id"]
            assert np.all(np.diff(place) > 0)
            assert np.allclose(rows["DM"], plan.dms[rows["DM_id"]])
            assert np.isin(rows["integration_step"], plan.widths).all()
            assert np.all(rows["sample_id"] * rows["integration_step"] < 5000)


def test_chunks_come_batch_by_batch():
    chunks = list(search(Burst(0.7, 40.0, 30.0, 1, 4)))
    assert [(chunk.batch, chunk.instance) for chunk in chunks] == [(b, i) for b in range(6) for i in (0, 1)]
    assert [chunk.batch for chunk in chunks if chunk.lines] == [1]


def test_a_bright_burst_shows_in_several_sbs_dms_and_widths():
    rows = found(search(Burst(0.7, 60.0, 60.0, 10, 4)))
    assert len(np.unique(rows["beam_id"])) > 2
    own = rows[rows["beam_id"] == 4]
    assert own["compacted_DMs"].max() > 5
    assert own["compacted_integration_steps"].max() > 3
    assert brightest(rows)["beam_id"] == 4


def test_other_sbs_see_less_of_a_burst():
    rows = found(search(Burst(0.7, 60.0, 60.0, 10, 4)))
    own, other = (rows[rows["beam_id"] == sb]["SNR"].max(initial=0) for sb in (4, 5))
    assert other < 0.8 * own


def test_an_impulse_is_found_near_dm_zero_in_all_sbs():
    rows = found(search(Burst(0.7, 0.0, 60.0, 10, None)))
    strong = rows[rows["SNR"] > 30]
    assert set(strong["beam_id"]) == set(range(9))
    assert strong["DM"].max() < 5


def test_sweeps_and_intermittent_lines_are_found():
    sweeps = radar(1250, 1330, 6, duration_s=2, first_s=0.5)
    assert len(found(search(emissions=sweeps))) > 3
    slots = narrow_band(1300, 20, 2, duration_s=2, duty=0.2, slot_s=0.03)
    assert len(found(search(emissions=slots))) > 3


def test_without_anything_there_are_no_rows():
    assert found(search()).size == 0
    steady = narrow_band(1300, 10, 3, duration_s=6 * BATCH_S)
    assert found(search(emissions=steady)).size == 0


def test_pure_noise_stays_below_the_threshold():
    sky = FilterbankSky(Sky(6 * BATCH_S), instrument=SMALL)
    everywhere = Target(0, 30_000, (10.0, 100.0, 300.0), tuple(range(9)))
    assert found(Search(sky, (everywhere,), plans=PLANS, snr_min=7.5)).size == 0
    assert found(Search(sky, (everywhere,), plans=PLANS, snr_min=3.5)).size > 0


def test_a_dm_whose_delay_goes_beyond_the_end_of_the_data_is_not_searched():
    late = Burst(6 * BATCH_S - 0.05, 500.0, 60.0, 25, 4)
    assert found(search(late)).size == 0


def test_detections_of_different_targets_are_not_compacted_into_one():
    pair = (Burst(0.70, 30.0, 50.0, 5, 4), Burst(0.72, 120.0, 50.0, 5, 4))
    rows = found(search(*pair, snr_min=15))
    own = rows[(rows["beam_id"] == 4) & (rows["SNR"] > 25)]
    assert sorted(round(dm / 30) for dm in own["DM"]) == [1, 4]


@pytest.mark.parametrize("width", [1, 5, 25, 100])
def test_boxcar_snr_is_that_of_the_definition(width):
    rng = np.random.default_rng(2)
    series = rng.standard_normal((400, 4000)).astype(np.float32) + 1e5
    series[:, 2000 : 2000 + width] += 20 / width**0.5
    snr, sample = boxcar_snr(series, np.array([1, 5, 25, 100]))
    step = [1, 5, 25, 100].index(width)
    assert np.all(snr.argmax(axis=1) == step)
    assert np.all(sample[:, step] == 2000 // width)
    # clipped at 3 sigma, a Gaussian has 0.985 of its sigma
    assert snr[:, step].mean() == pytest.approx(20 / (1.048 * 0.985), rel=0.02)
