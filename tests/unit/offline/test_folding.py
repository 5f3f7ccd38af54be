"""Test pulsars in the files of a fake telescope, and files and programs that are not as they should be."""

from dataclasses import replace
from datetime import UTC, datetime
from math import inf, sqrt

import numpy as np
import pytest
import yaml
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta

from darc.config import load_config
from darc.config.processing import TestPulsar as PulsarNumbers
from darc.definitions import ARTS, Instrument
from darc.formats.filterbank import FilterbankError
from darc.formats.parset import load_obs_config
from darc.offline import folding
from darc.offline.folding import FoldError, expected_rotation, find_pulsar, fold, known_pulsars
from darc.offline.plan import Account, Interrupted
from darc.offline.work import Work
from darc.science.folding import FoldingError
from darc.science.pointing import velocity_towards
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation
from darc.simulation.sky import Pulsar, Sky

SMALL = {
    "ntab": 2,
    "nsynthesised_beam": 5,
    "nsubband": 8,
    "nchan": 64,
    "tsamp_s": 1.024e-3,
    "samples_per_batch": 1000,
}
INSTRUMENT = Instrument(**SMALL)
BEAM, DURATION_S, START = 3, 24.576, datetime(2026, 1, 1, tzinfo=UTC)
PERIOD_S, DM, WIDTH, SNR = 0.2500123, 57.0, 12, 8.0
PULSAR = Pulsar(PERIOD_S, DM, SNR, 0.0, WIDTH, None, first_s=0.1)


@pytest.fixture(scope="module")
def filterbanks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filterbanks")
    sky = FilterbankSky(Sky(DURATION_S, pulsars=(PULSAR,)), instrument=INSTRUMENT, tile_samples=4096)
    FilterbankWriter(folder, BEAM, sky, start_unix=START.timestamp(), speed=inf).run()
    return folder


@pytest.fixture
def observe(tmp_path, filterbanks):
    """Return a function that makes the work on an observation of a pulsar."""

    def observe(source="TEST", beam=BEAM, **settings):
        observation = Observation(
            source, START, DURATION_S, beams=(BEAM,), source_beam=beam, instrument=INSTRUMENT
        )
        files = observation.write(tmp_path)
        config = tmp_path / "config.yaml"
        content = {
            "instrument": SMALL,
            "nodes": {"workers": {"here": BEAM}},
            "processor": {"extractor": {"rfi_apply_mask": False}},
            "offline_processing": {
                "result_dir": str(tmp_path / "results"),
                "test_pulsars": {"TEST": {"period_s": PERIOD_S * (1 - 5e-5), "dm": DM}},
                "prepfold": ["no-such-prepfold"],
            }
            | settings,
        }
        config.write_text(yaml.safe_dump(content))
        work = Work.of(load_obs_config(files.workers[BEAM]), load_config(config, "here"))
        paths = tuple(filterbanks / path.name for path in work.beam.filterbanks)
        return replace(work, beam=replace(work.beam, filterbanks=paths))

    return observe


def test_a_pulsar_folds_to_its_period_and_snr(observe):
    work = observe()
    (step,) = folding.steps(work)
    assert (step.name, step.run(Account()).problems) == ("fold", [])
    with np.load(work.beam.result_folder / "CB03_TEST.npz") as found:
        nbin, npulse = found["profile"].size, DURATION_S / PERIOD_S
        assert found["snr"] == pytest.approx(PULSAR.folded_snr(DURATION_S), rel=0.05)
        # a pulse of 12 bins moves by 2 of them at most from the beginning to the end
        assert found["period_s"] == pytest.approx(PERIOD_S, rel=2 / nbin / npulse)
        assert found["freq_phase"].shape == (64, nbin)
    for suffix, start in ((".pdf", b"%PDF"), (".png", b"\x89PNG")):
        assert (work.beam.result_folder / f"CB03_TEST{suffix}").read_bytes().startswith(start)


