"""What the queues carry: between processes of a node, and from a worker to the master node.

Between processes, one process puts and another gets. The limit is a bare socket pair that moves as many bytes
in as many messages; for triggers to the master node it is the server of the standard library, which checks
nothing, with the same sender.
"""

import multiprocessing
import pickle
import queue
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.managers import BaseManager
from typing import Any

from darc.network.process_queue import ProcessQueue
from darc.network.queue_server import Address, QueueServer, serve_queue
from darc.network.remote_queue import RemoteQueue

#: Rows as AMBER writes them.
ROWS = [f"3 1234 {n} 10 25 1264.12 301 57.4 4 12.3456" for n in range(10_000, 11_000)]
TRIGGER = {
    **dict.fromkeys(("dm", "dm_err", "width", "snr", "flux", "ra", "dec", "ymw16"), 12.5),
    **{"semiMaj": 15.0, "semiMin": 15.0},
    **{"cb": 3, "sb": 35, "name": "candidate", "src_name": None, "utc": "2019-05-18T23:51:13.123"},
    **{"datetimesource": "2019-05-18-23:51:13.B0531+21", "tarr": 12.345, "importance": 0.1},
    **{"dt": 8.192e-5, "delta_nu_MHz": 0.1953125, "nu_GHz": 1.37},
}
KEY = b"key of the benchmark"
ROUNDS = 5
PATIENCE_S = 60.0
#: Enough for the start, when the buffer fills before the reader begins, not to count.
MESSAGES, BATCHES, EXCHANGES, TRIGGERS = 200_000, 20_000, 3_000, 1_000


def measure() -> list[dict[str, object]]:
    """Return the figures, medians of several runs."""
    return [
        rate("lines between processes, one by one", ROWS[0], MESSAGES, 1, 150_000.0),
        rate("lines between processes, 100 together", ROWS[:100], BATCHES, 100, 1.5e6),
        rate("lines between processes, 1000 together", ROWS, BATCHES // 5, 1000, 1.5e6),
        delay(),
        triggers(),
    ]


def rate(name: str, item: Any, count: int, lines: int, target: float) -> dict[str, object]:
    """Measure how many lines per second pass from one process to another."""
    size = len(pickle.dumps(item, protocol=5))
    return {
        "name": name,
        "value": count * lines / median(lambda: queue_s(item, count)),
        "unit": "lines/s",
        "target": target,
        "better": "more",
        "limit": count * lines / median(lambda: bare_s(size, count)),
    }


def delay() -> dict[str, object]:
    """Measure the way of one line between two processes that wait for it, half of there and back."""
    return {
        "name": "a line from put to get, the reader waiting",
        "value": median(queue_delay_s) * 1e6,
        "unit": "us",
        "target": 200.0,
        "better": "less",
        "limit": median(bare_delay_s) * 1e6,
    }


def triggers() -> dict[str, object]:
    """Measure how many triggers per second a worker sends to a queue server of the master node."""
    return {
        "name": "triggers from a worker to the master node",
        "value": TRIGGERS / median(lambda: remote_s(serve_plain)),
        "unit": "triggers/s",
        "target": 1_000.0,
        "better": "more",
        "limit": TRIGGERS / median(lambda: remote_s(serve_unchecked)),
    }


def median(run: Callable[[], float]) -> float:
    """Return the median of several runs."""
    return statistics.median(run() for _ in range(ROUNDS))


def started(target: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    """Start a process."""
    process = multiprocessing.get_context("forkserver").Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def queue_s(item: Any, count: int) -> float:
    """Return the time in s that a number of items take; the first one tells that the writer is ready."""
    with closing(ProcessQueue()) as lines:
        writer = started(put_all, lines, item, count)
        lines.get(timeout=PATIENCE_S)
        start = time.perf_counter()
        for _ in range(count):
            lines.get()
        duration = time.perf_counter() - start
        writer.join()
    return duration


def put_all(lines: ProcessQueue, item: Any, count: int) -> None:
    """Put an item over and over."""
    for _ in range(count + 1):
        lines.put(item)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return a pair as the queue has it."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    return reader, writer


def bare_s(size: int, count: int) -> float:
    """Return the time in s that as many bytes take in as many messages, without a queue around them."""
    reader, writer = socket_pair()
    with reader, writer:
        process = started(send_all, writer, size, count)
        buffer = bytearray(1 << 16)
        reader.recv_into(buffer)
        start = time.perf_counter()
        for _ in range(count):
            reader.recv_into(buffer)
        duration = time.perf_counter() - start
        process.join()
    return duration


def send_all(writer: socket.socket, size: int, count: int) -> None:
    """Send a message over and over."""
    message = bytes(size)
    for _ in range(count + 1):
        writer.send(message)


def queue_delay_s() -> float:
    """Return half the time in s of a line there and back."""
    with closing(ProcessQueue()) as there, closing(ProcessQueue()) as back:
        echo = started(send_back, there, back)

        def exchange() -> None:
            there.put(ROWS[0])
            back.get(timeout=PATIENCE_S)

        duration = exchanges_s(exchange)
        there.put(None)
        echo.join()
    return duration


def send_back(there: ProcessQueue, back: ProcessQueue) -> None:
    """Return what comes, until that is None."""
    while (line := there.get()) is not None:
        back.put(line)


def bare_delay_s() -> float:
    """Return half the time in s of as many bytes there and back."""
    here, there = socket_pair()
    with here, there:
        echo = started(send_bytes_back, there)

        def exchange() -> None:
            here.send(ROWS[0].encode())
            here.recv(100)

        duration = exchanges_s(exchange)
        here.send(b"end")
        echo.join()
    return duration


def send_bytes_back(there: socket.socket) -> None:
    """Return what comes, until that is `end`."""
    while (line := there.recv(100)) != b"end":
        there.send(line)


def exchanges_s(exchange: Callable[[], None]) -> float:
    """Return half the median time in s of an exchange, the first ones left out."""
    durations = []
    for _ in range(EXCHANGES):
        start = time.perf_counter()
        exchange()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations[100:]) / 2


def remote_s(serve: Callable[[ProcessQueue], None]) -> float:
    """Return the time in s until a server in another process was told a number of triggers."""
    with closing(ProcessQueue()) as addresses:
        server = started(serve, addresses)
        address = addresses.get(timeout=PATIENCE_S)
        sender = RemoteQueue(QueueServer, address, KEY, name="benchmark", max_items=TRIGGERS + 1)
        sender.put(TRIGGER)
        while sender.delivered == 0:
            time.sleep(0.01)
        start = time.perf_counter()
        for _ in range(TRIGGERS):
            sender.put(TRIGGER)
        sender.close(PATIENCE_S)
        duration = time.perf_counter() - start
        server.kill()
        server.join()
    return duration


def serve_plain(addresses: ProcessQueue) -> None:
    """Serve a queue as the services of the master node do."""
    addresses.put(serve_queue(QueueServer, ("127.0.0.1", 0), KEY, queue.Queue()).address)
    threading.Event().wait()


def serve_unchecked(addresses: ProcessQueue) -> None:
    """Serve a queue as the standard library does."""
    served: queue.Queue[Any] = queue.Queue()
    BaseManager.register("get_queue", callable=lambda: served)
    server = BaseManager(("127.0.0.1", 0), KEY).get_server()
    address: Address = server.address  # type: ignore[assignment]
    addresses.put(address)
    server.serve_forever()
