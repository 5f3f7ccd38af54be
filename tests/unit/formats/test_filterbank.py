"""Headers of filterbank files: what comes back, what is refused; samples of less than a byte."""

import contextlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.filterbank import (
    HEADER_BYTES_MAX,
    SAMPLE_TYPES,
    FilterbankError,
    FilterbankHeader,
    FilterbankTruncatedError,
    build_header,
    pack_samples,
    parse_header,
    unpack_samples,
)

HEADER = FilterbankHeader(
    nchan=1536,
    nbit=8,
    fch1_mhz=1519.50561523,
    foff_mhz=-0.1953125,
    tsamp_s=81.92e-6,
    tstart_mjd=58621.99390625,
    source_name="B1933+16",
    src_raj_hhmmss=193547.8,
    src_dej_ddmmss=161640.0,
    nbeams=12,
    ibeam=3,
    machine_id=15,
    telescope_id=10,
    extra={"az_start": 12.5, "rawdatafile": "/data/päth.fil", "nsamples": 10, "npuls": 2**40},
)


def text(content):
    return struct.pack("<i", len(content)) + content


def header_of(*keys):
    """Header made by hand."""
    return text(b"HEADER_START") + b"".join(text(key) + value for key, value in keys) + text(b"HEADER_END")


REQUIRED = [
    (b"nchans", struct.pack("<i", 64)),
    (b"nbits", struct.pack("<i", 8)),
    (b"fch1", struct.pack("<d", 1400.0)),
    (b"foff", struct.pack("<d", 0.5)),
    (b"tsamp", struct.pack("<d", 1e-3)),
    (b"tstart", struct.pack("<d", 58000.0)),
]

headers = st.builds(
    replace,
    st.just(HEADER),
    nchan=st.integers(1, 4096).map(lambda n: 8 * n),
    nbit=st.sampled_from(list(SAMPLE_TYPES)),
    fch1_mhz=st.floats(1000, 2000),
    foff_mhz=st.floats(1e-3, 0.02) | st.floats(-0.02, -1e-3),
    tsamp_s=st.floats(1e-9, 10),
    tstart_mjd=st.floats(0, 1e5),
    source_name=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=50),
    ibeam=st.integers(-(2**31), 2**31 - 1),
    src_dej_ddmmss=st.floats(allow_nan=False),
    extra=st.fixed_dictionaries({}, optional={"refdm": st.floats(allow_nan=False), "signed": st.just(0)}),
)


@given(headers, st.binary(max_size=20))
def test_a_header_comes_back_whatever_follows_it(header, samples):
    data = build_header(header)
    parsed = parse_header(data + samples)
    assert parsed == header
    assert parsed.header_bytes == len(data)


@given(st.permutations(REQUIRED))
def test_the_order_of_the_keys_does_not_matter(keys):
    header = parse_header(header_of(*keys))
    assert (header.nchan, header.nbit, header.fch1_mhz, header.foff_mhz) == (64, 8, 1400.0, 0.5)
    assert (header.tsamp_s, header.tstart_mjd, header.source_name) == (1e-3, 58000.0, "")


def test_the_longest_header_can_be_read():
    longest = replace(HEADER, source_name="x" * 4096, extra={**HEADER.extra, "rawdatafile": "y" * 4096})
    assert parse_header(build_header(longest)) == longest


def test_other_keys_of_sigproc_are_kept():
    header = parse_header(header_of((b"refdm", struct.pack("<d", 26.8)), *REQUIRED))
    assert header.extra == {"refdm": 26.8}
    assert parse_header(build_header(HEADER)).extra["npuls"] == 2**40


@given(st.binary(max_size=600))
def test_any_bytes_are_a_header_or_refused(data):
    for attempt in (data, text(b"HEADER_START") + data, header_of(*REQUIRED, (b"source_name", data))):
        with contextlib.suppress(FilterbankError):
            parse_header(attempt)


