"""What a node tells of itself survives the command port, and nonsense is refused by its name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.errors import DARCError
from darc.formats.node_details import (
    Disk,
    LastTrigger,
    NodeDetails,
    ObservationDetails,
    ServiceDetails,
    read_log,
    read_node_details,
)
from darc.network.command_protocol import encode_reply, parse_reply

DETAILS = NodeDetails(
    node="arts003",
    role="worker",
    beam=2,
    version="1.2.3",
    time=1763812800.5,
    up_since=1763800000.25,
    services={
        "amber_listener": ServiceDetails("running", since=1763800001.5, restarts=2, pid=4711, queue=0),
        "dada_trigger": ServiceDetails("stopped"),
    },
    observations=(
        ObservationDetails(
            "261122001", "2026-11-22-12:00:00.R2", "<b>R2", "running", 1763812800.0, 1763816400.0
        ),
    ),
    delay_s=1.75,
    last_triggers={"iquv": LastTrigger(1763812700.0, "sent")},
    sending={"lofar_trigger": "disabled"},
    disks={"results": Disk("/data", 5, 10)},
    figures={"darc_lines": 17.0},
)


def over_the_wire(message):
    return parse_reply(encode_reply("Success", message)).message


@pytest.mark.parametrize("details", [DETAILS, NodeDetails("other", "unknown")])
def test_details_come_out_as_they_went_in(details):
    assert read_node_details("asked", over_the_wire(details.as_message())) == details


def test_the_status_of_an_older_version_is_read_as_far_as_it_goes():
    observation = {
        "task_id": "261122001",
        "datetimesource": "2026-11-22-12:00:00.B0531+21",
        "state": "running",
        "start": "2026-11-22T12:00:00",
        "end": "2026-11-22T12:10:00",
    }
    told = read_node_details("old", {"processor": "running", "observations": {"261122001": observation}})
    assert told == NodeDetails(
        "old",
        "unknown",
        services={"processor": ServiceDetails("running")},
        observations=(
            ObservationDetails(
                "261122001",
                "2026-11-22-12:00:00.B0531+21",
                "B0531+21",
                "running",
                1795348800.0,
                1795349400.0,
            ),
        ),
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("running", "the reply is no dictionary"),
        ({"error": "Invalid command: status"}, "does not tell the state of its services"),
        ({"processor": ["running"]}, "does not tell the state of its services"),
        (DETAILS.as_message() | {"services": []}, "services is no dictionary"),
        (DETAILS.as_message() | {"services": {"x": {"state": 1}}}, "state is no text"),
        (DETAILS.as_message() | {"beam": "two"}, "beam is no number"),
        (DETAILS.as_message() | {"beam": 2.5}, "beam is no whole number"),
        (DETAILS.as_message() | {"time": float("nan")}, "time is no number"),
        (DETAILS.as_message() | {"observations": {}}, "observations is no list"),
        (DETAILS.as_message() | {"disks": {"results": {"path": "/"}}}, "free_bytes of results is missing"),
    ],
)
def test_nonsense_is_refused_and_the_reason_names_it(message, reason):
    with pytest.raises(DARCError, match=reason):
        read_node_details("x", message)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(DETAILS.as_message(), values)) | values)
def test_whatever_a_node_answers_is_read_or_refused(message):
    try:
        read_node_details("x", message)
    except DARCError as error:
        assert len(str(error)) < 500


def test_a_log_is_a_path_and_lines():
    assert read_log({"path": "/x.log", "lines": ["a", "b"]}) == ("/x.log", ["a", "b"])
    for nonsense in ("x", {"path": "/x.log", "lines": [1]}, {"lines": []}):
        with pytest.raises(DARCError):
            read_log(nonsense)
