"""A master with real services: commands over its port, deaths of services, and how everything ends."""

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from darc.formats.parset import encode_parset
from darc.network.command_client import send_command
from darc.network.command_protocol import Request
from darc.simulation.cluster import MASTER, Cluster, free_ports, worker
from darc.simulation.observation import Observation
from darc.topology import service_class

#: Longest time in s that anything here may take on a machine that is busy with other things.
PATIENCE_S = 30.0
WORKER = worker(0)
WORKER_SERVICES = ["amber_listener", "amber_clustering", "dada_trigger"]
PASSWORD = "swordfish-4711"
MASTER_SETTINGS = {
    "services_worker_mix": WORKER_SERVICES,
    "services_master_mix": ["lofar_trigger", "voevent_generator"],
    "setup_time": 1.0,
    "stop_timeout": 1.0,
    "control_timeout": PATIENCE_S,
    "socket_timeout": 3.0,
    "restart_backoff_min": 0.1,
    "restart_backoff_max": 0.2,
    "restart_limit": 4,
}
GALAXY = {"galaxy_model": "none", "galactic_dm_max": 100.0}


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.02)
    return value


class Port:
    """The command port of a node, as a client of old that knows Python literals only."""

    def __init__(self, site_file: Path, node: str | None = None) -> None:
        site = yaml.safe_load(site_file.read_text())
        nodes = [site.get("nodes", {}).get("master"), *site.get("nodes", {}).get("workers", [])]
        ports = {entry["name"]: entry["port"] for entry in nodes if entry}
        self.address = "127.0.0.1", ports.get(node) or site["darc_master"]["port"]

    def __call__(self, command: str, service: str | None = None, payload: object = None) -> tuple[str, Any]:
        request = {"service": str(service), "command": command, "payload": str(payload)}
        return self.exchange(repr(request).encode())

    def exchange(self, *segments: bytes) -> tuple[str, Any]:
        with socket.create_connection(self.address, PATIENCE_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for segment in segments:
                connection.sendall(segment)
            text = b""
            while received := connection.recv(65536):
                text += received
        reply = ast.literal_eval(text.decode())
        return reply["status"], reply["message"]

    def get(self, attribute: str, service: str | None = None) -> Any:
        status, message = self(f"get_attr {attribute}", service)
        assert status == "Success", message
        (value,) = message.values()
        return value

    def pids(self) -> dict[str, int]:
        """Process IDs of the services."""
        found: dict[str, int] = ast.literal_eval(self.get("processes"))
        return found

    def state(self, service: str) -> str:
        return self("status", service)[1][service]

    def wait_for(self, service: str, state: str) -> None:
        eventually(lambda: self.state(service) == state, f"{service} {state}")

    def is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    def is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return probe.connect_ex(self.address) != 0 and probe.bind(self.address) is None


def processes_of(home: Path) -> dict[int, str]:
    """All living processes that were started with this home folder, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={home}\0".encode() in (folder / "environ").read_bytes():
                command_line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = command_line
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return found


def kill_all(home: Path) -> None:
    for pid in processes_of(home):
        os.kill(pid, signal.SIGKILL)


# --- a cluster for all tests that leave it as it was --------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    lofar, voevent = free_ports(2)
    settings = {
        "darc_master": MASTER_SETTINGS,
        "amber_clustering": GALAXY,
        "lofar_trigger": {"server_port": lofar, "server_auth": PASSWORD},
        "voevent_generator": {"server_port": voevent, "server_auth": PASSWORD},
    }
    folder = tmp_path_factory.mktemp("cluster")
    try:
        with Cluster(folder, (0,), settings) as running:
            yield running
    finally:
        kill_all(folder)


@pytest.fixture
def port(cluster: Cluster) -> Iterator[Port]:
    """The command port of the worker node; all its services run before each test."""
    ask = Port(cluster.site_file, WORKER)
    yield ask
    assert ask("start", "all")[0] == "Success"


@pytest.fixture
def observe(cluster: Cluster, port: Port, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Write the files of an observation that starts some seconds from now."""
    written = []

    def write(start_in_s: float, **settings: Any) -> Path:
        start = datetime.now(UTC) + timedelta(seconds=start_in_s)
        number = len(written) + 1
        observation = Observation("B0531+21", start, **{"duration_s": 30.72, "number": number} | settings)
        written.append(observation.write(tmp_path / str(number)).workers[0])
        return written[-1]

    yield write
    for parset in written:
        port("abort_observation", payload=parset)


def test_status_of_all_and_of_one(port):
    running = dict.fromkeys(WORKER_SERVICES, "running")
    assert port("status", "all") == ("Success", {**running, "observations": {}})
    assert port("status") == port("status", "all")
    assert port("status", "dada_trigger") == ("Success", {"dada_trigger": "running"})


def test_start_stop_and_restart(port):
    before = port.pids()
    assert port("start", "dada_trigger") == ("Success", {"dada_trigger": "already running"})
    assert port("stop", "dada_trigger") == ("Success", {"dada_trigger": "stopped"})
    assert port.state("dada_trigger") == "stopped"
    assert port("start", "dada_trigger") == ("Success", {"dada_trigger": "started"})
    assert port("restart", "amber_listener") == (
        "Success",
        {"amber_listener": {"stop": "stopped", "start": "started"}},
    )
    after = port.pids()
    assert after["amber_clustering"] == before["amber_clustering"]
    assert after["dada_trigger"] != before["dada_trigger"]
    assert after["amber_listener"] != before["amber_listener"]
    # nothing that the stopped process left unread ends its successor
    assert port.get("service_name", "dada_trigger") == "dada_trigger"
    assert port.pids() == after


def test_attributes_of_master_and_services(port):
    assert port.get("host_type") == "worker"
    assert port.get("port_iquv", "dada_trigger") == "30001"
    status, message = port("get_attr service_name", "all")
    assert status == "Success"
    assert message["amber_clustering"] == {"AMBERClustering.service_name": "amber_clustering"}
    assert port("get_attr nonsense", "dada_trigger")[0] == "Error"


def test_refusals(port):
    assert port("status", "nonsense") == ("Error", {"error": "Invalid service: nonsense"})
    assert port("dance", "all") == ("Error", {"error": "Invalid command: dance"})
    assert port("start_observation", payload="/nowhere.parset")[0] == "Error"
    assert port.exchange(b"hello")[0] == "Error"


def test_a_request_in_pieces(port):
    # reading a command or a reply with one recv(1024)
    text = repr({"service": "dada_trigger", "command": "status", "payload": "None"}).encode()
    assert port.exchange(*(text[i : i + 7] for i in range(0, len(text), 7)))[0] == "Success"
    long = {"service": None, "command": "start_observation", "payload": "/" + "x" * 3000 + ".parset"}
    assert "x" * 50 in port.exchange(repr(long).encode())[1]["error"]


def test_commands_of_the_master_node_are_refused_on_a_worker(port, cluster):
    on_master = Port(cluster.site_file, MASTER)
    for system in ("lofar", "voevent"):
        assert port(f"{system}_status")[0] == "Error"
        assert on_master(f"{system}_status") == ("Success", "disabled, all events are tests")
        assert on_master(f"{system}_enable") == ("Success", "enabled, all events are tests")
        assert on_master(f"{system}_status") == ("Success", "enabled, all events are tests")
        assert on_master(f"{system}_disable") == ("Success", "disabled, all events are tests")


def test_no_attribute_tells_a_secret_or_ends_its_service(cluster):
    on_master = Port(cluster.site_file, MASTER)
    before = on_master.pids()
    for service in before:
        names = {name for name in dir(service_class(service)) if not name.startswith("_")}
        requests = [
            Request(command=f"get_attr {name}", service=service) for name in names | {"config", "server_auth"}
        ]
        answers = [send_command(*on_master.address, request, PATIENCE_S) for request in requests]
        assert {answer.status for answer in answers} == {"Success", "Error"}
        assert PASSWORD not in str(answers)
    assert on_master.pids() == before


def test_many_clients_at_once(port):
    with ThreadPoolExecutor(20) as clients:
        replies = list(clients.map(lambda n: port("status", WORKER_SERVICES[n % 3]), range(60)))
    assert {status for status, _ in replies} == {"Success"}


def test_clients_that_misbehave_disturb_nobody(port):
    with (
        socket.create_connection(port.address, PATIENCE_S) as silent,
        socket.create_connection(port.address, PATIENCE_S) as half,
        socket.create_connection(port.address, PATIENCE_S) as talkative,
    ):
        half.sendall(b"{'service': 'all', 'comm")
        talkative.settimeout(PATIENCE_S)
        try:
            talkative.sendall(b"{'service': '" + b"x" * 2**20)
            assert b"Error" in talkative.recv(65536)
        except ConnectionError:
            pass  # it was cut off before all was sent
        assert port("status", "all")[0] == "Success"
        assert b"was not complete" in half.recv(65536)
        silent.settimeout(PATIENCE_S)
        assert silent.recv(65536) == b""
    assert port("status", "all")[0] == "Success"


def test_reload_follows_the_file(port, cluster):
    text = cluster.site_file.read_text()
    try:
        cluster.site_file.write_text(text.replace("control_timeout: 30.0", "control_timeout: soon"))
        status, message = port("reload")
        assert status == "Error"
        assert "control_timeout = 'soon': has to be a number" in message["error"]
    finally:
        cluster.site_file.write_text(text)
    assert port("reload")[0] == "Success"


# --- observations -------------------------------------------------------------------------------------------


def test_an_observation_waits_without_holding_up_anything_and_then_runs(port, observe):
    # waiting for an observation's start inside the command loop
    far, near = observe(60.0), observe(4.0)
    for parset in (far, near):
        status, text = port("start_observation", payload=parset)
        assert status == "Success"
        assert " starts at 20" in text
    assert port("start_observation", payload=far)[0] == "Error"  # the same task ID
    shown = port("status", "all")[1]["observations"]
    assert [each["state"] for each in shown.values()] == ["waiting", "waiting"]
    eventually(
        lambda: {o["state"] for o in port("status")[1]["observations"].values()} == {"waiting", "running"},
        "the nearer one runs",
    )
    eventually(lambda: "B0531+21" in port.get("obs_config", "dada_trigger"), "its services know of it")
    assert port("stop_observation", payload=near) == (
        "Success",
        f"observation {datetime.now(UTC):%y%m%d}002 stopped",
    )
    assert "struck out" in port("abort_observation", payload=far)[1]
    assert port("status")[1]["observations"] == {}
    assert port("stop_observation", payload=near)[0] == "Warning"


def test_an_observation_that_has_ended_is_a_warning(port, observe, cluster):
    parset = observe(-60.0)
    assert port("start_observation", payload=parset)[0] == "Warning"
    answer = cluster.darc(WORKER, "--parset", str(parset), "start_observation")
    assert "has already ended: no service here works on such ones" in answer.stdout


@pytest.mark.parametrize(
    "values",
    [
        {"datetimesource": "../../etc"},
        {"source": "`reboot`"},
        {"parset": encode_parset("task.taskID = 1\n#" + "x" * 2**24)},
        {"startpacket": "9" * 18},
    ],
    ids=lambda values: next(iter(values)),
)
def test_an_unsafe_parset_is_refused_and_nothing_written(port, observe, cluster, values):
    parset = observe(60.0)
    lines = [line for line in parset.read_text().splitlines() if line.partition("=")[0] not in values]
    parset.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in values.items())]))
    before = sorted(cluster.folder.rglob("*.parset"))
    status, message = port("start_observation", payload=parset)
    assert status == "Error"
    assert next(iter(values)) in message["error"]
    assert sorted(cluster.folder.rglob("*.parset")) == before
    assert port("status")[1]["observations"] == {}


