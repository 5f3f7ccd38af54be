"""AMBER's files put together to one that says the same as all of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.formats.amber import AmberParser, format_row, header
from darc.offline.amber_files import merged


@st.composite
def files(draw):
    """Files in both forms, with headers before, between, or without any, and perhaps a last line cut off."""
    compacted = draw(st.booleans())
    lines = draw(
        st.lists(
            st.one_of(
                st.just(header(compacted=compacted)),
                st.just("\n"),
                st.integers(0, 70).map(
                    lambda sb: format_row(
                        beam=sb, batch=1, sample=25, integration_step=1, time_s=1.026048, dm=50.5, snr=12.0,
                        compacted=compacted,
                    )
                ),
            ),
            max_size=6,
        )
    )  # fmt: skip
    text = "".join(lines).encode()
    return text[:-1] if draw(st.booleans()) else text


# headers in the middle of files, empty files
@settings(max_examples=60, deadline=None)
@given(st.lists(files(), max_size=4))
def test_the_merged_file_has_the_rows_of_all_files(contents):
    alone = [AmberParser().feed(content).triggers for content in contents]
    together = AmberParser().feed(merged(contents))
    np.testing.assert_array_equal(together.triggers, np.concatenate([np.empty((0, 5)), *alone]))
    assert together.malformed == 0
