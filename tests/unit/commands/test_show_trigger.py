"""What the master node would send, looked at beforehand."""

import io

import pytest

from darc.control import main
from darc.records.sent_log import SENT, Event, SentLog

TRIGGER = (
    "{dm: 56.791, dm_err: 0.2, width: 2.5, snr: 15.2, flux: 3.4, ra: 83.63, dec: 22.01, cb: 4, ymw16: 243.1,"
    " semiMaj: 15, semiMin: 15, name: candidate, utc: 2019-01-02T18:00:00.000, importance: 0.1, nu_GHz: 1.37}"
)


@pytest.fixture
def show(tmp_path, capsys):
    (tmp_path / "trigger.yaml").write_text(TRIGGER)

    def show(receiver, file=tmp_path / "trigger.yaml", hosts=("lofar", "broker"), **settings):
        lines = "".join(f"  {key}: {value}\n" for key, value in settings.items())
        (tmp_path / "site.yaml").write_text(
            f"darc_master: {{state_dir: {tmp_path}/state}}\n"
            f"lofar_trigger:\n  lofar_host: {hosts[0]}\n{lines}"
            f"voevent_generator:\n  broker_host: {hosts[1]}\n{lines}"
        )
        code = main(["--site-config", str(tmp_path / "site.yaml"), "show-trigger", receiver, str(file)])
        output = capsys.readouterr()
        return code, (output.out + output.err).splitlines()

    return show


def test_the_packet_is_shown_and_that_it_would_not_be_sent(show):
    assert show("lofar") == (0, [
        "to lofar:31662 (UDP)",
        "99 a0 5c 2c fc 28 01 09 02 38 54",
        "freeze at 2019-01-02T18:00:08.265, DM 56.8, test",
        "not sent: sending is disabled, all events are tests in the configuration",
    ])  # fmt: skip


def test_the_document_is_shown_and_validated(show):
    code, lines = show("voevent", send_events="true")
    assert code == 0
    assert lines[0] == "to broker:8098 (VTP)"
    assert any('role="test"' in line for line in lines)
    assert lines[-2:] == ["the document is valid (VOEvent 2.0)", "would be sent"]


@pytest.mark.parametrize(
    ("receiver", "missing"),
    [("lofar", "lofar_trigger.lofar_host"), ("voevent", "voevent_generator.broker_host")],
)
def test_a_receiver_that_is_not_configured_is_named(show, receiver, missing):
    code, lines = show(receiver, hosts=("null", "null"))
    assert code == 0 and lines[0] == f"to nobody: {missing} is not configured"


def test_the_limits_count_for_what_is_no_test(show, tmp_path):
    log = SentLog(tmp_path / "state" / "sent" / "lofar_trigger.jsonl")
    log.write(Event.new(1e9, False, {}, {}, []), SENT, 1e9)
    settings = {"send_events": "true", "test": "false", "min_spacing": 1e15}
    _, lines = show("lofar", **settings)
    assert lines[-1].startswith("not sent: the last one was") and "min_spacing" in lines[-1]
    assert show("lofar", **{**settings, "test": "true"})[1][-1] == "would be sent"


def test_nothing_is_left_behind(show, tmp_path):
    show("lofar", send_events="true")
    show("voevent", send_events="true")
    assert not (tmp_path / "state").exists()


def test_a_trigger_can_come_from_another_program(show, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(TRIGGER))
    assert show("lofar", file="-")[1][1] == "99 a0 5c 2c fc 28 01 09 02 38 54"


@pytest.mark.parametrize(
    ("receiver", "content", "code", "expected"),
    [
        ("lofer", TRIGGER, 2, "did you mean 'lofar'?"),
        ("lofar", "[1]", 1, "has to hold a mapping"),
        ("lofar", "{dm: 1}", 1, "the trigger has no utc, snr, cb"),
        ("lofar", TRIGGER.replace("56.791", "7000"), 1, "does not fit the packet"),
        ("voevent", TRIGGER.replace("83.63", "400"), 1, "ra"),
    ],
)
def test_what_cannot_be_shown_is_an_error_that_says_why(show, tmp_path, receiver, content, code, expected):
    (tmp_path / "trigger.yaml").write_text(content)
    found, lines = show(receiver)
    assert found == code and expected in lines[-1]
