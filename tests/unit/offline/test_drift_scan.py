"""Drift scans in the files of a fake telescope, and files and programs that are not as they should be."""

from dataclasses import replace
from datetime import UTC, datetime
from math import inf

import numpy as np
import pytest
import yaml

from darc.config import load_config
from darc.config_files import PACKAGED
from darc.definitions import Instrument
from darc.formats.parset import load_obs_config
from darc.offline import drift_scan
from darc.offline.drift_scan import CalibrationError, calibrate, calibrator_in_beam, flux_model, result_path
from darc.offline.external import ExternalError
from darc.offline.plan import Account, Interrupted
from darc.offline.work import Work
from darc.simulation.drift import DriftingSource, DriftSky
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation
from darc.simulation.sky import Sky

SMALL = {
    "ntab": 2,
    "nsynthesised_beam": 5,
    "nsubband": 8,
    "nchan": 64,
    "tsamp_s": 1.024e-3,
    "samples_per_batch": 1000,
}
INSTRUMENT = Instrument(**SMALL)
BEAM, DURATION_S, START = 3, 49.152, datetime(2026, 1, 1, tzinfo=UTC)
SEFD_JY, ZERO_LEVEL = 80.0, 10
NAME = "3C286drift0107"


def written(folder, zero_level=0, source=True):
    sky = FilterbankSky(Sky(DURATION_S), instrument=INSTRUMENT, tile_samples=4096)
    flux = flux_model("3C286", ["3C286"])
    shown = DriftSky(sky, DriftingSource(flux, SEFD_JY, 22.0, 9.0), zero_level) if source else sky
    FilterbankWriter(folder, BEAM, shown, start_unix=START.timestamp(), speed=inf).run()
    assert shown.clipped == 0
    return folder


@pytest.fixture(scope="module")
def filterbanks(tmp_path_factory):
    return written(tmp_path_factory.mktemp("filterbanks"))


@pytest.fixture
def observe(tmp_path, filterbanks):
    """Return a function that makes the work on a drift scan."""

    def observe(name=NAME, folder=filterbanks, **settings):
        observation = Observation(name, START, DURATION_S, beams=(BEAM,), instrument=INSTRUMENT)
        files = observation.write(tmp_path)
        config = tmp_path / "config.yaml"
        content = {
            "instrument": SMALL,
            "nodes": {"workers": {"here": BEAM}},
            "processor": {"extractor": {"rfi_apply_mask": False}},
            "offline_processing": {"calibration_dir": str(tmp_path / "calibration"), "nfreq_plot": 16}
            | settings,
        }
        config.write_text(yaml.safe_dump(content))
        work = Work.of(load_obs_config(files.workers[BEAM]), load_config(config, "here"))
        paths = tuple(folder / path.name for path in work.beam.filterbanks)
        return replace(work, beam=replace(work.beam, filterbanks=paths))

    return observe


def test_a_drift_scan_gives_the_sefd_of_each_beam(observe):
    work = observe()
    (step,) = drift_scan.steps(work)
    assert (step.name, step.run(Account()).problems) == ("calibrate", [])
    with np.load(result_path(work)) as found:
        assert found["tab"].tolist() == [0, 1]
        assert np.median(found["sefd_jy"], axis=1) == pytest.approx(SEFD_JY, rel=0.02)
        np.testing.assert_allclose(found["sefd_jy"], SEFD_JY, rtol=0.05)
        assert found["sefd_error_jy"].max() < 0.05 * SEFD_JY
        assert found["transit_s"] == pytest.approx(22.0, abs=0.3)
        assert found["fwhm_s"] == pytest.approx(9.0, rel=0.05)
        assert found["power"].shape == (2, found["time_s"].shape[1], 16)
    for suffix, start in ((".pdf", b"%PDF"), (".png", b"\x89PNG")):
        assert result_path(work).with_suffix(suffix).read_bytes().startswith(start)


def test_the_zero_level_is_subtracted(observe, tmp_path):
    folder = written(tmp_path / "zero", ZERO_LEVEL)
    for level, factor in ((ZERO_LEVEL, 1.0), (0, 1 + ZERO_LEVEL / 75)):
        work = observe(folder=folder, drift_zero_level=level)
        calibrate(work, "3C286", Account())
        with np.load(result_path(work)) as found:
            assert np.median(found["sefd_jy"]) == pytest.approx(SEFD_JY * factor, rel=0.04)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NAME, "3C286"),
        ("3C48drift03", "3C48"),
        ("3C286drift04", None),
        ("3C286", None),
        ("3C84drift0107", None),
    ],
)
def test_the_name_of_the_source_says_what_drifts_through_which_beams(observe, name, expected):
    assert calibrator_in_beam(observe(name)) == expected
    assert len(drift_scan.steps(observe(name))) == (expected is not None)


