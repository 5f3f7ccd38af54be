"""Queue servers and their clients over real connections, with clients that behave badly or die."""

import multiprocessing
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from multiprocessing.connection import Client
from multiprocessing.managers import BaseManager, RemoteError, dispatch

import numpy as np
import pytest

from darc.network import queue_server
from darc.network.process_queue import ProcessQueue
from darc.network.queue_server import QueueServer, serve_queue
from darc.network.remote_queue import RemoteQueue
from darc.network.retry import RetryPolicy

KEY = b"a key for tests"
LOOPBACK = ("127.0.0.1", 0)
PATIENCE_S = 60.0
TRIGGER = {"dm": 56.8, "snr": 25.0, "cb": 0, "utc": "2019-01-02T18:00:00", "name": "candidate"}

#: what an existing program does to reach a queue
EXISTING_PROGRAM = """
import sys
from multiprocessing.managers import BaseManager

class TriggerQueue(BaseManager):
    pass

TriggerQueue.register("get_queue")
manager = TriggerQueue(address=("127.0.0.1", int(sys.argv[1])), authkey=b"a key for tests")
manager.connect()
queue = manager.get_queue()
"""


class Manager(BaseManager):
    """A client as the standard library makes it."""


Manager.register("get_queue")
Manager.register("something_else")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def items():
    return queue.Queue()


@pytest.fixture
def server(items):
    with closing(serve_queue(QueueServer, LOOPBACK, KEY, items)) as serving:
        yield serving


def connect(server, key=KEY):
    """Return a proxy; each test has its own thread-local connection since ports differ."""
    manager = Manager(server.address, key)
    manager.connect()
    return manager.get_queue()


def raw_connection(server):
    return socket.create_connection(server.address, PATIENCE_S)


def assert_it_still_works(server, items):
    connect(server).put(TRIGGER)
    assert items.get(timeout=PATIENCE_S) == TRIGGER


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def wait_for_the_end_of_all_threads_but(others):
    wait_until(lambda: set(threading.enumerate()) <= others)


def run_program(server, lines, **options):
    command = [sys.executable, "-c", EXISTING_PROGRAM + lines, str(server.address[1])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_an_existing_program_puts_and_gets(server, items):
    items.put({"n": 1})
    program = run_program(server, f"queue.put({TRIGGER}); print(queue.get(), queue.get(timeout=5))")
    assert program.communicate(timeout=PATIENCE_S)[0].strip() == f"{{'n': 1}} {TRIGGER}"
    assert items.empty()


def test_full_and_empty_reach_the_client(server, items):
    proxy = connect(server)
    for get in (proxy.get_nowait, lambda: proxy.get(False), lambda: proxy.get(timeout=0.01)):
        with pytest.raises(queue.Empty):
            get()
    items.maxsize = 1
    proxy.put(TRIGGER)
    for put in (proxy.put_nowait, lambda item: proxy.put(item, timeout=0.01)):
        with pytest.raises(queue.Full):
            put(TRIGGER)
    assert not proxy.empty()


def test_scalars_of_numpy_arrive_as_numbers(server, items):
    connect(server).put({"snr": np.float64(25), "cb": np.int64(3), "flux": np.float32(0.5)})
    received = items.get(timeout=PATIENCE_S)
    assert [(value, type(value)) for value in received.values()] == [(25, float), (3, int), (0.5, float)]


# Pickled queues: whoever connects runs code
def test_an_item_that_would_run_code_runs_none_and_the_server_goes_on(server, items, tmp_path, caplog):
    proxy = connect(server)
    with pytest.raises(RemoteError, match=r"would build posix\.mkdir"):
        proxy.put({"dm": Bomb(tmp_path / "made-by-a-pickle")})
    with pytest.raises(RemoteError, match="not plain data"):
        dispatch(Client(server.address, authkey=KEY), None, "create", ("get_queue", Bomb(tmp_path / "x")))
    assert list(tmp_path.iterdir()) == []
    assert "mkdir" in caplog.text
    proxy.put(TRIGGER)
    assert items.get(timeout=PATIENCE_S) == TRIGGER


@pytest.mark.parametrize(
    ("item", "reason"),
    [("stop", "dictionary"), ([TRIGGER], "dictionary"), ({"x": "y" * 1_000_000}, "bytes"), (Bomb, "build")],
    ids=["text", "list", "too large", "class"],
)
def test_other_items_are_refused_with_a_reason_and_the_connection_stays(server, items, item, reason):
    proxy = connect(server)
    with pytest.raises(RemoteError, match=reason):
        proxy.put(item)
    proxy.put(TRIGGER)
    assert items.get(timeout=PATIENCE_S) == TRIGGER
    assert (items.empty(), server.refused) == (True, 1)


def test_the_receiver_s_own_check_refuses_and_converts(items):
    def check(item):
        if not item["dm"] > 0:
            raise ValueError("dm has to be positive")
        return item["dm"]

    with closing(serve_queue(QueueServer, LOOPBACK, KEY, items, validate=check)) as server:
        proxy = connect(server)
        with pytest.raises(RemoteError, match="dm has to be positive"):
            proxy.put({"dm": -1})
        proxy.put({"dm": 5})
        assert items.get(timeout=PATIENCE_S) == 5


@pytest.mark.parametrize("request_name", ["shutdown", "debug_info", "number_of_objects", "serve_forever"])
def test_requests_beyond_get_queue_are_refused(server, items, request_name):
    with (
        closing(Client(server.address, authkey=KEY)) as client,
        pytest.raises(RemoteError, match="get_queue"),
    ):
        dispatch(client, None, request_name)
    manager = Manager(server.address, KEY)
    manager.connect()
    with pytest.raises(RemoteError, match="get_queue"):
        manager.something_else()
    assert_it_still_works(server, items)


@pytest.mark.parametrize("method", ["qsize", "__class__", "mutex", "#GETVALUE", "__init__"])
def test_methods_that_are_not_the_queue_s_are_refused(server, method):
    proxy = connect(server)
    with pytest.raises(RemoteError, match="no method"):
        proxy._callmethod(method)
    for arguments in ((), (TRIGGER, True, "soon"), (1, 2, 3, 4)):
        with pytest.raises(RemoteError, match="refused: put"):
            proxy._callmethod("put", arguments)


def test_a_client_with_another_key_is_refused(server, items, caplog):
    with pytest.raises(multiprocessing.AuthenticationError):
        connect(server, b"another key")
    wait_until(lambda: "has not our key" in caplog.text)
    assert_it_still_works(server, items)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1_000_000, b"\0\0\0\x14ab", b"\xff" * 12],
    ids=["nothing", "http", "a megabyte", "half a message", "a huge size"],
)
def test_clients_that_say_nothing_or_nonsense_are_cut_off(items, monkeypatch, sent):
    monkeypatch.setattr(queue_server, "MESSAGE_TIMEOUT_S", 0.1)
    with closing(serve_queue(QueueServer, LOOPBACK, KEY, items)) as server, raw_connection(server) as client:
        try:
            client.sendall(sent)
            while client.recv(1000):
                pass
        except ConnectionError:
            pass  # cut off before everything was read
        monkeypatch.undo()
        assert_it_still_works(server, items)


