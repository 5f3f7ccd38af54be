"""The documented methods of the master: status and reply of each. Processes are stand-ins."""

import signal
from datetime import UTC, datetime

import pytest
import yaml

from darc import __version__
from darc.config import ConfigError
from darc.darc_master import DARCMaster, DARCMasterException, main
from darc.errors import DARCError
from darc.formats.node_details import read_node_details
from darc.network.command_protocol import Request, encode_reply, parse_reply
from darc.node import supervisor
from darc.simulation.observation import Observation

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
WORKER_SERVICES = ["amber_listener", "dada_trigger"]
PASSWORD = "swordfish-4711"
SITE = {
    "nodes": {
        "master": {
            "name": "m",
            "config": {"lofar_trigger": {"server_auth": PASSWORD}, "darc_master": {"mode": "real-time"}},
        },
        "workers": {"w": 0},
    },
    "darc_master": {
        "services_worker_mix": WORKER_SERVICES,
        "services_worker_off": ["dada_trigger"],
        "control_timeout": 0.01,
        "stop_timeout": 0.01,
    },
}


class StandIn:
    """A process that ends when it is told to, unless it is stubborn, and does not answer questions."""

    obeys = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, launch, start_method):
        self.lives = False

    def start(self, first_messages):
        self.lives = True

    def send_signal(self, number):
        self.lives = self.lives and number not in self.obeys

    def alive(self):
        return self.lives

    def wait(self, timeout_s):
        return not self.lives

    pid = 4711


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    monkeypatch.setattr(supervisor, "ServiceProcess", StandIn)


@pytest.fixture
def site_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    monkeypatch.delenv("DARC_NODE", raising=False)
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(SITE))
    return path


@pytest.fixture
def node(site_file, monkeypatch):
    masters = []

    def make(name):
        masters.append(DARCMaster(site_file, name, clock=lambda: START.timestamp() - 60.0))
        return masters[-1]

    yield make
    monkeypatch.undo()
    for each in masters:
        each.supervisor.close()


@pytest.fixture
def master(node):
    """The master of a worker node."""
    return node("w")


def answer_next(master, service, status, message):
    """Lay down what a service will have answered to the first question."""
    master.supervisor.control_queues[service].put({"id": 1, "status": status, "message": message})


# --- services -----------------------------------------------------------------------------------------------


def test_start_and_stop_of_a_service(master):
    assert master.check_status("dada_trigger") == ("Success", "stopped")
    assert master.start_service("dada_trigger") == ("Success", "started")
    assert master.start_service("dada_trigger") == ("Success", "already running")
    assert master.check_status("dada_trigger") == ("Success", "running")
    # a stop that swaps status and message
    assert master.stop_service("dada_trigger") == ("Success", "stopped")


def test_restart_tells_both_halves(master):
    assert master.restart_service("dada_trigger") == ("Success", {"stop": "stopped", "start": "started"})


def test_a_process_that_does_not_end_is_a_failure(master, monkeypatch):
    master.start_service("dada_trigger")
    with monkeypatch.context() as context:
        context.setattr(StandIn, "obeys", ())
        assert master.stop_service("dada_trigger") == ("Error", "failed")
        assert master.restart_service("dada_trigger") == ("Error", {"stop": "failed", "start": "failed"})
    assert master.check_status("dada_trigger") == ("Success", "stopping")


def test_each_service_has_its_queue(master):
    master.get_queue("dada_trigger").put("x")
    assert master.get_queue("dada_trigger").get(timeout=1) == "x"
    with pytest.raises(DARCMasterException, match="Invalid service: nonsense"):
        master.get_queue("nonsense")


def test_a_service_can_be_made_without_starting_it(master, site_file):
    assert master.create_thread("dada_trigger") is None
    assert master.check_status("dada_trigger") == ("Success", "stopped")
    site_file.write_text(yaml.safe_dump(SITE | {"dada_trigger": {"port_i": 0}}))
    with pytest.raises(ConfigError, match="port_i"):
        master.create_thread("dada_trigger")