def test_a_scan_over_a_source_that_is_not_configured_is_said(observe, caplog):
    calibrator_in_beam(observe("3C84drift0107"))
    assert "3C84 is none of offline_processing.calibrators" in caplog.text


def test_a_beam_without_file_is_said_and_the_others_are_measured(observe, tmp_path):
    work = observe()
    paths = (tmp_path / "CB03_00.fil", work.beam.filterbanks[1])
    (problem,) = calibrate(
        replace(work, beam=replace(work.beam, filterbanks=paths)), "3C286", Account()
    ).problems
    assert problem == f"{paths[0]}: there is no such file; check the path"
    with np.load(result_path(work)) as found:
        assert found["tab"].tolist() == [1]


def test_a_source_that_is_not_there_is_said(observe, tmp_path):
    work = observe(folder=written(tmp_path / "empty", source=False))
    with pytest.raises(CalibrationError, match=r"no beam was measured with 3C286: .*CB03_00.fil: "):
        calibrate(work, "3C286", Account())
    assert not result_path(work).exists()


@pytest.mark.parametrize(("length", "reason"), [(100, "header is cut off"), (900, "times are too few")])
def test_files_that_are_too_short_are_said(observe, tmp_path, length, reason):
    work = observe()
    path = tmp_path / "CB03_00.fil"
    path.write_bytes(work.beam.filterbanks[0].read_bytes()[:length])
    with pytest.raises(CalibrationError, match=reason):
        calibrate(replace(work, beam=replace(work.beam, filterbanks=(path,))), "3C286", Account())


def test_the_work_can_be_ended(observe):
    with pytest.raises(Interrupted):
        calibrate(observe(), "3C286", Account(cancelled=lambda: True))


# flux densities


def test_the_packaged_calibrators_have_models_of_the_whole_band():
    # at 1.4 GHz: Perley & Butler 2017, and Taylor & Legodi 2024 for CTD93
    expected = {"3C48": 16.26, "3C138": 8.56, "3C147": 22.17, "3C286": 15.08, "CTD93": 4.65}
    configured = load_config(PACKAGED).offline_processing.calibrators
    models = {name: flux_model(name, configured) for name in configured}
    found = {name: model.flux_density_jy(np.array([1400.0]))[0] for name, model in models.items()}
    assert found == pytest.approx(expected, abs=0.01)
    for model in models.values():
        assert np.isfinite(model.flux_density_jy(np.array([1200.0, 1550.0]))).all()


def test_a_calibrator_without_a_model_is_refused_with_the_key_that_gives_it():
    with pytest.raises(CalibrationError, match=r"no flux density of CTA1 .*offline_processing\.calibrators"):
        flux_model("CTA1", ["CTA1"])


def test_the_configuration_can_give_flux_densities(observe):
    entry = {"coefficients": [1.0, -1.0], "range_mhz": [1000, 2000]}
    configured = observe(calibrators={"A": 4.9, "B": entry, "3C48": None}).settings.calibrators
    at = np.array([1000.0])
    found = {name: flux_model(name, configured).flux_density_jy(at)[0] for name in configured}
    assert found == pytest.approx({"A": 4.9, "B": 10.0, "3C48": 10**1.3253})


# a program of the site


def test_a_program_that_is_configured_does_it_instead(observe, tmp_path):
    script = tmp_path / "calibrate"
    script.write_text('#!/bin/sh\necho "$@" > arguments\n')
    script.chmod(0o755)
    work = observe(calibration_tools=[str(script), "-v"])
    (step,) = drift_scan.steps(work)
    step.run(Account())
    folder = result_path(work).parent
    expected = f"-v 3C286 03 {work.beam.filterbanks[0].parent} {folder}"
    assert (folder / "arguments").read_text().split() == expected.split()


def test_a_program_that_is_not_there_is_named(observe):
    with pytest.raises(ExternalError, match="no-such-program cannot be run"):
        calibrate(observe(calibration_tools=["no-such-program"]), "3C286", Account())
