"""The `darc` command as a program, and a node that it talks to."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from darc import __version__
from darc.simulation.cluster import MASTER, Cluster, free_ports
from darc.simulation.observation import Observation

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master node with one service."""
    settings = {
        "darc_master": {"services_master_mix": ["lofar_trigger"], "stop_timeout": 2.0},
        "lofar_trigger": {"server_port": free_ports(1)[0], "server_auth": "swordfish-4711"},
    }
    with Cluster(tmp_path_factory.mktemp("cluster"), (), settings) as running:
        yield running


@pytest.fixture
def darc(cluster: Cluster, tmp_path: Path) -> Run:
    """Run the command in an empty folder; `$DARC_CONFIG` names the site's file."""

    def run(*arguments: str, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "darc.control", *arguments],
            env=cluster.environment | environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def parsets(tmp_path: Path) -> Path:
    """Folder with the parset of an observation that is some minutes away."""
    start = datetime.now(UTC) + timedelta(minutes=5)
    return Observation("B0531+21", start, 30.72).write(tmp_path / "obs").master.parent


def test_status_shows_the_services_of_a_node(darc):
    shown = darc("--node", MASTER, "status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"{MASTER}: master, DARC {__version__}, since ")
    assert "\nlofar_trigger  running  " in shown.stdout
    assert "\nobservations  none\n" in shown.stdout


def test_status_of_a_service_is_its_name_and_state(darc):
    for service, rest in (("lofar_trigger", ""), ("all", "observations   none\n")):
        shown = darc("--node", MASTER, "--service", service, "status")
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"lofar_trigger  running\n{rest}", "")


def test_status_for_programs(darc):
    shown = json.loads(darc("--node", MASTER, "status", "--json").stdout)
    assert shown["services"]["lofar_trigger"]["state"] == "running"
    assert shown["beam"] is None


def test_status_has_colours_in_a_terminal_and_fits_80_columns(cluster):
    read, write = pty.openpty()
    fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "darc.control", "--node", MASTER, "status"]
    environment = {name: v for name, v in cluster.environment.items() if name != "NO_COLOR"}
    try:
        subprocess.run(command, env=environment | {"TERM": "xterm"}, stdout=write, check=True)
        shown = os.read(read, 65536).decode()
    finally:
        os.close(read)
        os.close(write)
    table = shown.partition("observations")[0]
    assert "\x1b[32mrunning" in table
    assert all(len(line) <= 80 for line in re.sub(r"\x1b\[\d+m", "", table).splitlines())


def test_all_nodes_are_asked_and_one_that_is_down_makes_it_an_error(darc, cluster, tmp_path):
    shown = darc("--all-nodes", "get_attr", "host_type")
    assert shown.returncode == 0
    assert shown.stdout == "NODE    RESULT   ANSWER\nmaster  Success  DARCMaster.host_type: master\n"
    site = yaml.safe_load(cluster.site_file.read_text())
    site["nodes"]["workers"] = [{"name": "w0", "beam": 0, "address": "127.0.0.1", "port": free_ports(1)[0]}]
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    shown = darc("--site-config", "site.yaml", "status", "--all-nodes")
    _, master, worker = shown.stdout.splitlines()
    assert shown.returncode == 1
    assert re.fullmatch(rf"master +{re.escape(__version__)} +1/1 running", master)
    assert re.fullmatch(r"w0 +no answer +.*nobody listens there.*", worker)


def test_the_log_of_a_service_is_followed(cluster, darc):
    assert "lofar_trigger: started with process ID" in darc("--host", MASTER, "log", "lofar_trigger").stdout
    command = [sys.executable, "-m", "darc.control", "--host", MASTER, "log", "lofar_trigger", "--follow"]
    with subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True) as follower:
        assert "started" in follower.stdout.readline()
        darc("--host", MASTER, "--service", "lofar_trigger", "restart")
        for line in follower.stdout:
            if "stopped" in line:
                break
        follower.send_signal(signal.SIGINT)
        assert follower.wait() == 130


def test_bash_completes_commands_options_and_services(darc, tmp_path):
    (tmp_path / "darc.bash").write_text(darc("completion", "bash").stdout)
    program = """source ./darc.bash
    for line in "sta" "log lofar" "--service dada_trigger rest" "status --all" "--host x log x --f"; do
        COMP_WORDS=(darc $line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
        _shtab_darc darc "${COMP_WORDS[-1]}" ""
        echo "${COMPREPLY[*]}"
    done"""
    shown = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [
        "status start start_observation",
        "lofar_trigger",
        "restart",
        "--all-nodes",
        "--follow",
    ]


