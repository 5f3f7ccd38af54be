"""The real-time services as processes: used by other programs, at work together, and when something fails."""

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import socket
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from multiprocessing.managers import BaseManager, RemoteError
from pathlib import Path

import pytest
import yaml
from aiosmtpd.controller import Controller

from darc.amber_clustering import AMBERClustering
from darc.amber_listener import AMBERListener
from darc.dada_trigger import DADATrigger
from darc.formats import voevent
from darc.formats.amber import format_row, header
from darc.formats.parset import load_obs_config
from darc.lofar_trigger import LOFARTrigger, LOFARTriggerQueueServer
from darc.network.process_queue import ProcessQueue
from darc.simulation.broker import CometBroker
from darc.simulation.cluster import free_ports
from darc.simulation.dada_dbevent import DadaDBEvent, Dump, RingBuffer
from darc.simulation.lofar_receiver import LOFARPacket, LOFARReceiver
from darc.simulation.observation import Observation
from darc.voevent_generator import VOEventGenerator, VOEventGeneratorException, VOEventQueueServer

TIMEOUT_S = 60
KEY = b"a-key-for-tests"
SERVICES = ("amber_listener", "amber_clustering", "dada_trigger", "lofar_trigger", "voevent_generator")


def until(condition, timeout_s=TIMEOUT_S):
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


def row(dm, snr, batch, width=10, sb=35):
    time_s = batch * 12500 * 81.92e-6
    return format_row(beam=sb, batch=batch, sample=0, integration_step=width, time_s=time_s, dm=dm, snr=snr)


def item(**change):
    return {
        "dm": 56.791, "dm_err": 0.2, "width": 2.5, "snr": 15.2, "flux": 3.4, "ra": 83.63, "dec": 22.01,
        "cb": 4, "sb": 35, "ymw16": 243.1, "semiMaj": 15.0, "semiMin": 15.0, "name": "candidate",
        "src_name": None, "datetimesource": "2019-01-02-18:00:00.R1", "utc": "2019-01-02T18:00:00.000",
        "tarr": 5.2, "importance": 0.1, "dt": 81.92e-6, "delta_nu_MHz": 0.1953125, "nu_GHz": 1.37, **change,
    }  # fmt: skip


# --- other programs that use single services ---------------------------------------------------------------

PROGRAM = """
import json, multiprocessing, os, queue, sys, time
from darc.amber_clustering import AMBERClustering
from darc.amber_listener import AMBERListener
obs_config, start = json.load(open(sys.argv[1])), {"command": "start_observation", "reload_conf": False}
start["obs_config"] = obs_config
"""


class Programs:
    """Runs programs in a home of their own."""

    def __init__(self, home):
        self.home = home
        now = datetime.now(UTC)
        self.files = Observation("R1", now, 299.0, ninstance=1, frbs={"R1": 348.8}).write(home)
        (home / "obs_config.json").write_text(json.dumps(load_obs_config(self.files.workers[0]), default=str))

    def start(self, code, **options):
        environment = {k: v for k, v in os.environ.items() if k not in ("DARC_CONFIG", "DARC_NODE")}
        path = self.home / "program.py"
        path.write_text(PROGRAM + textwrap.dedent(code))
        return subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                str(path),
                str(self.home / "obs_config.json"),
            ],
            env=environment | {"HOME": str(self.home)},
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, code):
        """Run a program to its end and return what it printed, JSON on every line."""
        program = self.start(code)
        output, _ = program.communicate(timeout=TIMEOUT_S)
        assert program.returncode == 0
        return [json.loads(line) for line in output.splitlines()]

    def log(self, service):
        (path,) = (self.home / "darc" / "log").glob(f"{service}.*.log")
        return path.read_text()


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)


