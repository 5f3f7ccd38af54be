"""Requests and replies of the command port, as bytes."""

import ast
import json
import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.network.command_protocol import (
    Proof,
    ProtocolError,
    Reply,
    Request,
    RequestBuffer,
    encode_reply,
    encode_request,
    parse_reply,
    parse_request,
)

WORDS = st.text(min_size=1).filter(lambda text: text != "None")
REQUESTS = st.builds(
    Request, command=WORDS, service=st.none() | st.text().filter(lambda text: text != "None"), payload=WORDS
)
MESSAGES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner)
    ),
    max_leaves=20,
)


def literal(request: Request) -> str:
    """Write a request as existing clients do."""
    return repr({"service": request.service, "command": request.command, "payload": request.payload})


@pytest.mark.parametrize(
    "text",
    [
        "{'service': 'processor', 'command': 'status'}",
        "{'service': 'processor', 'command': 'status', 'payload': 'None'}",
        "{'service': 'processor', 'command': 'status', 'payload': None}",
        '{"service": "processor", "command": "status"}\r\n',
        '{"service": "processor", "command": "status", "payload": null}',
        b" {'service': 'processor', 'command': 'status',}\n",
    ],
)
def test_old_and_new_requests_mean_the_same(text: bytes | str) -> None:
    assert parse_request(text) == Request(service="processor", command="status", payload=None)


def test_a_command_for_the_master_names_no_service() -> None:
    text = "{'service': 'None', 'command': 'start_observation', 'payload': '/data/a.parset'}"
    assert parse_request(text) == Request(command="start_observation", payload="/data/a.parset")


def test_a_proof_is_read_back_with_its_request() -> None:
    request = Request(command="status", proof=Proof("abc", 1_700_000_000, "0f"))
    assert parse_request(encode_request(request, newline=True)) == request


@pytest.mark.parametrize(
    "change",
    [{"nonce": ""}, {"nonce": None}, {"hmac": ""}, {"hmac": None}, {"time": None}, {"time": "1.5"}],
)  # fmt: skip
def test_a_part_of_a_proof_is_none(change: dict[str, str | None]) -> None:
    proof = {"nonce": "abc", "time": "1700000000", "hmac": "0f"} | change
    with pytest.raises(ProtocolError, match="a proof has a nonce, a time in whole seconds and an hmac"):
        parse_request(json.dumps({"command": "status"} | proof))


