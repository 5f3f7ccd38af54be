"""The service that processes observations after their end: when it begins, and what it refuses."""

import queue
import threading

import pytest

from darc.config_files import PACKAGED
from darc.errors import DARCError
from darc.offline.plan import Interrupted
from darc.offline_processing import OfflineProcessing, OfflineProcessingException
from darc.processes.deaths import DEATHS_MAX

END_UNIX = 1000.0
ONE, OTHER = {"datetimesource": "one"}, {"datetimesource": "other"}


@pytest.fixture
def service():
    service = OfflineProcessing(queue.Queue(), config_file=PACKAGED)
    service._stopping = threading.Event()
    service.clock = lambda: 0.0
    yield service
    service.cleanup()


@pytest.fixture
def working(service):
    """Have observations be processed until they are let go; return what was begun."""
    begun, let_go = queue.Queue(), threading.Event()

    def work(obs_config, reload):
        begun.put(obs_config["datetimesource"])
        let_go.wait(10)

    service._start_observation_worker = work
    service._start_observation_master = lambda obs_config, reload: begun.put("master")
    yield begun
    let_go.set()


def test_observations_are_processed_at_once_each_in_its_thread(service, working):
    for obs_config in (ONE, OTHER):
        service.start_observation(obs_config, reload=False)
    assert {working.get(timeout=5), working.get(timeout=5)} == {"one", "other"}
    with pytest.raises(OfflineProcessingException, match="one is processed already"):
        service.start_observation(ONE, reload=False)


def test_the_master_node_has_work_of_its_own(service, working):
    service.host_type = "master"
    service.start_observation(ONE, reload=False)
    assert working.get(timeout=5) == "master"


@pytest.mark.parametrize(
    ("stopped", "now"), [(None, END_UNIX + 10.0), (500.0, 510.0), (2000.0, END_UNIX + 10.0)]
)
def test_it_begins_some_time_after_the_end_or_the_stop(service, working, stopped, now):
    service.start_observation(ONE, reload=False)
    service._running["one"].stopped_unix = stopped
    service.clock = lambda: now  # the packaged delay is 10 s
    service._wait_for_end(ONE, END_UNIX)


def test_an_abort_ends_the_wait_and_the_work_and_no_other_observation(service, working):
    for obs_config in (ONE, OTHER):
        service.start_observation(obs_config, reload=False)
    service._handle({"command": "stop_observation", "obs_config": ONE, "abort": True})
    service._wait_for_end(ONE, END_UNIX)
    with pytest.raises(Interrupted):
        service._account(ONE).check()
    service._account(OTHER).check()


def test_a_stop_drops_nothing(service, working):
    service.start_observation(ONE, reload=False)
    service.clock = lambda: 700.0
    service._handle({"command": "stop_observation", "obs_config": ONE})
    assert service._running["one"].stopped_unix == 700.0
    service._account(ONE).check()


def test_what_cannot_be_processed_is_a_line_in_the_log(service, caplog):
    service.start_observation(ONE, reload=False)
    service._running["one"].thread.join(10)
    assert "not processed: " in caplog.text and "no key 'beam'" in caplog.text


def test_the_end_of_the_service_ends_all_work(service, working):
    service.start_observation(ONE, reload=False)
    service.stop()
    with pytest.raises(Interrupted):
        service._account(ONE).check()


def test_errors_are_refusals():
    assert issubclass(OfflineProcessingException, DARCError)


# --- what a restart leaves ---------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path):
    """Return a function that starts the service below a master, but in this process."""
    config = tmp_path / "config.yaml"
    config.write_text(
        f"nodes: {{workers: {{here: 7}}}}\ndarc_master: {{state_dir: {tmp_path}/state}}\n"
        f"offline_processing: {{log_file: {tmp_path}/log, result_dir: {tmp_path}/results}}\n"
    )
    services, let_go = [], threading.Event()

    def start(now=0.0):
        service = OfflineProcessing(
            queue.Queue(), control_queue=queue.Queue(), config_file=config, node="here"
        )
        service._stopping, service.clock, service.begun = threading.Event(), lambda: now, queue.Queue()

        def work(obs_config, reload):
            account = service._once_ended(obs_config, END_UNIX)
            service.begun.put(obs_config["taskid"])
            let_go.wait(10)
            account.check()

        service._start_observation_worker = work
        services.append(service)
        service.prepare()
        return service

    def end(service):
        """End the service in good order."""
        service.stop()
        let_go.set()
        service.cleanup()
        let_go.clear()

    def kill(service):
        """Have the process of the service die: nothing of it goes on, and nothing is tidied up."""
        service._unfinished._files = None

    start.end, start.kill, start.let_go = end, kill, let_go
    yield start
    for service in services:
        end(service)


def observation(task):
    return {"datetimesource": f"somewhere {task}", "taskid": task}


def told(service, task, command="start_observation", **content):
    service._handle({
        "command": command, "obs_config": observation(task), "host_type": "worker", "reload_conf": False
    } | content)  # fmt: skip


@pytest.mark.parametrize("how", ["end", "kill"])
def test_observations_that_wait_or_are_processed_go_on_after_a_restart(node, how):
    first = node(now=END_UNIX - 100)
    told(first, "1")
    told(first, "2")
    getattr(node, how)(first)
    second = node(now=END_UNIX + 100)
    assert {second.begun.get(timeout=5), second.begun.get(timeout=5)} == {"1", "2"}
    getattr(node, how)(second)
    assert set(node()._running) == {"somewhere 1", "somewhere 2"}


def test_what_is_finished_or_aborted_is_forgotten(node):
    first = node(now=END_UNIX + 100)
    told(first, "1")
    first.begun.get(timeout=5)
    node.let_go.set()
    first._running["somewhere 1"].thread.join(5)
    first.clock = lambda: 0.0
    told(first, "2")
    told(first, "2", "stop_observation", abort=True)
    first._running["somewhere 2"].thread.join(5)
    assert node()._running == {}


def test_an_early_stop_is_remembered(node):
    first = node(now=500.0)
    told(first, "1")
    told(first, "1", "stop_observation")
    node.kill(first)
    assert node(now=520.0).begun.get(timeout=5) == "1"


def test_a_master_that_tells_what_runs_finds_it_known(node, caplog):
    first = node()
    told(first, "1")
    node.kill(first)
    told(node(), "1", resume=True)
    assert "refused" not in caplog.text


def test_an_observation_that_the_service_dies_of_again_and_again_is_left_alone(node, caplog):
    for _ in range(DEATHS_MAX):
        service = node(now=END_UNIX + 100)
        told(service, "1", resume=True)
        service.begun.get(timeout=5)
        node.kill(service)
    assert node()._running == {}
    assert "task 1 is left to `darc process-offline`: the service died 3 times" in caplog.text


def test_ends_in_good_order_are_no_deaths(node):
    for _ in range(DEATHS_MAX + 1):
        service = node(now=END_UNIX + 100)
        told(service, "1", resume=True)
        assert service.begun.get(timeout=5) == "1"
        node.end(service)
