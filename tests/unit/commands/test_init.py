"""`darc init`, `check` and `install-service` as somebody types them. Nothing outside a folder is touched."""

import json
import os
from types import SimpleNamespace

import pytest

from darc import config_files, control
from darc.commands import check, init
from darc.config import check_config, load_config
from darc.errors import DARCError
from darc.installation import files, host, others
from darc.installation.findings import ok, warning, wrong


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    monkeypatch.delenv("DARC_NODE", raising=False)
    monkeypatch.setattr(config_files, "host_name", lambda: "arts041")
    monkeypatch.setattr(init, "host_name", lambda: "arts041")
    return tmp_path


def run(line):
    return control.main(line.split())


def keys(home):
    return {path.name: path.stat().st_mode & 0o777 for path in (home / "darc" / "keys").glob("*")}


# --- init


def test_the_master_node_gets_a_file_and_keys_that_nobody_else_can_read(home, capsys):
    assert run("init --master arts041 --workers arts001-arts003 --mail-to a@example.org") == 0
    path = home / "darc" / "config.yaml"
    assert check_config(path) == [] and load_config(path).role == "master"
    assert keys(home) == dict.fromkeys(
        ("command_port.key", "lofar_trigger.key", "voevent_generator.key"), 0o600
    )
    out = capsys.readouterr().out
    assert f"wrote {path}" in out and "arts001, arts002, arts003" in out and "darc check" in out


def test_a_worker_node_makes_no_keys(home):
    assert run("init --master m --workers arts041:5") == 0
    assert load_config().beam == 5 and keys(home) == {}