@given(REQUESTS)
def test_every_request_is_read_back_from_json_and_from_a_literal(request: Request) -> None:
    assert parse_request(encode_request(request, newline=True)) == request
    assert parse_request(encode_request(request, newline=False).decode()) == request
    assert parse_request(literal(request)) == request


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "neither JSON nor"),
        (b"\xff\xfe", "neither JSON nor"),
        ("status", "neither JSON nor"),
        ("{'command': 'status'", "neither JSON nor"),
        ("{'command': open('/etc/passwd')}", "neither JSON nor"),
        ("{'command': 'status', []: 1}", "neither JSON nor"),
        ("['command', 'status']", "is a dictionary"),
        ("{'service': 'all'}", "no command"),
        ("{'command': 'None'}", "no command"),
        ("{'command': ['status']}", "command of a request is text"),
        ('{"command": "status", "service": true}', "service of a request is text"),
        ("{'command': 'status', 'host': 'arts001', 7: 'x'}", "no key '?7'?, 'host'|no key 'host', 7"),
    ],
)
def test_a_request_of_another_form_is_refused_with_the_reason(text: bytes | str, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        parse_request(text)


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"command": ' * 50_000,
        "{'command': " + "(" * 150 + ")" * 150 + "}",
        "{'command': " + "-" * 100_000 + "1}",
        "{'command': 1" + "+1" * 100_000 + "}",
        "{'command': " + "9" * 100_000 + "}",
        "{'command': " + "'" + "\\'" * 100_000,
        '{"command": ' + "9" * 100_000 + "}",
    ],
)
def test_what_would_exhaust_the_parser_is_refused(bomb: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse_request(bomb)
    assert len(str(refusal.value)) < 200


@given(st.text() | st.binary() | st.text(alphabet="{}[]():,'\"\\ 1Nonecommand\n"))
def test_any_bytes_are_understood_or_refused(text: bytes | str) -> None:
    for parse in (parse_request, parse_reply):
        with suppress(ProtocolError):
            parse(text)


@given(MESSAGES)
def test_a_reply_is_json_and_a_python_literal_and_means_the_same_in_both(message: object) -> None:
    reply = encode_reply("Success", message)
    assert b"\n" not in reply
    fields = ast.literal_eval(reply.decode())
    assert fields == json.loads(reply)
    assert parse_reply(reply) == Reply("Success", fields["message"])


def test_plain_messages_come_back_as_they_are() -> None:
    message = {
        "processor": "running",
        "queues": {"in": 3, "delay": 0.25},
        "beams": [1, 2],
        "name": "B\U0001f52d'\"",
    }
    assert parse_reply(encode_reply("Warning", message)) == Reply("Warning", message)


def test_what_json_and_literals_do_not_share_becomes_text() -> None:
    message = {
        "none": None,
        "true": True,
        "nan": math.nan,
        "infinite": -math.inf,
        "numpy": np.float64("nan"),
        "array": np.arange(3),
        "integer": np.int64(5),
        "huge": 1 << 70,
        1: {None: {2}},
    }
    assert parse_reply(encode_reply("Success", message)).message == {
        "none": "None",
        "true": "True",
        "nan": "nan",
        "infinite": "-inf",
        "numpy": "nan",
        "array": "[0 1 2]",
        "integer": "5",
        "huge": "0x400000000000000000",
        "1": {"None": "{2}"},
    }


def test_a_message_that_contains_itself_is_cut() -> None:
    message: dict[str, object] = {}
    message["again"] = message
    assert parse_reply(encode_reply("Success", message)).status == "Success"


def test_a_reply_of_an_existing_master_is_understood() -> None:
    assert parse_reply(b"{'status': 'Error', 'message': {'error': None}}") == Reply("Error", {"error": None})


@pytest.mark.parametrize(
    "text", ["{'status': 'Success'}", "{'status': 'OK', 'message': ''}", "{'message': ''}", "1"]
)
def test_a_reply_without_known_status_and_message_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(text)


@given(st.lists(REQUESTS, max_size=4), st.data())
def test_lines_are_found_however_they_are_cut_into_segments(
    requests: list[Request], data: st.DataObject
) -> None:
    stream = b"".join(encode_request(request, newline=True) for request in requests)
    buffer = RequestBuffer(max_bytes=100_000)
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:size])
        stream = stream[size:]
        while (line := buffer.take_line()) is not None:
            found.append(parse_request(line))
    assert found == requests
    assert buffer.empty


@given(REQUESTS)
def test_an_unterminated_request_is_complete_with_its_last_byte_only(request: Request) -> None:
    text = literal(request).encode(errors="backslashreplace")
    for size in range(1, len(text)):
        buffer = RequestBuffer(max_bytes=100_000)
        buffer.feed(text[:size])
        assert not buffer.complete
    buffer.feed(text[-1:])
    assert buffer.complete
    assert buffer.take_line() is None
    assert parse_request(buffer.take_rest()) == request
    assert buffer.empty


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1", b"\x16\x03\x01", b"{}}", b"{'a': }"])
def test_garbage_is_not_waited_upon(garbage: bytes) -> None:
    buffer = RequestBuffer(max_bytes=100)
    buffer.feed(garbage)
    assert buffer.complete


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_request_beyond_the_limit_is_refused_with_the_limit(end: bytes) -> None:
    buffer = RequestBuffer(max_bytes=100)
    buffer.feed(b"\n{'command': 'status'}\n\n" + b"{" * 100)
    assert buffer.take_line() == b"{'command': 'status'}"
    assert buffer.take_line() is None
    buffer.feed(b"{" + end)
    with pytest.raises(ProtocolError, match="100 bytes"):
        buffer.take_line()
