"""What the documentation shows is what happens: its code is run, and its commands."""

import os
from pathlib import Path

import pytest

from docs import blocks

ROOT = Path(__file__).parents[2]
PAGES = [page for page in blocks.pages() if blocks.of_page(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(blocks.DOCS)))
def test_code_and_commands_of_a_page_do_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    names = {"__name__": "page"}
    for block in blocks.of_page(page):
        blocks.run(block, tmp_path, names, environment)


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("python", "assert 1 + 1 == 3", AssertionError),
        ("pycon", ">>> 1 + 1\n3\n", blocks.WrongError),
        ("console", "$ darc --version\n0.0.1\n", blocks.WrongError),
        ("console", "$ rm -rf /\n", blocks.WrongError),
    ],
)
def test_a_block_that_is_not_true_fails(kind, text, reason, tmp_path):
    (block,) = blocks.blocks(f"# Page\n\n```{kind}\n{text}\n```\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    with pytest.raises(reason):
        blocks.run(block, tmp_path, {}, environment)
