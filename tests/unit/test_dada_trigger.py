"""What dada_dbevent is told, when, and what becomes of a message that it does not get."""

import itertools
import math
import queue
import threading
from datetime import UTC, datetime

import astropy.units as u
import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.dada_trigger import DADATrigger, DADATriggerException
from darc.errors import DARCError
from darc.formats.parset import load_obs_config
from darc.records.decisions import DecisionLog
from darc.simulation.dada_dbevent import Dump, RingBuffer, parse_message
from darc.simulation.observation import Observation

#: of the beamformer; the data headers say 23:51:13
START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
UTC_START = datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC)
PORTS = {31000: "I", 31001: "IQUV"}


class Receivers:
    """Stands for both dada_dbevents: keeps what each is sent; refuses the first connections if told to."""

    def __init__(self):
        self.messages = {stokes: [] for stokes in PORTS.values()}
        self.addresses = []
        self.timeouts = set()
        self.refusals = 0

    def connect(self, address, timeout):
        self.addresses.append(address)
        self.timeouts.add(timeout)
        if self.refusals:
            self.refusals -= 1
            raise ConnectionRefusedError("nobody listens")
        return Connection(self.messages.setdefault(PORTS.get(address[1]), []))

    def only(self, stokes):
        (message,) = self.messages.pop(stokes)
        assert not any(self.messages.values())
        return message


class Connection:
    """Counts as one message, however many pieces it is sent in: the receiver asks for a single one."""

    def __init__(self, messages):
        self.messages = messages
        self.sent = []

    def __enter__(self):
        return self

    def sendall(self, data):
        self.sent.append(data)

    def __exit__(self, *_):
        (message,) = self.sent
        self.messages.append(message)


@pytest.fixture
def receivers(monkeypatch):
    receivers = Receivers()
    monkeypatch.setattr("darc.dada_trigger.socket.create_connection", receivers.connect)
    return receivers


@pytest.fixture
def service(tmp_path, receivers):
    (tmp_path / "config.yaml").write_text("""
nodes: {workers: {here: 0}}
dada_trigger: {log_file: /nowhere/log, port_i: 31000, port_iquv: 31001, send_timeout: 3.5}
""")
    service = DADATrigger(queue.Queue(), config_file=tmp_path / "config.yaml", node="here")
    yield service
    service.cleanup()


@pytest.fixture
def observe(tmp_path, service):
    """Start an observation whose dada_dbevents are those of the configuration."""

    def observe(source="B1933+16", **settings):
        observation = Observation(source, START, 299.008, event_ports={0: (31000, 31001)}, **settings)
        files = observation.write(tmp_path / source)
        service.start_observation(load_obs_config(files.workers[0]), reload=False)

    return observe


def trigger(**change):
    return {
        "stokes": "IQUV", "dm": 56.791, "beam": 35, "width": 25, "snr": 12.5, "time": 20.036,
        "utc_start": Time(START), **change,
    }  # fmt: skip


def send(service, *triggers):
    """Have triggers sent, and wait until they are."""
    service._handle({"command": "trigger", "trigger": list(triggers)})
    service.cleanup()


def windows(message):
    """Start and end in ms, from UTC_START, of the events of a message that dada_dbevent would survive."""
    return [(event.start_ms, event.end_ms) for event in parse_message(message)[1]]


# --- messages ----------------------------------------------------------------------------------------------


def test_the_message_to_the_last_byte(service, observe, receivers):
    observe()
    send(service, trigger())
    assert receivers.only("IQUV") == (
        b"N_EVENTS 1\n2019-05-18-23:51:13\n"
        b"2019-05-18-23:51:30 988 2019-05-18-23:51:37 132 56.791 12.5 25 35\n"
    )


# startpacket's time (23:51:12.64) rounded or cut instead of the headers' start: every event would be dropped
def test_the_window_is_dumped_from_the_data_of_this_observation(service, observe, receivers):
    observe()
    send(service, trigger())
    (outcome,) = RingBuffer(UTC_START).receive(receivers.only("IQUV"), UTC_START.timestamp() + 25.0)
    assert isinstance(outcome, Dump)
    assert outcome.start_ms <= 20_036 - 2048 and outcome.end_ms >= 20_036 + 2048 + 2048