def test_services_follow_role_and_mode(node, site_file):
    assert node("w").services == WORKER_SERVICES
    assert node("m").services == [
        "status_website", "lofar_trigger", "voevent_generator", "processor_master",
    ]  # fmt: skip
    site_file.write_text(yaml.safe_dump(SITE | {"darc_master": SITE["darc_master"] | {"mode": "offline"}}))
    assert node("w").services == ["dada_trigger"]


def test_a_host_that_is_no_node_has_no_services_and_answers(node):
    stranger = node(None)
    assert (stranger.host_type, stranger.node, stranger.services) == ("unknown", None, [])
    assert stranger.process_message("all", "status", None) == ("Success", {"observations": {}})
    assert stranger.process_message(None, "get_attr host_type", None) == (
        "Success",
        {"DARCMaster.host_type": "unknown"},
    )


# --- messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{'service': 'dada_trigger', 'command': 'status', 'payload': None}",
        "{'service': 'dada_trigger', 'command': 'status', 'payload': 'None'}",
        '{"service": "dada_trigger", "command": "status"}',
    ],
)
def test_messages_come_as_literals_or_json(master, text):
    assert master.parse_message(text) == ("Success", {"dada_trigger": "stopped"})


def test_a_message_that_is_none_is_an_error(master):
    for text in ("", "status", "[]", "{'service': 'all'}", "{" * 1000):
        status, reply = master.parse_message(text)
        assert status == "Error"
        assert set(reply) == {"error"}


def test_all_services_answer_together(master):
    stopped = dict.fromkeys(WORKER_SERVICES, "stopped")
    assert master.process_message("all", "status", None) == ("Success", stopped | {"observations": {}})
    assert master.process_message(None, "status", None) == master.process_message("all", "status", None)
    started = ("Success", dict.fromkeys(WORKER_SERVICES, "started"))
    assert master.process_message("all", "start", None) == started
    assert master.processes == dict.fromkeys(WORKER_SERVICES, 4711)
    assert master.process_message("all", "restart", None)[1]["amber_listener"] == {
        "stop": "stopped",
        "start": "started",
    }
    assert master.process_message("all", "stop", None) == ("Success", stopped)


def test_one_failure_of_several_is_an_error(master, monkeypatch):
    master.start_service("dada_trigger")
    with monkeypatch.context() as context:
        context.setattr(StandIn, "obeys", ())
        status, reply = master.process_message("all", "stop", None)
    assert (status, reply) == ("Error", {"amber_listener": "stopped", "dada_trigger": "failed"})


def test_a_wrong_configuration_is_said_where_the_service_fails(master, site_file):
    site_file.write_text(yaml.safe_dump(SITE | {"dada_trigger": {"port_i": 0}}))
    status, reply = master.process_message("dada_trigger", "start", None)
    assert status == "Error"
    assert reply["dada_trigger"].startswith("failed: ")
    assert "port_i" in reply["dada_trigger"]


@pytest.mark.parametrize(
    ("service", "command", "payload", "reason"),
    [
        ("nonsense", "status", None, "Invalid service: nonsense"),
        ("lofar_trigger", "status", None, "lofar_trigger does not run on this worker node"),
        ("offline_processing", "status", None, "offline_processing does not run on this worker node"),
        ("all", "nonsense", None, "Invalid command: nonsense"),
        (None, "edit", None, "Invalid command: edit"),
        (None, "", None, "Invalid command"),
        (None, "stop", None, "stop needs a service"),
        (None, "status now", None, "Invalid command: status now"),
        (None, "start_observation", None, "start_observation needs the path"),
        (None, "abort_observation", None, "abort_observation needs the path"),
        (None, "start_observation", "/nowhere.parset", "/nowhere.parset: there is no such file"),
        (None, "get_attr", None, "needs the name of one attribute"),
        ("all", "get_attr a b", None, "needs the name of one attribute"),
        (None, "get_attr nonsense", None, "DARCMaster has no attribute 'nonsense'"),
        (None, "get_attr _ending", None, "has no attribute"),
        (None, "lofar_status", None, "lofar_status is for a node that runs lofar_trigger"),
        (None, "voevent_enable", None, "this worker node does not"),
    ],
)
def test_refusals_say_why(master, service, command, payload, reason):
    status, reply = master.process_message(service, command, payload)
    assert status == "Error"
    assert reason in (reply["error"] if "error" in reply else reply["dada_trigger"])