# --- services that die --------------------------------------------------------------------------------------


def test_a_killed_service_comes_back_and_joins_the_observation(port, observe):
    # a service that dies and nobody notices until someone looks at the status page
    parset = observe(0.0)
    port("start_observation", payload=parset)
    eventually(lambda: "B0531+21" in port.get("obs_config", "dada_trigger"), "the observation runs")
    before = port.pids()
    os.kill(before["dada_trigger"], signal.SIGKILL)
    eventually(lambda: port.pids().get("dada_trigger") not in (None, before["dada_trigger"]), "a new process")
    assert "B0531+21" in port.get("obs_config", "dada_trigger")
    others = {name: pid for name, pid in before.items() if name != "dada_trigger"}
    assert {name: pid for name, pid in port.pids().items() if name != "dada_trigger"} == others


def test_a_service_killed_again_and_again_is_given_up_and_wedges_nobody(port, cluster):
    port("restart", "dada_trigger")  # with a clean sheet
    killed = set()

    def kill_next() -> bool:
        pid = port.pids().get("dada_trigger")
        if pid is not None and pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        assert port.get("service_name", "amber_clustering") == "amber_clustering"
        return port.state("dada_trigger") == "failed"

    eventually(kill_next, "given up")
    assert len(killed) == MASTER_SETTINGS["restart_limit"] + 1
    log = (cluster.folder / f"darc/log/darc_master.{WORKER}.log").read_text()
    assert "dada_trigger: killed by signal 9 (Killed); restart in 0.1 s" in log
    assert "given up" in log
    assert port("start", "dada_trigger") == ("Success", {"dada_trigger": "started"})
    assert port.get("service_name", "dada_trigger") == "dada_trigger"


