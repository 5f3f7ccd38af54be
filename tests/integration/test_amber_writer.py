"""AMBER's files as a process of its own writes them."""

import multiprocessing
import time

import numpy as np
import pytest

from darc.formats.amber import AmberParser
from darc.simulation.amber import Amber
from darc.simulation.amber_writer import AmberWriter, trigger_file
from darc.simulation.sky import Burst, Sky, random_sky

CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture
def started():
    """Start a writer as a process; it is ended with the test."""
    processes = []

    def start(writer):
        process = CONTEXT.Process(target=writer.run)
        process.start()
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()
        process.join()
        process.close()


def test_a_process_writes_all_batches_and_reports_them(tmp_path, started):
    amber = Amber(random_sky(np.random.default_rng(1), 30.0, 5, noise_rows_per_s=30), seed=2)
    queue = CONTEXT.SimpleQueue()
    start_unix = time.time()
    writer = AmberWriter(tmp_path, 1, amber, start_unix=start_unix, speed=60.0, report=queue.put)
    process = started(writer)
    expected = [chunk for chunk in amber if chunk.lines]
    reports = [queue.get() for _ in expected]
    process.join()
    assert process.exitcode == 0
    assert sorted((report.batch, report.instance, report.nline) for report in reports) == [
        (chunk.batch, chunk.instance, len(chunk.lines)) for chunk in expected
    ]
    assert all(report.time_unix >= start_unix + (report.batch + 1) * 1.024 / 60 for report in reports)
    for step in (1, 2, 3):
        text = trigger_file(tmp_path, 1, step).read_bytes()
        lines = b"".join(line for chunk in expected if chunk.instance == step - 1 for line in chunk.lines)
        assert text == amber.headers[step - 1] + lines


def test_a_row_can_be_read_once_it_is_reported(tmp_path, started):
    queue = CONTEXT.SimpleQueue()
    amber = Amber(Sky(5.0, tuple(Burst(t, 200.0, 40.0, 5) for t in (0.3, 1.3, 3.3))))
    started(AmberWriter(tmp_path, 0, amber, start_unix=time.time(), speed=10.0, report=queue.put))
    seen = 0
    for batch in (0, 1, 3):
        report = queue.get()
        rows = AmberParser().feed(trigger_file(tmp_path, 0, 1).read_bytes())
        seen += report.nline
        assert report.batch == batch
        assert len(rows) >= seen
        assert rows.malformed == 0


def test_the_stop_event_ends_it(tmp_path, started):
    stop = CONTEXT.Event()
    amber = Amber(Sky(4000.0))
    process = started(AmberWriter(tmp_path, 0, amber, start_unix=time.time() + 3600, stop=stop))
    stop.set()
    process.join()
    assert process.exitcode == 0
