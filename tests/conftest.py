"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with real telescope data and reference results, which is not part of the project.

    `$DARC_REFERENCE_DATA` names it; without it, `../shared/data` beside the checkout is tried.
    """
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("DARC_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}: set DARC_REFERENCE_DATA to the folder that holds it")
    return folder
