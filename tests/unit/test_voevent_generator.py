"""What the world is told of a burst, and what becomes of a document that the broker does not get."""

import contextlib
import importlib.util
import math
import queue

import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.errors import DARCError
from darc.formats import voevent
from darc.network.queue_server import QueueServer
from darc.network.vtp import Receipt, TransportError
from darc.voevent_generator import VOEventGenerator, VOEventGeneratorException, VOEventQueueServer

UTC = "2019-05-18T23:51:23.087545"


class Broker:
    """Answers what a test says, in order; keeps the documents."""

    def __init__(self):
        self.documents, self.addresses, self.answers = [], [], []

    def send(self, host, port, document, *, timeout_s):
        self.documents.append(document)
        self.addresses.append((host, port, timeout_s))
        answer = self.answers.pop(0) if self.answers else Receipt(True, "", "ivo://broker/b")
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def broker(monkeypatch):
    broker = Broker()
    monkeypatch.setattr("darc.voevent_generator.send_voevent", broker.send)
    return broker


@pytest.fixture
def service(tmp_path, broker):
    (tmp_path / "config.yaml").write_text(f"""
nodes: {{master: {{name: here}}}}
darc_master: {{state_dir: {tmp_path}/state}}
voevent_generator:
  log_file: /nowhere/log
  voevent_dir: {tmp_path}/voevents
  server_auth: a-key-for-tests
  broker_host: broker
  send_events: true
  min_spacing: 0.0
  max_per_hour: null
  contact_email: observers@example.org
""")
    service = VOEventGenerator(
        queue.Queue(), config_file=tmp_path / "config.yaml", node="here", control_queue=queue.Queue()
    )
    service.pauses = []
    service._pause = service.pauses.append
    return service


def item(**change):
    return {
        "dm": 500.0, "dm_err": 0.8192, "width": 0.8192, "snr": 25.0, "flux": 3.552, "ra": 83.633,
        "dec": 22.0145, "cb": 4, "sb": 7, "ymw16": 243.07, "semiMaj": 15.0, "semiMin": 15.0,
        "name": "candidate", "src_name": None, "datetimesource": "2019-05-18-23:51:13.field", "utc": UTC,
        "tarr": 10.24, "importance": 0.1, "dt": 81.92e-6, "delta_nu_MHz": 0.1953125, "nu_GHz": 1.3696,
        **change,
    }  # fmt: skip


def sent(broker):
    """The events that the broker was sent, read back."""
    return [voevent.parse(document) for document in broker.documents]


def stored(service):
    return sorted(path.name for path in service.voevent_dir.iterdir()) if service.voevent_dir.exists() else []


# --- the document ------------------------------------------------------------------------------------------


def test_the_document_says_what_the_trigger_says(service, broker):
    service.create_and_send(item())
    voevent.validate(broker.documents[0])
    (event,) = sent(broker)
    assert (event.dm, event.dm_error, event.mw_dm_limit) == (500.0, 0.8192, 243.07)
    assert (event.width_ms, event.snr, event.flux_jy, event.importance) == (0.8192, 25.0, 3.552, 0.1)
    assert (event.ra_deg, event.dec_deg) == (83.633, 22.0145)
    assert (event.semi_major_arcmin, event.semi_minor_arcmin, event.beam) == (15.0, 15.0, 4)
    assert (event.source_name, event.contact_email) == ("", "observers@example.org")


# arrival times truncated to whole seconds
def test_the_arrival_time_keeps_its_microseconds(service, broker):
    service.create_and_send(item())
    assert sent(broker)[0].arrival_time.isoformat() == "2019-05-18T23:51:23.087545+00:00"


# a time in seconds handed to a parameter in milliseconds
def test_the_sampling_time_is_turned_into_milliseconds(service, broker):
    service.create_and_send(item())
    assert sent(broker)[0].sampling_time_ms == pytest.approx(0.08192)


