"""A configuration that comes over the command port: what a node takes, and what it keeps."""

import pytest

from darc import pushed_config
from darc.config_files import ConfigError
from darc.errors import DARCError

OLD = "nodes: {workers: {arts001: 0}}\n"
NEW = "nodes: {workers: {arts001: 3}}\n"


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(OLD)
    path.chmod(0o640)
    return path


def files(path):
    return {each.name: each.read_text() for each in path.parent.iterdir()}


def test_to_check_changes_nothing(site):
    assert " -> " in pushed_config.check(NEW, site, "arts001")
    assert files(site) == {"config.yaml": OLD}


def test_to_apply_keeps_what_was_there(site):
    what = pushed_config.check(NEW, site, "arts001")
    assert pushed_config.apply(NEW, site, "arts001") == what
    assert files(site) == {"config.yaml": NEW, "config.yaml.previous": OLD}
    assert {each.stat().st_mode & 0o777 for each in site.parent.iterdir()} == {0o640}


def test_the_second_of_two_nodes_that_share_the_file_changes_nothing(site):
    pushed_config.apply(NEW, site, "arts001")
    assert pushed_config.apply(NEW, site, "arts001").endswith("as it is")
    assert files(site)["config.yaml.previous"] == OLD


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("nodes: {workers: {arts001: 0}}\nmail: {port: 0}\n", r"line 2: mail\.port = 0: has to be a port"),
        ("nodes: {workers: {arts002: 0}}\n", "no node 'arts001'"),
        ("nodes: [\n", r"^line 2"),
        ("mail: {port: 0}\ndada_trigger: {port_i: x}\n", r"mail\.port.*; line 2: dada_trigger\.port_i"),
    ],
)
@pytest.mark.parametrize("step", [pushed_config.check, pushed_config.apply])
def test_a_configuration_with_mistakes_is_refused_with_all_of_them(site, content, told, step):
    with pytest.raises(DARCError, match=told):
        step(content, site, "arts001")
    assert files(site) == {"config.yaml": OLD}


def test_a_link_to_the_file_stays_one(site, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(site)
    pushed_config.apply(NEW, link, "arts001")
    assert link.is_symlink() and site.read_text() == NEW


def test_a_node_without_a_file_of_its_own_has_nothing_to_replace():
    with pytest.raises(DARCError, match="darc init"):
        pushed_config.check(NEW, None, None)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(DARCError, match="cannot be read"):
        pushed_config.apply(NEW, tmp_path / "none" / "config.yaml", None)


def test_the_node_can_read_what_it_took(site):
    pushed_config.apply(NEW, site, "arts001")
    with pytest.raises(ConfigError):
        pushed_config.load_config(site, "arts002")
    assert pushed_config.load_config(site, "arts001").beam == 3