def test_a_pulsar_of_known_flux_has_the_snr_of_the_radiometer_equation():
    bright = Pulsar.of_flux(0.7145, 26.8, mean_flux_jy=0.2, width_samples=100)
    # by hand: 0.2 Jy x 0.7145 s / 8.192 ms = 17.44 Jy in the pulse; SEFD 99.6 Jy
    assert bright.snr == pytest.approx(17.44 / 99.6 * sqrt(2 * 300e6 * 8.192e-3), rel=0.01)
    assert bright.folded_snr(71.45) == pytest.approx(10 * bright.snr, rel=1e-6)


def test_a_beam_or_a_source_that_is_no_test_pulsar_has_nothing_to_fold(observe):
    assert folding.steps(observe(beam=4)) == folding.steps(observe("FRB")) == []


def test_a_pulsar_is_known_by_its_other_name(observe):
    work = observe("J0332+5434", test_pulsars=["B0329+54"])
    assert folding.pulsar_in_beam(work) == "J0332+5434"
    assert find_pulsar("J0332+5434", ["B0329+54"]) == known_pulsars()["B0329+54"]


def test_an_observation_without_parset_folds_nothing_and_says_so(observe):
    work = observe()
    obs_config = {key: value for key, value in work.beam.obs_config.items() if key != "master_dir"}
    (step,) = folding.steps(replace(work, beam=replace(work.beam, obs_config=obs_config)))
    (problem,) = step.run(Account()).problems
    assert problem.startswith("whether a test pulsar is in the beam is not known: no observation parset")


def test_the_pulsars_of_the_packaged_configuration_are_known():
    configured = load_config().offline_processing.test_pulsars
    assert [find_pulsar(name, configured).dm for name in configured] == [26.7641, 56.77118, 2.96927, 158.521]


def test_a_pulsar_without_numbers_names_the_key(observe):
    with pytest.raises(FoldError, match=r"offline_processing\.test_pulsars .*J1234-56: \{period_s"):
        fold(observe(test_pulsars=["J1234-56"]), "J1234-56", Account())


def test_a_pulsar_that_is_not_there_is_said_and_plotted(observe):
    work = observe(test_pulsars={"TEST": {"period_s": 0.31, "dm": 700.0}})
    (problem,) = fold(work, "TEST", Account()).problems
    assert problem.startswith("TEST is not seen: S/N ")
    assert folding.plot_path(work, "TEST").exists()


@pytest.mark.parametrize(
    ("length", "error", "reason"),
    [
        (None, FilterbankError, "there is no such file"),
        (100, FilterbankError, "header is cut off"),
        (20_000, FoldingError, "periods"),
    ],
)
def test_files_that_are_not_as_they_should_be_are_said(observe, tmp_path, length, error, reason):
    work = observe()
    path = tmp_path / "CB03_00.fil"
    if length is not None:
        path.write_bytes(work.beam.filterbanks[0].read_bytes()[:length])
    with pytest.raises(error, match=reason):
        fold(replace(work, beam=replace(work.beam, filterbanks=(path,))), "TEST", Account())


def test_the_work_can_be_ended(observe):
    with pytest.raises(Interrupted):
        fold(observe(), "TEST", Account(cancelled=lambda: True))


# PRESTO


def prepfold(folder, script):
    """Make a program that is called prepfold."""
    path = folder / "prepfold"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return [str(path), "-noxwin"]


def test_prepfold_folds_when_it_is_installed(observe, tmp_path):
    command = prepfold(tmp_path, 'echo "$@" > arguments; touch CB03_B0329+54_PSR_B0329+54.pfd')
    work = observe("B0329+54", test_pulsars=["B0329+54"], prepfold=command)
    assert fold(work, "B0329+54", Account()).problems == ()
    folder = work.beam.result_folder
    expected = f"-noxwin -psr B0329+54 -o CB03_B0329+54 {work.beam.filterbanks[0]}"
    assert (folder / "arguments").read_text().split() == expected.split()
    assert not folding.plot_path(work, "B0329+54").exists()


