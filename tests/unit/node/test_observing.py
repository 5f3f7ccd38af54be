"""From the scheduler's command to the messages that services get. The services are stand-ins."""

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from darc import logs
from darc.config import load_config
from darc.errors import DARCError
from darc.formats.parset import encode_parset, observation_parset, utc_start
from darc.node.observing import OVERDUE_S, ObservationKeeper
from darc.simulation.observation import Observation

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
START_UNIX = START.timestamp()
SERVICES = ("amber_listener", "processor", "offline_processing")


class Services:
    """What the keeper needs of a supervisor."""

    def __init__(self):
        self.handles = dict.fromkeys(SERVICES)
        self.running = set(SERVICES)
        self.broken = {}
        self.sent = []
        self.stale = 0
        self.config_error = None

    def start(self, name):
        if name in self.broken:
            raise DARCError(self.broken[name])
        self.running.add(name)
        return "started"

    def takes_messages(self, name):
        return name in self.running

    def send(self, name, message):
        self.sent.append((name, message))

    def clear(self, name):
        self.sent = [(receiver, message) for receiver, message in self.sent if receiver != name]
        return self.stale

    def read_config(self):
        if self.config_error:
            raise DARCError(self.config_error)

    def told(self, name="amber_listener"):
        return [message for receiver, message in self.sent if receiver == name]


class Clock:
    now = START_UNIX - 60.0

    def __call__(self):
        return self.now


@pytest.fixture
def services():
    return Services()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    site = tmp_path / "site.yaml"

    def load(**settings):
        site.write_text(yaml.safe_dump({"nodes": {"workers": {"w": 0}}, "darc_master": settings}))
        return load_config(site, "w")

    return load


@pytest.fixture
def keeper(services, clock, config):
    changes = itertools.count()
    return ObservationKeeper(config(setup_time=5.0), services, clock, lambda: next(changes))


@pytest.fixture
def submit(tmp_path, keeper):
    """Write the files of an observation of 100 s and start it as a worker node."""

    def start(**changes):
        return keeper.start(write(tmp_path, **changes))

    return start


def write(tmp_path, **changes):
    observation = Observation(**{"source": "B0531+21", "start": START, "duration_s": 102.4} | changes)
    return observation.write(tmp_path / str(observation.number)).workers[0]


def rewrite(path, values):
    """Give keys of a parset other values; None leaves them out."""
    lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in values]
    lines += [f"{key}={value}" for key, value in values.items() if value is not None]
    path.write_text("\n".join(lines))
    return path


def copies(tmp_path):
    files = (path for path in (tmp_path / "darc").rglob("*") if path.is_file())
    return sorted(path.relative_to(tmp_path) for path in files if path.name != "observations")


def states(keeper):
    return {o.task_id: o.state for o in keeper.book.all()}


def test_what_the_master_logs_of_an_observation_names_it_and_its_task(
    keeper, submit, services, clock, caplog
):
    caplog.handler.addFilter(logs._context)
    submit()
    services.running.clear()
    clock.now = START_UNIX
    keeper.keep()
    clock.now += 102.4 + OVERDUE_S + 1
    keeper.keep()
    assert len(caplog.records) > 2
    assert {str(record.subject) for record in caplog.records} == {" [2026-11-22-12:00:00.B0531+21 261122001]"}


# --- taking in ----------------------------------------------------------------------------------------------


def test_an_observation_waits_for_its_set_up_time(keeper, submit, services, clock):
    # waiting for an observation's start inside the command loop
    status, text = submit()
    assert (status, text) == ("Success", "observation 261122001 starts at 2026-11-22T12:00:00 UTC")
    assert keeper.keep() == 1.0
    assert states(keeper) == {"261122001": "waiting"}
    clock.now = START_UNIX - 5.2
    assert keeper.keep() == pytest.approx(0.2)
    assert services.sent == []
    clock.now = START_UNIX - 5.0
    keeper.keep()
    assert states(keeper) == {"261122001": "running"}
    for name in SERVICES:
        (message,) = services.told(name)
        assert message["command"] == "start_observation"
        assert message["obs_config"]["datetimesource"] == "2026-11-22-12:00:00.B0531+21"
        assert (message["reload_conf"], message["host_type"]) == (True, "worker")