def test_a_program_uses_the_clustering_with_plain_queues_and_its_own_settings(programs):
    answers = programs.run(f"""
        service = AMBERClustering(
            multiprocessing.Queue(), target_queue=multiprocessing.Queue(), connect_vo=False,
            connect_lofar=False, control_queue=multiprocessing.Queue(),
        )
        service.source_file = {str(programs.files.source_list)!r}
        service.sb_filter, service.galaxy_model, service.galactic_dm_max = False, "none", 100.0
        service.thresh_iquv = {{**service.thresh_iquv, "snr_min": 14.0, "interval": 0.0}}
        service.start()
        put = service.source_queue.put
        put(start)
        # every one of these is refused, and costs only itself
        for message in (None, 5, "nonsense", [1, 2], {{"command": 5}}, {{"command": "dance"}},
                        {{"command": "trigger"}}, {{"command": "trigger", "trigger": 7}}):
            put(message)
        put({{"command": "trigger", "trigger": {header()!r}}})
        put({{"command": "trigger", "trigger": {row(500, 13.9, 1)!r}}})
        put({{"command": "trigger", "trigger": {row(500, 15.0, 3)!r}}})
        print(json.dumps([t["snr"] for t in service.target_queue.get(timeout=60)["trigger"]]))
        put({{"command": "trigger", "trigger": [{row(500, 16.0, 5)!r}, "bad line", {row(350, 11.0, 5)!r}]}})
        triggers = service.target_queue.get(timeout=60)["trigger"]
        print(json.dumps([(t["dm"], t["snr"], t["stokes"]) for t in triggers]))
        print(json.dumps(triggers[0]["utc_start"].isot))
        put({{"command": "get_attr", "attribute": "counts"}})
        print(json.dumps(service.control_queue.get(timeout=60)))
        put("stop")
        service.join(60)
        print(service.exitcode)
    """)
    snrs, triggers, utc_start, attribute, exitcode = answers
    assert snrs == [15.0]
    assert sorted(triggers) == [[348.8, 11.0, "IQUV"], [500.0, 16.0, "IQUV"]]
    assert utc_start.startswith(f"{datetime.now(UTC):%Y}")
    assert (
        attribute["status"] == "Success"
        and "'malformed': 1" in attribute["message"]["AMBERClustering.counts"]
    )
    assert exitcode == 0
    log = programs.log("amber_clustering")
    assert log.count(" ERROR ") == log.count("refused: ") == 8
    obs_config = load_obs_config(programs.files.workers[0])
    assert f"[{obs_config['datetimesource']} {obs_config['taskid']}]" in log


def test_a_program_uses_the_listener_and_names_its_queues(programs):
    programs.files.amber_dirs[0].mkdir(parents=True, exist_ok=True)
    (programs.files.amber_dirs[0] / "CB00_step1.trigger").write_text("one\ntwo\n")
    lines, exitcode = programs.run("""
        service = AMBERListener(source_queue=multiprocessing.Queue(), target_queue=multiprocessing.Queue())
        service.start()
        service.source_queue.put(start)
        print(json.dumps(service.target_queue.get(timeout=60)["trigger"]))
        service.stop()
        service.join(60)
        print(service.exitcode)
    """)
    assert (lines, exitcode) == (["one", "two"], 0)


@pytest.mark.parametrize(
    "broken",
    [
        "def process_command(self, command): 1 / 0",
        "def _follow_file(self, fname, event): 1 / 0",
        "def prepare(self): 1 / 0",
        "def cleanup(self): 1 / 0",
    ],
)
def test_a_defect_ends_the_process_with_its_traceback_in_the_log(programs, broken):
    exitcodes = programs.run(f"""
        class Broken(AMBERListener):
            __module__ = "darc.amber_listener"
            {broken}

        service = Broken(multiprocessing.Queue(), target_queue=multiprocessing.Queue())
        service.start()
        for message in (start, {{"command": "anything"}}, "stop" if {"cleanup" in broken} else "x"):
            service.source_queue.put(message)
        service.join(60)
        print(service.exitcode)
    """)
    assert exitcodes == [1]
    log = programs.log("amber_listener")
    assert "ends because of a defect" in log and "ZeroDivisionError: division by zero" in log
    assert "program.py" in log  # where it was


# a silent 0 for the DM of the Galaxy would trigger on every pulsar in the plane
def test_without_its_model_of_the_galaxy_the_service_does_not_start(programs):
    exitcodes = programs.run("""
        service = AMBERClustering(multiprocessing.Queue(), connect_vo=False, connect_lofar=False)
        sys.modules["pyymw16"] = None
        service.start()
        service.join(60)
        print(service.exitcode)
    """)
    assert exitcodes == [1]
    assert "set `galaxy_model: none` in the configuration" in programs.log("amber_clustering")


#: Starts a listener whose target queue holds more than a pipe takes, and that nobody reads.
UNREAD = """
service = AMBERListener(multiprocessing.Queue(), target_queue=multiprocessing.Queue())
service.start()
service.source_queue.put(start)
service.target_queue.get(timeout=60)
print(service.pid, flush=True)
"""


