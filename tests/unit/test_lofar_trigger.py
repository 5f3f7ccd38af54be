"""When LOFAR is asked to freeze its buffers, with what, and who is told."""

import itertools
import json
import queue
import time
from email.message import EmailMessage

import pytest

from darc import metrics
from darc.config import load_config
from darc.errors import DARCError
from darc.lofar_trigger import LOFARTrigger, LOFARTriggerException, LOFARTriggerQueueServer
from darc.network.mail import MailError
from darc.network.ordered_sender import OrderedSender
from darc.network.queue_server import QueueServer
from darc.records.sent_log import Event, SentLog
from darc.simulation.lofar_receiver import LOFARPacket, decode

#: The documented example: 5 s of buffer, arrival at 1.37 GHz.
EXAMPLE = LOFARPacket(1546452008, 265, 56.8, test=True)


class Spool:
    """Takes mails to be sent."""

    def __init__(self, mails):
        self._mails = mails

    def put(self, mail):
        self._mails.append(mail)

    def close(self, timeout_s):
        pass


@pytest.fixture
def outside(monkeypatch):
    """Stands for all that is outside of this node: keeps packets and mails, in their order."""
    sent = []

    class Socket:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def sendto(self, packet, address):
            if address[0] == "unreachable":
                raise OSError("no route")
            sent.append((address, decode(packet)))

    monkeypatch.setattr("darc.lofar_trigger.socket.socket", Socket)
    monkeypatch.setattr("darc.lofar_trigger.open_spool", lambda config, logger: Spool(sent))
    return sent


@pytest.fixture
def service(tmp_path, outside):
    (tmp_path / "config.yaml").write_text(f"""
nodes: {{master: {{name: here}}}}
darc_master: {{state_dir: {tmp_path}/state}}
mail: {{sender: arts@example.org}}
lofar_trigger:
  log_file: /nowhere/log
  server_auth: a-key-for-tests
  lofar_host: lofar
  send_events: true
  min_spacing: 0.0
  max_per_hour: null
  email_settings: {{to: [observers@example.org]}}
""")
    return LOFARTrigger(
        queue.Queue(), config_file=tmp_path / "config.yaml", node="here", control_queue=queue.Queue()
    )


def item(**change):
    return {"dm": 56.791, "utc": "2019-01-02T18:00:00", "snr": 15.0, "cb": 0, "nu_GHz": 1.37, **change}


def collect(service, *items):
    """Have the service take what came until it was told to stop."""
    triggers = service._open_queue(service._open_log())
    for each in items:
        triggers.put(each)
    triggers.close()
    service._collect(triggers)


def packets(outside):
    return [sent[1] for sent in outside if isinstance(sent, tuple)]


def mails(outside):
    return [sent for sent in outside if isinstance(sent, EmailMessage)]


# --- the packet --------------------------------------------------------------------------------------------


def test_the_documented_example(service):
    assert decode(service._new_trigger(56.791, "2019-01-02T18:00:00", nu_GHz=1.37)) == EXAMPLE
    assert decode(service._new_trigger(56.791, "2019-01-02T18:00:00")) == EXAMPLE


def test_the_frequency_and_the_buffer_are_configured(service):
    service.lofar_freq, service.lofar_tbb_buffer_size = 150.0, 0.0
    packet = decode(service._new_trigger(100.0, "2019-01-02T18:00:00.500", nu_GHz=1.4))
    # 4148.808 x 100 / 150^2 - 4148.808 x 100 / 1400^2 = 18.2275 s
    assert packet.freeze_time_s * 1000 + packet.freeze_time_ms == 1546452000_500 + 18_227


# a trigger without the key `test` overriding `test: True` of the configuration: a real telescope triggered
@pytest.mark.parametrize(
    ("configured", "said", "test"),
    [
        *((True, None, True), (True, False, True), (True, True, True)),
        *((False, None, False), (False, False, False), (False, True, True), (False, "False", True)),
    ],
)
def test_the_configuration_decides_what_is_a_test_and_a_trigger_can_only_add_to_it(
    service, outside, configured, said, test
):
    service.test = configured
    assert decode(service._new_trigger(1.0, "2019-01-02T18:00:00", test=said)).test == test
    service.create_and_send(item(test=said))
    if said is None:
        service.create_and_send(item())
    assert {packet.test for packet in packets(outside)} == {test}


