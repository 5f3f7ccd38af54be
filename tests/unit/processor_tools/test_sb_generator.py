"""The synthesised beams of an observation: from the site's table or computed, and none that is not there."""

import numpy as np
import pytest

from darc.config import processing
from darc.definitions import Instrument
from darc.formats.sb_table import SBTableError
from darc.processor_tools.sb_generator import SBGenerator, SBGeneratorError
from darc.science.beams import sb_table


@pytest.fixture
def settings(tmp_path):
    return processing.SBGenerator.model_validate(
        {
            "table_folder": tmp_path,
            "table": {"sc3": "nine.txt", "sc4": "twelve.txt"},
            "numtab": {"sc3": 9, "sc4": 12},
            "numsb": {"sc3": 114, "sc4": 71},
        }
    )


def test_without_a_table_one_is_computed(settings):
    beams = SBGenerator.for_observation(settings, ntab=12)
    np.testing.assert_array_equal(beams.table, sb_table())
    assert beams.source == f"computed, there is no table {settings.table_folder / 'twelve.txt'}"


def test_the_number_of_tabs_says_which_science_case_it_is(settings):
    table = SBGenerator.for_observation(settings, ntab=9).table
    assert table.shape == (114, 32) and set(table.ravel()) == set(range(9))
    with pytest.raises(SBGeneratorError, match=r"for 10 TABs, only for 9 \(sc3\), 12 \(sc4\)"):
        SBGenerator.for_observation(settings, ntab=10)


def test_the_site_has_a_table_of_its_own(settings):
    path = settings.table_folder / "twelve.txt"
    path.write_text("0 11\n" * 71)
    beams = SBGenerator.for_observation(settings, ntab=12, instrument=Instrument(nsubband=2))
    assert beams.table.tolist() == [[0, 11]] * 71
    assert beams.source == str(path)


def test_a_table_that_does_not_fit_is_refused_by_name(settings):
    path = settings.table_folder / "twelve.txt"
    path.write_text("0 11\n" * 71)
    with pytest.raises(SBTableError, match=r"twelve\.txt: line 1: has 2 columns; there are 32 subbands"):
        SBGenerator.for_observation(settings, ntab=12)
    path.write_bytes(b"\xff")
    with pytest.raises(SBTableError, match=r"twelve\.txt: not UTF-8"):
        SBGenerator.for_observation(settings, ntab=12)


@pytest.mark.parametrize("sb", [-1, 71])
def test_a_beam_that_is_not_there_is_refused(settings, sb):
    beams = SBGenerator.for_observation(settings, ntab=12)
    assert beams.row(70).shape == (32,)
    with pytest.raises(SBGeneratorError, match=f"there is no synthesised beam {sb}, only 0 to 70"):
        beams.row(sb)