def test_an_output_that_nobody_reads_to_its_end_is_no_traceback():
    command = [sys.executable, "-m", "darc.control", "completion", "bash"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (1, "")


@pytest.mark.parametrize("arguments", [("--host", MASTER, "status"), ("status", "--host", MASTER)])
def test_a_host_that_is_a_node_is_reached_at_its_address_and_port(darc, arguments):
    assert "lofar_trigger  running" in darc(*arguments).stdout


def test_an_attribute_of_a_service(darc):
    shown = darc("--host", MASTER, "--service", "lofar_trigger", "get_attr", "lofar_freq")
    assert (shown.returncode, shown.stdout) == (0, "LOFARTrigger.lofar_freq  200.0\n")


def test_switches_of_the_master_node(darc):
    assert darc("--host", MASTER, "lofar_enable").stdout == "enabled, all events are tests\n"
    assert darc("--host", MASTER, "lofar_disable").stdout == "disabled, all events are tests\n"


def test_an_error_of_the_node_is_an_error_of_the_command(darc):
    # a client that exits 0 although the reply's status is Error
    failed = darc("--host", MASTER, "--service", "dada_trigger", "status")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Invalid service: dada_trigger does not run on this master node" in failed.stderr


def test_where_nobody_listens_the_command_says_what_to_do(darc):
    (unused,) = free_ports(1)
    failed = darc("--host", "127.0.0.1", "--port", str(unused), "status")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "nobody listens there: check that it runs, and the port" in failed.stderr


def test_a_mistyped_command_is_suggested(darc):
    failed = darc("stauts")
    assert failed.returncode == 2
    assert "did you mean 'status'?" in failed.stderr


def test_an_observation_is_submitted_by_a_relative_path(darc, parsets):
    parset = parsets / "darc_master.parset"
    for option, name in (("--parset", parset.name), ("--config", "obs.yaml")):
        if option == "--config":  # a node's observation configuration, as existing callers say
            lines = (line.partition("=") for line in parset.read_text().splitlines())
            (parsets / name).write_text(yaml.safe_dump({key: value for key, _, value in lines}))
        assert darc("--host", MASTER, option, name, "start_observation", cwd=parsets).returncode == 0
        again = darc("--host", MASTER, option, name, "start_observation", cwd=parsets)
        assert again.returncode == 1
        assert "is already waiting; stop or abort it first" in again.stderr
        assert " waiting " in darc("--host", MASTER, "status").stdout
        assert darc("--host", MASTER, "abort_observation", option, name, cwd=parsets).returncode == 0
    unknown = darc("--host", MASTER, "stop_observation", str(parset))
    assert (unknown.returncode, unknown.stderr) == (0, "stop_observation: Warning\n")


def test_check_config_is_for_a_file_or_the_one_in_use(darc, tmp_path, cluster):
    assert darc("check-config").stdout == f"{cluster.site_file}: no mistakes\n"
    (tmp_path / "wrong.yaml").write_text("darc_master: {port: 0}\n")
    wrong = darc("check-config", "wrong.yaml")
    assert wrong.returncode == 1
    assert wrong.stdout == (
        f"{tmp_path}/wrong.yaml, line 1: darc_master.port = 0: has to be a port number, 1 to 65535\n"
        f"{tmp_path}/wrong.yaml: 1 mistake\n"
    )


def test_edit_starts_the_editor_on_the_file(darc, tmp_path):
    site = tmp_path / "site.yaml"
    edited = darc("--site-config", str(site), "edit", EDITOR="touch -m")
    assert edited.returncode == 0
    assert site.exists()


def test_commands_of_other_packages_get_their_arguments_in_order(darc, tmp_path):
    (tmp_path / "survey.py").write_text("def main(arguments):\n    print(arguments)\n    return 7\n")
    (tmp_path / "survey-1.0.dist-info").mkdir()
    (tmp_path / "survey-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: survey\nVersion: 1\n"
    )
    (tmp_path / "survey-1.0.dist-info/entry_points.txt").write_text("[darc.commands]\nsurvey = survey:main\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = darc("--node", MASTER, "survey", "--replay", "dir", "x", "--node", "y", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (7, "['--replay', 'dir', 'x', '--node', 'y']\n")


def test_the_demo_is_a_command(darc):
    shown = darc("demo", "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: darc demo ")


@pytest.mark.parametrize("arguments", [["--version"], ["--host", MASTER, "status"]])
def test_the_command_loads_none_of_the_large_libraries(cluster, arguments):
    program = (
        "import sys\nfrom darc.control import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "print({'numpy', 'astropy', 'pydantic', 'lxml', 'multiprocessing', 'shtab'} & set(sys.modules), code)"
    )
    command = [sys.executable, "-c", program, *arguments]
    shown = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "set() 0"
