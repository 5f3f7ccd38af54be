"""What a VOEvent broker answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.network.vtp import MAX_DOCUMENT_BYTES, Receipt, TransportError, parse_receipt, send_voevent

BROKER = "ivo://example.org/broker"


def answer(role: str, meta: str = "") -> bytes:
    return f"""<?xml version='1.0' encoding='UTF-8'?>
        <trn:Transport version="1.0" role="{role}"
                       xmlns:trn="http://www.telescope-networks.org/xml/Transport/v1.1">
          <Origin>ivo://example.org/event#1</Origin><Response>{BROKER}</Response>
          <TimeStamp>2019-05-18T23:51:12Z</TimeStamp>{meta}
        </trn:Transport>""".encode()


def test_an_ack_is_acceptance() -> None:
    assert parse_receipt(answer("ack")) == Receipt(accepted=True, reason="", by=BROKER)


def test_a_nak_carries_the_reason_on_one_line() -> None:
    meta = "<Meta><Result>Previously\n seen</Result></Meta>"
    assert parse_receipt(answer("nak", meta)) == Receipt(accepted=False, reason="Previously seen", by=BROKER)


def test_a_nak_may_come_without_a_reason() -> None:
    assert parse_receipt(answer("nak")) == Receipt(accepted=False, reason="no reason given", by=BROKER)


def test_a_broker_may_write_the_namespace_at_every_element_and_no_identifier() -> None:
    text = b"""<Transport xmlns="http://www.telescope-networks.org/xml/Transport/v1.1" role="nak">
        <Meta><Result>full</Result></Meta></Transport>"""
    assert parse_receipt(text) == Receipt(accepted=False, reason="full", by="")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "not XML"),
        (b"220 mail.example.org ESMTP", "not XML"),
        (answer("iamalive"), "neither ack nor nak"),
        (b"<Transport role='ack'/>", "neither ack nor nak"),
        (
            b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" + answer("ack").partition(b"?>")[2],
            "document type",
        ),
    ],
)
def test_an_answer_of_another_form_is_an_error(text: bytes, complaint: str) -> None:
    with pytest.raises(TransportError, match=complaint):
        parse_receipt(text)


@given(st.binary() | st.text(alphabet="<>/=?!'&; atrolenck").map(str.encode))
def test_any_bytes_are_a_receipt_or_an_error(text: bytes) -> None:
    with pytest.raises(TransportError):
        parse_receipt(text)


@pytest.mark.parametrize("document", [b"", b"x" * (MAX_DOCUMENT_BYTES + 1)])
def test_a_document_that_no_broker_takes_is_not_sent(document: bytes) -> None:
    with pytest.raises(TransportError, match="cannot be sent"):
        send_voevent("no.broker.invalid", 8098, document, timeout_s=1)