def test_nothing_is_to_come_without_observations(keeper):
    assert keeper.keep() is None


def test_services_that_do_not_run_are_started_first(submit, services):
    services.running = set()
    submit()
    assert services.running == set(SERVICES)


def test_a_service_that_does_not_start_makes_the_scheduler_hear_of_it(keeper, submit, services):
    services.broken["processor"] = "port is taken"
    with pytest.raises(DARCError, match="not all services run: processor: port is taken"):
        submit()
    assert states(keeper) == {}


def test_a_copy_of_the_file_is_kept(tmp_path, submit):
    submit()
    copy = tmp_path / "darc/parset/2026-11-22-12:00:00.B0531+21/darc_CB00.parset"
    assert copy.read_text() == (tmp_path / "1/controller/parset/darc_CB00.parset").read_text()
    assert len(copies(tmp_path)) == 1


def test_a_copy_can_be_submitted_again(tmp_path, keeper, submit):
    submit()
    copy = tmp_path / "darc/parset/2026-11-22-12:00:00.B0531+21/darc_CB00.parset"
    before = copy.read_text()
    keeper.stop(copy)
    keeper.start(copy)
    assert copy.read_text() == before


def test_a_yaml_file_does_as_well(tmp_path, keeper):
    parset = write(tmp_path)
    lines = (line.partition("=") for line in parset.read_text().splitlines())
    path = tmp_path / "obs.yaml"
    path.write_text(yaml.safe_dump({key: value for key, _, value in lines}))
    assert keeper.start(path)[0] == "Success"


def test_the_same_task_id_is_refused(keeper, submit, clock):
    submit()
    with pytest.raises(DARCError, match="261122001 is already waiting"):
        submit()
    clock.now = START_UNIX
    keeper.keep()
    with pytest.raises(DARCError, match="261122001 is already running"):
        submit()


def test_proctrigger_false_starts_nothing(tmp_path, keeper, submit):
    assert submit(process_triggers=False) == (
        "Success",
        "proctrigger is false: nothing is started for this observation",
    )
    assert states(keeper) == {}
    assert copies(tmp_path) == []


def test_an_observation_that_has_ended_goes_to_what_works_afterwards(keeper, submit, services, clock):
    clock.now = START_UNIX + 103.0
    services.running = set()
    status, text = submit()
    assert status == "Warning"
    assert text.endswith("has already ended: only processor and offline_processing started")
    assert services.running == {"processor", "offline_processing"}
    assert {name for name, _ in services.sent} == {"processor", "offline_processing"}
    assert states(keeper) == {}


def test_where_nothing_works_afterwards_the_answer_says_so(submit, keeper, services, clock):
    clock.now = START_UNIX + 103.0
    keeper.services = ["amber_listener"]
    assert submit() == (
        "Warning",
        "observation 261122001 has already ended: no service here works on such ones",
    )
    assert services.sent == []


def test_one_that_has_begun_begins_at_once(keeper, submit, clock):
    clock.now = START_UNIX + 50.0
    assert submit()[0] == "Success"
    keeper.keep()
    assert states(keeper) == {"261122001": "running"}


# --- refusals -----------------------------------------------------------------------------------------------

