"""The scripts of bin/, with stand-ins for the programs `darc` and `darc_service` in front of PATH."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"
SCRIPTS = sorted(path.name for path in BIN.iterdir())

HEAD = (
    f"#!{sys.executable}"
    + """
import pathlib, signal, subprocess, sys
here = pathlib.Path(__file__).parent
running, stopping = here / "running", here / "stopping"
with open(here / (pathlib.Path(__file__).name + ".calls"), "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
"""
)
# A master that runs while a file is there, and answers once more after it was told to stop.
DARC = """
if stopping.exists():
    stopping.unlink()
elif not running.exists():
    sys.exit("no answer")
elif sys.argv[-1] == "stop_master":
    running.rename(stopping)
"""
MASTER = """
running.touch()
print("up", flush=True)
signal.pause()
"""
MASTER_WITH_SERVICE = """
if "--stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
service = subprocess.Popen(["sleep", "600"])
print(service.pid, flush=True)
signal.pause()
"""
FORKSERVER = """
import multiprocessing, signal, time
if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["darc.errors"])
    service = context.Process(target=time.sleep, args=(600,))
    service.start()
    print(service.pid, flush=True)
    signal.pause()
"""

Spawn = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(HEAD + text)
        path.chmod(0o755)
        return path

    write("darc", DARC)
    write("darc_service", MASTER)
    return write


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}

    def script(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / name), *options]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return script


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a program; gives it and the process ID, of itself or of what it started, that it prints."""
    processes, pids = [], []

    def start(*command: str | Path) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        pids.append(int(process.stdout.readline()))
        return process, pids[-1]

    yield start
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def master(run, tmp_path: Path) -> Iterator[str]:
    """Name of the node of which darc_start_master has started the master."""
    node = f"node-{uuid.uuid4().hex}"
    started = run("darc_start_master", "--node", node, "--site-config=site file.yaml")
    assert (started.returncode, started.stderr) == (0, "")
    yield node
    run("darc_kill_all", "--node", node)


def calls(folder: Path, program: str) -> list[str]:
    return (folder / f"{program}.calls").read_text().splitlines()


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_explains_the_script_and_does_nothing(program, run, tmp_path, name):
    shown = run(name, "-h")
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"usage: {name} ")
    assert not list(tmp_path.glob("*.calls"))


def test_start_hands_its_options_on_and_leaves_a_log(program, run, tmp_path, master):
    assert calls(tmp_path, "darc_service") == [f"--config site file.yaml --node {master}"]
    assert calls(tmp_path, "darc")[-1].startswith(f"--site-config site file.yaml --node {master} ")
    assert (tmp_path / f"home/darc/log/darc_service.{master}.out").read_text() == "up\n"


def test_the_started_master_is_detached_from_the_terminal(program, run, master):
    pid = int(run("darc_kill_all", "-n", "--node", master).stdout.split()[0])
    assert os.getsid(pid) == pid


def test_a_second_start_says_that_the_master_runs(program, run, tmp_path, master):
    again = run("darc_start_master", "--node", master)
    assert again.returncode == 0
    assert "running already" in again.stdout
    assert len(calls(tmp_path, "darc_service")) == 1


def test_a_master_that_cannot_start_shows_why(program, run, tmp_path):
    program("darc_service", "sys.exit('port 51000 is taken')")
    started = run("darc_start_master", "--log", str(tmp_path / "own.log"))
    assert started.returncode == 1
    assert "port 51000 is taken" in started.stderr
    assert str(tmp_path / "own.log") in started.stderr


@pytest.mark.parametrize("options", [["--color"], ["--node"]])
def test_wrong_options_are_refused_before_anything_starts(program, run, tmp_path, options):
    for name in ("darc_start_master", "darc_kill_all"):
        refused = run(name, *options)
        assert refused.returncode == 2
        assert options[0] in refused.stderr
    assert not list(tmp_path.glob("*.calls"))


def test_stop_waits_until_the_master_is_gone(program, run, tmp_path):
    (tmp_path / "running").touch()
    stopped = run("darc_stop_master", "--port", "51007")
    assert stopped.returncode == 0
    first, *polls = calls(tmp_path, "darc")
    assert first == "--port 51007 stop_master"
    assert len(polls) == 2
    assert all(poll.startswith("--port 51007 ") and poll.endswith(" get_attr node") for poll in polls)


def test_stop_without_a_master_fails(program, run):
    stopped = run("darc_stop_master")
    assert stopped.returncode == 1
    assert "no answer" in stopped.stderr


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_all_services_are_one_command_to_the_master(program, run, tmp_path, verb):
    name = f"darc_{verb}_all_services"
    assert run(name, "--node", "a b").returncode == 1
    (tmp_path / "running").touch()
    assert run(name, "--node", "a b").returncode == 0
    assert calls(tmp_path, "darc")[-1] == f"--node a b --service all {verb}"


def test_kill_ends_a_node_with_what_it_started_and_nothing_else(program, run, spawn):
    service = program("darc_service", MASTER_WITH_SERVICE)
    other, other_child = spawn(service, "--node=other")
    mine, mine_child = spawn(service, "--node=mine")
    killed = run("darc_kill_all", "--node", "mine")
    assert (killed.returncode, killed.stderr) == (0, "")
    assert mine.wait(timeout=5) == -signal.SIGTERM
    assert not is_running(mine_child)
    assert other.poll() is None
    assert is_running(other_child)


def test_what_ignores_term_is_killed(program, run, spawn):
    stubborn, _ = spawn(program("darc_service", MASTER_WITH_SERVICE), "--stubborn", "--node", "mine")
    assert run("darc_kill_all", "--node", "mine").returncode == 0
    assert stubborn.wait(timeout=5) == -signal.SIGKILL


def test_a_program_that_only_names_darc_service_is_spared(program, run, spawn):
    editor = program("editor", "import os\nprint(os.getpid(), flush=True)\nsignal.pause()")
    _, pid = spawn(editor, "darc_service", "--node", "mine")
    assert "no darc_service process" in run("darc_kill_all", "--node", "mine").stdout
    assert str(pid) not in run("darc_kill_all", "--dry-run").stdout.split()


def test_a_service_that_outlived_its_master_is_found(program, run, spawn, tmp_path):
    (tmp_path / "master.py").write_text(FORKSERVER)
    master, service = spawn(sys.executable, tmp_path / "master.py")
    master.kill()
    master.wait()
    assert is_running(service)
    assert str(service) in run("darc_kill_all", "--dry-run").stdout.split()