def test_a_time_that_is_not_said_to_be_at_another_frequency_is_at_the_centre_of_the_band(service, outside):
    service.create_and_send({"dm": 56.791, "utc": "2019-01-02T18:00:00", "snr": 15.0, "cb": 0})
    assert packets(outside) == [EXAMPLE]


# --- choosing ----------------------------------------------------------------------------------------------


def test_known_sources_go_first_then_the_brightest_and_beams_are_counted():
    triggers = [
        item(snr=90.0, cb=1, name="candidate"),
        item(snr=11.0, cb=2, name="R1"),
        item(snr=12.0, cb=2, name="R2"),
    ]
    best, ncb = LOFARTrigger._select_trigger(triggers)
    assert (best["name"], ncb) == ("R2", 2)


def test_one_of_several_is_sent(service, outside):
    service.create_and_send([item(snr=10.0, dm=1.0), item(snr=30.0, dm=3.0), item(snr=20.0, dm=2.0)])
    assert [packet.dm for packet in packets(outside)] == [3.0]


def test_what_came_within_the_interval_is_one_event(service, outside):
    service.interval = 1000.0
    collect(service, item(snr=10.0, dm=1.0), item(snr=30.0, dm=3.0))
    assert [packet.dm for packet in packets(outside)] == [3.0]


def test_what_comes_after_the_interval_is_the_next_event(service, outside):
    now = itertools.count(0.0, 10.0)
    service.monotonic = lambda: next(now)
    collect(service, item(dm=1.0), item(dm=2.0))
    assert [packet.dm for packet in packets(outside)] == [1.0, 2.0]


@pytest.mark.parametrize(
    "bad",
    [{"dm": None}, {"dm": "high"}, {"utc": "yesterday"}, {"utc": 5}, {"snr": None}, {"cb": "x"}],
    ids=repr,
)
def test_a_bad_item_is_refused_by_name_and_costs_only_itself(service, outside, caplog, bad):
    service.create_and_send([item(**bad), item(dm=2.0), 5])
    assert [packet.dm for packet in packets(outside)] == [2.0]
    assert caplog.text.count("trigger refused") == 2


def test_an_item_that_no_packet_can_carry_costs_only_itself(service, outside, caplog):
    service.interval = 0.0
    collect(service, item(dm=7000.0), item(dm=2.0))
    assert [packet.dm for packet in packets(outside)] == [2.0]
    assert "nothing sent: DM 7000.0 does not fit" in caplog.text


def test_without_a_usable_item_nothing_happens(service, outside):
    service.create_and_send([])
    service.create_and_send([{}])
    assert outside == []


# --- the switch --------------------------------------------------------------------------------------------


def switch(service, word):
    service._handle({"command": word, "id": 3})
    return service.control_queue.get(block=False)


def test_sending_is_switched_by_command(service, outside):
    assert switch(service, "disable") == {
        "status": "Success",
        "message": "disabled, all events are tests",
        "id": 3,
    }
    service.create_and_send(item())
    assert outside == []
    assert switch(service, "enable")["message"].startswith("enabled")
    service.create_and_send(item())
    assert len(packets(outside)) == 1


def test_the_state_is_told_and_not_changed_by_asking(service):
    service.test = False
    for expected in ("enabled", "disabled"):
        service._switch_command("status")
        assert service.control_queue.get(block=False)["message"] == expected
        assert service.send_events == (expected == "enabled")
        service._switch_command("disable")
        service.control_queue.get(block=False)


def test_nothing_is_sent_unless_it_is_enabled(tmp_path, outside, caplog):
    (tmp_path / "config.yaml").write_text(
        f"darc_master: {{state_dir: {tmp_path}/state}}\n"
        "lofar_trigger: {server_auth: a-key-for-tests, lofar_host: lofar}"
    )
    service = LOFARTrigger(queue.Queue(), config_file=tmp_path / "config.yaml")
    service.create_and_send(item())
    assert outside == []
    assert "not sent, as sending is disabled: freeze at 2019-01-02T18:00:08.265, DM 56.8, test" in caplog.text