def test_the_band_and_the_instrument(service, broker):
    service.create_and_send(item())
    (event,) = sent(broker)
    assert (event.bandwidth_mhz, event.nchan, event.centre_freq_mhz) == (300.0, 1536, 1369.6)
    assert (event.npol, event.nbit, event.tsys_k) == (2, 8, 85)
    assert (event.backend, event.galactic_model) == ("ARTS", "YMW16")


# 8 dishes of 0.60 x pi x 12.5^2 m^2 / 2 k_B; the Galactic coordinates of the Crab; the rotation
# atan2(sin Dec sin HA, cos HA) for the hour angle that the sidereal time gives
def test_what_follows_from_the_trigger_is_computed(service, broker):
    service.create_and_send(item())
    (event,) = sent(broker)
    assert event.gain_k_per_jy == pytest.approx(8 * 0.10666154, rel=1e-6)
    assert (event.gl_deg, event.gb_deg) == (pytest.approx(184.56, abs=0.01), pytest.approx(-5.78, abs=0.01))
    ha = math.radians(Time(UTC).sidereal_time("apparent", longitude=6.6044).deg - 83.633)
    dec = math.radians(22.0145)
    expected = math.degrees(math.atan2(math.sin(dec) * math.sin(ha), math.cos(ha)))
    assert event.rotation_angle_deg == pytest.approx(expected, abs=0.5)


def test_a_known_source_is_named(service, broker):
    service.create_and_send(item(name="FRB180916"))
    assert sent(broker)[0].source_name == "FRB180916"


# a trigger without the key `test` overriding `test: True` of the configuration
@pytest.mark.parametrize(
    ("configured", "said", "test"),
    [
        *((True, None, True), (True, False, True), (True, True, True)),
        *((False, None, False), (False, False, False), (False, True, True)),
    ],
)
def test_the_configuration_decides_what_is_a_test_and_a_trigger_can_only_add_to_it(
    service, broker, configured, said, test
):
    service.test = configured
    service.create_and_send(item(test=said))
    if said is None:
        service.create_and_send(item())
    assert {event.test for event in sent(broker)} == {test}
    assert all((b'role="test"' in document) == test for document in broker.documents)


# an item with one key more than the receiver's signature
def test_keys_that_are_not_needed_are_ignored_and_others_have_defaults(service, broker):
    least = {key: value for key, value in item().items() if key in voevent_needs()}
    service.create_and_send(least | {"colour": "blue"})
    (event,) = sent(broker)
    assert (event.sampling_time_ms, event.nchan, event.centre_freq_mhz) == (0.08192, 1536, 1370.0)
    assert event.beam is None


def voevent_needs():
    return (
        *("dm", "dm_err", "width", "snr", "flux", "semiMaj", "semiMin", "ra", "dec", "ymw16"),
        *("name", "importance", "utc"),
    )


@pytest.mark.parametrize("key", voevent_needs())
def test_a_missing_key_is_named_and_nothing_is_sent(service, broker, caplog, key):
    service.create_and_send({k: v for k, v in item().items() if k != key})
    assert f"trigger refused: the trigger has no {key}:" in caplog.text
    assert broker.documents == [] and stored(service) == []


def test_a_document_can_be_made_from_the_documented_parameters(service):
    document = service._NewVOEvent(
        dm=500, dm_err=1, width=0.8, snr=25, flux=3.5, ra=10.0, dec=20.0, semiMaj=15, semiMin=15, ymw16=50,
        name="candidate", importance=0.1, utc="2019-05-18T23:51:23.0875", gl=120.0, gb=-42.0, gain=0.85,
        dt=0.08192, delta_nu_MHz=0.1953125, nu_GHz=1.37, posang=12.5, test=None,
    )  # fmt: skip
    event = voevent.parse(document)
    assert (event.gl_deg, event.gb_deg, event.gain_k_per_jy, event.rotation_angle_deg) == (
        120,
        -42,
        0.85,
        12.5,
    )
    assert event.test


