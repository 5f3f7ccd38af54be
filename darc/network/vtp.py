"""VOEvent Transport Protocol: hands a VOEvent to a broker.

The author sends the document and the broker answers with an `ack` or a `nak`, each with its length before it
as four bytes, big-endian (https://www.ivoa.net/documents/Notes/VOEventTransport/, version 2.0).
"""

import socket
import struct
import time
from dataclasses import dataclass

from lxml import etree

from darc.errors import DARCError
from darc.network.sockets import CONNECTION_ERRORS, explain, receive

# Longer ones Comet drops without an answer (MAX_LENGTH of Twisted's Int32StringReceiver).
MAX_DOCUMENT_BYTES = 99_999
# Answers have a few hundred bytes; the reason in a nak may quote the document.
_MAX_ANSWER_BYTES = 1 << 20
_NAMESPACE = "http://www.telescope-networks.org/xml/Transport/v1.1"
_LENGTH = struct.Struct(">I")


class TransportError(DARCError):
    """The event was not sent, or it is not known whether the broker has it."""


@dataclass(frozen=True)
class Receipt:
    """What a broker answered to an event.

    Attributes:
        accepted: Whether the broker took it (`ack`).
        reason: Why it did not (`nak`), in its words; usually empty for an `ack`.
        by: Identifier (ivorn) of the broker; empty if it gave none.
    """

    accepted: bool
    reason: str
    by: str

    @property
    def is_known(self) -> bool:
        """Whether the broker refused it as one that it has already, in Comet's words."""
        return not self.accepted and "previously seen" in self.reason.lower()


def send_voevent(host: str, port: int, document: bytes, *, timeout_s: float) -> Receipt:
    """Send a VOEvent to a broker and return its answer.

    Args:
        host: The broker's host.
        port: Its port for authors (Comet: `--receive-port`).
        document: The VOEvent, at most `MAX_DOCUMENT_BYTES`.
        timeout_s: Longest time that connecting, or sending and waiting for the answer, may take.

    Raises:
        TransportError: The document is empty or too long, the broker cannot be reached or does not answer.
    """
    if not 0 < len(document) <= MAX_DOCUMENT_BYTES:
        raise TransportError(
            f"a VOEvent of {len(document)} bytes cannot be sent: brokers take 1 to {MAX_DOCUMENT_BYTES}"
        )
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            deadline = time.monotonic() + timeout_s
            connection.sendall(_LENGTH.pack(len(document)) + document)
            return parse_receipt(_receive_message(connection, deadline))
    except CONNECTION_ERRORS as error:
        raise TransportError(f"no answer of the VOEvent broker {host}:{port}: {explain(error)}") from error
    except TransportError as error:
        raise TransportError(f"VOEvent broker {host}:{port}: {error}") from error


def parse_receipt(message: bytes) -> Receipt:
    """Read the transport message with which a broker answers.

    Raises:
        TransportError: It is not XML, has a document type, or is neither ack nor nak.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(message, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise TransportError(
            f"its answer is not XML ({error}); check that this is a broker's port"
        ) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise TransportError("its answer has a document type, which transport messages do not have")
    role = root.get("role")
    if root.tag != f"{{{_NAMESPACE}}}Transport" or role not in ("ack", "nak"):
        raise TransportError(f"its answer is neither ack nor nak but {root.tag} with role {role}")
    accepted = role == "ack"
    reason = _text(root, "{*}Meta/{*}Result")
    return Receipt(accepted, reason if accepted or reason else "no reason given", _text(root, "{*}Response"))


def _text(root: etree._Element, path: str) -> str:
    """Text of a child on one line, bounded as it goes to the log; empty if there is none."""
    return " ".join(root.findtext(path, default="").split())[:1000]


def _receive_message(connection: socket.socket, deadline: float) -> bytes:
    (length,) = _LENGTH.unpack(_receive_exactly(connection, _LENGTH.size, deadline))
    if length > _MAX_ANSWER_BYTES:
        raise TransportError(f"its answer would have {length} bytes; check that this is a broker's port")
    return _receive_exactly(connection, length, deadline)


def _receive_exactly(connection: socket.socket, length: int, deadline: float) -> bytes:
    content = b""
    while len(content) < length:
        segment = receive(connection, deadline, length - len(content))
        if not segment:
            raise ConnectionAbortedError("closed before the answer was complete")
        content += segment
    return content
