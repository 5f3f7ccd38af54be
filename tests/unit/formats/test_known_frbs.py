"""Lists of known fast radio bursts."""

import pytest

from darc.formats.known_frbs import KnownFRB, KnownFRBsError, load_known_frbs


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "known.yaml"
        path.write_text(text)
        return load_known_frbs(path)

    return load


def test_each_source_has_a_position_and_a_dm(load):
    assert load("FRB1: {ra: 29.5, dec: -65, dm: 348.8}\nFRB2: {ra: 0, dec: 0, dm: 0}") == [
        KnownFRB("FRB1", 29.5, -65.0, 348.8),
        KnownFRB("FRB2", 0.0, 0.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "FRB1: {ra: 01:58:00, dec: 65.7, dm: 348.8}",
            "FRB1: ra = '01:58:00': has to be a number from 0 to 360",
        ),
        ("FRB1: {ra: 29.5, dec: 65.7}", "FRB1: has to hold the numbers ra, dec, dm"),
        ("FRB1: 348.8", "FRB1: has to hold the numbers ra, dec, dm"),
        ("FRB1: {ra: 29.5, dec: .nan, dm: 348.8}", "dec = nan: has to be a number from -90 to 90"),
        ("FRB1: {ra: 29.5, dec: 65.7, dm: much}", "dm = 'much'"),
        ("FRB1: {ra: true, dec: 65.7, dm: 1}", "ra = True"),
        ("[FRB1]", "known.yaml"),
    ],
)
def test_a_source_without_numbers_is_named(load, text, message):
    with pytest.raises(KnownFRBsError, match=message):
        load(text)


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KnownFRBsError, match=r"absent\.yaml"):
        load_known_frbs(tmp_path / "absent.yaml")
