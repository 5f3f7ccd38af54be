"""The manager: which observation gets what, and what becomes of those that end."""

import queue
from datetime import UTC, datetime

import pytest

from darc import processor
from darc.errors import DARCError
from darc.formats.parset import load_obs_config
from darc.processes.deaths import DEATHS_MAX
from darc.processes.watched_process import UNSEEN
from darc.processor import ProcessorException, ProcessorManager
from darc.simulation.observation import Observation

START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)


class Process:
    """A Processor that is no process."""

    def __init__(self, source_queue, **_):
        self.source_queue = queue.Queue()
        self.pid, self.exitcode, self.signalled = 1, None, []

    def start(self):
        pass

    def is_alive(self):
        return self.exitcode is None

    def terminate(self):
        self.signalled.append("terminate")

    def kill(self):
        self.signalled.append("kill")

    def join(self, timeout):
        pass

    def messages(self):
        return [self.source_queue.get(block=False) for _ in range(self.source_queue.qsize())]


@pytest.fixture
def manager(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "Processor", Process)
    (tmp_path / "config.yaml").write_text("nodes: {workers: {here: 7}}\nprocessor: {scavenger_interval: 60}")
    manager = ProcessorManager(queue.Queue(), config_file=tmp_path / "config.yaml", node="here")
    manager.monotonic = lambda: manager.now
    manager.now = 1000.0
    return manager


@pytest.fixture
def observe(manager, tmp_path):
    def observe(number):
        observation = Observation(f"source{number}", START, 300, beams=(7,), source_beam=7, number=number)
        obs_config = load_obs_config(observation.write(tmp_path / str(number)).workers[7])
        manager._handle({"command": "start_observation", "obs_config": obs_config, "reload_conf": False})
        return obs_config, list(manager.observations.values())[-1].process

    return observe


def rows(obs_config=None):
    label = {"observation": obs_config["datetimesource"]} if obs_config else {}
    return {"command": "trigger", "trigger": ["a line"], **label}


def test_each_observation_gets_a_processor_that_is_told_to_start_it(manager, observe):
    (first, one), (second, other) = observe(1), observe(2)
    assert list(manager.observations) == ["190518001", "190518002"]
    for obs_config, process in ((first, one), (second, other)):
        (message,) = process.messages()
        assert message["command"] == "start_observation" and message["obs_config"] == obs_config
        assert message["reload_conf"] is False


def test_an_observation_is_not_processed_twice(manager, observe, caplog):
    obs_config, process = observe(1)
    manager._handle({"command": "start_observation", "obs_config": obs_config, "reload_conf": False})
    assert "190518001 is processed already" in caplog.text
    assert next(iter(manager.observations.values())).process is process


def test_rows_go_to_the_observation_that_they_belong_to(manager, observe):
    (first, one), (_, other) = observe(1), observe(2)
    one.messages(), other.messages()
    manager._handle(rows(first))
    assert (len(one.messages()), len(other.messages())) == (1, 0)


def test_rows_that_do_not_say_so_go_to_the_latest_observation(manager, observe):
    (_, one), (_, other) = observe(1), observe(2)
    one.messages(), other.messages()
    manager._handle(rows())
    assert (len(one.messages()), len(other.messages())) == (0, 1)


def test_rows_of_no_observation_here_are_an_error(manager, observe, caplog):
    observe(1)
    manager._handle(rows({"datetimesource": "another"}))
    assert "another, which is not processed here" in caplog.text


def test_only_the_observation_with_that_task_id_is_stopped(manager, observe):
    (first, one), (_, other) = observe(1), observe(2)
    one.messages(), other.messages()
    manager._handle({"command": "stop_observation", "obs_config": first})
    assert [message["command"] for message in one.messages()] == ["stop_observation"]
    assert other.messages() == []
    # it goes on until everything is finished
    assert "190518001" in manager.observations


def test_an_abort_overtakes_what_is_queued(manager, observe):
    obs_config, process = observe(1)
    manager._handle({"command": "stop_observation", "obs_config": obs_config, "abort": True})
    assert process.signalled == ["terminate"]


def test_a_processor_that_does_not_take_messages_costs_them_and_not_the_manager(manager, observe, caplog):
    obs_config, process = observe(1)

    def full(*_, **__):
        raise queue.Full

    process.source_queue.put = full
    manager._handle(rows(obs_config))
    assert "does not take messages" in caplog.text


def test_finished_observations_are_removed_at_intervals(manager, observe):
    _, process = observe(1)
    assert manager.due_in() == 60
    process.exitcode = 0
    manager.now += 60
    assert manager.due_in() <= 0
    manager.do_what_is_due()
    assert manager.observations == {}
    assert manager.due_in() == 60