def test_half_a_message_is_not_waited_for_but_an_idle_client_stays(items, monkeypatch):
    monkeypatch.setattr(queue_server, "MESSAGE_TIMEOUT_S", 0.5)
    with closing(serve_queue(QueueServer, LOOPBACK, KEY, items)) as server:
        idle = connect(server)
        idle.put(TRIGGER)
        with closing(Client(server.address, authkey=KEY)) as slow:
            dispatch(slow, None, "accept_connection", ("slow",))
            os.write(slow.fileno(), b"\0\0\1\0half")
            with pytest.raises((EOFError, ConnectionError)):
                slow.recv()
        idle.put(TRIGGER)


def test_more_clients_than_allowed_are_refused(items, monkeypatch):
    monkeypatch.setattr(queue_server, "MAX_CONNECTIONS", 3)
    with closing(serve_queue(QueueServer, LOOPBACK, KEY, items)) as server:
        crowd = [raw_connection(server) for _ in range(3)]
        for client in crowd:
            assert client.recv(1000)  # they are asked for the key
        with raw_connection(server) as late:
            assert late.recv(1000) == b""
        for client in crowd:
            client.close()

        def works():
            try:
                return bool(connect(server))
            except (EOFError, OSError):
                return False

        wait_until(works)


def test_a_killed_client_takes_nothing_off_the_queue_and_leaves_no_thread(server, items, monkeypatch):
    others, asked, get = set(threading.enumerate()), threading.Event(), items.get
    monkeypatch.setattr(items, "get", lambda *arguments: asked.set() or get(*arguments))
    program = run_program(server, "queue.get()")
    assert asked.wait(PATIENCE_S)
    program.kill()
    program.communicate()
    wait_for_the_end_of_all_threads_but(others)
    items.put({"n": 1})
    assert connect(server).get(timeout=PATIENCE_S) == {"n": 1}


def test_close_ends_everything_and_frees_the_port(items):
    others = set(threading.enumerate())
    server = serve_queue(QueueServer, LOOPBACK, KEY, items)
    idle = connect(server)
    with raw_connection(server):
        idle.put(TRIGGER)
        server.close()
        server.close()
        wait_for_the_end_of_all_threads_but(others)
    with closing(serve_queue(QueueServer, server.address, KEY, items)) as again:
        assert again.address == server.address


