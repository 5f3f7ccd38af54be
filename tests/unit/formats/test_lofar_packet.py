"""The packet to LOFAR: every bit of it, and what does not fit."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import DISPERSION_CONSTANT
from darc.formats.lofar_packet import LofarPacket, LofarPacketError, freeze_time, pack, unpack
from darc.formats.utc import isot_text


def test_the_documented_example():
    # pitfall: packets built in one place and parsed nowhere
    delay_s = DISPERSION_CONSTANT * 56.791 * (200.0**-2 - 1370.0**-2)
    freeze = freeze_time("2019-01-02T18:00:00", delay_s, buffer_s=5.0)
    packet = pack(freeze, 56.791, test=True)
    assert (
        packet
        == bytes.fromhex("99a0") + (1546452008).to_bytes(4) + (265).to_bytes(2) + (568).to_bytes(2) + b"T"
    )
    assert unpack(packet) == LofarPacket(1546452008265, 56.8, test=True)
    assert str(unpack(packet)) == "freeze at 2019-01-02T18:00:08.265, DM 56.8, test"


def test_an_observation_is_marked_as_such():
    assert pack(0, 0, test=False)[-1:] == b"S" and not unpack(pack(0, 0, test=False)).test


@given(st.integers(0, 2**31 * 1000 - 1), st.integers(0, 65535), st.booleans())
def test_a_packet_comes_back(freeze_time_ms, tenths, test):
    assert unpack(pack(freeze_time_ms, tenths / 10, test)) == LofarPacket(freeze_time_ms, tenths / 10, test)


@given(
    st.integers(0, 2**31 * 10**6 - 1),
    st.integers(0, 10**9),
)
def test_a_freeze_time_is_exact_to_the_rounded_millisecond(arrival_us, delay_us):
    arrival = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=arrival_us)
    freeze_ms = freeze_time(isot_text(arrival), delay_us / 1e6, buffer_s=0.0)
    assert abs(freeze_ms * 1000 - arrival_us - delay_us) <= 500


def test_milliseconds_carry_into_the_next_second():
    # pitfall: rounding to 1000 ms instead of carrying
    freeze = freeze_time("2019-01-02T18:00:59.9996", 0.0, 0.0)
    assert freeze % 60_000 == 0
    assert unpack(pack(freeze, 0, test=True)).freeze_time_ms == freeze


def test_half_of_the_buffer_comes_after_the_pulse():
    assert freeze_time("1970-01-01T00:00:00", 1.5, 5.0) == 4000


@pytest.mark.parametrize("dm", [6553.6, 1e9, -0.1, float("nan"), float("inf")])
def test_a_dm_that_does_not_fit_is_refused(dm):
    # pitfall: a DM above 6553.5 in 16 bits of tenths
    with pytest.raises(LofarPacketError, match=r"DM .* does not fit"):
        pack(0, dm, test=True)


@pytest.mark.parametrize("freeze_time_ms", [2**31 * 1000, -1])
def test_a_time_that_does_not_fit_is_refused(freeze_time_ms):
    # pitfall: signed 32-bit seconds
    with pytest.raises(LofarPacketError, match=r"freeze time .* does not fit"):
        pack(freeze_time_ms, 0, test=True)


@pytest.mark.parametrize(
    ("arrival", "delay_s", "buffer_s"),
    [
        ("now", 1, 5),
        ("2019-01-02T18:00:00", float("nan"), 5),
        ("2019-01-02T18:00:00", -1, 5),
        ("2019-01-02T18:00:00", 1, float("inf")),
    ],
)
def test_a_freeze_time_needs_sensible_input(arrival, delay_s, buffer_s):
    with pytest.raises(LofarPacketError):
        freeze_time(arrival, delay_s, buffer_s)


GOOD = pack(1546452008265, 56.791, test=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\0",
        b"\x98" + GOOD[1:],
        GOOD[:-1] + b"X",
        GOOD[:2] + b"\xff" + GOOD[3:],  # a time before 1970
        GOOD[:6] + (1000).to_bytes(2) + GOOD[8:],
    ],
)
def test_what_is_no_packet_is_refused(data):
    with pytest.raises(LofarPacketError):
        unpack(data)


@given(st.binary(min_size=9, max_size=12))
def test_any_bytes_are_a_packet_or_refused(data):
    for packet in (data, GOOD[:2] + data):
        try:
            result = unpack(packet)
        except LofarPacketError:
            continue
        assert pack(result.freeze_time_ms, result.dm, result.test) == packet
