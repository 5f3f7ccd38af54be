"""A worker node that observes what a benchmark lets AMBER write; its dada_dbevent notes when it is told."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from benchmarks.listening import CONTEXT
from darc.config import Config, load_config
from darc.definitions import ARTS
from darc.simulation.amber import Chunk
from darc.simulation.amber_writer import AmberWriter, Flushed
from darc.simulation.cluster import Cluster, free_ports, worker
from darc.simulation.dada_dbevent import DadaDBEvent, RingBuffer
from darc.simulation.observation import Observation

BEAM = 0
#: Time in s from the command to the start of the data, and of that, the time for the services to get ready.
LEAD_S, SETUP_S = 4.0, 3.0
#: How far back the ring buffer and the data in it reach, in s: whatever is asked for is there at once.
EVER_S = 1e6


@dataclass(frozen=True)
class Feed:
    """What AMBER writes, worked out before it is needed."""

    headers: Sequence[bytes]
    chunks: Sequence[Chunk]

    def __iter__(self) -> Iterator[Chunk]:
        """Give the chunks."""
        return iter(self.chunks)


class WorkerNode:
    """A worker node, its master node and its dada_dbevent for Stokes IQUV, in an observation.

    They run while in a `with` block. Every burst is triggered on, however soon after the one before.

    Args:
        folder: for all files
        duration_s: length of the data in s
    """

    def __init__(self, folder: Path, duration_s: float) -> None:
        self._folder = folder
        self._duration_s = duration_s
        self._stack = ExitStack()
        self._port_i, self._port_iquv, *servers = free_ports(4)
        settings: dict[str, Any] = {
            "darc_master": {"setup_time": SETUP_S},
            "amber_clustering": {
                "source_file": str(folder / "controller" / "source_list.yaml"),
                "thresh_iquv": {"interval": 0},
            },
            "dada_trigger": {"port_i": self._port_i, "port_iquv": self._port_iquv},
            "lofar_trigger": {"server_port": servers[0]},
            "voevent_generator": {"server_port": servers[1]},
        }
        self.cluster = Cluster(folder / "cluster", (BEAM,), settings)

    def __enter__(self) -> Self:
        """Start everything; the data begin some seconds later.

        Raises:
            DARCError: a node does not start
        """
        with self._stack:
            self._stack.enter_context(self.cluster)
            observation = Observation(
                source="noise",
                start=datetime.now(UTC) + timedelta(seconds=LEAD_S),
                duration_s=self._duration_s,
                beams=(BEAM,),
                direction_deg=(180.0, 30.0),
                event_ports={BEAM: (self._port_i, self._port_iquv)},
            )
            self.start_unix = observation.start_packet / ARTS.time_unit_hz
            buffer = RingBuffer(
                observation.utc_start,
                observation_start_unix=self.start_unix - EVER_S,
                history_s=2 * EVER_S,
            )
            self.dada = self._stack.enter_context(DadaDBEvent(buffer, port=self._port_iquv))
            self._files = observation.write(self._folder)
            self.cluster.darc(worker(BEAM), "--parset", str(self._files.workers[BEAM]), "start_observation")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def config(self) -> Config:
        """Configuration of the worker node."""
        return load_config(self.cluster.site_file, worker(BEAM))

    def write(self, feed: Feed, speed: float, latency_s: Sequence[float]) -> dict[int, float]:
        """Write AMBER's files; return when the last line of each batch was flushed, in unix seconds.

        Args:
            feed: what to write
            speed: seconds of data per second
            latency_s: seconds of data between the end of a batch and the rows of each instance
        """
        reports = CONTEXT.SimpleQueue()
        writer = AmberWriter(
            self._files.amber_dirs[BEAM],
            BEAM,
            feed,
            start_unix=self.start_unix,
            speed=speed,
            latency_s=latency_s,
            report=reports.put,
        )
        process = CONTEXT.Process(target=writer.run, daemon=True)
        process.start()
        flushed: dict[int, float] = {}
        for _ in range(sum(1 for chunk in feed if chunk.lines)):
            report: Flushed = reports.get()
            flushed[report.batch] = max(report.time_unix, flushed.get(report.batch, 0.0))
        process.join()
        return flushed
