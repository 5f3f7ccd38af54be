"""States of services: what starts, stops and deaths make of them. Processes are stand-ins."""

import queue
import signal

import pytest
import yaml

from darc.config import ConfigError, load_config
from darc.errors import DARCError
from darc.formats.node_details import ServiceDetails
from darc.node import supervisor as module
from darc.node.service_process import NoProcessError
from darc.node.supervisor import Supervisor

NAME, OTHER = "dada_trigger", "amber_listener"
START = 1_700_000_000.0
SETTINGS = {
    "stop_timeout": 5.0,
    "control_timeout": 0.01,
    "restart_backoff_min": 1.0,
    "restart_backoff_max": 3.0,
    "restart_limit": 3,
    "restart_window": 100.0,
}


class StandIn:
    """A process that lives until it is sent a signal that it obeys."""

    def __init__(self, launch, start_method):
        self.launch = launch
        self.obeys = {signal.SIGTERM, signal.SIGKILL}
        self.signals, self.lives, self.first_messages = [], False, None

    def start(self, first_messages):
        self.lives, self.first_messages = True, list(first_messages)

    def die(self):
        self.lives = False

    def send_signal(self, number):
        self.signals.append(number)
        self.lives = self.lives and number not in self.obeys

    def alive(self):
        return self.lives

    def wait(self, timeout_s):
        return not self.lives

    def cause_of_death(self):
        return "ended with exit code 1"

    pid = 4711


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def site_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"nodes": {"workers": {"w": 0}}, "darc_master": SETTINGS}))
    return path


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def services(site_file, clock, monkeypatch):
    monkeypatch.setattr(module, "ServiceProcess", StandIn)
    config = load_config(site_file, "w")
    supervisor = Supervisor(config, site_file, [NAME, OTHER], clock, lambda: START + clock.now)
    supervisor.first_messages = lambda name: [f"news for {name}"]
    yield supervisor
    for handle in supervisor.handles.values():
        if handle.process is not None:
            handle.process.obeys = {signal.SIGKILL}
    supervisor.close()


def process(services, name=NAME):
    return services.handles[name].process


def queued(services, name=NAME):
    messages = []
    while True:
        try:
            messages.append(services.queues[name].get(block=False))
        except queue.Empty:
            return messages


# --- starting and stopping ----------------------------------------------------------------------------------


def test_a_service_starts_once(services):
    assert services.status(NAME) == "stopped"
    assert services.start(NAME) == "started"
    first = process(services)
    assert services.start(NAME) == "already running"
    assert process(services) is first
    assert services.status(NAME) == "running"
    assert services.processes() == {NAME: 4711}


# a kill of what processes are forked from, while the master starts
def test_a_service_that_gets_no_process_is_started_again(services, clock, monkeypatch):
    def start(self, first_messages):
        raise NoProcessError("no process for it")

    with monkeypatch.context() as patch:
        patch.setattr(StandIn, "start", start)
        assert services.start(NAME) == "restarting"
    assert services.status(NAME) == "restarting"
    clock.now = SETTINGS["restart_backoff_min"]
    services.look()
    assert services.status(NAME) == "running"


def test_a_service_gets_its_queues(services):
    services.start(OTHER)
    launch = process(services, OTHER).launch
    assert launch.source_queue is services.queues[OTHER]
    assert launch.target_queue is None  # amber_clustering does not run here
    assert launch.control_queue is services.control_queues[OTHER]
    assert launch.node == "w"


def test_stopping_is_asking(services):
    services.start(NAME)
    stopped = process(services)
    assert services.stop(NAME) == "stopped"
    assert stopped.signals == [signal.SIGTERM]
    assert services.status(NAME) == "stopped"
    assert services.stop(NAME) == "stopped"


def test_nothing_stays_in_the_queue_that_would_stop_the_next_process(services):
    services.start(NAME)
    services.stop(NAME)
    assert all(message["command"] == "get_attr" for message in queued(services))


def test_a_service_that_ignores_the_stop_is_killed(services):
    services.start(NAME)
    stubborn = process(services)
    stubborn.obeys = {signal.SIGKILL}
    assert services.stop(NAME) == "stopped"
    assert stubborn.signals == [signal.SIGTERM, signal.SIGKILL]


def test_a_process_that_cannot_be_killed_is_not_forgotten(services):
    # a stop that times out and then forgets a process that is still alive
    services.start(NAME)
    undead = process(services)
    undead.obeys = set()
    assert services.stop(NAME) == "failed"
    assert services.status(NAME) == "stopping"
    assert services.processes() == {NAME: 4711}
    with pytest.raises(DARCError, match="process 4711 of dada_trigger does not end"):
        services.start(NAME)
    undead.die()
    assert services.status(NAME) == "stopped"
    assert services.start(NAME) == "started"


def test_with_a_wrong_configuration_nothing_starts(services, site_file):
    good = site_file.read_text()
    site_file.write_text(good + "dada_trigger: {port_i: many}")
    with pytest.raises(ConfigError, match="port_i"):
        services.start(NAME)
    assert services.status(NAME) == "failed"
    site_file.write_text(good)
    assert services.start(NAME) == "started"