# a period at the barycentre, of years ago, is 1 % off for the Crab pulsar: no fold would find it
@pytest.mark.parametrize("name", ["TEST", "J0534+2200"])
def test_prepfold_is_told_the_rotation_of_the_day_at_the_telescope(observe, tmp_path, name):
    command = prepfold(tmp_path, f'echo "$@" > arguments; touch CB03_{name}.pfd')
    numbers = known_pulsars()["B0531+21"]
    configured = {"B0531+21" if name[0] == "J" else name: numbers.model_dump()}
    work = observe(name, test_pulsars=configured, prepfold=command)
    assert fold(work, name, Account()).problems == ()
    told = (work.beam.result_folder / "arguments").read_text().split()
    expected = expected_rotation(numbers, Time(START), DURATION_S, INSTRUMENT)
    assert told[1:3] == ["-topo", "-f"] and told[4] == "-fd" and told[6:8] == ["-dm", "56.77118"]
    assert float(told[3]) == pytest.approx(expected.frequency_hz, rel=1e-9)
    assert float(told[5]) == pytest.approx(expected.derivative_hz_s, rel=1e-3)


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo no ephemeris; exit 1", "ended with code 1: no ephemeris"), ("echo nonsense", "left no file")],
)
def test_without_a_fold_of_prepfold_the_pulsar_is_folded_all_the_same(observe, tmp_path, script, reason):
    work = observe(prepfold=prepfold(tmp_path, script))
    (problem,) = fold(work, "TEST", Account()).problems
    assert str(tmp_path / "prepfold") in problem
    assert reason in problem
    assert folding.plot_path(work, "TEST").exists()


# the period at the telescope


def test_the_motion_of_the_earth_changes_the_period():
    numbers = PulsarNumbers(period_s=0.1, dm=1.0, position_deg=[180.0, 0.0])
    # near the ecliptic: the Earth moves towards it at 30 km/s in mid-December and away in mid-June
    factors = [
        expected_rotation(numbers, Time(f"2026-{month}-21"), 600.0, ARTS).frequency_hz * 0.1 - 1
        for month in ("06", "12")
    ]
    assert factors == pytest.approx([-1e-4, 1e-4], abs=3e-6)


def test_the_motion_of_the_telescope_is_that_of_astropy():
    # astropy adds the gravitational redshift and the time dilation, 1.5e-8, which the scale TDB holds already
    start, position = Time("2024-05-18"), SkyCoord(83.6, 22.0, unit="deg")
    site = EarthLocation.from_geocentric(ARTS.itrf_x_m, ARTS.itrf_y_m, ARTS.itrf_z_m, unit="m")
    correction = position.radial_velocity_correction(obstime=start, location=site).to_value("m/s")
    assert velocity_towards(position, start, ARTS) == pytest.approx(correction / 299_792_458, abs=2e-8)


def test_the_rotation_of_the_earth_is_followed():
    numbers = PulsarNumbers(period_s=0.1, dm=1.0, position_deg=[180.0, 20.0])
    start = Time("2026-03-01")
    first = expected_rotation(numbers, start, 3600.0, ARTS)
    later = expected_rotation(numbers, start + TimeDelta(3600.0, format="sec"), 3600.0, ARTS)
    assert first.frequency_hz + 3600 * first.derivative_hz_s == pytest.approx(later.frequency_hz, rel=1e-12)


def test_a_pulsar_slows_down():
    numbers = PulsarNumbers(period_s=0.033, dm=56.8, period_derivative=4.2e-13, epoch_mjd=50_000)
    period_s = expected_rotation(numbers, Time(60_000, format="mjd"), 600.0, ARTS).period_s(0.0)
    assert period_s == pytest.approx(0.033 + 4.2e-13 * 10_000 * 86_400, rel=1e-9)