@pytest.fixture
def much_to_read(programs):
    programs.files.amber_dirs[0].mkdir(parents=True, exist_ok=True)
    (programs.files.amber_dirs[0] / "CB00_step1.trigger").write_text(("x" * 99 + "\n") * 20_000)


def test_a_terminated_service_ends_although_nobody_reads_what_it_found(programs, much_to_read):
    _, exitcode = programs.run(
        UNREAD + "service.terminate()\nservice.join(60)\nprint(service.exitcode, flush=True)\nos._exit(0)"
    )
    assert exitcode == 0


def test_a_service_ends_with_the_program_that_started_it(programs, much_to_read):
    program = programs.start(UNREAD + "time.sleep(600)")
    pid = int(program.stdout.readline())
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: not is_running(pid))
    assert "the parent process is gone" in programs.log("amber_listener")


def is_running(pid):
    """Whether a process does anything; one that has ended may wait for somebody to collect its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- the services of a site --------------------------------------------------------------------------------


class Inbox:
    """What a mail server took."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


class MailServer(Controller):
    """A mail server on a port that was bound beforehand, so that nobody else can take it."""

    def __init__(self, inbox):
        self._bound = socket.create_server(("127.0.0.1", 0))
        super().__init__(inbox, "127.0.0.1", self._bound.getsockname()[1])

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self._bound)


@pytest.fixture
def mail():
    inbox = Inbox()
    server = MailServer(inbox)
    server.start()
    inbox.port = server.port
    yield inbox
    server.stop()


@pytest.fixture
def lofar():
    with LOFARReceiver() as receiver:
        yield receiver


class Site:
    """Starts services with the configuration of a site, and ends them."""

    def __init__(self, folder):
        self.folder = folder
        self.lofar_port, self.voevent_port = free_ports(2)
        self.settings = {
            "nodes": {
                "master": {"name": "master", "address": "127.0.0.1"},
                "workers": [{"name": "worker", "beam": 0, "address": "127.0.0.1", "port": 51001}],
            },
            **{name: {"log_file": str(folder / f"{name}.log")} for name in SERVICES},
        }
        for name, port in (("lofar_trigger", self.lofar_port), ("voevent_generator", self.voevent_port)):
            self.configure(name, server_port=port, server_auth=KEY.decode(), interval=0.2, send_events=True)
            self.configure(name, min_spacing=0.0)
        self.configure("voevent_generator", voevent_dir=str(folder / "voevents"), broker_timeout=5.0)
        self.configure("lofar_trigger", lofar_host="127.0.0.1")
        self.configure("darc_master", state_dir=str(folder / "state"))
        self.configure("voevent_generator", broker_host="127.0.0.1", broker_port=free_ports(1)[0])
        self.configure("amber_clustering", sb_filter=False, galaxy_model="none", galactic_dm_max=100.0)
        self.running = []

    def configure(self, section, **keys):
        self.settings.setdefault(section, {}).update(keys)

    def make(self, service_class, node, **queues):
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return service_class(
            ProcessQueue(),
            control_queue=ProcessQueue(),
            config_file=path,
            node=node,
            start_method="forkserver",
            **queues,
        )

    def start(self, service_class, node, **queues):
        service = self.make(service_class, node, **queues)
        service.start()
        self.running.append(service)
        return service

    def stop(self, service):
        """Stop a service as the master does, and return its exit code."""
        if service in self.running:
            self.running.remove(service)
            with contextlib.suppress(queue.Full):
                service.source_queue.put("stop", block=False)
            service.terminate()
            service.join(TIMEOUT_S)
        return service.exitcode

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_for_log(self, name, text):
        until(lambda: text in self.log(name))

    def close(self):
        for service in list(self.running):
            self.stop(service)


@pytest.fixture
def site(tmp_path):
    multiprocessing.set_forkserver_preload(["darc.preload", *(f"darc.{name}" for name in SERVICES)])
    site = Site(tmp_path)
    yield site
    site.close()


def ask(service, **question):
    service.source_queue.put(question)
    return service.control_queue.get(timeout=TIMEOUT_S)


class Client(BaseManager):
    """How other programs reach a trigger queue."""


Client.register("get_queue")


def connect(port, manager=Client):
    """Return the queue that a service serves, once it does."""

    def attempt():
        client = manager(address=("127.0.0.1", port), authkey=KEY)
        try:
            client.connect()
        except ConnectionRefusedError:
            return None
        return client

    return until(attempt).get_queue()


