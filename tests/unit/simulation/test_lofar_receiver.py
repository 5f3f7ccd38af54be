"""Decoding of the packet that freezes LOFAR's buffers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.simulation.lofar_receiver import InvalidPacketError, LOFARPacket, decode

# arrival 2019-01-02T18:00:00 at 1.37 GHz, DM 56.791, buffer of 5 s
EXAMPLE = bytes([0x99, 0xA0, 0x5C, 0x2C, 0xFC, 0x28, 0x01, 0x09, 0x02, 0x38]) + b"T"


def test_the_example_of_the_format_is_decoded() -> None:
    # Packets built in one place and parsed nowhere: these bytes were written down by hand.
    assert decode(EXAMPLE) == LOFARPacket(1546452008, 265, 56.8, test=True)


def test_an_observation_is_told_from_a_test() -> None:
    assert decode(EXAMPLE[:-1] + b"S").test is False


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "0 bytes"),
        (EXAMPLE[:-1], "10 bytes"),
        (EXAMPLE + b"\n", "12 bytes"),
        (b"\xa0\x99" + EXAMPLE[2:], "a0 99"),
        (EXAMPLE[:-1] + b"t", "neither T"),
        # Signed 32-bit seconds: a time after 2038 arrives as one before 1970.
        (struct.pack(">2siHHc", b"\x99\xa0", -1, 0, 568, b"T"), "before 1970"),
        # Rounding to 1000 ms instead of carrying into the next second.
        (struct.pack(">2siHHc", b"\x99\xa0", 1546452008, 1000, 568, b"T"), "1000 ms"),
    ],
)
def test_anything_else_is_refused_with_the_reason(datagram: bytes, reason: str) -> None:
    with pytest.raises(InvalidPacketError, match=reason):
        decode(datagram)


@given(st.one_of(st.binary(max_size=20), st.binary(min_size=9, max_size=9).map(lambda b: b"\x99\xa0" + b)))
def test_any_bytes_are_decoded_or_refused(datagram: bytes) -> None:
    try:
        packet = decode(datagram)
    except InvalidPacketError:
        return
    assert 0 <= packet.freeze_time_ms <= 999
    assert 0 <= packet.dm <= 6553.5