def test_all_triggers_of_a_set_go_in_one_message_per_stokes(service, observe, receivers):
    observe()
    send(service, trigger(), trigger(stokes="I", time=30.0), trigger(time=50.0), trigger(stokes="I"))
    for stokes in ("I", "IQUV"):
        (message,) = receivers.messages[stokes]
        assert len(parse_message(message)[1]) == 2


def test_it_is_sent_to_the_local_receiver_of_its_stokes_without_waiting_long(service, observe, receivers):
    observe()
    send(service, trigger(stokes="I"))
    assert (receivers.addresses, receivers.timeouts) == ([("127.0.0.1", 31000)], {3.5})


@pytest.mark.parametrize(
    ("dm", "time_s", "expected"),
    [
        (0.0, 20.0, (17_952, 24_096)),
        (2048.0, 20.0, (17_952, 24_096)),
        (3000.0, 20.0, (17_952, 25_048)),
        (0.0, 1.0, (0, 6144)),
        (0.0, 0.0, (0, 6144)),
        (0.0, 298.0, (295_952, 299_008)),
        (0.0, 301.0, (298_952, 299_008)),
    ],
)
def test_the_window_around_a_trigger(service, observe, receivers, dm, time_s, expected):
    observe()
    send(service, trigger(dm=dm, time=time_s))
    assert windows(receivers.only("IQUV")) == [expected]


def test_the_limits_of_the_window_are_configured(service, observe, receivers):
    observe()
    service.min_window_size, service.delay_end = 5.0, 1.0
    send(service, trigger(dm=100, time=20.0))
    assert windows(receivers.only("IQUV")) == [(17_952, 26_000)]


def test_without_an_observation_the_trigger_says_when_the_data_began(service, receivers):
    send(service, trigger(utc_start="2019-05-18-23:51:13"), trigger(utc_start=Time(UTC_START), time=400.0))
    utc_start, events = parse_message(receivers.only("IQUV"))
    assert utc_start == UTC_START and len(events) == 2


def test_a_late_trigger_of_the_previous_observation_is_refused(service, observe, receivers, caplog):
    observe()
    send(service, trigger(), trigger(utc_start=Time(START) - 300 * u.s))
    assert len(parse_message(receivers.only("IQUV"))[1]) == 1
    assert "it is of the observation of 2019-05-18-23:46:12" in caplog.text


# --- where the message goes --------------------------------------------------------------------------------


def test_the_observation_says_where_its_receivers_are(service, observe, receivers):
    observe()
    service.obs_config["network_port_event_iquv"] = 6123
    send(service, trigger())
    assert receivers.addresses == [("127.0.0.1", 6123)]


def test_what_a_caller_sets_goes_before_that(service, observe, receivers):
    observe()
    service.obs_config["network_port_event_iquv"] = 6123
    service.port_iquv = 7123
    send(service, trigger())
    assert receivers.addresses == [("127.0.0.1", 7123)]


@pytest.mark.parametrize("port", [None, "event", 0, 70_000])
def test_a_port_that_is_none_is_refused(service, observe, receivers, caplog, port):
    observe()
    service.obs_config["network_port_event_iquv"] = port
    send(service, trigger(), trigger(stokes="I"))
    assert "is no port of dada_dbevent for Stokes IQUV" in caplog.text
    assert receivers.only("I")


def test_the_configuration_serves_where_nothing_else_is_said(service, receivers):
    send(service, trigger())
    assert receivers.addresses == [("127.0.0.1", 31001)]


def test_a_message_goes_where_it_was_meant_to_go_although_the_next_observation_has_begun(
    service, observe, receivers, clock
):
    observe()
    waits = []

    def start_the_next(seconds):
        if not waits:
            service.obs_config = service.obs_config | {"network_port_event_iquv": 6123}
        waits.append(seconds)

    service._pause, receivers.refusals = start_the_next, 1
    send(service, trigger())
    assert receivers.addresses == [("127.0.0.1", 31001)] * 2


