"""What the `darc` command makes of a command line and of a reply. No node is asked."""

import subprocess
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import yaml

from darc import config_files, control
from darc.network import command_client
from darc.network.command_client import CommandError
from darc.network.command_protocol import Reply, Request

PACKAGE = Path(control.__file__).parent
SITE = {
    "nodes": {
        "master": {"name": "arts041", "address": "10.0.0.41"},
        "workers": [{"name": "arts001", "beam": 0, "address": "10.0.0.1", "port": 52001}],
    },
    "darc_master": {
        "port": 52000,
        "address": "0.0.0.0",
        "socket_timeout": 12.0,
        "editor": "configured",
    },
}


@pytest.fixture(autouse=True)
def site_file(tmp_path, monkeypatch):
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(SITE))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DARC_CONFIG", str(path))
    for name in ("DARC_NODE", "EDITOR", "VISUAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config_files, "host_name", lambda: "elsewhere")
    return path


class Node:
    """Answers with `reply` and keeps what it was asked."""

    reply = Reply("Success", "fine")

    def __call__(self, host, port, request, timeout_s):
        self.address, self.request, self.timeout_s = (host, port), request, timeout_s
        if isinstance(self.reply, BaseException):
            raise self.reply
        return self.reply


@pytest.fixture
def node(monkeypatch):
    node = Node()
    monkeypatch.setattr(command_client, "send_command", node)
    return node


def run(line):
    return control.main(line.split())


def exit_code(line):
    """Exit code also where argparse ends the program."""
    try:
        return run(line)
    except SystemExit as end:
        return end.code


# --- requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("status", Request(command="status", service="all")),
        ("--service dada_trigger status", Request(command="status", service="dada_trigger")),
        ("status --service dada_trigger", Request(command="status", service="dada_trigger")),
        ("--service all restart", Request(command="restart", service="all")),
        ("get_attr node", Request(command="get_attr node")),
        ("--service dada_trigger get_attr host", Request(command="get_attr host", service="dada_trigger")),
        ("get_attr host --service dada_trigger", Request(command="get_attr host", service="dada_trigger")),
        ("get_attr --service dada_trigger host", Request(command="get_attr host", service="dada_trigger")),
        ("lofar_disable", Request(command="lofar_disable")),
        ("stop_master", Request(command="stop_master")),
    ],
)
def test_options_stand_before_or_after_the_command(node, line, request_):
    assert run(line) == 0
    assert node.request == request_


@pytest.mark.parametrize("command", ["start_observation", "stop_observation", "abort_observation"])
@pytest.mark.parametrize(
    "line",
    ["--parset {0} {1}", "{1} --parset {0}", "--config {0} {1}", "{1} {0}", "--config x --parset {0} {1}"],
)
def test_the_file_of_an_observation_becomes_absolute(node, tmp_path, monkeypatch, command, line):
    monkeypatch.chdir(tmp_path)
    assert run(line.format("below/obs.parset", command)) == 0
    assert node.request == Request(command=command, payload=f"{tmp_path}/below/obs.parset")


@pytest.mark.parametrize(
    ("line", "address", "timeout_s"),
    [
        ("status", ("127.0.0.1", 52000), 12.0),
        ("--host arts001 status", ("10.0.0.1", 52001), 12.0),
        ("--node arts001 status", ("10.0.0.1", 52001), 12.0),
        ("--host arts041 status", ("10.0.0.41", 52000), 12.0),
        ("--host arts001 --port 5 status", ("arts001", 5), 30.0),
        ("--node arts001 --port 5 --timeout 3 status", ("10.0.0.1", 5), 3.0),
        ("--host 10.9.9.9 status", ("10.9.9.9", 52000), 12.0),
    ],
)
def test_a_node_is_reached_where_the_configuration_says(node, line, address, timeout_s):
    assert run(line) == 0
    assert (node.address, node.timeout_s) == (address, timeout_s)


def test_with_host_and_port_no_configuration_is_needed(node, site_file):
    site_file.write_text("]")
    assert run("--host h --port 5 status") == 0