def test_a_file_that_is_there_stays_unless_told_otherwise(home, capsys):
    path = home / "site.yaml"
    path.write_text("mail: {port: 2525}\n")
    assert run(f"init {path}") == 1
    assert "--force" in capsys.readouterr().err and path.read_text() == "mail: {port: 2525}\n"
    assert run(f"init {path} --force") == 0
    assert path.with_name("site.yaml.previous").read_text() == "mail: {port: 2525}\n"
    assert load_config(path).mail.port == 25


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--mail-to x@@y", "processor_master.email_settings.to"),
        ("--workers a,a", "every node has its own name"),
        ("--workers arts001;arts002", "letters, digits and . _ - only"),
        ("--workers a:99", "beams are 0 to"),
        ("--data-dir relative", "has to be a path"),
        ("--mail-server h:p", "mail.port"),
        ("--mode fast", "one of mixed"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(home, capsys, options, told):
    assert run(f"init {options}") in (1, 2)
    assert told in capsys.readouterr().err
    assert not (home / "darc" / "config.yaml").exists() and keys(home) == {}


@pytest.fixture
def answered(monkeypatch):
    """Run `darc init` on a terminal, with answers by the beginning of the question; return what was asked."""
    monkeypatch.setattr(init.sys, "stdin", SimpleNamespace(isatty=lambda: True))

    def answered(**answers):
        asked = []

        def ask(question):
            asked.append(question)
            given = next((given for start, given in answers.items() if question.startswith(start)), [])
            return given.pop(0) if given else ""

        options = SimpleNamespace(file=None, site_config=None, force=False)
        for name, _, _ in init.QUESTIONS:
            setattr(options, name, None)
        assert init.run(options, ask) == 0
        return asked

    return answered


def test_on_a_terminal_it_asks(answered):
    asked = answered(Worker=["w1,w2"], Mail=["", "a@b, c@d"])
    config = load_config()
    assert config.role == "master" and [node.name for node in config.nodes.workers] == ["w1", "w2"]
    assert list(config.processor_master.email_settings.to) == ["a@b", "c@d"]
    assert "Name of the master node [arts041]: " in asked


def test_an_answer_that_cannot_be_is_asked_for_again_and_no_other(answered, capsys):
    asked = answered(
        Worker=["arts041", "w9-w1", "w1"], Addresses=["w2=10.0.0.2", "w1=10.0.0.1"], What=["fast", "offline"]
    )
    config = load_config()
    assert [(node.name, node.address) for node in config.nodes.workers] == [("w1", "10.0.0.1")]
    assert config.darc_master.mode == "offline"
    assert len(asked) == len(init.QUESTIONS) + 4
    told = capsys.readouterr().out
    assert "every node has its own name" in told and "one of mixed" in told


def test_answers_that_end_write_nothing(answered, home):
    def nobody(question):
        raise EOFError

    with pytest.raises(DARCError, match="nothing was written"):
        init._answers(nobody)
    assert not (home / "darc").exists()


# --- check


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes long or needs a network."""
    for module, names in (
        (host, ["folders", "ports"]),
        (files, ["keys", "tables", "models", "galaxy", "earth", "programs"]),
        (others, ["reachable", "nodes", "mail", "broker", "lofar"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_: [])
    monkeypatch.setattr(others, "running_node", lambda *_: None)
    return lambda finding: monkeypatch.setattr(host, "clock", lambda: finding)


@pytest.mark.parametrize(("found", "code"), [(ok, 0), (warning, 0), (wrong, 1)])
def test_only_what_is_wrong_makes_it_fail(quick, capsys, found, code):
    run("init --master arts041")
    capsys.readouterr()
    quick(found("clock", "it ticks"))
    assert run("check") == code
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("ok       configuration ") and first.endswith("config.yaml: master node arts041")
    assert second.split() == [found("", "").grade, "clock", "it", "ticks"]
    assert last.endswith(" ok")


def test_it_can_be_read_by_programs(quick, capsys):
    run("init --master arts041")
    capsys.readouterr()
    quick(wrong("clock", "late"))
    assert run("check --json") == 1
    assert json.loads(capsys.readouterr().out)[-1] == {"grade": "WRONG", "subject": "clock", "text": "late"}


def test_a_configuration_with_mistakes_is_all_that_is_told(home, quick, capsys):
    (home / "site.yaml").write_text("mail: {port: 0, host: ''}\n")
    assert run(f"check --site-config {home}/site.yaml") == 1
    assert capsys.readouterr().out.count("WRONG    configuration") == 2


def test_a_host_that_is_no_node_is_wrong(quick, capsys):
    run("init --master other")
    quick(ok("clock", ""))
    assert run("check") == 1
    assert "this host is none of its nodes (other): --node NAME" in capsys.readouterr().out


def test_everything_is_checked(monkeypatch, quick):
    called = []
    for module in (host, files, others):
        for name, function in vars(module).items():
            if getattr(function, "__name__", "") == "<lambda>":
                monkeypatch.setattr(module, name, lambda *_, name=name: called.append(name) or [])
    quick(ok("clock", ""))
    run("init --master arts041")
    options = SimpleNamespace(site_config=None, node=None, timeout=None)
    assert len(list(check.findings(options))) == 2
    assert len(called) == len(set(called)) == 14


# --- install-service


@pytest.fixture
def root(home, monkeypatch):
    monkeypatch.setattr("darc.installation.service.program_folder", lambda: home)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    run("init --master arts041")
    (home / "root").mkdir()
    return home / "root"


def test_a_service_is_installed_below_a_root_and_removed_again(root, capsys):
    site = root.parent / "darc" / "config.yaml"
    command = f"install-service --root {root} --user nobody-of-this-host --site-config {site}"
    assert run(f"{command} --dry-run") == 0 and list(root.iterdir()) == []
    assert run(command) == 0
    drop_in = root / "etc/systemd/system/darc.service.d/host.conf"
    assert "User=nobody-of-this-host" in drop_in.read_text()
    assert "DARC_CONFIG=/var/lib/nobody-of-this-host/darc/config.yaml\n" in drop_in.read_text()
    assert (root / "var/lib/nobody-of-this-host/darc/keys/lofar_trigger.key").exists()
    assert run(f"install-service --root {root} --undo") == 0 and list(root.iterdir()) == []
    out = capsys.readouterr().out
    assert f"copy {site} to {root}/var/lib/nobody-of-this-host/darc/config.yaml" in out
    assert f"systemctl --root {root} enable darc" in out and f"--root {root} --undo" in out
    assert "daemon-reload" not in out


def test_an_image_that_has_its_site_file_uses_that(root, capsys):
    site = root / "etc" / "darc.yaml"
    site.parent.mkdir()
    site.write_text("nodes: {master: {name: arts041}}\n")
    assert run(f"install-service --root {root} --user nobody-of-this-host --site-config {site}") == 0
    drop_in = root / "etc/systemd/system/darc.service.d/host.conf"
    assert "DARC_CONFIG=/etc/darc.yaml\n" in drop_in.read_text()
    assert "copy" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--user nobody-of-this-host", "there is no user nobody-of-this-host: useradd"),
        ("--user root", "the service needs no rights"),
        ("--root {root} --node other", "no node 'other'"),
        ("--root {root} --undo", "nothing to undo"),
    ],
)
def test_what_cannot_be_installed_is_told(root, capsys, options, told):
    site = root.parent / "darc" / "config.yaml"
    assert run(f"install-service --site-config {site} " + options.format(root=root)) in (1, 2)
    assert told in capsys.readouterr().err and list(root.iterdir()) == []
