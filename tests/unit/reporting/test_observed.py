"""What an observation's configuration and its parset say, for the report."""

from datetime import UTC, datetime

import pytest

from darc.config import load_config
from darc.errors import DARCError
from darc.formats.parset import encode_parset, load_obs_config
from darc.reporting.observed import beam_coordinates, observation_info
from darc.simulation.observation import Observation

START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("amber_clustering: {galaxy_model: none, galactic_dm_max: 100.5}\n")
    return load_config(path)


def obs_config(tmp_path, **change):
    observation = Observation(
        "B1933+16", START, 299.008, beams=(0, 1, 7), direction_deg=(293.9, 16.3), **change
    )
    return load_obs_config(observation.write(tmp_path / "observation").master)


def test_the_parameters_of_an_observation(tmp_path, config):
    info = observation_info(obs_config(tmp_path), {}, config)
    assert (info.task_id, info.source, info.frame) == ("190518001", "B1933+16", "J2000")
    assert (info.start, info.duration_s) == (START, pytest.approx(299.008))
    assert info.telescopes == tuple(f"RT{dish}" for dish in range(2, 10))
    assert (info.dm_galactic, info.bandwidth_mhz) == (100.5, 300.0)
    assert info.centre_mhz == pytest.approx(1369.603271, abs=1e-6)
    assert info.datetimesource == "2019-05-18-23:51:13.B1933+16"


def test_a_real_observation(reference_data, config):
    real = load_obs_config(reference_data / "arts" / "darc_master.parset")
    coordinates = beam_coordinates(real, range(40), config.instrument)
    info = observation_info(real, coordinates, config)
    assert info.task_id == "190518009" and len(coordinates) == 40
    assert coordinates[0].ra_deg == pytest.approx(293.948755) and coordinates[0].dec_deg == pytest.approx(
        16.277785
    )


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a'b; rm -rf $HOME `id` | \\"])
def test_the_name_of_the_source_is_as_given(tmp_path, config, name):
    parset = encode_parset(f"task.taskID = 190518009\ntask.source.name = {name}\n")
    assert observation_info(obs_config(tmp_path) | {"parset": parset}, {}, config).source == name


def test_without_a_parset_the_rest_is_told(tmp_path, config, caplog):
    bare = obs_config(tmp_path) | {"parset": "nonsense", "taskid": "190518001"}
    assert beam_coordinates(bare, (0, 1), config.instrument) == {}
    info = observation_info(bare, {}, config)
    assert (info.telescopes, info.frame, info.source) == ((), "", "B1933+16")
    assert "cannot be decoded" in caplog.text


def test_without_a_duration_there_is_no_report(tmp_path, config):
    bare = {key: value for key, value in obs_config(tmp_path).items() if key != "duration"}
    with pytest.raises(DARCError, match="duration"):
        observation_info(bare, {}, config)


def test_beams_look_where_the_parset_says(tmp_path, config):
    found = beam_coordinates(obs_config(tmp_path), (0, 1, 7, 8), config.instrument)
    assert list(found) == [0, 1, 7]  # 8 is not in the parset
    assert (found[0].ra_deg, found[0].dec_deg) == (pytest.approx(293.9), pytest.approx(16.3))
    assert (found[0].gl_deg, found[0].gb_deg) == (pytest.approx(52.42, abs=0.1), pytest.approx(-2.1, abs=0.1))


# HADEC pointings converted with the inverse function; and at the middle of the observation
def test_beams_that_are_fixed_on_the_ground_look_where_the_sky_is_in_the_middle(tmp_path, config):
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    from darc.science.pointing import j2000_to_hadec

    ground = obs_config(tmp_path, frame="HADEC")
    place = beam_coordinates(ground, [0], config.instrument)[0]
    coord = SkyCoord(place.ra_deg, place.dec_deg, unit="deg")
    middle = Time(START.timestamp() + 299.008 / 2, format="unix")
    ha_deg, dec_deg = j2000_to_hadec(coord, middle, config.instrument)
    assert (float(ha_deg) % 360, float(dec_deg)) == (
        pytest.approx(293.9, abs=1e-4),
        pytest.approx(16.3, abs=1e-4),
    )


def test_the_galactic_dm_is_that_towards_the_source(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "darc.science.galaxy.galactic_maximum_dm", lambda gl, gb: asked.append((gl, gb)) or 321.0
    )
    observed = obs_config(tmp_path, source_beam=7)
    config = load_config(None)
    coordinates = beam_coordinates(observed, (0, 1, 7), config.instrument)
    assert observation_info(observed, coordinates, config).dm_galactic == 321.0
    assert asked == [(coordinates[7].gl_deg, coordinates[7].gb_deg)]
