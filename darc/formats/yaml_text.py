"""YAML text that people write: parsed strictly, with the lines that mistakes stand in.

PyYAML keeps the last of two values with the same key, follows aliases without end, and fails in its own ways
on values that are not what their tag says; all of these are refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from darc.errors import DARCError

#: The most values and levels that a text may hold with its aliases written out. A large site's configuration
#: has some thousand values on six levels; the limits stop texts that were made to hurt.
MAX_VALUES = 50_000
MAX_DEPTH = 32
#: Most faults that the text of an error tells.
TOLD_MAX = 50

#: Where a value stands: names of mappings and positions in lists.
Key: TypeAlias = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Fault:
    """One fault of a text: what it is, its line (from 1; None: the whole text) and the key concerned."""

    reason: str
    line: int | None = None
    key: str = ""


class YAMLTextError(DARCError):
    """The text is no YAML mapping as it has to be; `faults` says why."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        told = [f"line {fault.line}: {fault.key} {fault.reason}" for fault in self.faults[:TOLD_MAX]]
        more = len(self.faults) - len(told)
        return "; ".join([*told, f"and {more} more"] if more else told)


def parse_yaml(text: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds; an empty text is an empty mapping.

    Raises:
        YAMLTextError: no YAML, no mapping, a key that stands twice in its mapping, or far too many values
    """
    try:
        _check_depth(text)
        loader = _LOADER(text)
        root = loader.get_single_node()
        if root is None or root.tag == "tag:yaml.org,2002:null":
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise YAMLTextError(Fault("has to hold a mapping, lines such as 'key: value'"))
        _check(root)
        data: dict[str, Any] = loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        reason = f"is no valid YAML: {reason:.200} (text with braces or ': ' in it needs quotes)"
        raise YAMLTextError(Fault(reason, mark.line + 1 if mark else None)) from error
    except ValueError as error:  # a date that does not exist, such as 2026-02-30
        raise YAMLTextError(Fault(f"is no valid YAML: {error!s:.200}")) from error
    except (AttributeError, LookupError, OverflowError) as error:  # for instance `!!bool maybe`
        raise YAMLTextError(Fault("is no valid YAML: a value is not what its tag says")) from error
    return data


def line_of(text: str, key: Key) -> int | None:
    """Return the line, from 1, of a key in a valid YAML text, or of the innermost one around it."""
    node = _LOADER(text).get_single_node()
    line = None
    for part in key:
        found = _child(node, part)
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """Return line and content of one part of a mapping or list, None if there is none."""
    if isinstance(node, yaml.MappingNode):
        pairs = [pair for position, pair in enumerate(node.value) if part in (position, pair[0].value)]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(item, item) for position, item in enumerate(node.value) if position == part]
    else:
        pairs = []
    return (pairs[0][0].start_mark.line + 1, pairs[0][1]) if pairs else None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser written in C follows it to the end of its stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark = event.start_mark
            raise YAMLTextError(Fault("is nested too deeply", mark.line + 1 if mark else None))


def _check(root: yaml.Node) -> None:
    """Refuse repeated and compound keys, and too many values, before anything is built from them."""
    wrong: dict[Fault, None] = {}  # an alias has the faults of its anchor once more
    stack: list[tuple[yaml.Node, int]] = [(root, 0)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise YAMLTextError(Fault("has too many values, or an alias that contains itself"))
        if isinstance(node, yaml.SequenceNode):
            stack.extend((item, depth + 1) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            stack.extend((item, depth + 1) for _, item in node.value)
            wrong |= dict.fromkeys(_wrong_keys(node))
    if wrong:
        raise YAMLTextError(*sorted(wrong, key=lambda fault: fault.line or 0))


def _wrong_keys(node: yaml.MappingNode) -> Iterator[Fault]:
    """Yield the keys of one mapping that are no text, or were there before."""
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield Fault("has a list or a mapping as a key: a key has to be text", line)
            continue
        name = str(key.value)
        if name in first:
            yield Fault(f"stands twice, first in line {first[name]}: keep one of them", line, name)
        first.setdefault(name, line)