def test_a_processor_that_died_is_noticed_and_told(manager, observe, caplog):
    _, process = observe(1)
    process.exitcode = -9
    manager.thread_scavenger()
    assert "source1 (task 190518001) died: code -9" in caplog.text
    observe(1)  # it can be started again
    assert "190518001" in manager.observations


def test_the_end_of_the_manager_aborts_what_is_left(manager, observe):
    (_, one), (_, other) = observe(1), observe(2)
    other.exitcode = 0
    manager.cleanup()
    assert one.signalled == ["terminate", "kill"] and other.signalled == []


def test_the_status_tells_which_task_ids_are_processed(manager, observe):
    observe(1)
    assert "190518001" in str(manager.observations)


def test_the_parset_of_an_observation_is_a_dictionary(manager, observe):
    obs_config, _ = observe(1)
    assert manager._load_parset(obs_config)["task.taskID"] == "190518001"
    with pytest.raises(DARCError):
        manager._load_parset({})


def test_other_messages_are_refused(manager, caplog):
    manager._handle({"command": "dance"})
    assert "unknown command" in caplog.text


def test_the_documented_exception_is_a_refusal():
    assert issubclass(ProcessorException, DARCError)


# --- what is kept for after a death ------------------------------------------------------------------------


@pytest.fixture
def below_master(tmp_path, monkeypatch):
    """Return a function that starts the manager as a master does, again and again."""
    monkeypatch.setattr(processor, "Processor", Process)
    (tmp_path / "config.yaml").write_text(
        f"nodes: {{workers: {{here: 7}}}}\ndarc_master: {{state_dir: {tmp_path}/state}}"
    )

    def start():
        return ProcessorManager(
            queue.Queue(), control_queue=queue.Queue(), config_file=tmp_path / "config.yaml", node="here"
        )

    return start


@pytest.fixture
def obs_config(tmp_path):
    observation = Observation("source", START, 300, beams=(7,), source_beam=7)
    return load_obs_config(observation.write(tmp_path / "observation").workers[7])


def start_message(obs_config, resume):
    return {
        "command": "start_observation",
        "obs_config": obs_config,
        "reload_conf": False,
        "resume": resume,
    }


def commands(manager):
    (running,) = manager.observations.values()
    return [(message["command"], message.get("resume")) for message in running.process.messages()]


def test_an_observation_whose_processor_was_killed_is_worked_on_again(below_master, obs_config):
    manager = below_master()
    manager._handle(start_message(obs_config, resume=False))
    (running,) = manager.observations.values()
    running.process.exitcode = -9
    manager._handle(rows(obs_config))
    assert manager.due_in() <= 0
    manager.do_what_is_due()
    assert commands(manager) == [("start_observation", True)]


@pytest.mark.parametrize("joined_first", [True, False])
def test_a_manager_that_was_killed_goes_on_with_what_was_not_finished(below_master, obs_config, joined_first):
    manager = below_master()
    manager._handle(start_message(obs_config, resume=False))
    manager._handle({"command": "stop_observation", "obs_config": obs_config})
    successor = below_master()
    if joined_first:
        successor._handle(start_message(obs_config, resume=True))
    successor.do_what_is_due()
    after = [] if joined_first else [("stop_observation", None)]
    assert commands(successor) == [("start_observation", True), *after]


def test_an_observation_that_is_finished_or_aborted_is_not_worked_on_again(below_master, obs_config):
    for abort in (True, False):
        manager = below_master()
        manager._handle(start_message(obs_config, resume=False))
        (running,) = manager.observations.values()
        if abort:
            manager._handle({"command": "stop_observation", "obs_config": obs_config, "abort": True})
        running.process.exitcode = -15 if abort else 0
        manager.thread_scavenger()
        successor = below_master()
        successor.do_what_is_due()
        assert successor.observations == {}


def test_an_observation_that_processors_die_of_is_left_alone(below_master, obs_config, caplog):
    manager = below_master()
    manager._handle(start_message(obs_config, resume=False))
    for _ in range(DEATHS_MAX):
        (running,) = manager.observations.values()
        running.process.exitcode = -9
        manager.do_what_is_due()
    assert manager.observations == {}
    assert "is left alone" in caplog.text


def test_ends_that_nobody_saw_are_not_deaths_of_the_observation(below_master, obs_config, caplog):
    manager = below_master()
    manager._handle(start_message(obs_config, resume=False))
    for _ in range(DEATHS_MAX + 1):
        (running,) = manager.observations.values()
        running.process.exitcode = UNSEEN
        manager.do_what_is_due()
    assert len(manager.observations) == 1
    assert "is left alone" not in caplog.text