def test_a_site_decides_which_commands_are_served(node, site_file):
    served = {"master_commands": ["start_observation"], "service_commands": ["status", "dance"]}
    site_file.write_text(yaml.safe_dump(SITE | {"darc_master": SITE["darc_master"] | served}))
    master = node("w")
    assert master.process_message("all", "status", None)[0] == "Success"
    for service, command in (("all", "stop"), (None, "stop_master"), (None, "get_attr node")):
        status, reply = master.process_message(service, command, None)
        assert (status, reply) == ("Error", {"error": f"Invalid command: {command}"})
    assert master.process_message("dada_trigger", "dance", None)[0] == "Error"


# --- being watched ------------------------------------------------------------------------------------------


def told(master):
    status, message = master.process_message(None, "details", None)
    assert status == "Success"
    return read_node_details("w", parse_reply(encode_reply(status, message)).message)


def test_details_tell_node_services_and_observations(master, parset):
    master.start_service("dada_trigger")
    master.process_message(None, "start_observation", str(parset))
    details = told(master)
    assert (details.node, details.role, details.beam, details.version) == ("w", "worker", 0, __version__)
    assert details.time == details.up_since == START.timestamp() - 60.0
    assert list(details.services) == WORKER_SERVICES
    assert (details.services["dada_trigger"].state, details.services["dada_trigger"].pid) == ("running", 4711)
    (observation,) = details.observations
    assert (observation.task_id, observation.source, observation.state) == (
        "261122001",
        "B0531+21",
        "waiting",
    )
    assert (observation.start, observation.end) == (START.timestamp(), START.timestamp() + 102.4)
    assert any("state" in label for label in details.disks)


def test_a_node_is_watched_also_where_no_command_is_served_and_while_it_stops(node, site_file, tmp_path):
    served = {"master_commands": [], "service_commands": [], "log_file": str(tmp_path / "master.log")}
    site_file.write_text(yaml.safe_dump(SITE | {"darc_master": SITE["darc_master"] | served}))
    (tmp_path / "master.log").write_text("one\ntwo\n")
    master = node("w")
    master.end()
    master.supervisor.close()
    assert told(master).services["dada_trigger"].state == "stopped"
    log = {"path": str(tmp_path / "master.log"), "lines": ["one", "two"]}
    assert master.process_message(None, "log", None) == ("Success", log)
    assert master.process_message("nonsense", "log", None)[0] == "Error"


def test_being_watched_does_not_fill_the_log(master, caplog):
    caplog.set_level("DEBUG")
    master._answer(Request(command="details"))
    assert not caplog.records


# --- attributes and switches --------------------------------------------------------------------------------


def test_an_attribute_of_the_master(master):
    assert master.process_message(None, "get_attr node", None) == ("Success", {"DARCMaster.node": "w"})


def test_an_attribute_of_a_service_is_asked_of_its_process(master):
    master.start_service("dada_trigger")
    answer_next(master, "dada_trigger", "Success", {"DADATrigger.host": "localhost"})
    assert master._get_attribute("dada_trigger", "get_attr host") == (
        "Success",
        {"DADATrigger.host": "localhost"},
    )
    question = master.get_queue("dada_trigger").get(timeout=1)
    assert (question["command"], question["attribute"]) == ("get_attr", "host")


