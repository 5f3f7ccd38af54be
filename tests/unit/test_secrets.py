"""`get_attr` tells operators what is inside a process, but no secret: no key, no password."""

import logging
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from darc import config_files
from darc.base import DARCBase
from darc.config import load_config
from darc.darc_master import DARCMaster
from darc.network.master_queues import master_queue
from darc.network.remote_queue import RemoteQueue
from darc.topology import SERVICES, service_class

SECRETS = ("swordfish-key-1", "swordfish-key-2", "swordfish-key-3", "swordfish-key-4", "swordfish-login")


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch) -> Path:
    """A site with a secret in every place that one can stand in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARC_NODE", raising=False)
    monkeypatch.setattr(config_files, "host_name", lambda: "elsewhere")
    for name, content in (("port.key", SECRETS[3]), ("login", f"arts {SECRETS[4]}")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    node = {"lofar_trigger": {"server_auth": SECRETS[2]}}
    site = {
        "nodes": {
            "master": {"name": "m", "config": node},
            "workers": [{"name": "w", "beam": 0, "config": node}],
        },
        "mail": {"login_file": str(tmp_path / "login"), "tls": "starttls"},
        "darc_master": {"key_file": str(tmp_path / "port.key")},
        "lofar_trigger": {"server_auth": SECRETS[0]},
        "voevent_generator": {"server_auth": SECRETS[1]},
    }
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    return path


def names_of(process: object) -> Iterator[str]:
    """Yield all attributes of an object that somebody may ask for, and some that nobody should."""
    yield from dir(process)
    yield from ("config", "__dict__", "_config", "server_auth", "login", "key", "_authkey", "authkey")


def assert_no_secret(name: str, told: object) -> None:
    assert not [secret for secret in SECRETS if secret in str(told)], name


@pytest.mark.parametrize("node", ["m", "w"])
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_tells_no_secret(site_file, name, node) -> None:
    service = service_class(name)(
        queue.Queue(), control_queue=queue.Queue(), config_file=site_file, node=node
    )
    with_queues_to_the_master(service)
    told = 0
    for attribute in set(names_of(service)):
        service._get_attribute({"command": "get_attr", "attribute": attribute})
        answer = service.control_queue.get(block=False)
        told += answer["status"] == "Success"
        assert_no_secret(attribute, answer)
    assert told > 5


def with_queues_to_the_master(service: DARCBase) -> None:
    """Give a service what holds the keys, where there is room for it."""
    for attribute, receiver in (("lofar_queue", "lofar_trigger"), ("vo_queue", "voevent_generator")):
        if hasattr(service, attribute):
            connection = master_queue(service.config, receiver, logging.getLogger())
            assert isinstance(connection, RemoteQueue)
            connection.close(0)
            setattr(service, attribute, connection)


@pytest.mark.parametrize("node", ["m", "w"])
def test_the_master_tells_no_secret(site_file, node) -> None:
    master = DARCMaster(site_file, node)
    told = 0
    for attribute in set(names_of(master)):
        status, answer = master.process_message(None, f"get_attr {attribute}", None)
        told += status == "Success"
        assert_no_secret(attribute, answer)
    assert told > 5


def test_these_secrets_are_in_use(site_file) -> None:
    config: Any = load_config(site_file, "m")
    assert config.lofar_trigger.server_auth.get_secret_value() == SECRETS[2]
    assert config.voevent_generator.server_auth.get_secret_value() == SECRETS[1]
    assert_no_secret("config", f"{config} {config!r}")


def test_a_mistake_beside_a_secret_does_not_show_it(site_file, tmp_path) -> None:
    text = site_file.read_text().replace("server_auth: ", "server_auht: ", 1)
    (tmp_path / "wrong.yaml").write_text(text)
    from darc.config import check_config

    problems = check_config(tmp_path / "wrong.yaml")
    assert problems
    assert_no_secret("problems", problems)
