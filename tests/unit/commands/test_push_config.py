"""A configuration goes to all nodes or to none. The nodes are stand-ins."""

import pytest
import yaml

from darc import config_files, control
from darc.network import sweep
from darc.network.command_protocol import Reply, encode_request, parse_request

NODES = {"arts001": 0, "arts002": 1}


class Cluster:
    """Keeps what each node was asked; `refusing` are nodes that do not take what they are asked."""

    def __init__(self):
        self.asked, self.refusing = [], {}

    def __call__(self, host, port, request, timeout_s, key_file=None):
        assert parse_request(encode_request(request, newline=True)) == request
        self.asked.append((host, request.command, request.payload))
        if self.refusing.get(host) == request.command:
            return Reply("Error", {"error": f"{host} cannot"})
        return Reply("Success", "1234 -> 5678")


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr(sweep, "send_command", cluster)
    return cluster


@pytest.fixture
def push(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    monkeypatch.setattr(config_files, "host_name", lambda: "elsewhere")
    path = tmp_path / "new.yaml"

    def push(*arguments, **changes):
        path.write_text(yaml.safe_dump({"nodes": {"workers": NODES}, **changes}))
        return control.main(["push-config", str(path), "--site-config", str(path), *arguments])

    push.path = path
    return push


def commands(cluster):
    return sorted((host, command) for host, command, _ in cluster.asked)


def test_all_nodes_check_it_then_all_apply_it(cluster, push, capsys):
    assert push() == 0
    assert [command for _, command, _ in cluster.asked] == ["check_config"] * 2 + ["apply_config"] * 2
    assert {payload for *_, payload in cluster.asked} == {push.path.read_text()}
    out = capsys.readouterr().out
    assert "no mistakes on 2 of 2 nodes" in out and out.count("1234 -> 5678") == 2


def test_no_node_applies_what_one_of_them_does_not_take(cluster, push, capsys):
    cluster.refusing = {"arts002": "check_config"}
    assert push() == 1
    assert {command for _, command, _ in cluster.asked} == {"check_config"}
    captured = capsys.readouterr()
    assert "arts002 cannot" in captured.out and "arts001" not in captured.out
    assert "nothing was changed on any of them" in captured.err


def test_a_node_that_fails_to_apply_it_is_told(cluster, push, capsys):
    cluster.refusing = {"arts001": "apply_config"}
    assert push() == 1
    assert "1 nodes did not apply it" in capsys.readouterr().err


def test_a_dry_run_only_checks(cluster, push):
    assert push("--dry-run") == 0
    assert {command for _, command, _ in cluster.asked} == {"check_config"}


def test_a_node_that_is_away_can_be_left_out(cluster, push, capsys):
    assert push("--without", "arts002") == 0
    assert {host for host, *_ in cluster.asked} == {"arts001"}
    assert push("--without", "arts003") == 2
    assert "arts003: no such node" in capsys.readouterr().err


def test_no_node_is_asked_to_check_what_is_wrong_anywhere(cluster, push, capsys):
    assert push(mail={"port": 0}) == 1
    assert cluster.asked == [] and "mail.port = 0" in capsys.readouterr().err
