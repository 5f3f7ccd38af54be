"""A real listener and the processes that take its lines, for the benchmarks of it."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import yaml

from darc.amber_listener import AMBERListener
from darc.network.process_queue import ProcessQueue

CONTEXT = multiprocessing.get_context("forkserver")


class Listening:
    """An `AMBERListener` with a process behind each of its two outputs, while in a `with` block.

    Args:
        folder: of AMBER's files and of everything else
        consume: what these processes run; it gets the queue with the lines and one for results
        ninstance: instances of AMBER
    """

    def __init__(
        self, folder: Path, consume: Callable[[ProcessQueue, ProcessQueue], None], ninstance: int = 1
    ) -> None:
        self.results = ProcessQueue()
        config, settings = folder / "config.yaml", folder / "amber.conf"
        config.write_text(yaml.safe_dump({"amber_listener": {"log_file": str(folder / "listener.log")}}))
        settings.write_text(f"opencl_device={list(range(ninstance))}\n")
        self._obs_config = {"amber_config": str(settings), "amber_dir": str(folder), "beam": 0}
        self._queues = [ProcessQueue() for _ in range(3)]
        self.listener = AMBERListener(*self._queues, config_file=config, start_method="forkserver")
        self._consumers = [
            CONTEXT.Process(target=consume, args=(queue, self.results), daemon=True)
            for queue in self._queues[1:]
        ]

    def __enter__(self) -> "Listening":
        for process in (self.listener, *self._consumers):
            process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for process in (self.listener, *self._consumers):
            process.terminate()
            process.join()
        for queue in (*self._queues, self.results):
            queue.close()

    def observe(self) -> None:
        """Start an observation: the listener reads the files from their first byte."""
        self._queues[0].put(
            {"command": "start_observation", "obs_config": self._obs_config, "reload_conf": False}
        )
