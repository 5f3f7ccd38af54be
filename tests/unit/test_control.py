"""What the `darc` command makes of a command line and of a reply. No node is asked."""

import io
import json
import subprocess
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import yaml

from darc import config_files, control
from darc.commands.catalogue import ADDED
from darc.network import command_client, sweep
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


DETAILS = {
    "node": "arts001",
    "role": "worker",
    "beam": "None",
    "version": "1.0",
    "services": {"dada_trigger": {"state": "running", "since": "None"}},
}


class Node:
    """Answers with `reply`, but for what stands in `replies`, and keeps what it was asked."""

    reply = Reply("Success", "fine")

    def __init__(self):
        self.replies = {"details": Reply("Success", DETAILS)}

    def __call__(self, host, port, request, timeout_s, key_file=None):
        self.address, self.request, self.timeout_s = (host, port), request, timeout_s
        reply = self.replies.get(request.command, self.reply)
        if isinstance(reply, BaseException):
            raise reply
        return reply


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
        ("status", Request(command="details")),
        ("--service all status", Request(command="status", service="all")),
        ("--service dada_trigger status", Request(command="status", service="dada_trigger")),
        ("status --service dada_trigger", Request(command="status", service="dada_trigger")),
        ("--service all restart", Request(command="restart", service="all")),
        ("get_attr node", Request(command="get_attr node")),
        ("--service dada_trigger get_attr host", Request(command="get_attr host", service="dada_trigger")),
        ("get_attr host --service dada_trigger", Request(command="get_attr host", service="dada_trigger")),
        ("get_attr --service dada_trigger host", Request(command="get_attr host", service="dada_trigger")),
        ("lofar_disable", Request(command="lofar_disable")),
        ("stop_master", Request(command="stop_master")),
        ("--json reload", Request(command="reload")),
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


def test_the_state_of_services_is_told_as_the_node_tells_it(node, capsys):
    observation = {"state": "waiting", "start": "2026-11-22T12:00:00"}
    node.reply = Reply("Success", {"dada_trigger": "running", "observations": {"1": observation}, "x": {}})
    assert run("--service all status") == 0
    assert capsys.readouterr().out == (
        "dada_trigger  running\nobservations:\n  1:\n    state  waiting\n    start  2026-11-22T12:00:00\n"
        "x             none\n"
    )


@pytest.mark.parametrize("reason", ["Invalid command: details", "details is refused"])
def test_of_a_node_that_does_not_tell_details_status_shows_the_states(node, capsys, reason):
    node.replies["details"] = Reply("Error", {"error": reason})
    node.reply = Reply("Success", {"dada_trigger": "running", "observations": {}})
    assert run("status") == 0
    assert node.request == Request(command="status", service="all")
    assert "dada_trigger  running\n\nobservations  none\n" in capsys.readouterr().out
    assert run("status --json") == 0
    assert json.loads(capsys.readouterr().out) == node.reply.message


def test_status_is_a_table(node, capsys):
    assert run("status") == 0
    assert "SERVICE       STATE    RESTARTS\ndada_trigger  running         0\n" in capsys.readouterr().out


def test_status_for_programs_is_json_with_null(node, capsys):
    assert run("--json status") == 0
    assert json.loads(capsys.readouterr().out) == {
        **DETAILS,
        "beam": None,
        "services": {"dada_trigger": {"state": "running", "since": None}},
    }


def test_an_answer_that_is_none_of_darc_is_an_error(node, capsys):
    node.replies["details"] = Reply("Success", "fine")
    assert run("status") == 1
    assert "the reply is no dictionary" in capsys.readouterr().err


def test_every_answer_can_be_json(node, capsys):
    node.reply = Reply("Warning", {"a": ["\x1b", 1.5]})
    assert run("reload --json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": ["\x1b", 1.5]}
    assert err == "reload: Warning\n"


