"""What becomes of triggers on their way when processes are killed or receivers are away."""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import struct
import threading
import time
from multiprocessing.managers import BaseManager

import pytest
import yaml

from darc.config import load_config
from darc.formats import voevent
from darc.lofar_trigger import LOFARTrigger
from darc.network.master_queues import master_queue
from darc.network.process_queue import ProcessQueue
from darc.simulation.cluster import free_ports
from darc.simulation.lofar_receiver import LOFARReceiver
from darc.simulation.receiver import SocketReceiver
from darc.voevent_generator import VOEventGenerator

TIMEOUT_S = 60
KEY = b"a-key-for-tests"
SERVICES = ("lofar_trigger", "voevent_generator")
ACK = b'<trn:Transport role="ack" version="1.0" xmlns:trn="http://www.telescope-networks.org/xml/Transport/v1.1"/>'

context = multiprocessing.get_context("forkserver")


def until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


def item(**change):
    return {
        "dm": 56.791, "dm_err": 0.2, "width": 2.5, "snr": 15.2, "flux": 3.4, "ra": 83.63, "dec": 22.01,
        "cb": 4, "sb": 35, "ymw16": 243.1, "semiMaj": 15.0, "semiMin": 15.0, "name": "candidate",
        "utc": "2019-01-02T18:00:00.000", "importance": 0.1, "arrived": 5.0, **change,
    }  # fmt: skip


class Broker(SocketReceiver):
    """A broker that keeps the documents, and answers or does not."""

    answers = True

    def _serve(self):
        while self._wait(self._socket):
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rb") as stream:
                (length,) = struct.unpack(">I", stream.read(4))
                document = stream.read(length)
                if self.answers:
                    connection.sendall(struct.pack(">I", len(ACK)) + ACK)
                self._record(document)
                if not self.answers:
                    self._wait(connection)


class Site:
    """A master node and a worker in a folder of their own."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        ports = dict(zip(SERVICES, free_ports(2), strict=True))
        self.settings = {
            "nodes": {"master": {"name": "master", "address": "127.0.0.1"}, "workers": {"worker": 0}},
            "darc_master": {"state_dir": str(folder / "state" / "{node}")},
        }
        for name in SERVICES:
            self.settings[name] = {
                "log_file": str(folder / f"{name}.log"), "server_auth": KEY.decode(), "interval": 0.0,
                "server_port": ports[name], "send_events": True, "min_spacing": 0.0,
            }  # fmt: skip
        self.settings["voevent_generator"]["voevent_dir"] = str(folder / "voevents")
        self.configure("lofar_trigger", lofar_host="127.0.0.1")
        self.configure("voevent_generator", broker_host="127.0.0.1")

    def configure(self, section, **keys):
        self.settings[section].update(keys)

    def write(self):
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return path

    def start(self, service_class):
        service = service_class(
            ProcessQueue(), control_queue=ProcessQueue(), config_file=self.write(), node="master",
            start_method="forkserver",
        )  # fmt: skip
        service.start()
        self.running.append(service)
        return service

    def worker(self, *items, service="lofar_trigger"):
        """A worker's process that puts items on the queue of a service and goes on living."""
        process = context.Process(target=put_and_stay, args=(self.write(), service, items))
        process.start()
        self.running.append(process)
        return process

    def outgoing(self, service="lofar_trigger"):
        return list((self.folder / "state" / "worker" / "outgoing" / service).glob("*.json"))

    def connect(self, service):
        def attempt():
            client = Client(("127.0.0.1", self.settings[service]["server_port"]), KEY)
            with contextlib.suppress(ConnectionRefusedError):
                client.connect()
                return client
            return None

        return until(attempt).get_queue()

    def events(self, service):
        path = self.folder / "state" / "master" / "sent" / f"{service}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def outcomes(self, service):
        return [event["outcome"] for event in self.events(service)]

    def log(self, service):
        return (self.folder / f"{service}.log").read_text()


class Client(BaseManager):
    """How other programs reach a trigger queue."""


Client.register("get_queue")


def put_and_stay(config_file, service, items):
    import logging

    remote = master_queue(load_config(config_file, "worker"), service, logging.getLogger("worker"))
    for each in items:
        remote.put(each)
    threading.Event().wait(TIMEOUT_S)


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join(TIMEOUT_S)


@pytest.fixture
def site(tmp_path):
    multiprocessing.set_forkserver_preload(["darc.preload", *(f"darc.{name}" for name in SERVICES)])
    site = Site(tmp_path)
    yield site
    for process in site.running:
        if process.is_alive():
            kill(process)


@pytest.fixture
def lofar(site):
    with LOFARReceiver() as receiver:
        site.configure("lofar_trigger", lofar_port=receiver.port)
        yield receiver


def dms(lofar):
    return [received.packet.dm for received in lofar.received]


def test_what_a_killed_worker_had_for_an_absent_master_node_goes_out_in_order(site, lofar):
    worker = site.worker(*(item(dm=float(number)) for number in (1, 2, 3)))
    until(lambda: len(site.outgoing()) == 3)
    kill(worker)
    site.worker(item(dm=4.0))
    site.start(LOFARTrigger)
    assert lofar.wait_received(4, TIMEOUT_S)
    assert dms(lofar) == [1, 2, 3, 4]
    until(lambda: not site.outgoing())