def test_the_switch_outlasts_the_start_of_an_observation_that_reads_the_configuration_again(service):
    switch(service, "disable")
    service.interval = 9.0
    service._handle(
        {"command": "start_observation", "obs_config": {"datetimesource": "x"}, "reload_conf": True}
    )
    assert (service.send_events, service.interval) == (False, 1.0)


def test_the_node_shows_how_the_switch_is(service, served):
    def shown():
        return metrics.REGISTRY.get_sample_value("darc_events_sending", {"service": "lofar_trigger"})

    service.prepare()
    assert shown() == 1  # tests only
    switch(service, "disable")
    assert shown() == 0
    service.test = False
    switch(service, "enable")
    assert shown() == 2
    service._handle(
        {"command": "start_observation", "obs_config": {"datetimesource": "x"}, "reload_conf": True}
    )
    assert shown() == 1
    service.cleanup()


def test_an_attribute_is_told(service):
    service._get_attribute({"command": "get_attr", "attribute": "lofar_freq"})
    assert service.control_queue.get(block=False)["message"] == {"LOFARTrigger.lofar_freq": "200.0"}


def test_the_key_of_the_queue_is_not_told(service):
    service._get_attribute({"command": "get_attr", "attribute": "server_auth"})
    service._get_attribute({"command": "get_attr", "attribute": "config"})
    for _ in range(2):
        assert "a-key" not in str(service.control_queue.get(block=False))


def test_an_unknown_command_is_refused(service, caplog):
    service._handle({"command": "fire"})
    assert "unknown command refused" in caplog.text


# --- sending -----------------------------------------------------------------------------------------------


def test_a_packet_goes_to_lofar_once(service, outside):
    service.create_and_send(item())
    assert [sent for sent in outside if isinstance(sent, tuple)] == [(("lofar", 31662), EXAMPLE)]


@pytest.mark.parametrize(
    ("host", "reason"), [("unreachable", "no route"), (None, "lofar_host is not configured")]
)
def test_a_packet_that_cannot_be_sent_is_an_error_and_no_mail_claims_it_was(service, outside, host, reason):
    service.lofar_host = host
    with pytest.raises(LOFARTriggerException, match=reason):
        service.create_and_send(item())
    assert outside == []


def test_observers_are_told_after_the_packet_is_sent(service, outside):
    service.create_and_send([item(ra=83.63, flux=3.4, name="R1", cb=3), item(snr=1.0, cb=5)])
    assert isinstance(outside[0], tuple)
    (mail,) = mails(outside)
    assert (mail["To"], mail["From"]) == ("observers@example.org", "arts@example.org")
    assert mail["Subject"] == "Test: LOFAR trigger at 2019-01-02T18:00:00, DM 56.79"
    text = mail.get_content()
    for line in (
        "dm: 56.791",
        "utc: 2019-01-02T18:00:00",
        "flux: 3.4",
        "name: R1",
        "cb: 3",
        "ncb: 2",
        "SB 35",
    ):
        assert line in text


def test_a_mail_about_a_real_trigger_does_not_say_test(service, outside):
    service.test = False
    service.send_email(item())
    assert mails(outside)[0]["Subject"].startswith("LOFAR trigger at")


def test_without_recipients_there_is_no_mail(service, outside):
    service.email_settings = {"to": []}
    service.create_and_send(item())
    assert len(outside) == 1


def test_a_mail_that_cannot_be_kept_costs_neither_the_trigger_nor_the_next_one(
    service, outside, monkeypatch, caplog
):
    def refuse(spool, mail):
        raise MailError("the disk is full")

    monkeypatch.setattr(Spool, "put", refuse)
    service.create_and_send(item(dm=1.0))
    service.create_and_send(item(dm=2.0))
    assert [packet.dm for packet in packets(outside)] == [1.0, 2.0]
    assert caplog.text.count("no e-mail about this trigger: the disk is full") == 2


def test_mails_that_wait_from_earlier_are_sent_as_soon_as_the_service_runs(service, served, monkeypatch):
    events = []
    monkeypatch.setattr(
        "darc.lofar_trigger.open_spool", lambda config, logger: events.append("open") or Spool([])
    )
    monkeypatch.setattr(Spool, "close", lambda spool, timeout_s: events.append("close"))
    service.prepare()
    assert events == ["open"]
    service.cleanup()
    assert events == ["open", "close"]


