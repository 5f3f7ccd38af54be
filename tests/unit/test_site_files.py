"""A site keeps its file when it takes a new version: files of each earlier one have no mistakes."""

from pathlib import Path

import pytest

from darc import __version__
from darc.config import check_config

#: Every key with its default, as a version had it. CONTRIBUTING.md says how that of a release is added.
FILES = sorted((Path(__file__).parents[1] / "data" / "site_files").glob("*.yaml"))


def test_there_is_a_file_of_an_earlier_version():
    assert FILES


def test_a_release_adds_its_own_file():
    assert "dev" in __version__ or __version__ in [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_site_file_of_a_version_stays_valid(path):
    assert check_config(path) == []
