"""Tells pydantic's errors in the words of the configuration file: where, which value, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from darc.config_files import Problem, RawConfig, problem_at
from darc.formats.yaml_text import Key

_ALLOWED = {
    "list_type": "has to be a list, such as [a, b]",
    "dict_type": "has to be a mapping, with 'key: value' below it",
    "model_type": "has to be a mapping, with 'key: value' below it",
    "dataclass_type": "has to be a mapping, with 'key: value' below it",
    "invalid_key": "a key has to be text",
    "missing": "is missing",
}
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_HIDDEN = "server_auth"


def problems_of(error: ValidationError, raw: RawConfig, model: type[BaseModel]) -> list[Problem]:
    """Return the problems of a merged configuration that `model` refused.

    In the order of the file's lines. What was derived from a wrong value is no mistake of its own: left out.
    """
    problems = [
        _problem(details, raw, model)
        for details in error.errors(include_url=False)
        if details["type"] == "missing" or raw.origin(_place(details))
    ]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _problem(details: ErrorDetails, raw: RawConfig, model: type[BaseModel]) -> Problem:
    """Tell one error in plain words."""
    key = _place(details)
    context = details.get("ctx", {})
    key += tuple(context.get("key", ()))
    kind, hide = details["type"], key[-1] == _HIDDEN
    allowed = _ALLOWED.get(kind) or details["msg"].replace("Input should be", "has to be")
    if kind == "literal_error":
        allowed = f"has to be one of {context['expected'].replace(' or ', ', ')}"
    elif kind in _UNKNOWN_KEY:
        known = sorted(_known_keys(model, key[:-1]))
        close = get_close_matches(str(key[-1]), known, n=1)
        hide = _HIDDEN in close
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        allowed = f"no such key; {hint}"
    return problem_at(raw, key, allowed, hide)


def _place(details: ErrorDetails) -> Key:
    """Return the key that an error is about, also where it is wrong itself."""
    return tuple(part for part in details["loc"] if part != "[key]")


def _known_keys(model: Any, key: Key) -> set[str]:
    """Return the keys that the mapping at `key` may have."""
    models = {model}
    for part in key:
        if isinstance(part, str):
            models = {inner for outer in models for inner in _models(_types(outer).get(part))}
    return {name for inner in models for name in _types(inner)}


def _types(model: Any) -> dict[str, Any]:
    """Return the fields of a model or dataclass and their types."""
    if is_dataclass(model):
        return {field.name: field.type for field in fields(model)}
    return {name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[Any]:
    """Yield the models and dataclasses that an annotation names."""
    if is_dataclass(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
