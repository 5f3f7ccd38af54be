"""AMBER's trigger files: any bytes are survived, good lines are read exactly, whatever stands around them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import ARTS, Instrument
from darc.formats.amber import AmberParser, AmberRows, format_row, header

TSAMP = ARTS.tsamp_s
BATCH = ARTS.samples_per_batch


def row(*, beam=3, batch=10, sample=299, step=1, dm=56.8, snr=12.5, downsampling=1, compacted=True):
    """A row whose printed time fits its other columns; `step` without downsampling."""
    time_s = (batch * BATCH + sample * step * downsampling) * TSAMP
    return format_row(
        beam=beam,
        batch=batch,
        sample=sample,
        integration_step=step * downsampling if compacted else step,
        time_s=time_s,
        dm=dm,
        snr=snr,
        compacted=compacted,
    )


def parse(lines, parser=None) -> AmberRows:
    return (parser or AmberParser()).feed(lines)


rows = st.builds(
    row,
    beam=st.integers(0, 70),
    batch=st.integers(0, 40000),
    sample=st.integers(0, 12499),
    step=st.sampled_from([1, 5, 25, 1000]),
    dm=st.floats(0, 1e5),
    snr=st.floats(0, 1e7),
)
junk = st.binary(max_size=60).filter(lambda line: b"\n" not in line and not line.startswith(b"#"))
plausible_junk = st.text("0123456789.-+eE _\r\tnaif#", max_size=60).map(str.encode)


def test_a_row_is_read_by_the_names_of_its_columns():
    result = parse(header() + "7 290 11 1000 1 297.861 414 82.8 7 10.2042\n")
    assert result.batch.tolist() == [290]
    np.testing.assert_allclose(result.triggers, [[82.8, 10.2042, 297.861, 1000, 7]], rtol=0, atol=6e-4)
    assert result.header_seen
    assert result.malformed == 0


def test_columns_may_stand_in_any_order_among_unknown_ones():
    text = (
        "# SNR time new_column batch_id DM integration_step sample_id beam_id compacted_integration_steps\n"
    )
    result = parse(text + "10.5 2 99 0 56.8 7 0 3 1\n")
    np.testing.assert_array_equal(result.triggers, [[56.8, 10.5, 2, 7, 3]])


def test_a_header_in_the_middle_changes_the_columns_from_there_on():
    # pitfall: each AMBER instance writes its own header, so headers turn up in the middle
    text = (
        header()
        + row(snr=11)
        + header(compacted=False)
        + row(snr=12, compacted=False)
        + header()
        + row(snr=13)
    )
    assert parse(text).triggers[:, 1].tolist() == [11, 12, 13]


def test_a_file_with_only_a_header_has_no_rows_but_was_seen():
    parser = AmberParser()
    assert not parser.header_seen
    result = parser.feed(header())
    assert len(result) == 0 and result.triggers.shape == (0, 5) and result.header_seen


@pytest.mark.parametrize("compacted", [True, False])
def test_without_a_header_the_number_of_columns_tells_the_form(compacted):
    result = parse(row(compacted=compacted))
    np.testing.assert_allclose(result.triggers[0, [0, 1, 3, 4]], [56.8, 12.5, 1, 3])
    assert not result.header_seen


@pytest.mark.parametrize(
    "damaged",
    [
        "7 290 11 1000 1 297.86",  # cut off
        "7 290 11 1000 1 297.861 414 82.8 7",  # a field is missing
        "7 290 11 1000 1 297.861 414 82.8 7 10.2 4",  # one too many
        "7 290 11 1000 1 297.861 414 82.8 7 nan",
        "7 290 11 1000 1 inf 414 82.8 7 10.2",
        "7 290 11 1000 1 297.861 414 1e999 7 10.2",
        "7 290 11 1000 1 297.861 414 82.8 7 -10.2",
        "7 290 11 1000 1 -297.861 414 82.8 7 10.2",
        "7 290 11 0 1 297.861 414 82.8 7 10.2",  # no width
        "7 99999999999999999999999 11 1000 1 297.861 414 82.8 7 10.2",
        "7 4294967296 11 1000 1 297.861 414 82.8 7 10.2",
        "7.5 290 11 1000 1 297.861 414 82.8 7 10.2",
        "7 2_9 11 1000 1 297.861 414 82.8 7 10.2",
        "7 290 11 1000 1 297.861 414 8.2.8 7 10.2",
        "7 290 11 1000 1 297.861 414 . 7 10.2",
        "7 290 11 1000 1 297.861 414 82.8 7 10.2\0",
        "7 290 11 1000 1 297.861 414 82.8 7 " + "9" * 100_000,
        "\x7fELF\x01\x02\x00",
        "# beam_id batch_id sample",  # a header that was cut off
        "# a remark",
    ],
)
@pytest.mark.parametrize("around", [2, 500], ids=["few lines", "many lines"])
def test_a_malformed_line_costs_itself_alone(damaged, around):
    # pitfall: one malformed line discarding a whole batch
    good = "".join(row(sample=sample) for sample in range(around))
    alone = parse(header() + good + good)
    result = parse(header() + good + damaged + "\n" + good)
    np.testing.assert_array_equal(result.triggers, alone.triggers)
    np.testing.assert_array_equal(result.batch, alone.batch)
    assert result.malformed == 1
    assert 0 < len(result.first_malformed) < 100


def test_the_first_malformed_line_is_shown_without_its_control_characters():
    result = parse(header() + "rub\x1bbish\n" + "more\n")
    assert result.first_malformed == r"'rub\x1bbish'"
    assert result.malformed == 2


def test_an_unusual_but_correct_line_is_a_row():
    usual = parse(header() + "7 290 11 1000 1 297.861 414 82.8 7 10.2\n").triggers
    for line in (
        "7 290 11 1000 1 2.97861e+02 414 8.28e1 7 10.2",
        " 7\t290 11  1000 1 297.861 414 82.8 7 10.2 \r",
        "+7 290 11 1000 1 297.861 414 82.80 7 10.2",
        "7.0 290. 11 1000 1 297.861 414 82.8 7 10.2",
    ):
        result = parse(header() + line + "\n")
        np.testing.assert_allclose(result.triggers, usual, rtol=1e-15)
        assert result.malformed == 0


def test_empty_lines_are_no_malformed_ones():
    assert parse(header() + "\n  \n" + row() + "\n").malformed == 0


def test_bytes_text_and_lists_of_lines_give_the_same():
    text = header() + row(sample=1) + "rubbish\n" + row(sample=2)
    expected = parse(text)
    variants = [text.encode(), text.rstrip("\n"), text.splitlines(), text.splitlines(keepends=True)]
    for lines in variants:
        np.testing.assert_array_equal(parse(lines).triggers, expected.triggers)
        assert parse(lines).malformed == 1


def test_what_one_call_learned_counts_for_the_next():
    parser = AmberParser()
    parser.feed("# SNR DM time integration_step sample_id batch_id beam_id\n")
    result = parser.feed("10 20 30 40 50 60 70\n")
    assert result.triggers.tolist() == [[20, 10, 30, 40, 70]] and result.header_seen


@pytest.mark.parametrize(("sample", "step"), [(299, 1), (7131, 1), (11, 1000), (416, 25)])
@pytest.mark.parametrize("batch", [0, 290, 1000, 35000])
def test_times_are_exact_where_the_columns_allow_it(batch, sample, step):
    result = parse(header() + row(batch=batch, sample=sample, step=step))
    assert result.triggers[0, 2] == pytest.approx((batch * BATCH + sample * step) * TSAMP, abs=1e-9)


def test_a_printed_time_that_does_not_fit_the_columns_is_kept():
    other = Instrument(tsamp_s=40.96e-6)
    assert AmberParser(other).feed(header() + row(batch=2000)).triggers[0, 2] == 2048.02
    assert parse(header() + "7 290 11 1000 1 297.961 414 82.8 7 10.2\n").triggers[0, 2] == 297.961


def test_single_precision_may_have_rounded_the_printed_time_the_wrong_way():
    # a row of a real file: (254 x 12500 + 8429) x 81.92 us = 260.78650368 s
    result = parse(header() + "0 254 8429 1 1 260.786 0 0 1 10.5914\n")
    assert result.triggers[0, 2] == pytest.approx(260.78650368, abs=1e-9)


@pytest.mark.parametrize("downsampling", [1, 2, 5, 10])
def test_the_plain_form_gives_widths_in_native_samples_and_exact_times_too(downsampling):
    samples = [1234 // downsampling, 7, 0, 11000 // downsampling]
    options = [{"batch": 20 + n, "sample": sample, "step": 3} for n, sample in enumerate(samples)]
    plain = header(compacted=False) + "".join(
        row(**option, downsampling=downsampling, compacted=False) for option in options
    )
    compacted = header() + "".join(row(**option, downsampling=downsampling) for option in options)
    np.testing.assert_allclose(parse(plain).triggers, parse(compacted).triggers, rtol=1e-12)
    assert set(parse(plain).triggers[:, 3]) == {3 * downsampling}


def test_the_downsampling_of_the_plain_form_outlasts_a_call():
    parser = AmberParser()
    parser.feed(header(compacted=False) + row(sample=500, downsampling=5, compacted=False))
    late = parser.feed(
        row(batch=900, sample=1, downsampling=5, compacted=False)
    )  # too coarse to tell by itself
    assert late.triggers[0, 3] == 5


@given(st.lists(st.one_of(rows.map(str.encode), junk, plausible_junk), max_size=20), st.booleans())
def test_any_bytes_are_survived_and_every_line_is_accounted_for(lines, with_header):
    data = b"\n".join([header().encode()] * with_header + lines)
    result = parse(data)
    assert len(result) == len(result.triggers)
    assert np.isfinite(result.triggers).all()
    assert len(result) + result.malformed <= data.count(b"\n") + 1


@given(st.lists(rows, min_size=1, max_size=5), junk, st.integers(0, 5))
def test_good_lines_around_a_bad_one_are_those_parsed_alone(good, bad, place):
    with_bad = [line.encode() for line in good]
    with_bad.insert(place, bad + b"\n")
    result = parse(header().encode() + b"".join(with_bad))
    alone = [parse(header() + line) for line in good]
    np.testing.assert_array_equal(result.triggers, np.concatenate([each.triggers for each in alone]))
    np.testing.assert_array_equal(result.batch, np.concatenate([each.batch for each in alone]))
    assert result.malformed == bool(bad.split())


@given(st.lists(rows, min_size=1, max_size=8), st.integers(0, 100), st.data())
def test_how_lines_are_divided_over_calls_changes_nothing(lines, copies, data):
    lines = (lines * (copies // len(lines) + 1)) * 2  # from a few lines, read singly, to more than a hundred
    cut = data.draw(st.integers(0, len(lines)))
    parser = AmberParser()
    parts = [parser.feed(header()), parser.feed(lines[:cut]), parser.feed(lines[cut:])]
    whole = parse([header(), *lines])
    np.testing.assert_array_equal(np.concatenate([part.triggers for part in parts]), whole.triggers)


@given(st.floats(0, 2e9), st.floats(0, 1e6))
def test_numbers_are_those_of_float_in_few_lines_and_in_many(dm, snr):
    line = format_row(beam=0, batch=0, sample=0, integration_step=1, time_s=0, dm=dm, snr=snr)
    expected = [float(f"{dm:g}"), float(f"{snr:g}")]
    for copies in (1, 120):
        assert parse([line] * copies).triggers[-1, :2].tolist() == expected


@pytest.mark.parametrize("decimals", [0, 3, 9, 14])
def test_long_numbers_are_those_of_float(decimals):
    number = f"{123456789.123456789:.{decimals}f}"
    result = parse([f"0 0 0 1 1 0 0 {number} 1 10\n"] * 200)
    assert result.triggers[-1, 0] == float(number)


def test_the_writer_prints_as_amber_does():
    assert header() == (
        "# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM "
        "compacted_DMs SNR\n"
    )
    options = {"beam": 0, "batch": 0, "sample": 299, "integration_step": 1, "time_s": 0.02449408}
    assert (
        format_row(
            **options, dm=56.6, snr=18.46661, dm_id=283, compacted_integration_steps=2, compacted_dms=10
        )
        == "0 0 299 1 2 0.0244941 283 56.6 10 18.4666\n"
    )
    assert format_row(**options, dm=80, snr=1e7, compacted=False) == "0 0 299 1 0.0244941 0 80 1e+07\n"


def test_a_real_file_is_read_as_the_reference_did(reference_data):
    result = parse((reference_data / "amber" / "CB00_step1.trigger").read_bytes())
    expected = np.load(reference_data / "clustering" / "real_CB00_step1.npz")["triggers"]
    assert result.malformed == 0
    np.testing.assert_array_equal(result.triggers[:, [0, 1, 3, 4]], expected[:, [0, 1, 3, 4]])
    np.testing.assert_allclose(result.triggers[:, 2], expected[:, 2], atol=5.1e-4)
    assert result.batch[[0, -1]].tolist() == [0, 291]


def test_the_times_of_a_real_file_are_whole_samples(reference_data):
    for step, nrow in ((1, 2466), (2, 0), (3, 12)):
        times_s = parse((reference_data / "amber" / f"CB00_step{step}.trigger").read_bytes()).triggers[:, 2]
        assert len(times_s) == nrow
        np.testing.assert_allclose(times_s / TSAMP, np.rint(times_s / TSAMP), rtol=1e-12)
