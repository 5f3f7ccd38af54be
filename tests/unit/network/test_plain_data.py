"""Reading pickles of others without building anything but plain data."""

import collections
import datetime
import os
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.network import plain_data
from darc.network.plain_data import MAX_DEPTH, PlainDataError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT | st.binary()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=20,
)


class Bomb:
    """What it is pickled as runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@given(PLAIN, st.integers(3, 5))
def test_plain_data_come_through_unchanged(item, protocol):
    read = plain_data.loads(pickle.dumps(item, protocol))
    assert repr(read) == repr(item)  # also tells 1 from 1.0 and True, and NaN from other numbers


def test_a_list_that_stands_twice_comes_through():
    twice = [1, 2]
    assert plain_data.plain_copy({"a": twice, "b": twice}) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("code", ["?", "b", "h", "i", "q", "B", "H", "I", "Q", "e", "f", "d"])
def test_scalars_of_numpy_become_numbers_of_python(code):
    value = np.dtype(code).type(1)
    read = plain_data.plain_copy({"snr": value})["snr"]
    assert (read, type(read)) == (value.item(), type(value.item()))


def test_scalars_of_numpy_1_and_of_the_other_byte_order_are_read():
    data = pickle.dumps(np.dtype(">f4").type(1.5), protocol=3)
    assert plain_data.loads(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")) == 1.5
    big_endian = pickle.dumps(np.float64(2.5)).replace(b"\x8c\x01<", b"\x8c\x01>")
    value = np.float64(2.5).tobytes()
    assert plain_data.loads(big_endian.replace(value, value[::-1])) == 2.5


# Pickled queues: whoever connects runs code
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlainDataError):
        plain_data.loads(pickle.dumps({"dm": Bomb()}, protocol))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("depth", "plain"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False), (5000, False)])
def test_containers_may_be_nested_so_deep_that_a_line_of_the_log_can_show_them(depth, plain):
    data = pickle.PROTO + b"\x04" + (pickle.EMPTY_LIST * depth) + pickle.NONE + pickle.APPEND * depth + b"."
    if plain:
        assert repr(plain_data.loads(data)) == "[" * depth + "None" + "]" * depth
    else:
        with pytest.raises(PlainDataError, match=f"nested deeper than {MAX_DEPTH}"):
            plain_data.loads(data)


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63)])
def test_integers_of_64_bits_are_plain(number):
    assert plain_data.plain_copy(number) == number


@pytest.mark.parametrize(
    "item",
    [
        Bomb(),
        Bomb,
        os.system,
        {1, 2},
        {5: "key"},
        {("tuple",): 1},
        1j,
        2**64,
        -(2**63) - 1,
        "\ud800",
        bytearray(b"x"),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        collections.OrderedDict(a=1),
        np.zeros(3),
        np.dtype("f8"),
        np.longdouble(1),
        np.str_("text"),
        lambda: None,
        list(range(20_000)),
    ],
    ids=lambda item: type(item).__name__,
)
def test_anything_else_is_refused(item):
    with pytest.raises(PlainDataError):
        plain_data.plain_copy({"value": item})


def test_what_was_refused_is_named():
    with pytest.raises(PlainDataError, match=r"would build datetime\.datetime"):
        plain_data.plain_copy(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))


@pytest.mark.parametrize("name", ["a\ud800", "a\nERROR a line made up", "a" * 100_000, "\x1b[2J"])
def test_what_was_refused_fits_into_a_line_of_the_log(name):
    pickled = name.encode("utf-8", "surrogatepass")
    text = b"X" + len(pickled).to_bytes(4, "little") + pickled
    with pytest.raises(PlainDataError) as caught:
        plain_data.loads(b"\x80\x04" + text + text + b"\x93.")
    assert str(caught.value).isascii() and str(caught.value).isprintable() and len(str(caught.value)) < 200


def test_a_few_bytes_that_swell_when_followed_are_refused():
    swelling = []
    for _ in range(15):
        swelling = [swelling] * 10
    endless = []
    endless.append(endless)
    deep = ()
    for _ in range(100):
        deep = (deep, deep)
    for item in (swelling, endless, {"a": deep}):
        with pytest.raises(PlainDataError):
            plain_data.plain_copy(item)


def test_a_key_that_takes_for_ever_to_hash_is_refused():
    double = pickle.EMPTY_TUPLE + (pickle.BINPUT + b"\0" + pickle.BINGET + b"\0" + pickle.TUPLE2) * 200
    with pytest.raises(PlainDataError):
        plain_data.loads(pickle.EMPTY_DICT + double + pickle.NONE + pickle.SETITEM + pickle.STOP)


OPCODES = st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])
NAMES = st.sampled_from([b"\x8c\x05numpy\x8c\x05dtype", b"\x8c\x02f8", b"cnumpy\ndtype\n", b"\x8c\x02os"])
ARGUMENTS = st.binary(max_size=5) | NAMES


@settings(max_examples=300)
@given(st.lists(OPCODES | ARGUMENTS, max_size=30).map(b"".join))
def test_random_instructions_give_plain_data_or_a_refusal(data):
    check_refused_or_plain(data + pickle.STOP)


@settings(max_examples=300)
@given(PLAIN, st.data())
def test_damaged_pickles_give_plain_data_or_a_refusal(item, data):
    damaged = bytearray(pickle.dumps({"a": item, "b": np.float32(1)}))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    check_refused_or_plain(bytes(damaged))


def check_refused_or_plain(data):
    try:
        item = plain_data.loads(data)
    except PlainDataError:
        return
    assert set(types_in(item)) <= {type(None), bool, int, float, str, bytes, list, tuple, dict}


def types_in(item):
    yield type(item)
    if isinstance(item, dict | list | tuple):
        for value in item.values() if isinstance(item, dict) else item:
            yield from types_in(value)
