"""How Sphinx makes the pages; `make docs` calls it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import indent
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import darc  # noqa: E402
from docs.generators import api, commands, configuration, figures  # noqa: E402

project = "DARC"
author = copyright = "the DARC developers"
version = release = darc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
# options begin with two hyphens
smartquotes = False
html_theme = "furo"
html_title = f"DARC {release}"
html_favicon = "../darc/web/static/icon.svg"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# packages of extras that are not needed here
autodoc_mock_imports = ["torch"]
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
# names of types that several modules have
suppress_warnings = ["ref.python"]


def setup(app: Sphinx) -> None:
    """Have docstrings read as they are written, before anything else looks at them."""
    app.connect("autodoc-process-docstring", from_markdown, priority=1)


def from_markdown(*arguments: Any) -> None:
    """Turn the Markdown of a docstring, code between backquotes and tables, into what Sphinx reads."""
    lines = arguments[-1]
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines))
    text = re.sub(r"(?m)^(\|.*(?:\n\|.*)*)", lambda table: "::\n\n" + indent(table[0], "    "), text)
    lines[:] = text.splitlines()


def generate(folder: Path) -> None:
    """Write the pages that are made from the code; what has not changed keeps its time."""
    pages = {"configuration": configuration, "commands": commands, "figures": figures}
    made = {name: module.page() for name, module in pages.items()}
    made |= {f"api/{name}": text for name, text in api.pages().items()}
    paths = {folder / f"{name}.md": text for name, text in made.items()}
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in set(folder.rglob("*.md")) - set(paths):
        path.unlink()


generate(HERE / "reference" / "generated")
