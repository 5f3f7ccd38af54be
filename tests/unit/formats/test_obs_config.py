"""Observation configurations: refused before anything is written, and what is derived from them."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.parset import ParsetError, Task, decode_parset, encode_parset, load_obs_config, parse_parset

TASK = """
task.taskID = 190518009
task.startTime = 2019-05-18 23:51:13
task.stopTime = '2019-05-18T23:56:13'
task.duration = 300.0
task.source.name = B1933+16
task.source.beam = 17
task.telescopes = [RT2, RT3, 'RT4']
task.directionReferenceFrame = J2000
task.beamSet.0.compoundBeam.0.phaseCenter = [293.948755deg,  16.277785deg]
task.beamSet.0.compoundBeam.7.phaseCenter = [-3.5deg, -1e-3deg]
"""


# --- observation configurations ----------------------------------------------------------------------------


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_parset_file_and_a_yaml_file_mean_the_same(tmp_path):
    text = "startpacket={0}\nduration={1}\nproctrigger={2}\nbeams={3}\ndate={4}\nfreq={5}\nutc_start={6}\n"
    fields = ("1217362088000000", "300", "true", "[0, 1]", "20190518", "1369.6", "2019-05-18-23:51:13")
    parset = load_obs_config(write(tmp_path / "obs.parset", text.format(*fields)))
    yaml = load_obs_config(write(tmp_path / "obs.yaml", text.replace("=", ": ").format(*fields)))
    quoted = text.replace("=", ": '").replace("\n", "'\n").format(*fields)
    assert parset == yaml == load_obs_config(write(tmp_path / "quoted.yaml", quoted))
    assert type(yaml["duration"]) is float and yaml["date"] == "20190518"


def test_dates_that_yaml_takes_for_dates_are_text(tmp_path):
    config = load_obs_config(
        write(tmp_path / "obs.yaml", "date: 2019-05-18\nutc_start: 2019-05-18 23:51:13\n")
    )
    assert config == {"date": "2019-05-18", "utc_start": "2019-05-18-23:51:13"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("obs.txt", "a = b", "has to end in"),
        ("obs.yaml", "- a\n- b", "has to hold a mapping"),
        ("obs.yaml", "just text", "has to hold a mapping"),
        ("obs.yaml", "1: 2", "keys have to be text"),
        ("obs.yaml", "a: [", "no valid YAML"),
        ("obs.yaml", "a: " + "[" * 5000, "obs.yaml: "),
        ("obs.yaml", "a: !!python/object/apply:os.system ['true']", "no valid YAML"),
        ("obs.yaml", "beam: 1\nbeam: 2", "line 2: beam stands twice"),
        ("obs.yaml", "beams: 5", "beams = 5: allowed is a list"),
        ("obs.yaml", "beam: true", "beam = True: allowed is a whole number"),
        ("obs.yaml", "duration: [1]", "allowed is a finite number"),
        ("obs.yaml", "output_dir: [a]", "allowed is text"),
        ("obs.yaml", 'amber_dir: "a\\0b"', "NUL"),
        ("obs.yaml", "datetimesource: ../../etc", "not safe"),
        ("obs.parset", "datetimesource = ../../etc", "not safe"),
        ("obs.parset", "date = .", "not safe"),
        ("obs.parset", "source = $(reboot)", "not safe"),
        ("obs.parset", "beam = x", "line 1: beam"),
        ("obs.parset", "parset = zz", "not hexadecimal"),
        ("obs.parset", "parset = " + encode_parset("no separator"), "line 1"),
        ("obs.parset", "parset = " + encode_parset("task.source.name = `id`"), "task.source.name"),
        ("obs.parset", "parset = " + encode_parset("a" * (16 * 2**20 + 1)), "once decompressed"),
        ("obs.parset", "a = " + "b" * 2**20, "larger than"),
    ],
)
def test_an_unusable_file_is_refused_with_its_name_and_the_reason(tmp_path, name, text, reason):
    path = write(tmp_path / name, text)
    with pytest.raises(ParsetError) as caught:
        load_obs_config(path)
    assert str(caught.value).startswith(f"{path}: ") and reason in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "folder.parset").mkdir()
    (tmp_path / "binary.parset").write_bytes(b"a = \xff\n")
    for name, reason in (
        ("none.parset", "no such file"),
        ("folder.parset", "is no file"),
        ("binary.parset", "UTF-8"),
    ):
        with pytest.raises(ParsetError, match=f"{name}: .*{reason}"):
            load_obs_config(tmp_path / name)


def test_the_modules_the_master_needs_load_without_numpy_and_astropy():
    code = "import sys, darc.formats.parset; print({'numpy', 'astropy', 'pydantic'} & set(sys.modules))"
    checkout = Path(parsets.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


# --- what is derived ---------------------------------------------------------------------------------------


@pytest.fixture
def master_dir(tmp_path):
    text = f"utc_start=2019-05-18-23:51:14\nfreq=1400.5\ndatetimesource=A\nparset={encode_parset(TASK)}\n"
    write(tmp_path / "parset" / "darc_master.parset", text)
    return str(tmp_path)


def test_the_observation_parset_comes_with_the_config_or_from_the_master_node(master_dir):
    own = {"parset": encode_parset("task.taskID = 1"), "master_dir": master_dir}
    assert parsets.observation_parset(own) == {"task.taskID": "1"}
    assert parsets.observation_parset({"master_dir": master_dir})["task.taskID"] == "190518009"


def test_a_master_parset_of_another_observation_is_not_used(master_dir):
    config = {"master_dir": master_dir, "datetimesource": "2020-01-01-00:00:00.B", "min_freq": 1219.70092773}
    with pytest.raises(ParsetError, match=r"no observation parset.*darc_master\.parset"):
        parsets.observation_parset(config)
    assert parsets.utc_start(config) == "2020-01-01-00:00:00"
    assert parsets.freq_mhz(config) == pytest.approx(1369.60327148)


@pytest.mark.parametrize("config", [{}, {"master_dir": "/nonexistent"}])
def test_no_observation_parset_at_all_is_an_error_that_says_where_it_was_looked_for(config):
    with pytest.raises(ParsetError, match=r"no observation parset: .*(master_dir|/nonexistent/parset)"):
        parsets.observation_parset(config)


def test_utc_start_is_taken_from_the_first_place_that_has_it(master_dir):
    config = {
        "utc_start": "2019-05-18-23:51:13",
        "master_dir": master_dir,
        "datetimesource": "2019-05-18-23:51:15.B1933+16",
        "startpacket": 1217362088000000,
    }
    write(Path(master_dir) / "parset" / "darc_master.parset", "utc_start=2019-05-18-23:51:14")
    expected = ["2019-05-18-23:51:13", "2019-05-18-23:51:14", "2019-05-18-23:51:15", "2019-05-18-23:51:12"]
    for place, text in zip(list(config), expected, strict=True):
        assert parsets.utc_start(config) == text
        del config[place]
    with pytest.raises(ParsetError, match="startpacket is missing"):
        parsets.utc_start(config)


@pytest.mark.parametrize(
    "config",
    [
        {"utc_start": "soon"},
        {"startpacket": 10**18},
        {"startpacket": 10**400},
        {"startpacket": "x"},
        {"startpacket": None},
    ],
)
def test_a_start_that_cannot_be_read_is_an_error_that_names_its_key(config):
    with pytest.raises(ParsetError, match=next(iter(config))):
        parsets.utc_start(config)


def test_the_start_time_is_startpacket_over_the_time_unit():
    # the observation of task 190518009 starts at 23:51:12.640, its headers say 23:51:13
    config = {"startpacket": 1217362088000000}
    assert parsets.start_time_unix(config) == 1558223472.64
    assert parsets.start_time_unix(config, Instrument(time_unit_hz=1000000)) == 1217362088.0


def test_the_frequency_is_taken_from_the_first_place_that_has_it(master_dir):
    config = {"freq": "1369.60327148", "master_dir": master_dir, "min_freq": 1220.0}
    assert parsets.freq_mhz(config) == 1369.60327148
    del config["freq"]
    assert parsets.freq_mhz(config) == 1400.5
    del config["master_dir"]
    assert parsets.freq_mhz(config) == 1220 + 150 - 0.09765625
    assert parsets.freq_mhz({}) == pytest.approx(1369.60327148, abs=1e-7)
    with pytest.raises(ParsetError, match="freq = 'high': allowed is a frequency in MHz"):
        parsets.freq_mhz({"freq": "high"})


# --- the task ----------------------------------------------------------------------------------------------


def test_a_task_has_typed_values():
    task = Task.from_parset(parse_parset(TASK))
    assert task.task_id == "190518009"
    assert task.start_time == datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC)
    assert (task.stop_time - task.start_time).total_seconds() == task.duration_s == 300
    assert (task.source_name, task.source_beam) == ("B1933+16", 17)
    assert task.telescopes == ["RT2", "RT3", "RT4"]
    assert task.reference_frame == "J2000"
    assert task.phase_centre_deg(0) == (293.948755, 16.277785)
    assert task.phase_centre_deg(7) == (-3.5, -0.001)


@pytest.mark.parametrize(
    "attribute",
    ["task_id", "start_time", "stop_time", "duration_s", "source_name", "telescopes", "reference_frame"],
)
def test_a_missing_value_is_named_by_its_key(attribute):
    with pytest.raises(ParsetError, match=r"task\..* is missing"):
        getattr(Task({}), attribute)


@pytest.mark.parametrize(
    ("obs_config", "expected"),
    [
        ({"parset": encode_parset(TASK), "taskid": "7"}, "190518009"),
        ({"parset": encode_parset("task.source.name = x"), "taskid": "7"}, "7"),
        ({"taskid": 7}, "7"),
    ],
)
def test_the_task_id_is_that_of_the_parset_else_the_node_s_own(obs_config, expected):
    assert parsets.task_id(obs_config) == expected


@pytest.mark.parametrize(
    ("obs_config", "complaint"),
    [
        ({"datetimesource": "x"}, "the observation has no task ID: no observation parset"),
        ({"taskid": None}, "no task ID"),
        ({"taskid": ""}, "no task ID"),
        ({"taskid": "../1"}, "taskid = '../1' is not safe"),
    ],
)
def test_an_observation_without_a_safe_task_id_is_refused(obs_config, complaint):
    with pytest.raises(ParsetError, match=complaint):
        parsets.task_id(obs_config)


def test_a_source_in_no_beam_is_no_error_but_a_missing_direction_is():
    assert Task({}).source_beam is None
    with pytest.raises(ParsetError, match=r"compoundBeam\.39\.phaseCenter is missing"):
        Task({}).phase_centre_deg(39)


@pytest.mark.parametrize(
    ("key", "value", "attribute"),
    [
        ("task.taskID", "../1", "task_id"),
        ("task.startTime", "tomorrow", "start_time"),
        ("task.duration", "5 minutes", "duration_s"),
        ("task.source.name", "a; rm -r b", "source_name"),
        ("task.source.beam", "all", "source_beam"),
        ("task.telescopes", "RT2", "telescopes"),
        ("task.directionReferenceFrame", "GALACTIC", "reference_frame"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_by_its_key(key, value, attribute):
    with pytest.raises(ParsetError, match=key):
        getattr(Task({key: value}), attribute)


@pytest.mark.parametrize(
    "value", ["[1, 2]", "[1deg]", "1deg, 2deg", "[1rad, 2rad]", "[0deg, 91deg]", "[edeg, -deg]"]
)
def test_a_direction_has_to_be_a_pair_in_degrees(value):
    with pytest.raises(DARCError, match=r"compoundBeam\.0\.phaseCenter = "):
        Task({"task.beamSet.0.compoundBeam.0.phaseCenter": value}).phase_centre_deg(0)


# --- real files --------------------------------------------------------------------------------------------


def test_real_parsets_are_read(reference_data, tmp_path):
    arts = reference_data / "arts"
    master = load_obs_config(arts / "darc_master.parset")
    assert len(master["beams"]) == 40 and master["duration"] == 299.008
    assert parsets.utc_start(master) == "2019-05-18-23:51:13"
    assert parsets.freq_mhz(master) == 1369.60327148
    decoded = decode_parset(master["parset"])
    assert parse_parset(decoded) == parse_parset((arts / "obs_B1933+16.parset").read_text())
    assert len(parse_parset(decoded)) == 389
    assert encode_parset(decoded) == master["parset"]


def test_a_real_worker_finds_the_rest_on_the_master_node(reference_data, tmp_path):
    arts = reference_data / "arts"
    worker = load_obs_config(arts / "darc_CB00.parset")
    worker["master_dir"] = str(tmp_path)
    assert parsets.utc_start(worker) == "2019-05-18-23:51:13"
    assert parsets.freq_mhz(worker) == pytest.approx(1369.60327148, abs=1e-7)
    write(tmp_path / "parset" / "darc_master.parset", (arts / "darc_master.parset").read_text())
    task = Task.from_parset(parsets.observation_parset(worker))
    assert task.source_name == "B1933+16" and len(task.telescopes) == 8
    assert len({task.phase_centre_deg(beam) for beam in range(40)}) >= 39