@given(st.integers(20, 300), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_is_a_header_or_refused(position, damage):
    data = build_header(HEADER)
    with contextlib.suppress(FilterbankError):
        parse_header(data[:position] + damage + data[position + len(damage) :])


@given(st.integers(0, len(build_header(HEADER)) - 1))
def test_a_header_that_is_cut_off_may_be_complete_later(nbyte):
    with pytest.raises(FilterbankTruncatedError, match=f"cut off after {nbyte} bytes"):
        parse_header(build_header(HEADER)[:nbyte])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SIMPLE  =                    T", "does not begin with HEADER_START"),
        (header_of((b"colour", bytes(4)), *REQUIRED), "'colour', which is none of SIGPROC's"),
        (header_of((b"FREQUENCY_START", b""), *REQUIRED), "FREQUENCY_START"),
        (header_of(*REQUIRED[1:-1]), "lacks nchans, tstart"),
        (text(b"HEADER_START") + struct.pack("<i", -1) + bytes(99), "damaged: a text of -1 bytes at byte 20"),
        (text(b"HEADER_START") + struct.pack("<i", 81) + bytes(99), "damaged: a text of 81 bytes"),
        (header_of(*[(b"nbins", bytes(4))] * 2000, *REQUIRED), "does not end within"),
    ],
)
def test_what_is_no_header_is_refused_with_the_reason(data, message):
    with pytest.raises(FilterbankError, match=message) as error:
        parse_header(data)
    assert not isinstance(error.value, FilterbankTruncatedError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nchan": 0}, "nchan is 0"),
        ({"nchan": -5}, "nchan is -5"),
        ({"nchan": 2**31 - 1}, "nchan is"),
        ({"nbit": 12}, "nbit is 12; it has to be one of 1, 2, 4, 8, 16, 32"),
        ({"nchan": 3, "nbit": 4}, "do not fill whole bytes"),
        ({"nifs": 0}, "nifs is 0"),
        ({"tsamp_s": 0.0}, "tsamp_s is 0.0"),
        ({"tsamp_s": -1e-3}, "tsamp_s"),
        ({"tsamp_s": float("nan")}, "tsamp_s is nan"),
        ({"tstart_mjd": float("inf")}, "tstart_mjd is inf"),
        ({"fch1_mhz": float("-inf")}, "fch1_mhz"),
        ({"fch1_mhz": 1e300}, "fch1_mhz"),
        ({"foff_mhz": 0.0}, "foff_mhz is 0.0"),
        ({"foff_mhz": float("nan")}, "foff_mhz is nan"),
        ({"foff_mhz": -1.0}, "all frequencies are positive"),
        ({"extra": {"signed": 1}}, "signed"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(FilterbankError, match=message):
        replace(HEADER, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ibeam": 2**31}, "ibeam cannot be 2147483648"),
        ({"source_name": "\udc80"}, "source_name cannot be"),
        ({"source_name": "x" * 5000}, "source_name is too long"),
        ({"extra": {"npuls": "many"}}, "npuls cannot be 'many'"),
        ({"extra": {"colour": 1}}, "'colour' cannot stand among the extra keys"),
        ({"extra": {"nchans": 1}}, "'nchans' cannot stand among the extra keys"),
    ],
)
def test_what_does_not_fit_a_header_is_not_written(changes, message):
    with pytest.raises(FilterbankError, match=message):
        build_header(replace(HEADER, **changes))


def test_the_geometry_follows_from_the_header():
    header = parse_header(build_header(HEADER))
    assert header.bytes_per_sample == 1536
    assert header.freqs_mhz[[0, -1]] == pytest.approx([1519.50561523, 1219.70092773])
    assert header.nsample(0) == header.nsample(header.header_bytes + 1535) == 0
    assert header.nsample(header.header_bytes + 3 * 1536 + 5) == 3
    assert replace(header, nbit=4).bytes_per_sample == 768
    assert replace(header, nbit=16).dtype == np.uint16 and replace(header, nbit=32).dtype == np.float32


@pytest.mark.parametrize(
    ("nbit", "samples", "packed"),
    [
        (1, [1, 0, 0, 0, 0, 0, 1, 1], [0b11000001]),
        (2, [1, 0, 3, 2], [0b10110001]),
        (4, [1, 15], [0xF1]),
        (8, [7], [7]),
    ],
)
def test_the_first_channel_has_the_lowest_bits(nbit, samples, packed):
    assert pack_samples(np.array([samples]), nbit).tolist() == [packed]


@given(st.sampled_from([1, 2, 4]), st.integers(0, 3), st.integers(1, 9), st.integers(0, 2**32))
def test_packed_samples_come_back(nbit, nsample, nbyte, seed):
    samples = np.random.default_rng(seed).integers(0, 2**nbit, (nsample, nbyte * 8 // nbit), dtype=np.uint8)
    packed = pack_samples(samples, nbit)
    assert packed.shape == (nsample, nbyte) and packed.dtype == np.uint8
    np.testing.assert_array_equal(unpack_samples(packed, nbit), samples)


def test_real_headers(reference_data):
    for name, nbit in (("parkes_8bit_1.fil", 8), ("parkes_4bit.fil", 4)):
        header = parse_header((reference_data / "sigproc" / name).read_bytes()[:HEADER_BYTES_MAX])
        assert (header.nchan, header.nbit, header.source_name) == (832, nbit, "J0534+2200")
        assert (header.fch1_mhz, header.foff_mhz, header.tsamp_s) == (4030.0, -4.0, pytest.approx(512e-6))


def test_a_header_without_a_source_has_no_empty_text():
    # another reader, sigpyproc, takes an empty text for the end of the file
    data = build_header(replace(HEADER, source_name=""))
    assert b"source_name" not in data
    assert parse_header(data).source_name == ""