# --- LOFAR trigger -----------------------------------------------------------------------------------------


def test_a_trigger_that_another_program_puts_reaches_lofar_and_the_observers(site, lofar, mail):
    site.configure("lofar_trigger", lofar_port=lofar.port, email_settings={"to": ["observers@example.org"]})
    site.settings["mail"] = {"host": "127.0.0.1", "port": mail.port, "sender": "arts@example.org"}
    service = site.start(LOFARTrigger, "master")
    triggers = connect(site.lofar_port, LOFARTriggerQueueServer)
    triggers.put(item(snr=90.0, dm=900.0, cb=1))
    triggers.put(item(name="R1"))
    assert lofar.wait_received(1, TIMEOUT_S)
    assert lofar.received[0].packet == LOFARPacket(1546452008, 265, 56.8, test=True)
    (received,) = until(lambda: mail.mails)
    assert received["Subject"] == "Test: LOFAR trigger at 2019-01-02T18:00:00.000, DM 56.79"
    for line in ("name: R1", "cb: 4", "ncb: 2", "snr: 15.2"):
        assert line in received.get_content()
    assert site.stop(service) == 0
    assert len(lofar.received) == 1


def test_what_is_no_trigger_is_refused_at_once_and_the_next_one_arrives(site, lofar):
    site.configure("lofar_trigger", lofar_port=lofar.port)
    site.start(LOFARTrigger, "master")
    triggers = connect(site.lofar_port)
    for bad in ("trigger", {"dm": 1.0}, item(dm="high")):
        with pytest.raises(RemoteError, match="refused"):
            triggers.put(bad)
    triggers.put(item())
    assert lofar.wait_received(1, TIMEOUT_S)
    assert [received.error for received in lofar.received] == [None]


def test_sending_to_lofar_is_switched_while_the_service_runs(site, lofar):
    site.configure("lofar_trigger", lofar_port=lofar.port, send_events=False, test=False)
    service = site.start(LOFARTrigger, "master")
    triggers = connect(site.lofar_port)
    assert ask(service, command="status", id=1) == {"status": "Success", "message": "disabled", "id": 1}
    triggers.put(item(dm=1.0))
    site.wait_for_log("lofar_trigger", "not sent, as sending is disabled")
    assert ask(service, command="enable", id=2)["message"] == "enabled"
    triggers.put(item(dm=2.0))
    assert lofar.wait_received(1, TIMEOUT_S)
    assert ask(service, command="disable", id=3)["message"] == "disabled"
    assert ask(service, command="get_attr", attribute="send_events", id=4) == {
        "status": "Success", "message": {"LOFARTrigger.send_events": "False"}, "id": 4,
    }  # fmt: skip
    assert [(received.packet.dm, received.packet.test) for received in lofar.received] == [(2.0, False)]


def test_a_mail_server_that_is_away_delays_no_trigger_and_costs_no_mail(site, lofar, mail):
    site.configure("lofar_trigger", lofar_port=lofar.port, email_settings={"to": ["observers@example.org"]})
    site.settings["mail"] = {"host": "127.0.0.1", "port": free_ports(1)[0]}
    service = site.start(LOFARTrigger, "master")
    triggers = connect(site.lofar_port)
    for number in (1, 2):
        triggers.put(item(dm=float(number)))
        assert lofar.wait_received(number, TIMEOUT_S)
    site.wait_for_log("lofar_trigger", "mails wait: mail server 127.0.0.1")
    assert site.stop(service) == 0
    site.settings["mail"]["port"] = mail.port
    site.start(LOFARTrigger, "master")
    first, second = until(lambda: len(mail.mails) == 2 and mail.mails)
    assert [first["Subject"][-7:], second["Subject"][-7:]] == ["DM 1.00", "DM 2.00"]


def test_a_port_that_is_taken_is_an_error_that_says_which(site):
    with socket.create_server(("127.0.0.1", site.lofar_port)):
        service = site.start(LOFARTrigger, "master")
        service.join(TIMEOUT_S)
    assert service.exitcode == 1
    assert f"cannot serve the trigger queue on 127.0.0.1:{site.lofar_port}" in site.log("lofar_trigger")


# --- VOEvent generator -------------------------------------------------------------------------------------


