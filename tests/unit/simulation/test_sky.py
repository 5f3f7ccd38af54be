from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from darc.simulation.sky import Burst, Pulsar, RfiStorm, Sky, random_sky


def test_a_seed_gives_a_sky():
    first, again, other = (random_sky(np.random.default_rng(seed), 300.0) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@given(st.integers(0, 2**32), st.integers(0, 40), st.floats(10, 1000))
def test_random_bursts_keep_their_limits_and_their_distance(seed, nburst, duration_s):
    sky = random_sky(
        np.random.default_rng(seed), duration_s, nburst, dm=(100, 200), snr=(9, 30), width_samples=(2, 50)
    )
    times = [burst.time_s for burst in sky.bursts]
    assert len(times) == nburst
    assert all(0 < time < duration_s for time in times)
    assert all(later - earlier > 0.39 * duration_s / nburst for earlier, later in pairwise(times))
    for burst in sky.bursts:
        assert 100 <= burst.dm <= 200
        assert 9 - 1e-9 <= burst.snr <= 30 + 1e-9
        assert 2 <= burst.width_samples <= 50
        assert 0 <= burst.sb < 71


def test_bright_random_bursts_are_rarer_as_in_euclidean_space():
    snr = np.array([b.snr for b in random_sky(np.random.default_rng(4), 1e4, 4000, snr=(10, 1000)).bursts])
    for limit in (20, 40):
        assert abs(np.mean(snr > limit) - (limit / 10) ** -1.5) < 0.03


def test_pulses_follow_the_period_and_the_mean():
    pulsar = Pulsar(0.5, 56.8, snr=20, snr_modulation=0.3, width_samples=7, sb=3, first_s=0.1)
    pulses = pulsar.pulses(1000, np.random.default_rng(1))
    assert len(pulses) == 2000
    assert np.allclose([pulse.time_s for pulse in pulses], 0.1 + 0.5 * np.arange(2000))
    logarithms = np.log([pulse.snr for pulse in pulses])
    assert abs(logarithms.mean() - np.log(20)) < 0.03
    assert abs(logarithms.std() - 0.3) < 0.02
    assert {(pulse.dm, pulse.width_samples, pulse.sb) for pulse in pulses} == {(56.8, 7, 3)}


def test_faint_pulses_are_left_out_without_changing_the_others():
    pulsar = Pulsar(0.1, 56.8, snr=10)
    everything, bright = (pulsar.pulses(50, np.random.default_rng(9), limit) for limit in (0, 12))
    assert bright == tuple(pulse for pulse in everything if pulse.snr >= 12)
    assert 0 < len(bright) < len(everything)


def test_bursts_and_pulses_come_ordered_by_time():
    sky = Sky(10.0, (Burst(7.3, 500, 30), Burst(2.2, 90, 30)), (Pulsar(1.0, 56.8, 10), Pulsar(3.0, 26.8, 10)))
    times = [burst.time_s for burst in sky.all_bursts(np.random.default_rng(0))]
    assert times == sorted(times)
    assert len(times) == 2 + 10 + 4


def test_noise_is_there_all_the_time():
    storm = RfiStorm(2.0, 3.0, 1e4)
    noise, same = Sky(100.0, storms=(storm,), noise_rows_per_s=5).all_storms()
    assert same == storm
    assert (noise.start_s, noise.duration_s, noise.rows_per_s) == (0.0, 100.0, 5)
    assert Sky(100.0).all_storms() == ()