BOMB = encode_parset("task.taskID = 1\n" + "#" * (17 * 2**20))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"datetimesource": "../../etc"}, "datetimesource"),
        ({"datetimesource": None}, "datetimesource"),
        ({"source": "x; rm -rf /"}, "source"),
        ({"parset": encode_parset("task.taskID = 1\ntask.source.name = $(reboot)\n")}, r"task\.source\.name"),
        ({"parset": BOMB}, "once decompressed"),
        ({"parset": "4711"}, "encoded parset"),
        ({"startpacket": "soon"}, "startpacket"),
        ({"startpacket": None}, "startpacket is missing"),
        ({"startpacket": "9" * 18}, "is not a time"),
        ({"duration": None}, "has no duration"),
        ({"duration": "-5"}, "has to be above 0"),
        ({"duration": "1e300"}, "is not a time"),
        ({"master_dir": None, "taskid": None}, "no task ID"),
        ({"master_dir": None, "taskid": "../1"}, "taskid"),
    ],
)
def test_what_is_unsafe_or_incomplete_is_refused_and_nothing_written(tmp_path, keeper, values, reason):
    # an encoded parset that decompresses to gigabytes; a datetimesource such as ../../etc; a source name
    # with shell characters in it
    parset = rewrite(write(tmp_path), values)
    with pytest.raises(DARCError, match=reason):
        keeper.start(parset)
    assert states(keeper) == {}
    assert copies(tmp_path) == []


def test_a_file_that_is_not_there_is_refused(tmp_path, keeper):
    for name in ("none.parset", "none.yaml", "none.txt"):
        with pytest.raises(DARCError, match=name):
            keeper.start(tmp_path / name)


def test_a_node_without_services_takes_no_observation(tmp_path, keeper, submit):
    keeper.services = []
    with pytest.raises(DARCError, match="no services run on this worker node"):
        submit()
    assert copies(tmp_path) == []


def test_without_a_place_for_the_copy_the_scheduler_hears_of_it(tmp_path, keeper, submit, config):
    (tmp_path / "file").touch()
    keeper.configure(config(parset_dir=str(tmp_path / "file/below")))
    with pytest.raises(DARCError, match=r"cannot copy .* see darc_master\.parset_dir"):
        submit()
    assert states(keeper) == {}


# --- running ------------------------------------------------------------------------------------------------


def test_observations_may_overlap(keeper, submit, services, clock):
    clock.now = START_UNIX
    submit(number=1)
    keeper.keep()
    submit(number=2, source="B1933+16")
    keeper.keep()
    assert states(keeper) == {"261122001": "running", "261122002": "running"}
    assert [message["command"] for message in services.told()] == ["start_observation"] * 2
    keeper.stop(keeper.config.darc_master.parset_dir / "2026-11-22-12:00:00.B0531+21/darc_CB00.parset")
    assert states(keeper) == {"261122002": "running"}


def test_stale_messages_are_removed_unless_another_observation_runs(keeper, submit, services, clock):
    clock.now = START_UNIX
    services.sent = [("amber_listener", {"command": "trigger"})]
    submit(number=1)
    keeper.keep()
    assert [message["command"] for message in services.told()] == ["start_observation"]
    submit(number=2)
    keeper.keep()
    assert len(services.told()) == 2


def test_a_service_that_starts_meanwhile_learns_what_is_going_on(keeper, submit, services, clock):
    clock.now = START_UNIX
    services.running = set()
    submit()
    services.running.remove("amber_listener")
    keeper.keep()
    assert services.told("amber_listener") == []
    told = [message | {"resume": True} for message in services.told("processor")]
    assert keeper.first_messages("amber_listener") == told
    keeper.stop(keeper.config.darc_master.parset_dir / "2026-11-22-12:00:00.B0531+21/darc_CB00.parset")
    assert keeper.first_messages("amber_listener") == []


def test_only_a_service_that_works_on_several_observations_joins_them_all(keeper, submit, services, clock):
    clock.now = START_UNIX
    submit()
    keeper.keep()
    submit(number=2, source="R3", start=START + timedelta(seconds=60))
    clock.now += 60
    keeper.keep()
    assert len(services.told("processor")) == 2
    assert len(keeper.first_messages("processor")) == 2
    (message,) = keeper.first_messages("amber_listener")
    assert message["obs_config"]["datetimesource"].endswith(".R3")