def test_a_trigger_becomes_a_voevent_that_the_broker_takes(site, tmp_path):
    with CometBroker(tmp_path / "broker") as broker:
        site.configure("voevent_generator", broker_host=broker.host, broker_port=broker.port)
        service = site.start(VOEventGenerator, "master")
        connect(site.voevent_port, VOEventQueueServer).put(item(test=False))
        (received,) = until(lambda: broker.received)
        site.wait_for_log("voevent_generator", f"sent to {broker.host}:{broker.port}, accepted by ")
        assert site.stop(service) == 0
    event = voevent.parse(received.content)
    assert (event.dm, event.test, event.beam) == (56.791, True, 4)
    assert (tmp_path / "voevents" / "2019-01-02T18:00:00.000.xml").read_bytes() == received.content


def test_a_broker_s_refusal_is_an_error_with_its_reason(site, tmp_path):
    with CometBroker(tmp_path / "broker") as broker:
        site.configure("voevent_generator", broker_host=broker.host, broker_port=broker.port)
        generator = site.make(VOEventGenerator, "master")
        generator.create_and_send(item())
        (path,) = (tmp_path / "voevents").iterdir()
        assert generator._send(path) == "ivo://darc/broker"  # it has that already
        path.write_bytes(path.read_bytes().replace(b"<Who>", b"<Whom/><Who>"))
        with pytest.raises(VOEventGeneratorException, match=r"is refused by ivo://darc/broker: \S"):
            generator._send(path)
        assert len(broker.received) == 1


def test_a_broker_that_comes_up_late_gets_the_document(site, tmp_path):
    (port,) = free_ports(1)
    site.configure("voevent_generator", broker_host="localhost", broker_port=port)
    site.start(VOEventGenerator, "master")
    connect(site.voevent_port).put(item())
    site.wait_for_log("voevent_generator", "VOEvent waits: no answer of the VOEvent broker")
    with CometBroker(tmp_path / "broker", port) as broker:
        until(lambda: broker.received)


def test_a_broker_that_stays_away_is_an_error_and_the_document_stays(site, tmp_path):
    (port,) = free_ports(1)
    site.configure("voevent_generator", broker_host="localhost", broker_port=port, max_trigger_age=0.5)
    service = site.start(VOEventGenerator, "master")
    connect(site.voevent_port).put(item())
    site.wait_for_log("voevent_generator", "older than 0.5 s")
    assert "VOEvent dropped after" in site.log("voevent_generator")
    assert len(list((tmp_path / "voevents").iterdir())) == 1
    assert site.stop(service) == 0


def test_what_is_disabled_stays_on_this_node(site, tmp_path):
    with CometBroker(tmp_path / "broker") as broker:
        site.configure(
            "voevent_generator", broker_host=broker.host, broker_port=broker.port, send_events=False
        )
        service = site.start(VOEventGenerator, "master")
        connect(site.voevent_port).put(item())
        site.wait_for_log("voevent_generator", "not sent, as sending is disabled")
        assert site.stop(service) == 0
        assert broker.received == []
    assert len(list((tmp_path / "voevents").iterdir())) == 1


# --- from AMBER's files to everybody who is told -----------------------------------------------------------


class Worker:
    """The services of a worker node, joined as the master joins them."""

    def __init__(self, site, ports=(30000, 30001)):
        # 10 s old, so that there are data to dump
        self.start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=10)
        observation = Observation(
            "R1", self.start, 299.0, ninstance=1, frbs={"R1": 348.8}, event_ports={0: ports}
        )
        self.files = observation.write(site.folder)
        site.configure("amber_clustering", source_file=str(self.files.source_list))
        self.dada = site.start(DADATrigger, "worker")
        self.clustering = site.start(AMBERClustering, "worker", target_queue=self.dada.source_queue)
        self.listener = site.start(AMBERListener, "worker", target_queue=self.clustering.source_queue)
        for service in (self.listener, self.clustering, self.dada):
            service.source_queue.put(
                {
                    "command": "start_observation",
                    "obs_config": load_obs_config(self.files.workers[0]),
                    "reload_conf": True,
                    "host_type": "worker",
                }
            )

    def write(self, *rows):
        with (self.files.amber_dirs[0] / "CB00_step1.trigger").open("a") as file:
            file.writelines([header(), *rows])


