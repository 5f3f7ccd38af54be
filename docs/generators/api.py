"""The pages of the programming interface: one per package, with what each of its modules says of itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import darc

ROOT = Path(darc.__file__).parent


def pages() -> dict[str, str]:
    """Return a page of Markdown per package, by its name; modules of a leading underscore are left out."""
    return {package: _page(package, modules) for package, modules in _packages().items()}


def _packages() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        package, module = _names(path)
        if not path.stem.startswith("_") or path.stem == "__init__":
            found.setdefault(package, []).append(module)
    return found


def _names(path: Path) -> tuple[str, str]:
    """Return the dotted names of a file's package and module."""
    package = ".".join(("darc", *path.parent.relative_to(ROOT).parts))
    return package, package if path.stem == "__init__" else f"{package}.{path.stem}"


def _page(package: str, modules: list[str]) -> str:
    return "\n".join([f"# {package}", "", *(line for name in modules for line in _module(package, name))])


def _module(package: str, name: str) -> Iterator[str]:
    if name == package:
        if not _defines(name):
            yield from (_docstring(name), "")
            return
    else:
        yield from (f"## {name}", "")
    yield from (
        "```{eval-rst}",
        f".. automodule:: {name}",
        "   :members:",
        "   :member-order: bysource",
        "```",
        "",
    )


def _tree(package: str) -> ast.Module:
    path = ROOT.joinpath(*package.split(".")[1:], "__init__.py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _docstring(package: str) -> str:
    return ast.get_docstring(_tree(package)) or ""


def _defines(package: str) -> bool:
    return any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in _tree(package).body)
