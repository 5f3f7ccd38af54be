"""Requests to a node's master and its replies, as bytes on the command port.

Two kinds of client share the port. Existing ones send one request as a Python literal without a terminator,
read one reply up to the end of the connection and understand it as a Python literal. New ones send JSON, a
line per request, and may keep the connection. A reply suits both: JSON without `null`, `true` and `false`.
"""

import ast
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from darc.errors import DARCError

Status = Literal["Success", "Warning", "Error"]

# Characters outside quotes in a Python literal. Keeps what is nested from exhausting the stack of Python's
# parser, which a flat dictionary of a few services does not come near.
_MAX_STRUCTURE = 4096
# Python's parser reads no deeper than 200.
_MAX_MESSAGE_DEPTH = 20
_PROOF = ("nonce", "time", "hmac")
_WHOLE_SECONDS = re.compile(r"[0-9]{1,12}")
# An unclosed quote reaches to the end and nothing is tried twice, so the time is linear in the text.
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.?)*+(?:'|\Z)|"(?:[^"\\]|\\.?)*+(?:"|\Z)""", re.DOTALL)


class ProtocolError(DARCError):
    """A request or a reply is not of the form that the command port speaks."""


#: Commands whose payload is the content of a file, not a path. Each of them needs a proof, whoever sends it.
CHECK_CONFIG, APPLY_CONFIG = "check_config", "apply_config"
PROVEN_COMMANDS = frozenset({CHECK_CONFIG, APPLY_CONFIG})


@dataclass(frozen=True)
class Proof:
    """Shows that the sender of a request holds the key, see `darc.network.authentication`.

    Attributes:
        nonce: The challenge that it answers.
        time_s: Unix time of the request by the client's clock.
        code: HMAC-SHA256 in hexadecimal.
    """

    nonce: str
    time_s: int
    code: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks of a node.

    Attributes:
        service: Name of a service or `all`; None where the command is for the master.
        command: For instance `status`, or `get_attr NAME`.
        payload: Path of a file on the node, for the commands that need one, or the content of one.
        proof: Needed where the node is asked from another host.
    """

    command: str
    service: str | None = None
    payload: str | None = None
    proof: Proof | None = field(default=None, repr=False)


#: Asks for what a proof has to answer; the server replies to it itself.
CHALLENGE = Request(command="challenge")


@dataclass(frozen=True)
class Reply:
    """What the node answers.

    Attributes:
        status: How it went.
        message: Text, or a dictionary of results per service.
        after: At the server only: run once the reply is sent and the connection closed.
    """

    status: Status
    message: object
    after: Callable[[], object] | None = field(default=None, compare=False)


def encode_request(request: Request, *, newline: bool) -> bytes:
    """Request as JSON; with a newline the server keeps the connection open for another one."""
    fields = {"service": request.service, "command": request.command, "payload": request.payload}
    if (proof := request.proof) is not None:
        fields |= {"nonce": proof.nonce, "time": str(proof.time_s), "hmac": proof.code}
    return _json({key: value for key, value in fields.items() if value is not None}) + b"\n" * newline


def parse_request(text: bytes | str) -> Request:
    """Read a request in JSON or as a Python literal.

    Raises:
        ProtocolError: It is no dictionary of text, has a key too many or no command.
    """
    fields = _load(text, "request")
    unknown = fields.keys() - {"service", "command", "payload", *_PROOF}
    if unknown:
        names = ", ".join(sorted(map(_excerpt, unknown)))
        raise ProtocolError(f"a request has no key {names}: send service, command and payload only")
    service, command, payload = (_optional_text(fields, key) for key in ("service", "command", "payload"))
    if not command:
        raise ProtocolError(
            "the request has no command: send for instance {'command': 'status', 'service': 'all'}"
        )
    return Request(service=service, command=command, payload=payload, proof=_proof(fields))


def encode_reply(status: Status, message: object) -> bytes:
    """Reply that JSON and Python's literal syntax both read, and read alike.

    Whatever one of them lacks becomes text: None, booleans, numbers that are not finite or beyond 64 bits,
    keys and objects of any other type; tuples become lists.
    """
    return _json({"status": status, "message": _plain(message, _MAX_MESSAGE_DEPTH)})


def parse_reply(text: bytes | str) -> Reply:
    """Read a reply in JSON or as a Python literal.

    Raises:
        ProtocolError: It is no dictionary with a known status and a message.
    """
    fields = _load(text, "reply")
    for status in get_args(Status):
        if fields.get("status") == status and "message" in fields:
            return Reply(status, fields["message"])
    raise ProtocolError(
        f"a reply has a status ({', '.join(get_args(Status))}) and a message, not {_excerpt(fields)}"
    )


class RequestBuffer:
    """Puts requests together from the segments in which they arrive.

    A newline ends a request. Without one, `complete` tells whether an existing client's request is all there.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = b""

    def feed(self, segment: bytes) -> None:
        """Append what was received."""
        self._data += segment

    def take_line(self) -> bytes | None:
        """Remove and return the first request that a newline ends; None if there is none.

        Blank lines are skipped.

        Raises:
            ProtocolError: More than `max_bytes` came without the end of the request.
        """
        newline = b"\n"
        while newline:
            line, newline, rest = self._data.partition(b"\n")
            if len(line) > self._max_bytes:
                raise ProtocolError(f"the request is longer than the limit of {self._max_bytes} bytes")
            if newline:
                self._data = rest
                if line.strip():
                    return line
        return None

    def take_rest(self) -> bytes:
        """Remove and return what is left, without a newline at its end; empty if it is blank."""
        rest, self._data = self._data.strip(), b""
        return rest

    @property
    def empty(self) -> bool:
        """Whether nothing of a request has arrived."""
        return not self._data.strip()

    @property
    def complete(self) -> bool:
        """Whether what has arrived is a request, or nothing that may follow would make it one."""
        text = self._data.strip()
        if not text.startswith(b"{"):
            return bool(text)
        if not text.endswith(b"}"):
            return False
        structure = _QUOTED.sub("", text.decode(errors="replace"))
        return structure.count("{") <= structure.count("}")


def _load(text: bytes | str, what: str) -> dict[object, object]:
    """Read a dictionary written in JSON or as a Python literal."""
    try:
        text = (text if isinstance(text, str) else text.decode()).strip()
        try:
            fields = json.loads(text)
        except ValueError:
            if len(_QUOTED.sub("", text)) > _MAX_STRUCTURE:
                raise
            fields = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"the {what} is neither JSON nor a Python literal: {_excerpt(text)}") from error
    if not isinstance(fields, dict):
        raise ProtocolError(f"a {what} is a dictionary, not {_excerpt(fields)}")
    return fields