def test_what_waited_too_long_for_the_master_node_is_dropped(site, lofar):
    site.configure("lofar_trigger", max_trigger_age=0.3)
    kill_when_kept = site.worker(item(dm=1.0))
    until(site.outgoing)
    kill(kill_when_kept)
    time.sleep(0.3)
    site.configure("lofar_trigger", max_trigger_age=60.0)
    site.start(LOFARTrigger)
    site.connect("lofar_trigger")
    site.configure("lofar_trigger", max_trigger_age=0.3)
    site.worker(item(dm=2.0))
    assert lofar.wait_received(1, TIMEOUT_S)
    assert dms(lofar) == [2] and site.outgoing() == []


def test_what_the_master_node_has_accepted_outlives_its_service(site, lofar):
    site.configure("lofar_trigger", interval=3600.0)
    service = site.start(LOFARTrigger)
    site.connect("lofar_trigger").put(item())
    kill(service)
    assert lofar.received == []
    site.configure("lofar_trigger", interval=0.0)
    site.start(LOFARTrigger)
    assert lofar.wait_received(1, TIMEOUT_S)
    assert until(lambda: site.outcomes("lofar_trigger")[-1:] == ["sent"])
    assert len(lofar.received) == 1


class DiesBeforeSaying(LOFARTrigger):
    """Is killed between sending a packet and writing that down."""

    def load_config(self):
        self.service_name = "lofar_trigger"
        super().load_config()

    def transmit(self, event):
        super().transmit(event)
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


# a freeze that is asked for twice
def test_a_freeze_is_asked_for_once_even_if_nobody_could_say_so(site, lofar):
    service = site.start(DiesBeforeSaying)
    triggers = site.connect("lofar_trigger")
    with contextlib.suppress(OSError, EOFError):
        triggers.put(item())
    service.join(TIMEOUT_S)
    site.start(LOFARTrigger)
    # the worker that got no answer puts it again
    with contextlib.suppress(OSError, EOFError):
        site.connect("lofar_trigger").put(item())
    site.connect("lofar_trigger").put(item(dm=2.0))
    assert lofar.wait_received(2, TIMEOUT_S)
    until(lambda: site.outcomes("lofar_trigger")[-1] == "sent")
    assert dms(lofar) == [56.8, 2.0]
    assert "unknown" in site.outcomes("lofar_trigger")
    assert "not known whether this was sent before the restart" in site.log("lofar_trigger")


def test_a_document_that_a_broker_did_not_answer_comes_again_under_the_same_ivorn_after_a_kill(site):
    with Broker() as broker:
        broker.answers = False
        site.configure("voevent_generator", broker_port=broker.port)
        service = site.start(VOEventGenerator)
        site.connect("voevent_generator").put(item())
        assert broker.wait_received(1, TIMEOUT_S)
        kill(service)
        broker.answers = True
        site.start(VOEventGenerator)
        assert broker.wait_received(2, TIMEOUT_S)
        first, second = broker.received
        assert first == second
        until(lambda: site.outcomes("voevent_generator") == ["decided", "sent"])
        assert site.events("voevent_generator")[-1]["ivorn"] == voevent.parse(first).ivorn


def test_documents_for_an_absent_broker_go_out_in_order_after_a_kill(site):
    (port,) = free_ports(1)
    site.configure("voevent_generator", broker_port=port)
    service = site.start(VOEventGenerator)
    triggers = site.connect("voevent_generator")
    for number in (1, 2, 3):
        triggers.put(item(dm=float(number)))
        until(lambda: site.outcomes("voevent_generator").count("decided") == number)  # noqa: B023
    kill(service)
    with Broker(host="127.0.0.1", port=port) as broker:
        site.start(VOEventGenerator)
        assert broker.wait_received(3, TIMEOUT_S)
        assert [voevent.parse(document).dm for document in broker.received] == [1, 2, 3]


def test_too_many_real_events_are_refused_also_after_a_restart(site, lofar):
    site.configure("lofar_trigger", test=False, min_spacing=60.0)
    service = site.start(LOFARTrigger)
    site.connect("lofar_trigger").put(item(dm=1.0))
    assert lofar.wait_received(1, TIMEOUT_S)
    kill(service)
    site.start(LOFARTrigger)
    site.connect("lofar_trigger").put(item(dm=2.0))
    until(lambda: "refused" in site.outcomes("lofar_trigger"))
    assert "less than min_spacing, 60 s" in site.log("lofar_trigger")
    assert dms(lofar) == [1]


def test_a_queue_that_nobody_serves_holds_up_no_worker(site):
    with socket.create_server(("127.0.0.1", site.settings["lofar_trigger"]["server_port"])):
        # somebody listens there, and says nothing
        worker = site.worker(*(item(dm=float(number)) for number in range(100)))
        until(lambda: len(site.outgoing()) == 100)
        assert worker.is_alive()