# --- triggers that cannot be sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        *({"stokes": "QUV"}, {"dm": "high"}, {"dm": math.nan}, {"dm": -1}, {"beam": math.inf}, {"snr": None}),
        *({"time": -1.0}, {"time": 302.0}, {"width": 10**400}),
    ],
    ids=repr,
)
def test_a_bad_trigger_costs_only_itself(service, observe, receivers, caplog, bad):
    observe()
    send(service, trigger(**bad), trigger(), trigger(stokes="I", **bad) if "stokes" not in bad else 5)
    assert len(parse_message(receivers.only("IQUV"))[1]) == 1
    assert caplog.text.count("trigger refused") == 2


@pytest.mark.parametrize(
    "triggers", [{}, {"trigger": None}, {"trigger": []}, {"trigger": 5}, {"trigger": ["x"]}]
)
def test_a_message_without_a_usable_trigger_is_refused(service, observe, receivers, caplog, triggers):
    observe()
    service._handle({"command": "trigger", **triggers})
    assert "trigger refused" in caplog.text
    assert receivers.addresses == []


def test_a_single_trigger_need_not_be_in_a_list(service, observe, receivers):
    observe()
    service._handle({"command": "trigger", "trigger": trigger()})
    service.cleanup()
    assert receivers.only("IQUV")


def test_a_stokes_that_does_not_exist_is_refused(service):
    with pytest.raises(DADATriggerException, match="neither I nor IQUV"):
        service.send_events("N_EVENTS 0\n", "V")


def test_an_unknown_command_is_refused(service, caplog):
    service._handle({"command": "dump_everything"})
    assert "unknown command refused" in caplog.text


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
_TRIGGER = st.fixed_dictionaries({}, optional=dict.fromkeys(trigger(), _ANY)).map(
    lambda change: trigger(**change)
)


def test_whatever_comes_is_refused_or_survived_by_dada_dbevent(service, observe, receivers):
    observe()

    @given(_ANY | _TRIGGER | st.lists(_ANY | _TRIGGER, max_size=3), st.booleans())
    @settings(max_examples=100, deadline=None)
    def check(triggers, observing):
        service.utc_start = "2019-05-18-23:51:13" if observing else None
        service._handle({"command": "trigger", "trigger": triggers})

    check()
    service.cleanup()
    for message in itertools.chain(*receivers.messages.values()):
        parse_message(message)


# --- receivers that are away -------------------------------------------------------------------------------