def test_with_a_configuration_that_became_wrong_services_go_on_with_theirs(keeper, submit, services, clock):
    clock.now = START_UNIX
    submit()
    services.config_error = "line 3: nonsense"
    keeper.keep()
    assert services.told()[0]["reload_conf"] is False


def test_an_observation_that_nobody_stopped_is_stopped(keeper, submit, services, clock):
    clock.now = START_UNIX
    submit()
    keeper.keep()
    clock.now = START_UNIX + 102.4 + OVERDUE_S
    keeper.keep()
    assert services.told()[-1]["command"] == "stop_observation"
    assert states(keeper) == {}


def test_the_set_up_time_can_be_changed(keeper, submit, clock, config):
    submit()
    keeper.configure(config(setup_time=60.0))
    keeper.keep()
    assert states(keeper) == {"261122001": "running"}


# --- stopping -----------------------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path, keeper, services, clock):
    clock.now = START_UNIX
    parset = write(tmp_path)
    keeper.start(parset)
    keeper.keep()
    services.sent.clear()
    return parset


def test_a_stop_tells_every_service_but_the_one_that_works_afterwards(keeper, running, services):
    assert keeper.stop(running) == ("Success", "observation 261122001 stopped")
    assert [name for name, _ in services.sent] == ["amber_listener", "processor"]
    (message,) = services.told()
    assert message["command"] == "stop_observation"
    assert message["obs_config"]["datetimesource"] == "2026-11-22-12:00:00.B0531+21"
    assert message["abort"] is False


def test_an_abort_tells_all_and_says_that_it_is_one(keeper, running, services):
    # abort_observation that forgets the payload
    assert keeper.stop(running, abort=True) == ("Success", "observation 261122001 aborted")
    assert [name for name, _ in services.sent] == list(SERVICES)
    (message,) = services.told()
    assert message["abort"] is True
    assert message["obs_config"]["startpacket"] == Observation("", START, 1).start_packet


def test_in_the_other_modes_a_stop_tells_all(keeper, running, services, config):
    keeper.configure(config(mode="offline"))
    keeper.stop(running)
    assert [name for name, _ in services.sent] == list(SERVICES)


@pytest.mark.parametrize("abort", [False, True])
def test_one_that_waits_is_struck_out(tmp_path, keeper, services, abort):
    parset = write(tmp_path)
    keeper.start(parset)
    status, text = keeper.stop(parset, abort)
    assert (status, states(keeper), services.sent) == ("Success", {}, [])
    assert "waiting for its start" in text


def test_the_stop_of_an_unknown_one_is_a_warning(tmp_path, keeper, services):
    status, text = keeper.stop(write(tmp_path))
    assert status == "Warning"
    assert "261122001 is not known here" in text
    assert services.told()[0]["command"] == "stop_observation"


def test_a_full_queue_costs_only_that_service_its_message(keeper, running, services, monkeypatch):
    def full(name, message):
        if name == "amber_listener":
            raise DARCError("amber_listener does not take its messages")
        services.sent.append((name, message))

    monkeypatch.setattr(services, "send", full)
    assert keeper.stop(running)[0] == "Success"
    assert [name for name, _ in services.sent] == ["processor"]


def test_real_files_of_a_scheduler_are_taken(reference_data, keeper, tmp_path):
    (tmp_path / "arts/parset").mkdir(parents=True)
    for name in ("darc_master.parset", "darc_CB00.parset"):
        (tmp_path / "arts/parset" / name).write_text((reference_data / "arts" / name).read_text())
    status, text = keeper.start(tmp_path / "arts/parset/darc_CB00.parset")
    assert (status, text[:21]) == ("Warning", "observation 190518009")
    status, text = keeper.start(tmp_path / "arts/parset/darc_master.parset")
    assert (status, text[:21]) == ("Warning", "observation 190518009")


