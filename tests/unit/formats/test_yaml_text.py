"""Behaviour of the strict YAML reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.yaml_text import YAMLTextError, line_of, parse_yaml


def faults_of(text):
    with pytest.raises(YAMLTextError) as caught:
        parse_yaml(text)
    return caught.value.faults


def test_mapping_is_returned():
    assert parse_yaml("a: {b: [1, x]}\n") == {"a": {"b": [1, "x"]}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_text_without_content_is_an_empty_mapping(text):
    assert parse_yaml(text) == {}


def test_every_repeated_key_is_named_with_both_lines():
    first, second = faults_of("a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert (second.key, second.line, first.key, first.line) == ("a", 3, "c", 2)
    assert "first in line 1" in second.reason


def test_same_key_in_two_mappings_is_no_repetition():
    assert parse_yaml("a: {x: 1}\nb: {x: 2}\n") == {"a": {"x": 1}, "b": {"x": 2}}


def test_value_of_a_merged_mapping_may_be_replaced():
    assert parse_yaml("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a, y: 3}\n")["b"] == {"x": 2, "y": 1}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: {home}/x\n", 2),  # braces without quotes
        ("a: 1\n\tb: 2\n", 2),
        ("a: [1\n", 2),
        ("a: !!python/object/apply:os.getpid []\n", 1),
        ("{[1]: 2}\n", 1),
        ("a: 2026-02-30\n", None),
        ("- a\n", None),
        ("just text\n", None),
        ("a: 1\n---\nb: 2\n", 2),
    ],
)
def test_what_is_no_yaml_mapping_is_refused_with_its_line(text, line):
    assert faults_of(text)[0].line == line


def test_aliases_that_multiply_are_refused_before_they_are_built():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too many values" in faults_of("\n".join(lines))[0].reason


def test_alias_that_contains_itself_is_refused():
    assert "contains itself" in faults_of("a: &a [*a]\n")[0].reason


# PyYAML raises KeyError, IndexError and AttributeError for these
@pytest.mark.parametrize("value", ["!!bool maybe", "!!int ''", "!!float ''", "!!timestamp soon"])
def test_a_value_that_is_not_what_its_tag_says_is_refused(value):
    assert "not what its tag says" in faults_of(f"a: {value}\n")[0].reason
    assert "not what its tag says" in faults_of(f"{{? {value} : 1}}\n")[0].reason


def test_aliases_that_multiply_in_a_key_are_refused_before_they_are_written_out():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert faults_of("\n".join([*lines, "? *a8", ": 1"]))


def test_the_same_fault_is_told_once_and_of_many_the_first():
    assert len(faults_of("a: &x {[1]: 2}\nb: [" + ", ".join(["*x"] * 200) + "]")) == 1
    with pytest.raises(YAMLTextError) as caught:
        parse_yaml("\n".join(f"{{k{n}: 1}}: {n}" for n in range(1000)))
    assert len(caught.value.faults) == 1000
    assert len(str(caught.value)) < 10_000 and str(caught.value).endswith("; and 950 more")


def test_the_reason_is_short_whatever_the_text():
    for text in ("a: !!float " + "x" * 9999, "a: !" + "x" * 9999 + " 1"):
        assert len(str(faults_of(text)[0].reason)) < 400


@pytest.mark.parametrize("depth", [40, 500_000])
def test_deep_nesting_is_refused(depth):
    assert "nested too deeply" in faults_of("a: " + "[" * depth + "]" * depth)[0].reason


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("a",), 1),
        (("a", "b"), 2),
        (("a", "b", 1), 4),
        (("a", "b", 1, "c"), 4),
        (("a", "x"), 1),
        (("z",), None),
    ],
)
def test_line_of_a_key_or_of_what_is_around_it(key, line):
    assert line_of("a:\n  b:\n    - 1\n    - c: 2\n", key) == line


@given(st.text())
def test_any_text_is_a_mapping_or_refused(text):
    try:
        assert isinstance(parse_yaml(text), dict)
    except YAMLTextError as error:
        assert str(error)
