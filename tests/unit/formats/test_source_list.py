"""The list of known sources."""

import pytest

from darc.formats.source_list import Source, SourceList, SourceListError, load_source_list

TEXT = """
pulsars:
    'B0531+21': 56.8
    B1933+16: 158
frbs:
    FRB121102: 557.0
    121102: '557.5'
aliases:
    Crab: B0531+21
    M1: Crab
    repeater: FRB121102
    none: 0
    empty:
    a: b
    b: a
    B1933+16: B0531+21
    dangling: nowhere
"""


@pytest.fixture
def sources(tmp_path) -> SourceList:
    path = tmp_path / "sources.yaml"
    path.write_text(TEXT)
    return load_source_list(path)


def test_a_source_is_found_by_name(sources):
    assert sources.lookup("B0531+21") == Source("B0531+21", "pulsar", 56.8)
    assert sources.lookup("FRB121102") == Source("FRB121102", "frb", 557.0)


def test_a_name_that_yaml_takes_for_a_number_is_a_name(sources):
    assert sources.lookup("121102") == Source("121102", "frb", 557.5)


@pytest.mark.parametrize("alias", ["Crab", "M1", "B1933+16"])
def test_an_alias_leads_to_its_source_also_through_another_alias(sources, alias):
    assert sources.lookup(alias) == Source("B0531+21", "pulsar", 56.8)


@pytest.mark.parametrize("name", ["none", "empty", "a", "b", "dangling", "unknown", "", "0"])
def test_what_leads_nowhere_is_unknown(sources, name):
    assert sources.lookup(name) is None


@pytest.mark.parametrize("text", ["", "pulsars:\nfrbs:\naliases:\n", "aliases: {a: b}"])
def test_sections_may_be_empty_or_missing(tmp_path, text):
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    assert load_source_list(path).lookup("a") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pulsars: [a, b]", "pulsars = .* has to hold lines"),
        ("- a", "has to hold a mapping"),
        ("pulsars: {a: b", "no valid YAML"),
        ("pulsars: {Crab: high}", "pulsars: Crab = 'high': allowed is a DM"),
        ("frbs: {x: -1.0}", "frbs: x = -1.0"),
        ("frbs: {x: .nan}", "frbs: x = nan"),
        ("frbs: {x: true}", "frbs: x = True"),
        ("frbs:\n  x: 1\n  x: 2", "line 3: x stands twice"),
        ("frbs: {x: [1]}", r"frbs: x = \[1\]"),
        ("pulsar: {Crab: 56.8}", "pulsar: allowed sections"),
        ("pulsars: {x: 1}\nfrbs: {x: 2}", "x stands in pulsars and in frbs"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_file_key_and_value(tmp_path, text, reason):
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    with pytest.raises(SourceListError, match=f"{path}: .*({reason})"):
        load_source_list(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceListError, match=r"nothing\.yaml"):
        load_source_list(tmp_path / "nothing.yaml")


def test_the_real_list_is_read(reference_data):
    sources = load_source_list(reference_data / "amber" / "source_list.yaml")
    assert sources.lookup("B0531+21") == Source("B0531+21", "pulsar", 56.8)
    assert sources.lookup("extragalactic") == Source("extragalactic", "frb", 1000.0)
    assert sources.lookup("none") is None
