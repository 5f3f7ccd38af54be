"""Tables of synthesised beams as text: what is read, what is refused."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.sb_table import SBTableError, parse_sb_table
from darc.science.beams import sb_table

TEXT = "# a comment\n0 1 2\n\n 3\t10  11\t\n"


def test_white_space_and_comments_do_not_matter():
    table = parse_sb_table(TEXT, nsb=2, nsubband=3, ntab=12)
    assert table.tolist() == [[0, 1, 2], [3, 10, 11]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 15), st.integers(0, 99))
def test_a_table_comes_back(nsb, nsubband, ntab, seed):
    table = np.random.default_rng(seed).integers(0, ntab, (nsb, nsubband))
    text = "\n".join(" ".join(map(str, row)) for row in table)
    np.testing.assert_array_equal(parse_sb_table(text, nsb=nsb, nsubband=nsubband, ntab=ntab), table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 rows; there are 2 synthesised beams"),
        ("0 1 2\n", "has 1 rows"),
        ("0 1 2\n" * 3, "has 3 rows"),
        ("0 1 2\n0 1\n", "line 2: has 2 columns; there are 3 subbands"),
        ("0 1 2 3\n", "line 1: has 4 columns"),
        ("0 1 12\n", "line 1: '12' is no TAB; they are 0 to 11"),
        ("0 -1 2\n", "'-1' is no TAB"),
        ("0 1.5 2\n", "'1.5' is no TAB"),
        ("0 x 2\n", "'x' is no TAB"),
        ("0 ² 2\n", "'²' is no TAB"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(text, message):
    with pytest.raises(SBTableError, match=message):
        parse_sb_table(text, nsb=2, nsubband=3, ntab=12)


@given(st.text() | st.text("0123 \n#"))
def test_any_text_is_a_table_or_refused(text):
    with contextlib.suppress(SBTableError):
        table = parse_sb_table(text, nsb=2, nsubband=2, ntab=4)
        assert table.shape == (2, 2) and table.min() >= 0 and table.max() <= 3


def test_the_real_table(reference_data):
    text = (reference_data / "arts" / "sbtable-sc4-12tabs-71sbs.txt").read_text()
    table = parse_sb_table(text, nsb=71, nsubband=32, ntab=12)
    assert np.mean(table == sb_table()) > 0.95
