"""The service loop: what any message does to a service, and what a service does in between."""

import logging
import queue
import threading
from multiprocessing.context import ForkServerProcess
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darc.base import PATIENCE_S, DARCBase
from darc.errors import DARCError
from darc.formats.observation_name import observation_label


class Probe(DARCBase):
    """A service that notes what it is asked to do."""

    __module__ = "darc.amber_listener"  # whose section of the configuration it has

    def __init__(self, *args, **kwargs):
        self.done = []
        super().__init__(*args, **kwargs)

    def process_command(self, command):
        if command["command"] != "note":
            super().process_command(command)
        elif "refuse" in command:
            raise DARCError("not today")
        else:
            self.done.append(command["what"])

    def start_observation(self, obs_config, reload=True):
        super().start_observation(obs_config, reload)
        self.done.append(f"start {observation_label(obs_config)}")

    def stop_observation(self, *args, **kwargs):
        self.done.append(f"stop {kwargs}" if kwargs else "stop")


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"""
amber_listener: {{log_file: {tmp_path}/probe.log, start_timeout: 12.5}}
nodes: {{workers: {{here: 7}}}}
""")
    return path


@pytest.fixture
def service(config_file):
    return Probe(queue.Queue(), control_queue=queue.Queue(), config_file=config_file, node="here")


def note(what):
    return {"command": "note", "what": what}


def start(label="one", **more):
    return {"command": "start_observation", "obs_config": {"datetimesource": label}, **more}


def serve(service, *messages):
    """Have a service handle messages until it is told to stop."""
    service._stopping = threading.Event()
    for message in (*messages, "stop"):
        service.source_queue.put(message)
    service._serve()


# --- configuration -----------------------------------------------------------------------------------------


def test_the_keys_of_the_section_are_attributes(service):
    assert (service.interval, service.start_timeout) == (0.2, 12.5)
    assert service.config.beam == 7


def test_a_mistake_in_the_configuration_is_told_when_the_service_is_made(config_file):
    config_file.write_text("amber_listener: {interval: never}")
    with pytest.raises(DARCError, match=r"amber_listener\.interval.*never"):
        Probe(queue.Queue(), config_file=config_file)


# the same key read under two names: `reload_conf` is the documented one, `reload` that of the method
@pytest.mark.parametrize("key", ["reload_conf", "reload"])
def test_what_a_caller_sets_holds_until_an_observation_is_started_with_reload(service, key):
    service.interval = 5.0
    service._handle(start(**{key: False}))
    assert service.interval == 5.0
    service._handle(start(**{key: True}))
    assert service.interval == 0.2


def test_reading_the_configuration_again_is_the_default(service):
    service.interval = 5.0
    service._handle(start())
    assert service.interval == 0.2


def test_a_configuration_that_has_become_wrong_costs_the_start_only(service, config_file, caplog):
    config_file.write_text("nodes: {workers: {here: 7}}\namber_listener: {interval: never}")
    service._handle(start())
    assert "start_observation refused" in caplog.text and "never" in caplog.text
    assert service.done == [] and service.interval == 0.2