@pytest.mark.skipif(importlib.util.find_spec("voeventparse") is None, reason="voeventparse is not installed")
def test_another_program_can_read_it(service, broker):
    import voeventparse

    service.create_and_send(item())
    document = voeventparse.loads(broker.documents[0])
    voeventparse.assert_valid_as_v2_0(document)
    position = voeventparse.get_event_position(document)
    assert (position.ra, position.dec) == (83.633, 22.0145)
    assert voeventparse.get_event_time_as_utc(document).microsecond == 87_545


_ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers())
)


def test_whatever_comes_is_refused_or_becomes_a_valid_document(service, broker):
    service.send_events = False

    @given(st.fixed_dictionaries({}, optional=dict.fromkeys(item(), _ANY)))
    @settings(max_examples=100, deadline=None)
    def check(change):
        try:
            service.create_and_send(item(**change))
        except DARCError:
            return
        for path in service.voevent_dir.glob("*"):
            voevent.validate(path.read_bytes())
            path.unlink()

    check()


# --- choosing and storing ----------------------------------------------------------------------------------


def test_the_brightest_is_picked_known_or_not():
    triggers = [item(snr=11.0, cb=2, name="R1"), item(snr=90.0, cb=1), item(snr=12.0, cb=2)]
    best, ncb = VOEventGenerator._select_trigger(triggers)
    assert (best["snr"], ncb) == (90.0, 2)


def test_one_of_several_is_sent(service, broker):
    service.create_and_send([item(snr=20.0), item(snr=30.0), item(snr=10.0)])
    assert [event.snr for event in sent(broker)] == [30.0]


def test_the_document_is_stored_whole_and_as_it_was_sent(service, broker):
    service.create_and_send(item())
    assert stored(service) == [f"{UTC}.xml"]
    assert (service.voevent_dir / f"{UTC}.xml").read_bytes() == broker.documents[0]


def test_a_document_that_cannot_be_stored_is_not_sent(service, broker, tmp_path):
    (tmp_path / "voevents").touch()
    with pytest.raises(VOEventGeneratorException, match=r"voevents/.*\.xml: cannot be written"):
        service.create_and_send(item())
    assert broker.documents == []


@pytest.mark.parametrize(
    "change",
    [
        {"ra": 400.0},
        {"importance": 2.0},
        {"dm": -1.0},
        {"utc": "2019-13-01T00:00:00"},
        {"dec": 91},
        {"delta_nu_MHz": 1e-320},
    ],
    ids=repr,
)
def test_a_value_that_does_not_fit_is_refused(service, broker, change):
    with contextlib.suppress(DARCError):
        service.create_and_send(item(**change))
    assert broker.documents == [] and stored(service) == []


# --- the switch --------------------------------------------------------------------------------------------


def test_what_is_disabled_is_stored_and_not_sent(service, broker, caplog):
    service._handle({"command": "disable", "id": 1})
    assert service.control_queue.get(block=False)["message"].startswith("disabled")
    service.create_and_send(item())
    assert broker.documents == []
    assert stored(service) == [f"{UTC}.xml"]
    assert "not sent, as sending is disabled" in caplog.text


def test_sending_is_switched_and_its_state_told(service, broker):
    for word, state in (("status", "enabled"), ("disable", "disabled"), ("enable", "enabled")):
        service._switch_command({"command": word})
        answer = service.control_queue.get(block=False)
        assert answer["status"] == "Success" and answer["message"].startswith(state)
    service.create_and_send(item())
    assert len(broker.documents) == 1


def test_nothing_is_sent_unless_it_is_enabled(tmp_path, broker):
    (tmp_path / "config.yaml").write_text(
        f"darc_master: {{state_dir: {tmp_path}/state}}\n"
        f"voevent_generator: {{voevent_dir: {tmp_path}/voevents, broker_host: broker}}"
    )
    service = VOEventGenerator(queue.Queue(), config_file=tmp_path / "config.yaml")
    service.create_and_send(item())
    assert broker.documents == []