def test_a_service_that_does_not_obey_is_killed(port):
    pid = port.pids()["amber_listener"]
    os.kill(pid, signal.SIGSTOP)
    assert port("stop", "amber_listener") == ("Success", {"amber_listener": "stopped"})
    assert not Path(f"/proc/{pid}").exists()


def test_services_outlive_the_server_that_they_were_forked_from(port, cluster):
    # a process that is taken for dead and forgotten while it is alive
    before = port.pids()
    (node,) = (
        pid
        for pid, line in processes_of(cluster.folder).items()
        if f"--node {WORKER}" in line and "darc_master" in line
    )
    servers = {
        pid
        for pid, line in processes_of(cluster.folder).items()
        if "multiprocessing.forkserver" in line and parent_of(pid) == node
    }
    (server,) = servers
    os.kill(server, signal.SIGKILL)
    assert port("status", "all")[1] == {**dict.fromkeys(WORKER_SERVICES, "running"), "observations": {}}
    assert port.pids() == before
    os.kill(before["amber_listener"], signal.SIGKILL)
    eventually(lambda: port.pids().get("amber_listener") not in (None, before["amber_listener"]), "a new one")
    assert port("restart", "all")[0] == "Success"
    assert not set(before.values()) & set(processes_of(cluster.folder))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# --- the end ------------------------------------------------------------------------------------------------