def test_a_burst_reaches_the_ring_buffer_lofar_and_the_broker(site, lofar, tmp_path):
    with CometBroker(tmp_path / "broker") as broker, contextlib.ExitStack() as stack:
        site.configure("lofar_trigger", lofar_port=lofar.port)
        site.configure("voevent_generator", broker_host=broker.host, broker_port=broker.port)
        masters = [site.start(service, "master") for service in (LOFARTrigger, VOEventGenerator)]
        port_i, port_iquv = free_ports(2)
        worker = Worker(site, (port_i, port_iquv))
        ring_buffer = RingBuffer(worker.start, history_s=10 * TIMEOUT_S)  # this machine may be slow
        receiver = stack.enter_context(DadaDBEvent(ring_buffer, port=port_iquv))
        worker.write(row(350, 25.5, batch=5))
        assert receiver.wait_received(1, TIMEOUT_S)
        assert lofar.wait_received(1, TIMEOUT_S)
        (document,) = until(lambda: broker.received)
        for service in (worker.listener, worker.clustering, worker.dada, *masters):
            assert site.stop(service) == 0
    (outcome,) = receiver.received[0].outcomes
    assert isinstance(outcome, Dump)
    assert outcome.start_ms <= 5120 - 2048 and outcome.end_ms >= 5120 + 2048
    event = voevent.parse(document.content)
    assert (event.dm, event.snr, event.source_name) == (348.8, 25.5, "R1")
    # 5.12 s after the start at the top of the band, k DM (1/1369.603^2 - 1/1519.603^2) later at its centre
    arrival_s = (event.arrival_time - worker.start).total_seconds()
    assert arrival_s == pytest.approx(5.12 + 348.8 * 0.415090866e-3, abs=2e-6)
    assert lofar.received[0].packet.dm == 348.8


def test_services_of_the_master_node_may_come_up_after_those_of_a_worker(site, lofar):
    site.configure("lofar_trigger", lofar_port=lofar.port)
    worker = Worker(site)
    worker.write(row(350, 25.5, batch=5))
    site.wait_for_log("amber_clustering", "LOFAR and VOEvent: send")
    site.start(LOFARTrigger, "master")
    assert lofar.wait_received(1, TIMEOUT_S)


def test_a_dump_is_asked_for_again_until_its_receiver_is_there(site):
    (port,) = free_ports(1)
    site.configure("dada_trigger", port_iquv=port)
    dada = site.start(DADATrigger, "worker")
    start = datetime.now(UTC).replace(microsecond=0)
    trigger = {
        "stokes": "IQUV", "dm": 56.8, "beam": 35, "width": 25, "snr": 12.5, "time": 3.0,
        "utc_start": f"{start:%Y-%m-%d-%H:%M:%S}",
    }  # fmt: skip
    dada.source_queue.put({"command": "trigger", "trigger": [trigger]})
    site.wait_for_log("dada_trigger", "again in 0.2 s")
    with DadaDBEvent(RingBuffer(start), port=port) as receiver:
        assert receiver.wait_received(1, TIMEOUT_S)
    assert site.stop(dada) == 0


def test_a_calibrator_is_dumped_and_a_stop_ends_that(site):
    (port,) = free_ports(1)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    site.configure("dada_trigger", polcal_interval=7.0, polcal_dump_size=1.0)
    files = Observation("3C286polcal", start, 299.0, event_ports={0: (port, port)}).write(site.folder)
    message = {"obs_config": load_obs_config(files.workers[0])}
    with DadaDBEvent(RingBuffer(start), port=port) as receiver:
        dada = site.start(DADATrigger, "worker")
        dada.source_queue.put({"command": "start_observation", **message})
        dada.source_queue.put({"command": "trigger", "trigger": []})
        assert receiver.wait_received(1, TIMEOUT_S)
        dada.source_queue.put({"command": "stop_observation", **message})
        assert site.stop(dada) == 0
    assert receiver.received[0].accepted_at >= start.timestamp() + 7.0
    assert "trigger refused: this is a polarisation calibration" in site.log("dada_trigger")


@pytest.mark.parametrize(
    "service_class", [AMBERListener, AMBERClustering, DADATrigger, LOFARTrigger, VOEventGenerator]
)
def test_every_service_ends_on_a_signal_and_is_not_disturbed_by_the_terminal(site, service_class):
    service = site.start(service_class, "master")
    assert ask(service, command="get_attr", attribute="service_name")["status"] == "Success"
    os.kill(service.pid, signal.SIGINT)
    assert ask(service, command="get_attr", attribute="service_name")["status"] == "Success"
    service.terminate()
    service.join(TIMEOUT_S)
    assert service.exitcode == 0