# --- messages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        *(None, 5, b"stop", "halt", [], {}, [1, 2], ("command", "note"), {"what": 1}, {"command": 5}),
        *({"command": None}, {"command": ["note"]}, np.array([1, 2]), {"command": np.array([1, 2])}),
        *({"command": "unheard of"}, {"command": "note", "refuse": 1}),
        *({"command": "start_observation"}, {"command": "start_observation", "obs_config": 5}),
        {"command": "stop_observation", "obs_config": "all"},
    ],
    ids=repr,
)
def test_a_message_that_cannot_be_served_is_logged_and_costs_only_itself(service, message, caplog):
    serve(service, note("before"), message, note("after"))
    assert service.done == ["before", "after"]
    assert [r.levelname for r in caplog.records if r.levelno > logging.INFO] == ["ERROR"]
    assert "refused" in caplog.text


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.one_of(
        _PLAIN,
        st.fixed_dictionaries(
            {"command": st.sampled_from(["start_observation", "stop_observation", "get_attr", "halt"])},
            optional=dict.fromkeys(("obs_config", "attribute", "id", "abort", "host_type"), _PLAIN),
        ),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_no_message_ends_the_service(service, message):
    service._handle(message)


@pytest.mark.parametrize("word", ["stop", "abort"])
def test_these_words_end_the_service(service, word):
    service._stopping = threading.Event()
    service.source_queue.put(word)
    service.source_queue.put(note("too late"))
    service._serve()
    assert service.done == []


def test_stop_from_outside_goes_through_the_queue(service):
    service.stop()
    assert service.source_queue.get(block=False) == "stop"


def test_an_observation_is_started_with_the_role_of_its_node(service):
    service._handle(start("one", host_type="worker"))
    assert service.done == ["start one"] and service.host_type == "worker"


def test_an_observation_is_stopped(service):
    service._handle(start("one"))
    service._handle({"command": "stop_observation", "obs_config": {"datetimesource": "one"}})
    service._handle({"command": "stop_observation"})
    assert service.done == ["start one", "stop", "stop"]


def test_the_late_end_of_the_previous_observation_does_not_end_this_one(service):
    service._handle(start("one"))
    service._handle(start("two"))
    service._handle({"command": "stop_observation", "obs_config": {"datetimesource": "one"}})
    assert service.done == ["start one", "start two"]


def test_abort_tells_the_service_to_drop_what_is_queued(service):
    service._handle({"command": "stop_observation", "obs_config": {}, "abort": True})
    assert service.done == ["stop {'abort': True}"]


def test_an_observation_is_labelled_by_its_name_else_by_its_task_id():
    assert observation_label({"datetimesource": "d", "taskid": "1"}) == "d"
    assert observation_label({"taskid": "1"}) == "1"
    assert observation_label({}) == "unnamed observation"


# --- attributes --------------------------------------------------------------------------------------------


def ask(service, attribute, **more):
    service._handle({"command": "get_attr", "attribute": attribute, **more})
    return service.control_queue.get(block=False)


def test_an_attribute_is_answered_on_the_control_queue(service):
    service.interval = 3.5
    answer = ask(service, "interval", id=17)
    assert answer == {"status": "Success", "message": {"Probe.interval": "3.5"}, "id": 17}


# `authkey` opens the queues of this process; `sentinel` raises in it
@pytest.mark.parametrize("name", ["no_such", "_stopping", "__dict__", "authkey", "sentinel", "start", None])
def test_what_is_no_attribute_of_the_service_is_an_error(service, name):
    answer = ask(service, name)
    assert answer["status"] == "Error" and repr(str(name)) in answer["message"]


def test_a_question_without_a_control_queue_is_logged(config_file, caplog):
    service = Probe(queue.Queue(), config_file=config_file)
    service._handle({"command": "get_attr", "attribute": "interval"})
    assert "no control queue" in caplog.text


def test_a_full_control_queue_does_not_hold_up_the_service(service, monkeypatch):
    monkeypatch.setattr("darc.base.LONGEST_WAIT_S", 0.0)
    service.control_queue = queue.Queue(1)
    ask_twice = {"command": "get_attr", "attribute": "interval"}
    service._handle(ask_twice)
    service._handle(ask_twice)
    assert service.control_queue.qsize() == 1


# --- work that no message asks for -------------------------------------------------------------------------


class Due(Probe):
    """Has something to do from the start on; every message costs some time."""

    __module__ = "darc.amber_listener"

    message_s = 0.0
    now_s = 0.0

    def due_in(self):
        return -1.0

    def do_what_is_due(self):
        self.done.append("due")

    def process_command(self, command):
        super().process_command(command)
        self.now_s += self.message_s


def due_service(config_file, message_s):
    service = Due(queue.Queue(), config_file=config_file)
    service.message_s = message_s
    service.monotonic = lambda: service.now_s
    return service


def test_messages_that_wait_go_before_work_that_is_due(config_file):
    service = due_service(config_file, message_s=0.0)
    service.source_queue.put(note("a"))
    service.source_queue.put(note("b"))
    service._stopping = threading.Event()

    def stop_when_due():
        service.done.append("due")
        service._stopping.set()

    service.do_what_is_due = stop_when_due
    service._serve()
    assert service.done == ["a", "b", "due"]


def test_work_that_is_due_is_done_although_messages_keep_coming(config_file):
    service = due_service(config_file, message_s=PATIENCE_S / 4)
    serve(service, *map(note, range(20)))
    assert service.done.count("due") >= 3
    assert [what for what in service.done if what != "due"] == list(range(20))


# a kill of what processes are forked from
def test_a_process_whose_fork_server_dies_is_started_from_the_next_one(monkeypatch):
    attempts = []

    def start(process):
        attempts.append(process)
        if len(attempts) == 1:
            raise EOFError("unexpected EOF")
        return "started"

    monkeypatch.setattr(ForkServerProcess, "_Popen", staticmethod(start))
    process = SimpleNamespace(start_method="forkserver")
    assert DARCBase._Popen(process) == "started"
    assert attempts == [process, process]
