"""Filterbank files as a process of its own writes them."""

import multiprocessing
import time

import numpy as np
import pytest

from darc.definitions import Instrument
from darc.formats.filterbank import HEADER_BYTES_MAX, parse_header
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter, filterbank_file
from darc.simulation.sky import Burst, Sky

CONTEXT = multiprocessing.get_context("forkserver")
REDUCED = Instrument(ntab=4, nsynthesised_beam=23, nchan=384)
NSAMPLE = REDUCED.samples_per_batch


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


def sky(duration_s=3.2):
    return FilterbankSky(Sky(duration_s, (Burst(0.5, 100.0, 60.0, 5, 11),)), seed=4, instrument=REDUCED)


def read(path):
    """Header of a file and the samples that are there now."""
    content = path.read_bytes()
    header = parse_header(content[:HEADER_BYTES_MAX])
    whole = header.nsample(len(content)) * header.nchan
    return header, np.frombuffer(content, np.uint8, whole, header.header_bytes).reshape(-1, header.nchan)


def test_a_batch_can_be_read_from_all_files_once_it_is_reported(tmp_path, started):
    queue = CONTEXT.SimpleQueue()
    start_unix = time.time()
    process = started(
        FilterbankWriter(tmp_path, 2, sky(), start_unix=start_unix, speed=20.0, report=queue.put)
    )
    for batch in range(3):
        report = queue.get()
        assert report.batch == batch
        assert report.nbyte == 4 * NSAMPLE * 384
        assert report.time_unix >= start_unix + (batch + 1) * 1.024 / 20
        for tab in range(4):
            assert len(read(filterbank_file(tmp_path, 2, tab))[1]) >= (batch + 1) * NSAMPLE
    process.join()
    assert process.exitcode == 0
    for tab in range(4):
        header, samples = read(filterbank_file(tmp_path, 2, tab))
        assert header.tstart_mjd == pytest.approx(40587 + start_unix / 86400, abs=1e-9)
        assert np.array_equal(samples, sky().block(tab, 0, 3 * NSAMPLE))


def test_the_stop_event_ends_it(tmp_path, started):
    stop = CONTEXT.Event()
    process = started(FilterbankWriter(tmp_path, 0, sky(), start_unix=time.time() + 3600, stop=stop))
    stop.set()
    process.join()
    assert process.exitcode == 0