class Node:
    """A node in a session of its own, as it runs on a host."""

    def __init__(self, folder: Path, settings: dict[str, Any], *options: str) -> None:
        self.home = folder
        self.site_file = folder / "site.yaml"
        self.site_file.write_text(yaml.safe_dump(settings))
        program = Path(sys.executable).with_name("darc_service")
        self.command = [str(program), "--config", str(self.site_file), *options]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DARC_")}
        self.environment = kept | {"HOME": str(folder)}
        self.port = Port(self.site_file, "w")
        (folder / "darc").mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        with (self.home / "out").open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                # users are in their home, where the folder of DARC's files is called as its package
                cwd=self.home,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        eventually(self.port.is_open, "the port is open")
        eventually(self.all_run, "all services run")

    def all_run(self) -> bool:
        states = dict(self.port("status")[1])
        del states["observations"]
        return set(states.values()) <= {"running"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def start(*options: str, **settings: Any) -> Node:
        nodes.append(Node(tmp_path, settings, *options))
        return nodes[-1]

    yield start
    kill_all(tmp_path)
    for each in nodes:
        each.process.wait(PATIENCE_S)


@pytest.fixture
def worker_node(node) -> Callable[..., Node]:
    def start(**settings: Any) -> Node:
        (number,) = free_ports(1)
        entry = {"name": "w", "beam": 0, "address": "127.0.0.1", "port": number}
        services = MASTER_SETTINGS | {"services_worker_mix": ["amber_listener", "dada_trigger"]}
        return node("--node", "w", nodes={"workers": [entry]}, darc_master=services | settings)

    return start


@pytest.fixture
def lone_worker(worker_node) -> Node:
    return worker_node()


def stop_by_command(node: Node) -> None:
    assert node.port("stop_master") == ("Success", "stopping all services, then the master")


def signal_master(number: signal.Signals) -> Callable[[Node], None]:
    return lambda node: os.kill(node.process.pid, number)


def signal_group(number: signal.Signals) -> Callable[[Node], None]:
    return lambda node: os.killpg(node.process.pid, number)


@pytest.mark.parametrize(
    "end",
    [
        stop_by_command,
        signal_master(signal.SIGTERM),
        signal_master(signal.SIGINT),
        signal_group(signal.SIGINT),
        signal_group(signal.SIGTERM),
    ],
    ids=["stop_master", "SIGTERM", "SIGINT", "Ctrl-C", "SIGTERM to all"],
)
def test_at_the_end_nothing_is_left(lone_worker, end):
    end(lone_worker)
    assert lone_worker.process.wait(PATIENCE_S) == 0
    assert processes_of(lone_worker.home) == {}
    assert lone_worker.port.is_free()
    assert "Traceback" not in (lone_worker.home / "out").read_text()


def test_services_end_by_themselves_when_their_master_was_killed(lone_worker):
    os.kill(lone_worker.process.pid, signal.SIGKILL)
    lone_worker.process.wait(PATIENCE_S)
    eventually(lambda: not processes_of(lone_worker.home), "no process left")
    assert lone_worker.port.is_free()
    lone_worker.start()
    stop_by_command(lone_worker)


def test_an_observation_goes_on_after_its_master_was_killed(lone_worker, tmp_path):
    start = datetime.now(UTC)
    files = Observation("B0531+21", start, duration_s=102.4).write(tmp_path / "observation")
    assert lone_worker.port("start_observation", payload=files.workers[0])[0] == "Success"
    eventually(lambda: "B0531+21" in lone_worker.port.get("obs_config", "dada_trigger"), "it runs")
    os.kill(lone_worker.process.pid, signal.SIGKILL)
    lone_worker.process.wait(PATIENCE_S)
    lone_worker.start()
    (observation,) = lone_worker.port("status")[1]["observations"].values()
    assert observation["state"] == "running"
    for service in ("dada_trigger", "amber_listener"):
        assert "B0531+21" in lone_worker.port.get("obs_config", service)
    stop_by_command(lone_worker)


def test_services_can_be_spawned_as_well(worker_node):
    spawning = worker_node(start_method="spawn")
    before = spawning.port.pids()
    os.kill(before["dada_trigger"], signal.SIGKILL)
    eventually(lambda: spawning.port.pids().get("dada_trigger") not in (None, *before.values()), "a new one")
    stop_by_command(spawning)
    assert spawning.process.wait(PATIENCE_S) == 0
    eventually(lambda: not processes_of(spawning.home), "no process left")


def test_a_second_master_is_refused_and_the_first_goes_on(lone_worker):
    command = [
        sys.executable,
        "-m",
        "darc.darc_master",
        "--config",
        str(lone_worker.site_file),
        "--node",
        "w",
    ]
    environment = os.environ | {"HOME": str(lone_worker.home)}
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "cannot listen on 127.0.0.1:" in second.stderr
    assert lone_worker.all_run()


def test_a_host_that_is_no_node_answers_and_runs_nothing(node):
    (number,) = free_ports(1)
    stranger = node(darc_master={"port": number}, nodes={"workers": []})
    assert stranger.port("status") == ("Success", {"observations": {}})
    assert stranger.port.get("host_type") == "unknown"
    assert "this host is none of the nodes" in " ".join(stranger.port("log")[1]["lines"])
    assert stranger.port("start", "dada_trigger") == (
        "Error",
        {"error": "Invalid service: dada_trigger does not run on this unknown node"},
    )
    assert list(processes_of(stranger.home)) == [stranger.process.pid]
    stop_by_command(stranger)
    assert stranger.process.wait(PATIENCE_S) == 0
