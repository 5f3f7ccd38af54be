"""The service that processes observations after their end: when it begins, and what it refuses."""

import queue
import threading

import pytest

from darc.config_files import PACKAGED
from darc.errors import DARCError
from darc.offline.plan import Interrupted
from darc.offline_processing import OfflineProcessing, OfflineProcessingException

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
    service._logged(service._start_observation_worker, {})
    assert "not processed: " in caplog.text and "no key 'beam'" in caplog.text


def test_the_end_of_the_service_ends_all_work(service, working):
    service.start_observation(ONE, reload=False)
    service.stop()
    with pytest.raises(Interrupted):
        service._account(ONE).check()


def test_errors_are_refusals():
    assert issubclass(OfflineProcessingException, DARCError)
