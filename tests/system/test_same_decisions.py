"""The same rows give the same decisions, however fast they come and however busy the machine is."""

import contextlib
import multiprocessing
import queue
import threading
import time
from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from darc.amber_clustering import AMBERClustering
from darc.amber_listener import AMBERListener
from darc.formats.parset import load_obs_config
from darc.network.process_queue import ProcessQueue
from darc.simulation.amber import Amber
from darc.simulation.amber_writer import AmberWriter, Recording
from darc.simulation.observation import Observation
from darc.simulation.sky import Pulsar, Sky

CRAB = {"source": "B0531+21", "duration_s": 299.0, "pulsars": {"B0531+21": 56.8}}


def spin(end):
    while not end.is_set():
        sum(range(1000))


@pytest.fixture
def load():
    """Two processes that do nothing but use the processor."""
    context = multiprocessing.get_context("forkserver")
    end = context.Event()
    processes = [context.Process(target=spin, args=(end,), daemon=True) for _ in range(2)]
    yield lambda: [process.start() for process in processes]
    end.set()
    for process in processes:
        if process.pid:
            process.join()


def decisions(folder, feed, speed, monkeypatch):
    """Run listener and clustering on a feed and return the triggers they decide on, until all are in."""
    monkeypatch.setenv("HOME", str(folder))
    observation = Observation(start=datetime.now(UTC) + timedelta(seconds=1), beams=(0,), **CRAB)
    files = observation.write(folder)
    lines, triggers, commands = ProcessQueue(), ProcessQueue(), ProcessQueue()
    listener = AMBERListener(commands, target_queue=lines, start_method="forkserver")
    clustering = AMBERClustering(
        lines, target_queue=triggers, connect_vo=False, connect_lofar=False, start_method="forkserver"
    )
    clustering.source_file = files.source_list
    start = {
        "command": "start_observation",
        "obs_config": load_obs_config(files.workers[0]),
        "reload_conf": False,
    }
    services = {listener: commands, clustering: lines}
    for service, source in services.items():
        source.put(start)
        service.start()
    written = []
    writer = AmberWriter(
        files.amber_dirs[0], 0, feed, start_unix=time.time() + 4.0, speed=speed, report=written.append
    )
    thread = threading.Thread(target=writer.run)
    thread.start()
    thread.join()
    found = []
    with contextlib.suppress(queue.Empty):
        while True:
            # far beyond the settling time and the interval, also on a busy machine
            found += triggers.get(timeout=3.0)["trigger"]
    for service, source in services.items():
        source.put("stop")
        service.join(20)
        assert service.exitcode == 0
    assert written
    return [{**trigger, "utc_start": None} for trigger in found]


@pytest.mark.parametrize("recorded", [True, False], ids=["real Crab", "simulated pulsar"])
def test_speed_and_load_change_nothing(tmp_path, monkeypatch, load, recorded, request):
    if recorded:
        feed = Recording.of_beam(request.getfixturevalue("reference_data") / "amber", 0)
    else:
        feed = Amber(
            Sky(299.0, pulsars=(Pulsar(30.03, 56.8, 60.0, 0.1, 5, first_s=7.1),), noise_rows_per_s=20)
        )
    slow = decisions(tmp_path / "slow", feed, 60.0, monkeypatch)
    load()
    fast = decisions(tmp_path / "fast", feed, inf, monkeypatch)
    assert len(slow) >= 2
    assert fast == slow