def test_nothing_that_a_terminal_would_obey_is_printed(node, capsys):
    node.reply = Reply("Success", {"source": "\x1b[2J\x9b31m", "\x07": {"name": "\r"}})
    assert run("get_attr source") == 0
    node.reply = Reply("Error", {"error": "no \x1b[2J"})
    assert run("get_attr source") == 1
    shown = "".join(capsys.readouterr())
    assert r"\x1b[2J" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_letters_that_the_locale_lacks_are_no_error(monkeypatch, node):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    node.reply = Reply("Success", "Δ")
    assert run("reload") == 0
    assert raw.getvalue() == b"\\u0394\n"


@pytest.mark.parametrize(
    ("service", "hint"),
    [("dada_triger", "; did you mean 'dada_trigger'?"), ("zzz", ""), ("dada_trigger", "")],
)
def test_a_mistyped_service_is_suggested(node, capsys, service, hint):
    node.reply = Reply("Error", {"error": f"Invalid service: {service}"})
    assert run(f"--service {service} restart") == 1
    assert capsys.readouterr().err == f"restart: Invalid service: {service}{hint}\nrestart: Error\n"


def test_a_node_that_does_not_answer_is_an_error(node, capsys):
    node.replies["details"] = CommandError("nobody listens there: check that it runs")
    assert run("status") == 1
    assert capsys.readouterr().err == "darc: nobody listens there: check that it runs\n"


def test_a_configuration_that_is_wrong_is_an_error(node, site_file, capsys):
    site_file.write_text("darc_master: {port: many}")
    assert run("status") == 1
    assert "darc_master.port = 'many': has to be a port number" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(node):
    node.reply = KeyboardInterrupt()
    assert run("reload") == 130


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("statsu", "did you mean 'status'?"),
        ("observe", "'darc --help' lists the commands"),
        ("get_attr", "the following arguments are required: ATTRIBUTE; see 'darc get_attr --help'"),
        ("get_attr a b", "cannot understand b"),
        ("stop", "stop needs a service: --service SERVICE"),
        ("start_observation", "needs the observation: --parset FILE"),
        ("status now", "cannot understand now"),
        ("start_observation --parset a b", "cannot understand b"),
        ("--port 70000 status", "ports are 1 to 65535"),
        ("--port many status", "invalid int value"),
        ("--timeout 0 status", "above 0"),
        ("--timeout nan status", "above 0"),
        ("--colour red status", "unrecognized arguments: --colour; see 'darc --help'"),
        ("--servce=x status", "unrecognized arguments: --servce; did you mean '--service'?"),
        ("status --all-node=1", "ignored explicit argument"),
        ("status --alnodes", "did you mean '--all-nodes'?"),
        ("log --folow", "did you mean '--follow'?"),
        ("--follow log", "stands after it: darc log --follow"),
        ("log a b", "cannot understand b"),
        ("log a --service b", "--service b was given already"),
        ("log --lines 0", "at least 1"),
        ("check-config --json", "check-config has no option --json"),
        ("lofar_status --all-nodes", "lofar_status has no option --all-nodes"),
        ("--all-nodes --host arts001 status", "leave out --host"),
        ("completion bsh", "did you mean 'bash'?"),
        ("completion ksh93", "no completion for 'ksh93'"),
        ("help statsu", "did you mean 'status'?"),
        ("", "the following arguments are required: COMMAND; see"),
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
    for line in ("--help", "help"):
        assert exit_code(line) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in (*control.NODE_COMMANDS, *control.LOCAL_COMMANDS, *ADDED))
    assert not hasattr(node, "request")


@pytest.mark.parametrize("command", [*control.NODE_COMMANDS, *control.LOCAL_COMMANDS])
def test_every_command_has_a_help_with_an_example(node, capsys, command):
    assert exit_code(f"help {command}") == 0
    shown = capsys.readouterr().out
    assert exit_code(f"{command} --help") == 0
    assert capsys.readouterr().out == shown
    assert shown.startswith(f"usage: darc {command} [options]")
    example = shown.partition("examples:\n")[2].splitlines()[0]
    assert "darc " in example and command in example
    assert not hasattr(node, "request")