def test_the_book_shows_each_observation(keeper, submit):
    submit()
    (shown,) = [observation.summary() for observation in keeper.book.all()]
    assert shown["state"] == "waiting"
    assert dataclasses.asdict(keeper.book.all()[0])["end_unix"] == START_UNIX + 102.4


# --- another master ----------------------------------------------------------------------------------------


@pytest.fixture
def next_keeper(services, clock, config):
    """Return a function that gives the keeper of the next master, after the last one was killed."""

    def next_keeper():
        services.sent.clear()
        keeper = ObservationKeeper(config(setup_time=5.0), services, clock, lambda: None)
        keeper.resume()
        return keeper

    return next_keeper


def test_an_observation_that_ran_when_the_master_was_killed_goes_on(keeper, submit, clock, next_keeper):
    clock.now = START_UNIX
    submit()
    keeper.keep()
    successor = next_keeper()
    assert states(successor) == states(keeper) != {}
    successor.keep()
    (message,) = successor.first_messages("amber_listener")
    assert message["resume"] is True
    assert message["obs_config"] == keeper.book.all()[0].obs_config


# the master node's file is one for all observations: who asks it later finds neither source nor pointing
def test_who_joins_later_knows_what_the_next_observation_has_overwritten(
    tmp_path, keeper, submit, clock, next_keeper
):
    clock.now = START_UNIX
    submit()
    keeper.keep()
    following = Observation("the next one", START + timedelta(minutes=5), 102.4, number=1)
    following.write(tmp_path / "1")
    for each in (keeper, next_keeper()):
        (message,) = each.first_messages("processor")
        assert observation_parset(message["obs_config"])["task.source.name"] == "B0531+21"
        assert utc_start(message["obs_config"]) == "2026-11-22-12:00:00"


def test_an_observation_is_taken_though_the_file_of_the_master_node_is_damaged(tmp_path, keeper):
    path = write(tmp_path)
    path.with_name("darc_master.parset").write_text("damaged")
    assert keeper.start(path)[0] == "Success"


def test_an_observation_that_waited_when_the_master_was_killed_begins_as_any_other(
    submit, services, clock, next_keeper
):
    submit()
    successor = next_keeper()
    clock.now = START_UNIX
    successor.keep()
    assert [message["resume"] for message in services.told()] == [False]


def test_what_was_stopped_or_is_over_does_not_go_on(tmp_path, keeper, submit, clock, next_keeper):
    submit()
    keeper.stop(tmp_path / "1/controller/parset/darc_CB00.parset")
    assert states(next_keeper()) == {}
    submit()
    clock.now = START_UNIX + 1000
    assert states(next_keeper()) == {}


def test_an_observation_that_ended_meanwhile_is_stopped_in_its_time(
    keeper, submit, services, clock, next_keeper
):
    clock.now = START_UNIX
    submit()
    keeper.keep()
    clock.now = START_UNIX + 110
    successor = next_keeper()
    assert len(successor.first_messages("processor")) == 1
    clock.now = START_UNIX + 102.4 + 61
    successor.keep()
    assert services.told()[-1]["command"] == "stop_observation"


@pytest.mark.parametrize(
    "content", ["", "[", "5", "[5]", '[{"config_file": "/none.parset", "state": "running"}]']
)
def test_a_damaged_book_is_told_and_begun_anew(tmp_path, keeper, submit, next_keeper, content, caplog):
    submit()
    (path,) = (tmp_path / "darc/state").rglob("observations")
    path.write_text(content)
    assert states(next_keeper()) == {}
    assert caplog.text


# disk full
def test_a_book_that_cannot_be_written_stops_nothing_and_is_told_once(
    tmp_path, keeper, submit, clock, caplog
):
    state = keeper.config.darc_master.state_dir
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("a file where the folder should be")
    submit()
    clock.now = START_UNIX
    keeper.keep()
    assert set(states(keeper).values()) == {"running"}
    assert caplog.text.count("the next master will not know") == 1