def test_once_closed_nothing_starts_any_more(services):
    services.start(NAME)
    ended = process(services)
    services.close()
    assert not ended.lives
    with pytest.raises(DARCError, match="the master is stopping"):
        services.start(NAME)


# --- deaths -------------------------------------------------------------------------------------------------


def test_a_death_is_seen_by_whoever_asks_first(services):
    # a service that dies and nobody notices until someone looks at the status page
    services.start(NAME)
    process(services).die()
    assert services.status(NAME) == "restarting"


def test_a_dead_service_is_restarted_after_a_pause(services, clock):
    services.start(NAME)
    process(services).die()
    services.look()
    clock.now = 0.9
    services.look()
    assert services.status(NAME) == "restarting"
    clock.now = 1.0
    services.look()
    assert services.status(NAME) == "running"
    assert process(services).first_messages == ["news for dada_trigger"]


def test_the_pauses_double_up_to_a_limit_and_then_it_is_given_up(services, clock):
    told = []
    services.given_up = lambda *what: told.append(what)
    services.start(NAME)
    pauses = []
    while services.status(NAME) == "running":
        process(services).die()
        services.look()
        pauses.append(services.handles[NAME].restart_at - clock.now)
        clock.now = services.handles[NAME].restart_at
        services.look()
    assert pauses[:3] == [1.0, 2.0, 3.0]
    assert len(pauses) == SETTINGS["restart_limit"] + 1
    assert services.status(NAME) == "failed"
    services.look()
    assert [name for name, _ in told] == [NAME]


def test_one_that_was_given_up_starts_by_command_with_a_clean_sheet(services, clock):
    services.start(NAME)
    services.handles[NAME].deaths.times = [0.0] * SETTINGS["restart_limit"]
    process(services).die()
    assert services.status(NAME) == "failed"
    assert services.start(NAME) == "started"
    process(services).die()
    assert services.status(NAME) == "restarting"


def test_deaths_of_long_ago_do_not_count(services, clock):
    services.start(NAME)
    services.handles[NAME].deaths.times = [0.0] * SETTINGS["restart_limit"]
    clock.now = SETTINGS["restart_window"] + 1
    process(services).die()
    assert services.status(NAME) == "restarting"


def test_a_configuration_that_became_wrong_is_waited_for(services, clock, site_file):
    services.start(NAME)
    good = site_file.read_text()
    site_file.write_text("nonsense: true")
    process(services).die()
    for now in (0.0, 1.0):
        clock.now = now
        services.look()
        assert services.status(NAME) == "restarting"
    site_file.write_text(good)
    clock.now = 3.0
    services.look()
    assert services.status(NAME) == "running"


def test_a_stop_takes_back_the_restart(services, clock):
    services.start(NAME)
    process(services).die()
    services.look()
    assert services.stop(NAME) == "stopped"
    clock.now = 1000.0
    services.look()
    assert services.status(NAME) == "stopped"


def test_a_death_leaves_the_others_alone(services):
    services.start(NAME)
    services.start(OTHER)
    survivor = process(services, OTHER)
    process(services).die()
    services.look()
    assert services.status(OTHER) == "running"
    assert process(services, OTHER) is survivor


def test_since_when_and_how_often_restarted_is_told(services, clock):
    assert services.details(NAME) == ServiceDetails("stopped", since=None, restarts=0, pid=None, queue=0)
    clock.now = 5.0
    services.start(NAME)
    clock.now = 7.0
    assert services.details(NAME) == ServiceDetails("running", START + 5.0, 0, 4711, 0)
    process(services).die()
    assert services.details(NAME) == ServiceDetails("restarting", START + 7.0, 0, None, 0)
    clock.now = 8.0
    services.look()
    assert services.details(NAME) == ServiceDetails("running", START + 8.0, 1, 4711, 0)
    services.send(NAME, "x")
    assert services.details(NAME).queue > 0


# --- messages -----------------------------------------------------------------------------------------------


def test_the_answer_is_the_one_to_this_question(services):
    services.start(NAME)
    for number in (0, 1):  # the first came after its time was over
        services.control_queues[NAME].put({"id": number, "status": "Success", "message": f"answer {number}"})
    assert services.ask(NAME, {"command": "get_attr", "attribute": "host"}) == ("Success", "answer 1")
    assert queued(services) == [{"command": "get_attr", "attribute": "host", "id": 1}]


def test_no_answer_is_an_error_that_says_so(services):
    with pytest.raises(DARCError, match="not running"):
        services.ask(NAME, {"command": "status"})
    services.start(NAME)
    with pytest.raises(DARCError, match="did not answer within"):
        services.ask(NAME, {"command": "status"})


def test_a_queue_that_nobody_reads_is_an_error_and_can_be_cleared(services):
    number = 0
    with pytest.raises(DARCError, match="does not take its messages"):
        while True:
            services.send(NAME, "x" * 50_000)
            number += 1
    assert services.clear(NAME) == number
