"""A configuration is pushed to nodes that run, by a user who holds the key and by one who does not."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from darc.simulation.cluster import MASTER, Cluster, worker


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    key = tmp_path / "darc" / "keys" / "command_port.key"
    key.parent.mkdir(parents=True)
    key.touch(0o600)
    key.write_text(secrets.token_hex(32))
    little = {"services_master_mix": ["status_website"], "services_worker_mix": ["dada_trigger"]}
    with Cluster(tmp_path, (0,), {"darc_master": little}) as running:
        yield running


def push(cluster: Cluster, **changes: object) -> subprocess.CompletedProcess[str]:
    site = yaml.safe_load(cluster.site_file.read_text())
    pushed = cluster.folder / "pushed.yaml"
    pushed.write_text(yaml.safe_dump({**site, **changes}))
    return cluster.darc(MASTER, "push-config", str(pushed), check=False)


def test_nodes_take_a_configuration_or_keep_what_they_have(cluster: Cluster) -> None:
    before = cluster.site_file.read_text()
    nodes = yaml.safe_load(before)["nodes"]
    wrong = push(cluster, nodes={**nodes, "workers": [{**nodes["workers"][0], "name": "other"}]})
    assert wrong.returncode == 1 and "no node 'worker00'" in wrong.stdout
    assert cluster.site_file.read_text() == before

    right = push(cluster, logging={"level": "error"})
    assert right.returncode == 0, right.stdout + right.stderr
    assert worker(0) in right.stdout
    assert yaml.safe_load(cluster.site_file.read_text())["logging"] == {"level": "error"}
    assert cluster.site_file.with_name("config.yaml.previous").read_text() == before
    logs = "".join(path.read_text() for path in cluster.log_folder.glob("darc_master.*"))
    assert "apply_config: Success" in logs and "logging" not in logs  # what is pushed may hold keys

    (cluster.folder / "darc" / "keys" / "command_port.key").rename(cluster.folder / "taken")
    refused = push(cluster, logging={"level": "debug"})
    assert refused.returncode == 1 and "needs a proof" in refused.stdout