def test_another_site_can_be_named(node, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("darc_master: {port: 53000}")
    assert run(f"--site-config {other} status") == 0
    assert node.address == ("127.0.0.1", 53000)


# --- replies and exit codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [("Success", 0), ("Warning", 0), ("Error", 1)])
def test_the_exit_code_follows_the_status(node, capsys, status, code):
    # a client that exits 0 although the reply's status is Error
    node.reply = Reply(status, "so it is")
    assert run("reload") == code
    out, err = capsys.readouterr()
    assert out == "so it is\n"
    assert err == ("" if status == "Success" else f"reload: {status}\n")


def test_the_reason_of_an_error_goes_where_errors_go(node, capsys):
    node.reply = Reply("Error", {"error": "Invalid service: x"})
    assert run("--service x status") == 1
    assert capsys.readouterr() == ("", "status: Invalid service: x\nstatus: Error\n")


def test_a_table_is_for_people(node, capsys):
    observation = {"state": "waiting", "start": "2026-11-22T12:00:00"}
    node.reply = Reply("Success", {"dada_trigger": "running", "observations": {"1": observation}, "x": {}})
    assert run("status") == 0
    assert capsys.readouterr().out == (
        "dada_trigger  running\nobservations:\n  1:\n    state  waiting\n    start  2026-11-22T12:00:00\n"
        "x             none\n"
    )


def test_a_node_that_does_not_answer_is_an_error(node, capsys):
    node.reply = CommandError("nobody listens there: check that it runs")
    assert run("status") == 1
    assert capsys.readouterr().err == "darc: nobody listens there: check that it runs\n"


def test_a_configuration_that_is_wrong_is_an_error(node, site_file, capsys):
    site_file.write_text("darc_master: {port: many}")
    assert run("status") == 1
    assert "darc_master.port = 'many': has to be a port number" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(node):
    node.reply = KeyboardInterrupt()
    assert run("status") == 130


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("statsu", "did you mean 'status'?"),
        ("observe", "'darc --help' lists the commands"),
        ("get_attr", "needs the name of one attribute"),
        ("get_attr a b", "needs the name of one attribute"),
        ("stop", "stop needs a service: --service NAME"),
        ("start_observation", "needs the observation: --parset FILE"),
        ("status now", "cannot understand now"),
        ("start_observation --parset a b", "cannot understand b"),
        ("--port 70000 status", "ports are 1 to 65535"),
        ("--port many status", "invalid int value"),
        ("--timeout 0 status", "above 0"),
        ("--timeout nan status", "above 0"),
        ("--colour red status", "unrecognized arguments"),
        ("", "COMMAND"),
        ("check-config a b", "cannot understand b"),
        ("edit a", "cannot understand a"),
    ],
)
def test_a_wrong_command_line_has_exit_code_2_and_asks_nobody(node, capsys, line, reason):
    assert exit_code(line) == 2
    assert reason in capsys.readouterr().err
    assert not hasattr(node, "request")


def test_help_and_version_ask_nobody(node, capsys):
    assert exit_code("--version") == 0
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*control.NODE_COMMANDS, *control.LOCAL_COMMANDS, "demo"))


# --- commands on this machine -------------------------------------------------------------------------------


def test_check_config_shows_every_mistake_with_its_place(tmp_path, capsys):
    path = tmp_path / "wrong.yaml"
    path.write_text("darc_master:\n  port: many\n  colour: red\ndada_trigger: {delay_end: -1}\n")
    assert run(f"check-config {path}") == 1
    *problems, summary = capsys.readouterr().out.splitlines()
    assert [problem.partition(": ")[0] for problem in problems] == [f"{path}, line {n}" for n in (2, 3, 4)]
    assert "darc_master.port = 'many': has to be a port number, 1 to 65535" in problems[0]
    assert summary == f"{path}: 3 mistakes"


def test_check_config_says_when_all_is_well(site_file, capsys):
    assert run("check-config") == 0
    assert run(f"check-config --site-config {site_file}") == 0
    assert capsys.readouterr().out == f"{site_file}: no mistakes\n" * 2


@pytest.mark.parametrize(
    ("variables", "editor"),
    [
        ({}, ["configured"]),
        ({"EDITOR": "ed -v"}, ["ed", "-v"]),
        ({"EDITOR": "ed", "VISUAL": "emacs"}, ["emacs"]),
    ],
)
def test_edit_opens_the_configuration(site_file, monkeypatch, variables, editor):
    calls = []
    done = subprocess.CompletedProcess([], 3)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command) or done)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run("edit") == 3
    assert calls == [[*editor, str(site_file)]]


def test_edit_opens_also_a_broken_configuration_and_one_that_is_not_there(site_file, monkeypatch, tmp_path):
    calls = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command[-1]) or done)
    site_file.write_text("]")
    assert run("edit") == 0
    monkeypatch.delenv("DARC_CONFIG")
    assert run("edit") == 0
    assert calls == [str(site_file), str(tmp_path / "darc/config.yaml")]
    assert (tmp_path / "darc").is_dir()


def test_an_editor_that_is_not_there_is_an_error(monkeypatch, capsys):
    monkeypatch.setenv("EDITOR", "/nowhere/editor")
    assert run("edit") == 1
    assert "$EDITOR" in capsys.readouterr().err


# --- commands of other packages -----------------------------------------------------------------------------

given = []


def added_command(arguments):
    """What a package adds."""
    given.append(arguments)
    return 7


@pytest.fixture
def added(monkeypatch):
    given.clear()
    point = EntryPoint("survey", "only:loaded", "darc.commands")
    monkeypatch.setattr(EntryPoint, "load", lambda self: added_command)
    monkeypatch.setattr(control, "_added_commands", lambda: EntryPoints([point]))


def test_an_added_command_gets_its_arguments_as_they_stand(added):
    assert run("--node arts001 survey --folder x a --speed 3 --config c --version") == 7
    assert given == [["--folder", "x", "a", "--speed", "3", "--config", "c", "--version"]]


def test_an_added_command_is_suggested_too(added, capsys):
    assert run("surbey --folder x") == 2
    assert "did you mean 'survey'?" in capsys.readouterr().err


def test_the_demo_is_such_a_command():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["darc.commands"]["demo"] == "darc.simulation.demo:main"