@pytest.fixture
def clock(service):
    """Time that passes while the service waits."""

    class Clock:
        now = UTC_START.timestamp() + 25.0

        def __call__(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    service.clock = service.monotonic = clock = Clock()
    service._pause = clock.sleep
    return clock


def test_a_message_is_repeated_until_it_arrives(service, observe, receivers, clock, caplog):
    observe()
    receivers.refusals = 20
    send(service, trigger())
    assert len(receivers.addresses) == 21
    assert receivers.only("IQUV")
    assert "nobody listens; again in 0.2 s" in caplog.text


def test_a_message_is_given_up_when_its_data_have_left_the_ring_buffer(
    service, observe, receivers, clock, caplog
):
    observe()
    receivers.refusals = math.inf
    begin = clock.now
    send(service, trigger())
    assert 9.5 <= clock.now - begin <= 10.0
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "127.0.0.1:31001: nobody listens; its data are lost" in error.message


# the clock is set, by a time server or by hand
def test_a_clock_that_is_set_back_has_no_message_repeated_for_hours(service, observe, receivers, clock):
    observe()
    receivers.refusals = math.inf
    message = service._take_in("IQUV", "N_EVENTS 0\n")
    clock.now -= 3600.0
    begin = clock.now
    with pytest.raises(DADATriggerException, match="its data are lost"):
        service._send(message)
    assert clock.now - begin <= 10.0


def test_one_receiver_that_is_away_does_not_hold_up_the_other(service, observe, receivers):
    observe()
    away, arrived, connect = threading.Event(), threading.Event(), receivers.connect

    def connect_i_late(address, timeout):
        if address[1] == 31000:
            away.wait(20)
        else:
            arrived.set()
        return connect(address, timeout)

    receivers.connect = connect_i_late
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("darc.dada_trigger.socket.create_connection", connect_i_late)
        service.send_event([trigger(stokes="I"), trigger()])
        assert arrived.wait(20)
        away.set()
        service.cleanup()
    assert [len(receivers.messages[stokes]) for stokes in ("I", "IQUV")] == [1, 1]


def test_at_the_end_of_the_service_each_message_has_one_more_attempt(service, observe, receivers, caplog):
    observe()
    receivers.refusals = math.inf
    service._stopping = threading.Event()
    service.stop()
    send(service, trigger())
    assert len(receivers.addresses) == 1
    assert "its data are lost" in caplog.text


def test_cleaning_up_ends_all_threads(service, observe):
    before = set(threading.enumerate())
    observe("3C286polcal")
    service.send_events("anything", "I")
    service.cleanup()
    assert set(threading.enumerate()) <= before


# --- polarisation calibration ------------------------------------------------------------------------------


class Waits:
    """Stands for the event that ends the dumps: time passes while the service waits for it."""

    def __init__(self, clock, stopped_at_s=math.inf):
        self.clock, self.stopped_at_s = clock, stopped_at_s

    def wait(self, seconds):
        self.clock.now += seconds
        return self.is_set()

    def is_set(self):
        return self.clock.now - START.timestamp() > self.stopped_at_s

    def set(self):
        pass


def test_a_polarisation_calibrator_refuses_other_triggers(service, observe, receivers, caplog):
    observe("3C286polcal")
    send(service, trigger())
    assert "trigger refused: this is a polarisation calibration" in caplog.text
    assert receivers.addresses == []


def test_the_next_observation_takes_triggers_again(service, observe, receivers):
    observe("3C286polcal")
    observe("B1933+16")
    send(service, trigger())
    assert receivers.only("IQUV")


@pytest.mark.parametrize(("source", "beam"), [("3C286polcal", 5), ("3C286", 0)])
def test_it_is_one_only_in_the_beam_that_has_the_source(service, observe, receivers, source, beam):
    observe(source, source_beam=beam)
    send(service, trigger())
    assert receivers.only("IQUV")


# taken for a calibration by mistake, an observation would have no dumps at all
def test_a_beam_that_cannot_be_read_makes_no_calibration(service, caplog):
    service.obs_config = {"beam": 0}
    assert service._is_polcal({"task.source.name": "3C286polcal", "task.source.beam": "0"})
    assert not service._is_polcal({"task.source.name": "3C286polcal", "task.source.beam": "first"})
    assert "task.source.beam = 'first'" in caplog.text


def test_its_dumps_are_sent_at_regular_intervals(service, observe, receivers, clock):
    observe()
    clock.now = START.timestamp()
    service._polcal_end = Waits(clock)
    sent, send_events = [], service.send_events
    service.send_events = lambda *event: sent.append(clock.now - START.timestamp()) or send_events(*event)
    service.polcal_dumps(service.obs_config)
    service.cleanup()
    assert sent == pytest.approx([60, 120, 180, 240])
    length_ms = 30 * 1024  # 30 s are 29.3 pages of 1.024 s
    assert [windows(message) for message in receivers.messages["IQUV"]] == [
        [(start_s * 1000, start_s * 1000 + length_ms)] for start_s in (60, 120, 180, 240)
    ]
    assert receivers.messages["I"] == []


def test_a_dump_that_would_end_after_the_observation_is_left_out(service, observe, receivers, clock):
    observe()
    service._polcal_end = Waits(clock)
    service.polcal_dump_size, service.polcal_max_dumps = 60.0, 9
    service.polcal_dumps(service.obs_config)
    service.cleanup()
    assert len(receivers.messages["IQUV"]) == 3


def test_a_service_that_is_started_late_leaves_out_what_has_left_the_ring_buffer(
    service, observe, receivers, clock, caplog
):
    observe()
    clock.now = START.timestamp() + 131.0
    service._polcal_end = Waits(clock)
    service.polcal_dumps(service.obs_config)
    service.cleanup()
    assert [windows(message)[0][0] for message in receivers.messages["IQUV"]] == [180_000, 240_000]
    assert caplog.text.count("started too late") == 2


def test_dumps_end_with_the_observation(service, observe, receivers, clock):
    observe()
    service._polcal_end = Waits(clock, stopped_at_s=100.0)
    service.polcal_dumps(service.obs_config)
    service.cleanup()
    assert len(receivers.messages["IQUV"]) == 1


# the clock is set, by a time server or by hand
def test_a_clock_that_is_set_moves_the_dumps_with_it(service, observe, receivers, clock):
    observe()
    clock.now = START.timestamp()
    waits = service._polcal_end = Waits(clock)
    wait = waits.wait

    def wait_while_the_clock_is_set(seconds):
        if 30 < clock.now - START.timestamp() < 31:
            clock.now += 20
        return wait(seconds)

    waits.wait = wait_while_the_clock_is_set
    sent, send_events = [], service.send_events
    service.send_events = lambda *event: sent.append(clock.now - START.timestamp()) or send_events(*event)
    service.polcal_dumps(service.obs_config)
    service.cleanup()
    assert sent[0] == pytest.approx(60.0)


def test_the_dumps_begin_with_the_observation_and_end_with_it(service, observe, receivers):
    service.clock = lambda: START.timestamp() - 5.0
    observe("3C286polcal")
    assert service._polcal.is_alive()
    service.stop_observation()
    assert service._polcal is None
    service.cleanup()
    assert receivers.messages["IQUV"] == []


def test_dumps_that_cannot_be_planned_are_told(service, observe, caplog):
    observe("3C286polcal")
    service.start_observation(service.obs_config | {"duration": None}, reload=False)
    service.stop_observation()
    assert (
        "no dumps of the polarisation calibrator: the observation's configuration has no duration"
        in caplog.text
    )


# --- the observation ---------------------------------------------------------------------------------------


def test_the_observation_parset(service, observe):
    observe()
    assert service._load_parset(service.obs_config)["task.source.name"] == "B1933+16"


def test_without_a_parset_triggers_are_taken(service, receivers, caplog):
    service.start_observation({"startpacket": 1217362088000000, "duration": 299.0}, reload=False)
    assert service._load_parset(service.obs_config) is None
    send(service, trigger())
    assert parse_message(receivers.only("IQUV"))[0] == START.replace(microsecond=0)
    assert "no observation parset" in caplog.text


def test_an_observation_without_a_start_is_refused(service):
    with pytest.raises(DARCError, match="startpacket"):
        service.start_observation({"duration": 299.0}, reload=False)


# --- what a process that dies leaves to the next one -------------------------------------------------------


@pytest.fixture
def successor(tmp_path, service, receivers):
    """Return a function that starts the service as a master does, at a time."""
    (tmp_path / "config.yaml").write_text(
        (tmp_path / "config.yaml").read_text() + f"darc_master: {{state_dir: {tmp_path}/state}}\n"
    )
    services = []

    def start(now=1000.0):
        made = DADATrigger(
            queue.Queue(), control_queue=queue.Queue(), config_file=tmp_path / "config.yaml", node="here"
        )
        made.clock = lambda: now
        services.append(made)
        made.prepare()
        return made

    yield start
    for made in services:
        made.cleanup()


class Killed(BaseException):
    """The process ends here."""


def die_before_sending(service, monkeypatch):
    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("darc.dada_trigger.Outbox.put", die)
        with pytest.raises(Killed):
            service._handle({"command": "trigger", "trigger": [trigger()]})


def test_a_dump_that_was_not_sent_when_the_process_died_is_sent_by_the_next_one(
    successor, receivers, monkeypatch
):
    die_before_sending(successor(), monkeypatch)
    assert not receivers.messages["IQUV"]
    successor(now=1003.0).cleanup()
    assert b" 56.791 12.5 25 35" in receivers.only("IQUV")
    successor(now=1003.0).cleanup()  # and once is enough
    assert receivers.messages.get("IQUV", []) == []


def test_a_dump_whose_data_are_gone_is_not_sent_any_more(successor, receivers, monkeypatch, caplog):
    die_before_sending(successor(), monkeypatch)
    successor(now=1060.0).cleanup()
    assert receivers.messages["IQUV"] == []
    assert "its data are gone" in caplog.text


def test_a_dump_that_was_sent_is_not_sent_by_the_next_process(successor, receivers):
    send(successor(), trigger())
    receivers.only("IQUV")
    successor().cleanup()
    assert not any(receivers.messages.values())


def test_a_journal_of_another_version_stops_nobody(successor, tmp_path, receivers):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "dumps").write_text(
        '{"intent": {"kind": "dump", "key": "a", "content": {"colour": "blue"}}}\n'
    )
    send(successor(), trigger())
    receivers.only("IQUV")
    assert successor()._journal.open_intents() == [], "it is told once"