def test_an_attribute_is_told(service):
    service._get_attribute({"command": "get_attr", "attribute": "broker_port"})
    assert service.control_queue.get(block=False)["message"] == {"VOEventGenerator.broker_port": "8098"}


# --- the broker --------------------------------------------------------------------------------------------


def test_the_broker_and_its_acknowledgement_are_logged(service, broker, caplog):
    service.create_and_send(item())
    assert broker.addresses == [("broker", 8098, 10.0)]
    assert f"{UTC}.xml sent to broker:8098, accepted by ivo://broker/b" in caplog.text


def test_a_refusal_is_an_error_with_the_broker_s_reason_and_not_repeated(service, broker):
    broker.answers = [Receipt(False, "not valid", "ivo://broker/b")]
    with pytest.raises(VOEventGeneratorException, match=r"refused by ivo://broker/b: not valid"):
        service.create_and_send(item())
    assert len(broker.documents) == 1


# its answer was too late, or the service was killed before it came: the event is out, and the limits count it
def test_a_document_that_the_broker_has_already_was_sent(service, broker, caplog):
    broker.answers = [
        TransportError("no answer in time"),
        Receipt(False, "Previously seen by this broker", "ivo://broker/b"),
    ]
    service.create_and_send(item())
    assert len(broker.documents) == 2 and len(service._open_log().times(test=True)) == 1
    assert "which ivo://broker/b had already" in caplog.text


def test_a_broker_that_is_away_is_tried_again_with_the_same_document(service, broker, caplog):
    broker.answers = [TransportError("nobody listens"), TransportError("still nobody")]
    service.create_and_send(item())
    assert len(broker.documents) == 3 and len(set(broker.documents)) == 1
    assert service.pauses == [1.0, 2.0]
    assert "nobody listens; again in 1 s" in caplog.text and "accepted by" in caplog.text


def test_a_broker_that_stays_away_is_an_error_and_the_document_stays(service, broker):
    broker.answers = [TransportError("nobody listens")] * 9
    with pytest.raises(TransportError, match="nobody listens"):
        service.create_and_send(item())
    assert len(broker.documents) == 1 + service.retries
    assert stored(service) == [f"{UTC}.xml"]


def test_a_broker_that_is_not_configured_is_an_error(service):
    service.broker_host = None
    with pytest.raises(VOEventGeneratorException, match="broker_host is not configured"):
        service.create_and_send(item())


def test_a_document_that_somebody_removed_costs_only_itself(service, broker, caplog):
    with pytest.raises(VOEventGeneratorException, match="not there any more"):
        service._send(service.voevent_dir / "gone.xml")


# --- the process -------------------------------------------------------------------------------------------


class Server:
    def close(self):
        pass


def test_documents_that_the_broker_does_not_take_go_out_after_a_restart_in_order(
    service, broker, monkeypatch, caplog
):
    monkeypatch.setattr("darc.events.trigger_service.serve_queue", lambda *_, **__: Server())
    service.interval = 0.0
    broker.answers = [TransportError("nobody listens")] * 9
    service.prepare()
    for second in range(3):
        service.trigger_queue.put(item(utc=f"2019-05-18T23:51:2{second}"))
    service.cleanup()
    assert caplog.text.count("VOEvent waits for the next start") == 3
    waiting = {path.name: path.read_bytes() for path in service.voevent_dir.iterdir()}
    broker.answers, broker.documents = [], []
    service.prepare()
    service.cleanup()
    assert broker.documents == [waiting[f"2019-05-18T23:51:2{second}.xml"] for second in range(3)]


def test_the_server_is_one_as_the_standard_library_has_them():
    server = VOEventQueueServer(address=("127.0.0.1", 0), authkey=b"a-key-for-tests")
    assert isinstance(server, QueueServer) and callable(server.get_queue)