def test_help_shows_only_what_means_something_to_a_command(capsys):
    assert run("help lofar_status") == 0
    shown = capsys.readouterr().out
    assert "--host" in shown
    assert "--parset" not in shown and "--follow" not in shown


# --- all nodes ----------------------------------------------------------------------------------------------


def answers(monkeypatch, **replies):
    """Let nodes answer; return what is asked of whom."""
    asked = []

    def send(host, port, request, timeout_s, key_file=None):
        asked.append((host, port, request.command))
        reply = replies[{"10.0.0.41": "arts041", "10.0.0.1": "arts001"}[host]]
        reply = reply.get(request.command, reply) if isinstance(reply, dict) else reply
        if isinstance(reply, BaseException):
            raise reply
        return reply

    monkeypatch.setattr(sweep, "send_command", send)
    return asked


def test_all_nodes_are_asked_where_the_configuration_says(monkeypatch, capsys):
    fine = Reply("Success", {"DARCMaster.node": "x"})
    asked = answers(monkeypatch, arts041=fine, arts001=fine)
    assert run("get_attr node --all-nodes") == 0
    assert sorted(asked) == [("10.0.0.1", 52001, "get_attr node"), ("10.0.0.41", 52000, "get_attr node")]
    assert capsys.readouterr().out == (
        "NODE     RESULT   ANSWER\n"
        "arts041  Success  DARCMaster.node: x\n"
        "arts001  Success  DARCMaster.node: x\n"
    )


@pytest.mark.parametrize("trouble", [CommandError("it is silent"), Reply("Error", {"error": "it is silent"})])
@pytest.mark.parametrize("line", ["reload", "--service processor restart", "status"])
def test_one_node_that_fails_makes_the_exit_code_1(monkeypatch, capsys, trouble, line):
    fine = {"details": Reply("Success", DETAILS)}
    fine |= dict.fromkeys(("reload", "restart"), Reply("Success", {"a": {"b": "c"}}))
    answers(monkeypatch, arts041=trouble, arts001=fine)
    assert run(f"--all-nodes {line}") == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert "it is silent" in shown[1]


def test_the_cluster_for_programs(monkeypatch, capsys):
    answers(monkeypatch, arts041=CommandError("it is silent"), arts001=Reply("Success", DETAILS))
    assert run("--all-nodes --json status") == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["arts041"] == {"error": "it is silent"}
    assert (shown["arts001"]["version"], shown["arts001"]["beam"]) == ("1.0", None)
    answers(monkeypatch, arts041=Reply("Success", "fine"), arts001=Reply("Success", "fine"))
    assert run("--all-nodes --json reload") == 0
    assert json.loads(capsys.readouterr().out) == {"arts041": "fine", "arts001": "fine"}


def test_nodes_of_an_older_version_are_among_all(monkeypatch, capsys):
    old = {
        "details": Reply("Error", {"error": "Invalid command: details"}),
        "status": Reply("Success", {"processor": "running", "observations": {}}),
    }
    answers(monkeypatch, arts041=old, arts001=Reply("Success", DETAILS))
    assert run("--all-nodes status") == 0
    shown = capsys.readouterr().out
    assert "arts041  older    1/1 running" in shown
    assert "versions differ" in shown


def test_without_nodes_there_is_nobody_to_ask(site_file, capsys):
    site_file.write_text("{}")
    assert run("--all-nodes status") == 1
    assert "no nodes in" in capsys.readouterr().err


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


def test_the_help_names_those_of_this_package():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["darc.commands"].keys() == ADDED.keys()
    assert project["entry-points"]["darc.commands"]["demo"] == "darc.simulation.demo:main"