# --- what was decided and never came here ------------------------------------------------------------------


@pytest.fixture
def resume(tmp_path, successor):
    """Start the service in an observation in which a dump was decided on, 20 s from its start."""
    observation = Observation("B1933+16", START, 299.008, event_ports={0: (31000, 31001)})
    obs_config = load_obs_config(observation.write(tmp_path / "files").workers[0])
    message = {"command": "trigger", "trigger": [trigger()], "arrived": None}

    def resume(at_s, *, decided=True, resume=True):
        log = DecisionLog(tmp_path / "state" / "decisions", obs_config["datetimesource"], resume=True)
        if decided:
            log.decide(19, {1: 1}, {"rows": 1}, 20.0, {"iquv": message})
            log.sent()
        log.close()
        made = successor(START.timestamp() + at_s)
        made._handle({
            "command": "start_observation", "obs_config": obs_config, "reload": False, "resume": resume
        })  # fmt: skip
        return made

    resume.again = {**message, "again": True}
    return resume


# a queue ends with its node, and what a process that is killed has just taken out of one with the process
def test_a_dump_that_was_decided_on_and_never_came_here_is_sent(resume, receivers):
    resume(25.0).cleanup()
    assert b" 56.791 12.5 25 35" in receivers.only("IQUV")


def test_one_that_was_sent_is_not_sent_again_whoever_asks(resume, receivers):
    for at_s, decided in ((25.0, True), (26.0, False)):
        asked_again = resume(at_s, decided=decided)
        asked_again._handle(resume.again)
        asked_again._handle({**resume.again, "again": False})
        asked_again.cleanup()
    receivers.only("IQUV")


def test_one_whose_data_are_gone_is_told_once(resume, receivers, caplog):
    for at_s, decided in ((60.0, True), (61.0, False)):
        asked_again = resume(at_s, decided=decided)
        asked_again._handle(resume.again)
        asked_again.cleanup()
    assert receivers.messages["IQUV"] == []
    assert caplog.text.count("its data are gone") == 1


def test_an_observation_that_begins_anew_asks_for_nothing(resume, receivers):
    resume(25.0, resume=False).cleanup()
    assert receivers.messages["IQUV"] == []


@pytest.mark.parametrize(
    "damaged", ["5", "[]", "{}", '{"trigger": 5}', '{"trigger": [{"time": "x"}]}', "torn"]
)
def test_a_damaged_record_of_decisions_costs_what_is_damaged(resume, receivers, tmp_path, damaged):
    resume(25.0).cleanup()
    receivers.only("IQUV")
    with (tmp_path / "state" / "decisions").open("a") as file:
        file.write(f'{{"batch": 1, "rows": {{}}, "counts": {{}}, "send": {{"iquv": {damaged}}}}}\n')
    resume(26.0, decided=False).cleanup()
    assert receivers.messages.get("IQUV", []) == []
