"""Which mask file belongs to a band, and what it may hold."""

from pathlib import Path

import pytest

from darc.processor_tools.rfi_mask import RFIMaskError, find_mask, read_mask


@pytest.mark.parametrize(
    ("centre_mhz", "name"),
    [(1370.2, "zapped_1370.conf"), (1369.6, "zapped_1370.conf"), (1200.0, "zapped_1250.conf")],
)
def test_the_mask_of_the_nearest_frequency_is_taken(tmp_path, centre_mhz, name):
    for other in (
        "zapped_1250.conf",
        "zapped_1370.conf",
        "zapped_1700.conf",
        "zapped_.conf",
        "zapped_x.conf",
    ):
        (tmp_path / other).touch()
    assert find_mask(tmp_path / "zapped_FREQ.conf", centre_mhz).name == name


def test_a_name_without_placeholder_is_taken_as_it_is():
    assert find_mask(Path("/nowhere/mask"), 1370.0) == Path("/nowhere/mask")


@pytest.mark.parametrize("folder", [".", "missing"])
def test_without_any_mask_the_error_names_where_it_was_looked_for(tmp_path, folder):
    with pytest.raises(RFIMaskError, match=f"{tmp_path}.*rfi_mask"):
        find_mask(tmp_path / folder / "zapped_FREQ.conf", 1370.0)


def test_channels_are_separated_by_white_space(tmp_path):
    path = tmp_path / "mask"
    path.write_text("0 7\n1535\t12\n\n")
    assert read_mask(path) == [0, 7, 1535, 12]


@pytest.mark.parametrize("text", ["1 two", "-1", "1.5", "\N{SUPERSCRIPT TWO}"])
def test_something_else_than_channels_is_refused(tmp_path, text):
    path = tmp_path / "mask"
    path.write_text(text)
    with pytest.raises(RFIMaskError, match="no number of a channel"):
        read_mask(path)