def _optional_text(fields: Mapping[object, object], key: str) -> str | None:
    value = fields.get(key)
    if value is None or value == "None":
        return None
    if not isinstance(value, str):
        raise ProtocolError(f"{key} of a request is text, not {_excerpt(value)}")
    return value


def _proof(fields: Mapping[object, object]) -> Proof | None:
    """Return the proof among the fields of a request; None if there is none at all."""
    nonce, time_s, code = (_optional_text(fields, key) for key in _PROOF)
    if nonce is time_s is code is None:
        return None
    if not nonce or not code or not _WHOLE_SECONDS.fullmatch(time_s or ""):
        raise ProtocolError("a proof has a nonce, a time in whole seconds and an hmac, each of them as text")
    return Proof(nonce, int(time_s or 0), code)


def _plain(message: object, depth: int) -> object:
    """Reduce a message to text, integers, finite floats, lists, and dictionaries with text for keys."""
    if isinstance(message, bool) or depth == 0:
        return str(message)
    if isinstance(message, str) or (isinstance(message, float) and math.isfinite(message)):
        return message
    if isinstance(message, int):
        return message if message.bit_length() <= 64 else hex(message)
    if isinstance(message, Mapping):
        return {str(key): _plain(value, depth - 1) for key, value in message.items()}
    if isinstance(message, list | tuple):
        return [_plain(value, depth - 1) for value in message]
    return str(message)


def _json(fields: dict[str, object] | dict[str, str]) -> bytes:
    # Not in ASCII: JSON writes characters beyond 16 bits as a pair of escapes, which Python's literals read
    # as two characters. A lone half of such a pair cannot be encoded; its escape both languages read alike.
    return json.dumps(fields, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace")


def _excerpt(value: object) -> str:
    """Start of a value, fit for a message of one line."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