# --- the served queue --------------------------------------------------------------------------------------


class Server:
    def close(self):
        pass


@pytest.fixture
def served(monkeypatch):
    """How the trigger queue is served."""
    served = {}

    def serve_queue(server_class, address, key, trigger_queue, *, validate):
        served.update(server_class=server_class, address=address, key=key, validate=validate)
        return Server()

    monkeypatch.setattr("darc.events.trigger_service.serve_queue", serve_queue)
    return served


def test_the_queue_is_served_as_configured(service, served):
    service.prepare()
    service.cleanup()
    assert served["server_class"] is LOFARTriggerQueueServer
    assert (served["address"], served["key"]) == (("here", 5201), b"a-key-for-tests")


def test_what_a_caller_sets_holds_for_the_queue_too(service, served):
    service.server_address, service.server_port, service.server_auth = "127.0.0.1", 1234, "another-key"
    service.prepare()
    service.cleanup()
    assert (served["address"], served["key"]) == (("127.0.0.1", 1234), b"another-key")


def test_what_is_refused_is_said_to_whoever_put_it(service, served):
    service.prepare()
    service.cleanup()
    with pytest.raises(DARCError, match="has no utc, cb"):
        served["validate"]({"dm": 1.0, "snr": 2.0})


def test_a_port_that_is_taken_is_told_with_what_to_check(service, monkeypatch):
    def serve_queue(*_, **__):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr("darc.events.trigger_service.serve_queue", serve_queue)
    with pytest.raises(DARCError, match=r"here:5201: Address already in use; check lofar_trigger\.server_"):
        service.prepare()
    service.cleanup()


