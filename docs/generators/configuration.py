"""The reference of the configuration: from the comments of the packaged defaults and the models' types."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml

from darc.config import Config
from darc.config.types import Allowed

INTRODUCTION = """\
# Configuration

Every key there is, with its default, its meaning, and what it may be. The site's file holds only what
differs from these defaults; [A new site](../../guides/new-site.md) shows one, and `darc check-config` lists
every mistake in it. Made from `darc/config.yaml` and the models in `darc.config`.

In every text, `{home}` is the user's home folder, `{hostname}` the host's name and `{node}` the name of the
node. Times are in seconds, DMs in pc/cm³, frequencies in MHz, if nothing else is said. Mappings are merged
key by key; a list replaces the list that stands here.
"""
#: What separates a paragraph of a comment from a list or table that keeps its form.
_INDENTED = re.compile(r"\s{2,}")
#: What values of a type without limits of its own are.
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class Entry(NamedTuple):
    """Keys that share a comment: names within the section, with their defaults as YAML; and the comment."""

    keys: dict[str, str]
    comment: list[str]


def page() -> str:
    """Return the reference as Markdown."""
    text = files("darc").joinpath("config.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    root = yaml.compose(text)
    assert root is not None
    parts = [INTRODUCTION]
    for name, value in root.value:
        parts += [f"## {name.value}", _prose(_comment(lines, name.start_mark.line))]
        model = Config.model_fields[name.value].annotation
        parts += [_definition(entry, model) for entry in _entries(lines, value, "")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _entries(lines: list[str], node: yaml.Node, prefix: str) -> Iterator[Entry]:
    """Yield the keys of a mapping and, below each that is a mapping itself, its keys."""
    if not _is_block(node):
        return
    entry = Entry({}, [])
    for name, value in node.value:
        comment = _comment(lines, name.start_mark.line)
        if comment and entry.keys:
            yield entry
            entry = Entry({}, [])
        entry = Entry(entry.keys, entry.comment or comment)
        entry.keys[f"{prefix}{name.value}"] = "" if _is_block(value) else _source(lines, value)
        if _is_block(value):
            yield entry
            entry = Entry({}, [])
            yield from _entries(lines, value, f"{prefix}{name.value}.")
    if entry.keys:
        yield entry


def _is_block(node: yaml.Node) -> bool:
    """Return whether a node is a mapping with a line per key."""
    return isinstance(node, yaml.MappingNode) and not node.flow_style


def _source(lines: list[str], value: yaml.Node) -> str:
    """Return a default as it stands in the file, in one line."""
    first, last = value.start_mark, value.end_mark
    if isinstance(value, yaml.SequenceNode) and not value.flow_style:
        return f"[{', '.join(item.value for item in value.value)}]"
    text = [line.strip() for line in lines[first.line : last.line + 1]]
    text[-1] = lines[last.line][: last.column].strip()
    text[0] = text[0] if len(text) == 1 and first.column == 0 else _from(lines, first, last)
    return " ".join(part for part in text if part)


def _from(lines: list[str], first: yaml.Mark, last: yaml.Mark) -> str:
    line = lines[first.line]
    return line[first.column : last.column if last.line == first.line else None].strip()


def _comment(lines: list[str], number: int) -> list[str]:
    """Return the lines of the comment right above a line, without their marks."""
    first = number
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [line.strip().removeprefix("#").removeprefix(" ") for line in lines[first:number]]


def _definition(entry: Entry, model: Any) -> str:
    """Return keys as an entry of a definition list."""
    term = ", ".join(
        f"`{name}`" + (f" = `{default}`" if default else "") for name, default in entry.keys.items()
    )
    allowed = {name: _allowed(_annotation(model, name.split("."))) for name in entry.keys}
    if len(set(allowed.values())) == 1:
        said = next(iter(allowed.values()))
    else:
        said = "; ".join(f"`{name}`: {text}" for name, text in allowed.items() if text)
    body = "\n\n".join(part for part in (_prose(entry.comment), f"*{said}*" if said else "") if part)
    body = body or "(see above)"
    return f"{term}\n: {body}".replace("\n", "\n  ").replace("\n  :", "\n:", 1).replace("\n  \n", "\n\n")


def _prose(comment: list[str]) -> str:
    """Return a comment as Markdown; lines that are indented keep their form."""
    parts: list[tuple[bool, list[str]]] = []
    for line in comment:
        kept = bool(_INDENTED.match(line))
        if not parts or parts[-1][0] != kept:
            parts.append((kept, []))
        parts[-1][1].append(line)
    return "\n\n".join(
        "\n".join(["```text", *lines, "```"]) if kept else _escaped("\n".join(lines)) for kept, lines in parts
    )


def _escaped(text: str) -> str:
    """Return text in which Markdown sees nothing but its code."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([<>*_\[\]{}|])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _annotation(model: Any, path: list[str]) -> Any:
    """Return the type of a key of a model, with what pydantic was told about it."""
    for name in path:
        model = next((each for each in (model, *get_args(model)) if hasattr(each, "model_fields")), None)
        if model is None or name not in model.model_fields:
            return None
        field = model.model_fields[name]
        model = field.rebuild_annotation()
    return model


def _allowed(annotation: Any) -> str:
    """Return what a value may be, in words; empty: nothing to say."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    said = next(
        (each.text for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Allowed)), ""
    )
    if said or annotation is None:
        return said.removesuffix(" (in quotes if it looks like a number)")
    if hasattr(annotation, "__metadata__"):
        return _allowed(arguments[0])
    if origin is Literal:
        return f"one of {', '.join(f'`{value}`' for value in arguments)}"
    if origin in (Union, types.UnionType):
        texts = ["null" if each is type(None) else _allowed(each) for each in arguments]
        return ", or ".join(text for text in texts if text) if all(texts) else ""
    if origin is list:
        return f"a list: {inner}" if (inner := _allowed(arguments[0])) else ""
    return _PLAIN.get(annotation, "")