def test_a_server_made_the_way_of_the_library_serves_what_is_registered(items):
    class Server(QueueServer):
        pass

    Server.register("get_queue", callable=lambda: items)
    server = Server(LOOPBACK, KEY).get_server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert_it_still_works(server, items)
    server.close()
    thread.join()


# --- the client of the workers -----------------------------------------------------------------------------


def remote_queue(address, key=KEY, **options):
    retry = RetryPolicy(first_s=0.02, max_s=0.02)
    return closing(RemoteQueue(QueueServer, address, key, name="triggers", **{"retry": retry, **options}))


def serve_until_killed(address, output):
    serve_queue(QueueServer, address, KEY, output)
    threading.Event().wait()


def serve_as_the_library_does(output, ports):
    class Server(BaseManager):
        pass

    Server.register("get_queue", callable=lambda: output)
    server = Server(LOOPBACK, KEY).get_server()
    ports.put(server.address)
    server.serve_forever()


@pytest.fixture
def start():
    started = []

    def start(target, *args):
        process = multiprocessing.get_context("forkserver").Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()


@pytest.fixture
def output():
    with closing(ProcessQueue()) as opened:
        yield opened


@pytest.fixture
def free_address():
    with socket.create_server(LOOPBACK) as sock:
        address = sock.getsockname()
    return address


def test_items_survive_kills_of_the_server_in_order(start, output, free_address):
    received = []
    with remote_queue(free_address) as remote:
        server = None
        for n in range(200):
            if n % 20 == 0:
                if server is not None:
                    server.kill()
                    server.join()
                server = start(serve_until_killed, free_address, output)
            remote.put({"n": n})
            if n % 7 == 0:
                received.append(output.get(timeout=PATIENCE_S)["n"])
        while not received or received[-1] < 199:
            received.append(output.get(timeout=PATIENCE_S)["n"])
    # one whose reply the kill cut off comes twice, right after itself
    assert list(dict.fromkeys(received)) == list(range(200))
    assert sorted(received) == received


@pytest.mark.parametrize("repeat", [True, False])
def test_items_reach_a_server_of_the_standard_library(start, output, repeat):
    with closing(ProcessQueue()) as addresses:
        start(serve_as_the_library_does, output, addresses)
        with remote_queue(addresses.get(timeout=PATIENCE_S), repeat=repeat) as remote:
            for n in range(3):
                remote.put({"n": n})
            assert [output.get(timeout=PATIENCE_S)["n"] for n in range(3)] == [0, 1, 2]


def test_items_that_must_not_arrive_twice_go_over_one_connection_as_long_as_it_answers(server, items, caplog):
    caplog.set_level("INFO")
    with remote_queue(server.address, repeat=False) as remote:
        for n in range(3):
            remote.put({"n": n})
        assert [items.get(timeout=PATIENCE_S)["n"] for n in range(3)] == [0, 1, 2]
    assert caplog.text.count("triggers: connected") == 1


def test_a_full_queue_is_tried_again(items):
    items.maxsize = 1
    with (
        closing(serve_queue(QueueServer, LOOPBACK, KEY, items)) as server,
        remote_queue(server.address, timeout_s=0.1) as remote,
    ):
        for n in range(3):
            remote.put({"n": n})
        wait_until(items.full)
        assert [items.get(timeout=PATIENCE_S)["n"] for _ in range(3)] == [0, 1, 2]


def test_a_silent_server_holds_up_nobody_and_another_one_gets_the_item(items, caplog):
    with socket.create_server(LOOPBACK) as silent:
        address = silent.getsockname()
        with remote_queue(address, timeout_s=0.05) as remote:
            remote.put(TRIGGER)
            wait_until(lambda: "nothing within 0.05 s" in caplog.text)
            silent.shutdown(socket.SHUT_RDWR)
            silent.close()
            with closing(serve_queue(QueueServer, address, KEY, items)):
                assert items.get(timeout=PATIENCE_S) == TRIGGER


def test_a_wrong_key_is_told_before_there_is_anything_to_send(server, caplog):
    with remote_queue(server.address, "not the key"):
        wait_until(lambda: "server_auth has to be the same on all nodes" in caplog.text)


def test_a_refusal_by_the_server_drops_the_item_alone(items, caplog):
    def check(item):
        if item["n"] == 1:
            raise ValueError("one is not wanted")
        return item

    with (
        closing(serve_queue(QueueServer, LOOPBACK, KEY, items, validate=check)) as server,
        remote_queue(server.address) as remote,
    ):
        for n in range(3):
            remote.put({"n": n})
        assert [items.get(timeout=PATIENCE_S)["n"] for _ in range(2)] == [0, 2]
    assert "one is not wanted" in caplog.text