def test_the_key_is_made_when_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(
        f"darc_master: {{state_dir: {tmp_path}/state}}\n"
        f"lofar_trigger: {{server_auth_file: {tmp_path}/keys/lofar.key}}"
    )
    service = LOFARTrigger(queue.Queue(), config_file=tmp_path / "config.yaml")
    monkeypatch.setattr("darc.events.trigger_service.serve_queue", lambda *_, **__: Server())
    service.prepare()
    service.cleanup()
    assert len((tmp_path / "keys" / "lofar.key").read_text().strip()) == 64
    assert (tmp_path / "keys" / "lofar.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path):
    (tmp_path / "lofar.key").write_text("a-key-for-tests\n")
    (tmp_path / "lofar.key").chmod(0o644)
    (tmp_path / "config.yaml").write_text(
        f"darc_master: {{state_dir: {tmp_path}/state}}\n"
        f"lofar_trigger: {{server_auth_file: {tmp_path}/lofar.key}}"
    )
    service = LOFARTrigger(queue.Queue(), config_file=tmp_path / "config.yaml")
    with pytest.raises(DARCError, match="chmod 600"):
        service.prepare()
    service.cleanup()


def test_the_server_is_one_as_the_standard_library_has_them():
    server = LOFARTriggerQueueServer(address=("127.0.0.1", 0), authkey=b"a-key-for-tests")
    assert isinstance(server, QueueServer) and callable(server.get_queue)


def test_triggers_are_counted_by_what_became_of_them(service):
    def counted():
        outcomes = {each: metrics.TRIGGERS.labels("lofar", each)._value.get() for each in metrics.OUTCOMES}
        return outcomes | {"latency": metrics.LATENCY.labels("lofar")._sum.get()}

    before = counted()
    service.clock = lambda: 1000.0
    service.create_and_send([item(arrived=998.5), {"dm": 1}])
    service.create_and_send(item(arrived="yesterday"))
    service.lofar_host = "unreachable"
    with pytest.raises(LOFARTriggerException):
        service.create_and_send(item())
    service.send_events = False
    service.create_and_send(item())
    assert {name: value - before[name] for name, value in counted().items()} == {
        **{"sent": 2, "failed": 1, "disabled": 1, "refused": 1},
        "latency": 1.5,
    }
    assert metrics.LAST_TRIGGER.labels("lofar", "disabled")._value.get() == 1000.0


# --- what is sent at most so often, and at most once -------------------------------------------------------


def event_log(service, *keys):
    lines = [json.loads(line) for line in service._event_log_path().read_text().splitlines()]
    return [tuple(line.get(key) for key in keys) for line in lines]


def real(service, now=1000.0):
    """Make a service send what is no test, at a time that a test sets."""
    service.test, service.now = False, now
    service.clock = lambda: service.now
    return service


def restarted(service):
    return real(LOFARTrigger(queue.Queue(), config_file=service.config_file, node="here"), service.now)


def test_too_many_events_are_refused_with_numbers_logged_and_counted(service, outside, caplog):
    real(service).min_spacing = 60.0
    refused = metrics.TRIGGERS.labels("lofar", metrics.REFUSED)._value.get()
    service.create_and_send(item(dm=1.0))
    service.now += 59
    service.create_and_send(item(dm=2.0))
    service.now += 1
    service.create_and_send(item(dm=3.0))
    assert [packet.dm for packet in packets(outside)] == [1.0, 3.0]
    assert "not sent, the last one was 59.0 s ago, less than min_spacing, 60 s: freeze at" in caplog.text
    assert [outcome for (outcome,) in event_log(service, "outcome")] == [
        *("sending", "sent", "refused", "sending", "sent")
    ]
    assert metrics.TRIGGERS.labels("lofar", metrics.REFUSED)._value.get() == refused + 1


def test_the_limits_count_what_was_sent_before_a_restart(service, served, outside):
    real(service).max_per_hour, service.min_spacing = 2, 0.0
    for _ in range(2):
        service.create_and_send(item())
    after = restarted(service)
    after.max_per_hour, after.min_spacing, after.interval = 2, 0.0, 0.0
    after.prepare()
    after.trigger_queue.put(item())
    after.cleanup()
    assert len(packets(outside)) == 2
    ((reason,),) = [line[1:] for line in event_log(after, "outcome", "reason") if line[0] == "refused"]
    assert reason == "2 within the last hour, max_per_hour is 2"


def test_tests_are_limited_too_and_cost_no_event(service, outside):
    real(service).max_per_hour = 2
    for number in range(6):
        service.create_and_send(item(dm=1.0 + number, test=number < 4))
    assert [packet.dm for packet in packets(outside)] == [1.0, 2.0, 5.0, 6.0]


def test_limits_are_there_unless_a_site_changes_them():
    section = load_config().lofar_trigger
    assert (section.min_spacing, section.max_per_hour) == (60.0, 10)


def test_the_log_says_what_was_sent_to_whom_and_why_it_was_not(service, outside):
    service.create_and_send(item())
    service.send_events = False
    service.create_and_send([item(dm=2.0), {"dm": 1}])
    service.send_events = True
    with pytest.raises(DARCError):
        service.create_and_send(item(dm=7000.0))
    assert event_log(service, "outcome", "packet", "receiver") == [
        ("sending", "99a05c2cfc280109023854", "lofar:31662"),
        ("sent", "99a05c2cfc280109023854", "lofar:31662"),
        ("refused", None, None),
        ("disabled", "99a05c2cfc2202bf001454", "lofar:31662"),
        ("failed", None, None),
    ]


def crash_after(service, outcome):
    """Leave the log as a process does that is killed after it wrote this."""
    test, content = service.make_event(item())
    SentLog(service._event_log_path()).write(
        Event.new(service.clock(), test, content, item(), []), outcome, service.clock()
    )


# a freeze that is asked for twice
def test_a_packet_that_may_have_been_sent_before_a_crash_is_not_sent_again_and_that_is_told(
    service, served, outside, caplog
):
    crash_after(service, "sending")
    service.prepare()
    service.cleanup()
    assert packets(outside) == []
    assert "not known whether this was sent before the restart, and not sent again: freeze at" in caplog.text
    (mail,) = mails(outside)
    assert mail["Subject"].startswith("Test: perhaps sent: LOFAR trigger at 2019-01-02T18:00:00")
    assert event_log(service, "outcome")[-1] == ("unknown",)
    service.prepare()
    service.cleanup()
    assert len(mails(outside)) == 1


@pytest.mark.parametrize("outcome", ["decided", "waits"])
def test_a_packet_that_certainly_was_not_sent_before_a_crash_is_sent(service, served, outside, outcome):
    crash_after(service, outcome)
    service.prepare()
    service.cleanup()
    assert packets(outside) == [EXAMPLE]


def test_a_packet_that_waited_for_too_long_is_dropped_and_named(service, served, outside, caplog):
    real(service)
    crash_after(service, "waits")
    service.now += 61
    service.prepare()
    service.cleanup()
    assert packets(outside) == []
    assert "LOFAR trigger dropped after 61.0 s, older than 60 s" in caplog.text


def test_what_was_disabled_or_made_a_test_meanwhile_is_not_sent_after_a_restart(service, served, outside):
    real(service)
    for change in ({"send_events": False}, {"test": True}):
        crash_after(service, "waits")
        after = restarted(service)
        for key, value in change.items():
            setattr(after, key, value)
        after.prepare()
        after.cleanup()
    assert packets(outside) == []
    assert [line for line in event_log(service, "outcome", "reason") if line[0] == "refused"] == [
        ("refused", "sending has been disabled meanwhile"),
        ("refused", "it is no test, and the configuration makes every event a test now"),
    ]


def test_lofar_that_cannot_be_reached_gets_the_packet_later(service, served, outside, monkeypatch):
    monkeypatch.setattr("darc.events.trigger_service.FIRST_PAUSE_S", 0.01)
    service.lofar_host, service.interval = "unreachable", 0.0
    service.prepare()
    service.trigger_queue.put(item())
    while ("waits",) not in (event_log(service, "outcome") if service._event_log_path().exists() else ()):
        time.sleep(0.01)
    service.lofar_host = "lofar"
    service.cleanup()
    assert packets(outside) == [EXAMPLE]


def test_lofar_is_tried_again_at_short_intervals_as_a_late_freeze_finds_nothing(service, served, monkeypatch):
    pauses = []
    monkeypatch.setattr(OrderedSender, "_pause", lambda _, pause_s: pauses.append(pause_s))
    service.lofar_host, service.interval = "unreachable", 0.0
    service.prepare()
    service.trigger_queue.put(item())
    while len(pauses) < 6:
        time.sleep(0.01)
    service.cleanup()
    assert max(pauses) <= 1.0


def test_what_was_accepted_before_a_crash_is_decided_on_after_it(service, served, outside):
    accepted = service._open_queue(service._open_log())
    accepted.put(item(snr=10.0, dm=1.0))
    accepted.put(item(snr=30.0, dm=3.0))
    service.prepare()
    service.cleanup()
    assert [packet.dm for packet in packets(outside)] == [3.0]
    folder = service.config.darc_master.state_dir / "incoming" / "lofar_trigger"
    assert folder.is_dir() and list(folder.iterdir()) == [], "what was decided on does not stay on disk"
    assert not service._collector.is_alive()


def test_what_was_decided_on_before_a_crash_is_not_decided_on_again(service, served, outside):
    accepted = service._open_queue(service._open_log())
    accepted.put(item(arrived=1.0))
    test, content = service.make_event(item())
    event = Event.new(service.clock(), test, content, item(), [accepted.take().identity])
    SentLog(service._event_log_path()).write(event, "sent", service.clock())
    service.prepare()
    service.trigger_queue.put(item(arrived=2.0))
    service.cleanup()
    assert packets(outside) == []


def test_nothing_is_sent_that_cannot_be_written_down(service, outside, tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(DARCError, match="nothing is sent that is not written there"):
        service.create_and_send(item())
    assert packets(outside) == []


@pytest.mark.parametrize(("keep", "expected"), [(True, False), (False, True)])
def test_a_switch_holds_after_a_restart_only_where_that_is_configured(service, served, keep, expected):
    service.keep_switch = keep
    switch(service, "disable")
    after = LOFARTrigger(queue.Queue(), config_file=service.config_file, node="here")
    after.keep_switch = keep
    after.prepare()
    after.cleanup()
    assert after.send_events == expected
    assert event_log(service, "outcome", "reason")[0] == ("switched", "disabled, all events are tests")


def test_what_would_be_sent_can_be_looked_at(service, outside):
    assert service.preview(item()) == (
        "to lofar:31662 (UDP)\n99 a0 5c 2c fc 28 01 09 02 38 54\n"
        "freeze at 2019-01-02T18:00:08.265, DM 56.8, test"
    )
    assert outside == [] and not service._event_log_path().exists()