def test_a_service_that_is_silent_or_stopped_is_an_error(master):
    for expected in ("dada_trigger is not running", "dada_trigger did not answer within"):
        status, reply = master.process_message("dada_trigger", "get_attr host", None)
        assert status == "Error"
        assert expected in reply
        master.start_service("dada_trigger")


def test_attributes_show_no_secrets(node):
    master = node("m")
    assert master.process_message(None, "get_attr config", None)[0] == "Error"
    assert master.process_message("all", "get_attr config", None)[0] == "Error"
    for name in dir(master):
        assert PASSWORD not in str(master.process_message(None, f"get_attr {name}", None))


@pytest.mark.parametrize("word", ["status", "enable", "disable"])
@pytest.mark.parametrize(
    ("system", "service"), [("lofar", "lofar_trigger"), ("voevent", "voevent_generator")]
)
def test_switches_are_commands_to_a_service_of_the_master_node(node, system, service, word):
    master = node("m")
    master.start_service(service)
    answer_next(master, service, "Success", "disabled")
    assert master._switch_cmd(f"{system}_{word}") == ("Success", "disabled")
    assert master.get_queue(service).get(timeout=1)["command"] == word


# --- configuration ------------------------------------------------------------------------------------------


def test_reload_reads_the_section_of_the_master_again(master, site_file):
    site_file.write_text(yaml.safe_dump(SITE | {"darc_master": SITE["darc_master"] | {"stop_timeout": 7.0}}))
    status, text = master.process_message(None, "reload", None)
    assert status == "Success"
    assert "read again" in text
    assert master.config.darc_master.stop_timeout == 7.0
    assert master.supervisor.config is master.config


def test_reload_of_a_wrong_configuration_changes_nothing(master, site_file):
    site_file.write_text("darc_master: {stop_timeout: long}")
    before = master.config
    status, reply = master.process_message(None, "reload", None)
    assert status == "Error"
    assert "no node 'w'" in reply["error"]
    assert master.config is before


# --- observations and the end -------------------------------------------------------------------------------


@pytest.fixture
def parset(tmp_path):
    return Observation("B0531+21", START, 102.4).write(tmp_path / "obs").workers[0]


def test_an_observation_is_taken_in_shown_and_struck_out(master, parset):
    status, text = master.process_message(None, "start_observation", str(parset))
    assert status == "Success"
    assert "starts at 2026-11-22T12:00:00 UTC" in text
    assert master.processes == dict.fromkeys(WORKER_SERVICES, 4711)
    _, reply = master.process_message("all", "status", None)
    assert reply["observations"]["261122001"]["state"] == "waiting"
    assert master.process_message(None, "abort_observation", str(parset))[0] == "Success"
    assert master.process_message("all", "status", None)[1]["observations"] == {}
    assert master.process_message(None, "stop_observation", str(parset))[0] == "Warning"


def test_observation_files_are_read_by_either_name(master, parset, tmp_path):
    config = master._load_parset(parset)
    assert config["datetimesource"] == "2026-11-22-12:00:00.B0531+21"
    path = tmp_path / "obs.yaml"
    path.write_text(yaml.safe_dump({key: str(value) for key, value in config.items()}))
    assert master._load_yaml(path)["startpacket"] == config["startpacket"]
    with pytest.raises(DARCError):
        master._load_yaml(tmp_path / "none.yaml")


def test_stop_answers_and_nothing_is_begun_any_more(master, parset):
    assert master.stop()[0] == "Success"
    for service, command, payload in (("all", "start", None), (None, "start_observation", str(parset))):
        status, reply = master.process_message(service, command, payload)
        assert status == "Error"
        assert "the master is stopping" in reply["error"]
    assert master.process_message("all", "status", None)[0] == "Success"


def test_a_wrong_configuration_ends_the_program_with_the_reason(site_file, capsys):
    site_file.write_text("darc_master: {stop_timeout: long}")
    assert main(["--config", str(site_file)]) == 1
    assert "darc_master.stop_timeout = 'long': has to be a number above 0" in capsys.readouterr().err
