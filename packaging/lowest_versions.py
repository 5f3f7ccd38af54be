"""Print the lowest versions that pyproject.toml allows, as requirements for pip; chosen by test.

    python3.11 -m venv .venv-lowest
    .venv-lowest/bin/python packaging/lowest_versions.py ymw16 demo dask test > /tmp/lowest.txt
    .venv-lowest/bin/pip install -r /tmp/lowest.txt
    .venv-lowest/bin/python -m pytest tests/unit

Extras are named as arguments. The newest versions are what `make test` installs.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
#: Checks of the sources, which no test imports.
TOOLS = {"bandit", "import-linter", "lxml-stubs", "mypy", "ruff", "types-PyYAML"}


def lowest(requirements: Iterable[str]) -> list[str]:
    """Return requirements with `>=` turned to `==`; others as they are."""
    kept = (each for each in requirements if re.split(r"[<>=;\s]", each)[0] not in TOOLS)
    return [each.replace(">=", "==") for each in kept]


def main() -> None:
    """Print the requirements of the project and of the extras that are named."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in sys.argv[1:]:
        wanted += project["optional-dependencies"][extra]
    print("\n".join(sorted({*lowest(wanted)})))


if __name__ == "__main__":
    main()
