"""What systemd gets to know of a host."""

from pathlib import Path

import pytest
import yaml

from darc.config import load_config
from darc.installation.service import UNIT, Host, drop_in, items, outermost

HOST = Host("arts", Path("/home/arts"), Path("/opt/darc/bin"), Path("/home/arts/etc/site.yaml"))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/arts")
    path = tmp_path / "config.yaml"

    def load(node="m", **sections):
        nodes = {"master": {"name": "m"}, "workers": {"w": 0}}
        path.write_text(yaml.safe_dump({"nodes": nodes, **sections}))
        return load_config(path, node)

    load.path = path
    return load


def values(text, key):
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_the_drop_in_says_who_runs_what_with_which_configuration(config):
    text = drop_in(config(), HOST)
    assert values(text, "User") == ["arts"]
    assert values(text, "Environment") == ["HOME=/home/arts", "DARC_CONFIG=/home/arts/etc/site.yaml"]
    assert values(text, "ExecStart") == [
        "",
        "/opt/darc/bin/darc_service",
    ]  # the first one takes back the unit's
    assert values(text, "StateDirectory") == [""]


def test_a_node_that_is_not_named_as_its_host_is_named(config):
    named = Host("arts", Path("/var/lib/darc"), Path("/usr/bin"), Path("/etc/darc.yaml"), "w")
    text = drop_in(config("w"), named)
    assert "DARC_NODE=w" in values(text, "Environment") and values(text, "StateDirectory") == []


def test_only_what_is_written_can_be_written(config):
    text = drop_in(config("w", processor={"result_dir": "/data/re sults%1"}), HOST)
    written = values(text, "ReadWritePaths")
    assert '"-/data/re sults%%1"' in written and "-/home/arts/etc" in written
    assert not any("keys" in path or "public_html" in path for path in written)


def test_the_master_may_write_its_keys(config):
    assert "-/home/arts/darc/keys" in values(drop_in(config(), HOST), "ReadWritePaths")


@pytest.mark.parametrize(("stop_timeout", "told"), [(5.0, []), (60.0, ["160"])])
def test_systemd_waits_for_as_long_as_services_may_take_to_stop(config, stop_timeout, told):
    text = drop_in(config(darc_master={"stop_timeout": stop_timeout}), HOST)
    assert values(text, "TimeoutStopSec") == told


def test_a_gpu_is_not_hidden(config):
    text = drop_in(config("w", processor={"classifier": {"gpu": 0}}), HOST)
    assert values(text, "PrivateDevices") == ["false"]


def test_keys_are_made_on_the_master_node_only_and_only_where_they_are_needed(config):
    def keys(node, **sections):
        return {i.path.name: i for i in items(config(node, **sections), HOST, Path("/")) if i.kept}

    assert keys("w") == {}
    assert sorted(keys("m")) == ["lofar_trigger.key", "voevent_generator.key"]
    made = keys("m", darc_master={"address": "0.0.0.0"}, lofar_trigger={"server_auth": "x" * 32})
    assert sorted(made) == ["command_port.key", "voevent_generator.key"]
    assert all(item.mode == 0o600 and item.owned for item in made.values())
    assert len({item.content for item in made.values()}) == 2


def test_what_systemd_obeys_does_not_belong_to_the_user_of_the_service(config):
    of_systemd = [i for i in items(config(), HOST, Path("/image")) if "/systemd/" in str(i.path)]
    assert len(of_systemd) == 3 and not any(item.owned for item in of_systemd)
    assert all(item.path.is_relative_to("/image/etc/systemd/system") for item in of_systemd)
    assert UNIT.read_text() in [item.content for item in of_systemd]


def test_folders_within_folders_are_left_out():
    assert outermost([Path("/a/b"), Path("/a"), Path("/ab"), Path("/a/b/c")]) == [Path("/a"), Path("/ab")]
