from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.formats.amber_config import count_instances
from darc.formats.parset import ParsetError, Task, load_obs_config, observation_parset, parse_parset
from darc.formats.utc import EPOCH
from darc.simulation.observation import Observation

START = datetime(2021, 3, 4, 23, 59, 58, 640_000, tzinfo=UTC)


@pytest.fixture
def observation():
    return Observation(
        "B0531+21", START, 60.0, beams=(0, 4), source_beam=4, direction_deg=(83.633, 22.0145), number=7,
        event_ports={4: (41000, 41001)}, aliases={"Crab": "B0531+21"}, frbs={"FRB121102": 560.0},
    )  # fmt: skip


def test_a_worker_finds_everything_it_needs(tmp_path, observation):
    files = observation.write(tmp_path)
    config = load_obs_config(files.workers[4])
    assert config["beam"] == 4
    assert config["startpacket"] == (1614902398 * 1000 + 640) * 781250 // 1000
    assert config["duration"] == 58 * 1.024
    assert config["nbatch"] == "58"
    assert config["datetimesource"] == "2021-03-04-23:59:59.B0531+21"
    assert config["date"] == "20210304"
    assert (config["network_port_event_i"], config["network_port_event_iquv"]) == (41000, 41001)
    assert config["proctrigger"] is True
    assert (config["ntabs"], config["nsynbeams"], config["min_freq"]) == (12, 71, 1219.70092773)
    assert config["amber_dir"] == str(files.amber_dirs[4])
    assert files.amber_dirs[4].is_dir()
    assert files.amber_dirs[4] != files.amber_dirs[0]
    assert count_instances(config["amber_config"]) == 3


def test_a_worker_has_to_look_up_start_and_frequency_on_the_master_node(tmp_path, observation):
    config = load_obs_config(observation.write(tmp_path).workers[0])
    assert not {"utc_start", "freq", "parset", "beams"} & config.keys()
    assert observation_parset(config)["task.taskID"] == "210304007"


def test_the_master_node_finds_everything_it_needs(tmp_path, observation):
    files = observation.write(tmp_path)
    config = load_obs_config(files.master)
    assert files.master == tmp_path / "controller" / "parset" / "darc_master.parset"
    assert config["beams"] == [0, 4]
    assert config["utc_start"] == "2021-03-04-23:59:59"
    assert float(config["freq"]) == pytest.approx(1369.60327148)
    task = Task(observation_parset(config))
    assert task.task_id == "210304007"
    assert task.source_name == "B0531+21"
    assert task.source_beam == 4
    assert task.start_time == datetime(2021, 3, 4, 23, 59, 59, tzinfo=UTC)
    assert task.stop_time - task.start_time == timedelta(seconds=task.duration_s) == timedelta(seconds=60)
    assert len(task.telescopes) == ARTS.ndish
    assert task.reference_frame == "J2000"
    assert task.phase_centre_deg(4) == (83.633, 22.0145)


def test_beams_keep_their_places_around_the_source(observation):
    ra_deg, dec_deg = observation.phase_centre_deg(0)
    assert ra_deg == pytest.approx(83.633 + 0.117 / 0.921, abs=0.001)
    assert dec_deg == pytest.approx(22.0145 + 1.0125)


def test_hour_angles_grow_towards_the_west():
    equatorial, hour = (
        Observation("drift", START, 10.0, direction_deg=(10.0, 40.0), frame=frame).phase_centre_deg(1)
        for frame in ("J2000", "HADEC")
    )
    assert (10 - hour[0]) % 360 == pytest.approx((equatorial[0] - 10) % 360)
    assert hour[1] == equatorial[1]


def test_compound_beams_lie_where_the_telescope_has_them(reference_data):
    text = (reference_data / "arts" / "obs_B1933+16.parset").read_text(encoding="utf-8")
    task = Task(parse_parset(text))
    observation = Observation("B1933+16", START, 300.0, direction_deg=task.phase_centre_deg(0))
    for beam in range(40):
        assert observation.phase_centre_deg(beam) == pytest.approx(task.phase_centre_deg(beam), abs=0.02)
    with pytest.raises(ValueError, match="0 to 39"):
        observation.phase_centre_deg(40)


def test_known_sources_are_written_as_a_site_keeps_them(tmp_path, observation):
    content = yaml.safe_load(observation.write(tmp_path).source_list.read_text(encoding="utf-8"))
    assert content == {
        "pulsars": {"B0531+21": 56.77},
        "frbs": {"FRB121102": 560.0},
        "aliases": {"Crab": "B0531+21"},
    }


def test_an_unsafe_source_name_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ParsetError, match=r"task\.source\.name"):
        Observation("../../etc", START, 10.0).write(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@given(st.integers(0, 2**32 * 10**6))
def test_start_packet_and_header_time_belong_together(microseconds):
    start = EPOCH + timedelta(microseconds=microseconds)
    observation = Observation("test", start, 10.0)
    exact = EPOCH + timedelta(microseconds=observation.start_packet * 1_000_000 // 781250)
    assert abs(exact - start) <= timedelta(microseconds=2)
    assert observation.utc_start.microsecond == 0
    assert abs(observation.utc_start - start) <= timedelta(seconds=0.5)


def test_parsets_have_keys_of_real_ones_only(reference_data, tmp_path, observation):
    files = observation.write(tmp_path)
    pairs = {
        files.master: reference_data / "arts" / "darc_master.parset",
        files.workers[0]: reference_data / "arts" / "darc_CB00.parset",
    }
    for made, real in pairs.items():
        assert load_obs_config(made).keys() <= load_obs_config(real).keys()
    made_task, real_task = (observation_parset(load_obs_config(path)) for path in next(iter(pairs.items())))
    assert made_task.keys() <= real_task.keys()
