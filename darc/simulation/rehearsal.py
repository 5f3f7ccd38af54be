"""One observation with a whole cluster and everything around it, on this machine."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from darc.config import Config, load_config
from darc.definitions import ARTS
from darc.errors import DARCError
from darc.formats.parset import load_obs_config
from darc.formats.results import pages_name
from darc.processor_tools.beam import ObservedBeam
from darc.simulation.amber_writer import AmberWriter, Feed, Flushed
from darc.simulation.cluster import MASTER, Cluster, free_ports, worker
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation, ObservationFiles
from darc.simulation.outcome import Expectation, compare
from darc.simulation.processed import STEP_S, Found, find, problem, wait_for_results
from darc.simulation.receivers import Receivers, event_ports
from darc.simulation.report import clustered, print_end, print_processed, print_report
from darc.simulation.scenario import Injection
from darc.simulation.showcase import PAGES, keep_status, kept_status

#: Time in s between the scheduler's first command and the start of the data.
LEAD_S = 12.0
#: Time in s after the last row for everything to arrive.
TAIL_S = 4.0
#: Longest time in s for the results after the end of the observation.
RESULTS_S = 60.0

Expect = Callable[[dict[tuple[int, int], float], Config], list[Expectation]]


class Rehearsal:
    """One observation with a cluster and everything around it.

    Args:
        folder: for all files
        observation: what the scheduler submits; its start is set when everything runs
        feeds: what each compound beam's AMBER writes
        expect: tells what has to arrive where, from the time of the last line of each beam and batch and from
            the configuration of the nodes
        settings: sections of the site's configuration
        speed: seconds of data per second
        skies: data of each compound beam, for the processor
        injections: bursts in them
    """

    def __init__(
        self,
        folder: Path,
        observation: dict[str, Any],
        feeds: dict[int, Feed],
        expect: Expect,
        settings: dict[str, Any],
        speed: float = 1.0,
        skies: Mapping[int, FilterbankSky] | None = None,
        injections: Sequence[Injection] = (),
    ) -> None:
        self.folder = folder
        self.feeds = feeds
        self.speed = speed
        self._expect = expect
        self._settings = settings
        self._skies = skies or {}
        self._injections = injections
        self.beams = tuple(feeds)
        self._ports = event_ports(self.beams)
        self.observation = Observation(
            start=datetime.now(UTC), beams=self.beams, event_ports=self._ports, **observation
        )
        self.flushed: dict[tuple[int, int], float] = {}
        self._stop = threading.Event()

    def run(self) -> bool:
        """Run the observation, print the report, and return whether everything was right."""
        with ExitStack() as stack:
            say(f"receivers: dada_dbevent of {len(self.beams)} nodes, LOFAR, a Comet broker, a mail server")
            receivers = stack.enter_context(
                Receivers(self.folder, speed=self.speed, instrument=self.observation.instrument)
            )
            say(f"cluster: a master node and {len(self.beams)} worker nodes")
            cluster = stack.enter_context(self._cluster(receivers))
            files = self._submit(cluster, receivers)
            self._observe(files, receivers.start_unix)
            counts = {node: _counts(cluster, node) for node in cluster.nodes if node != MASTER}
            self._end(cluster, files)
            found = self._processed(cluster, files)
            told = self._told(cluster, receivers)
            expected = self._expect(self.flushed, load_config(cluster.site_file, MASTER))
            outcome = compare(expected, receivers.sightings())
            print_report(outcome, receivers, clustered(cluster.log_folder, self.beams), counts)
            print_processed(found)
            shown = {**self._pictures(cluster, files), **told}
            good = outcome.good and not receivers.problems() and all(path.exists() for path in shown.values())
            good = good and not any(problem(*item) for item in found.items())
            print_end(self.folder, shown, good)
            return good

    def _observed_beams(self, cluster: Cluster, files: ObservationFiles) -> dict[int, ObservedBeam]:
        return {
            beam: ObservedBeam.of(
                load_obs_config(files.workers[beam]), load_config(cluster.site_file, worker(beam))
            )
            for beam in self._skies
        }

    def _processed(self, cluster: Cluster, files: ObservationFiles) -> dict[Injection, Found | None]:
        """Wait for the results of all beams, and return what was made of each burst."""
        beams = self._observed_beams(cluster, files)
        for beam in beams.values():
            wait_for_results(beam, RESULTS_S)
            for path in beam.filterbanks:
                path.unlink(missing_ok=True)  # of no use any more, and large
        config = load_config(cluster.site_file, MASTER)
        return {each: find(each, beams[each.beam], config) for each in self._injections}

    def _pictures(self, cluster: Cluster, files: ObservationFiles) -> dict[str, Path]:
        beams = self._observed_beams(cluster, files).values()
        return {f"CB{beam.beam:02d}": beam.result_folder / pages_name(beam.beam) for beam in beams}

    def _told(self, cluster: Cluster, receivers: Receivers) -> dict[str, Path]:
        """Wait until the results of all beams were published and mailed, and return what tells of them."""
        if not self._skies:
            return {}
        label = self.observation.date_time_source
        deadline = time.monotonic() + RESULTS_S
        while not (mails := [each for each in receivers.mail.received if each.subject.startswith(label)]):
            if time.monotonic() > deadline:
                raise DARCError(
                    f"no mail with results after {RESULTS_S:g} s; "
                    f"see {cluster.log_folder / 'processor_master.master.log'}"
                )
            time.sleep(STEP_S)
        return {
            "mail": mails[0].path,
            "status": kept_status(self.folder),
            "pages": self.folder / PAGES / "index.html",
        }

    def _cluster(self, receivers: Receivers) -> Cluster:
        files = self.observation.write(self.folder)
        ports = free_ports(2)
        settings = merge(
            receivers.settings(),
            {"lofar_trigger": {"server_port": ports[0]}, "voevent_generator": {"server_port": ports[1]}},
            {"amber_clustering": {"source_file": str(files.source_list)}},
            self._settings,
        )
        return Cluster(self.folder / "cluster", self.beams, settings)

    def _submit(self, cluster: Cluster, receivers: Receivers) -> ObservationFiles:
        """Submit the observation to all nodes as the scheduler does, some time before it starts."""
        for system in ("lofar_enable", "voevent_enable"):
            say(f"darc {system}: {cluster.darc(MASTER, system).stdout.strip()}")
        self.observation = replace(self.observation, start=datetime.now(UTC) + timedelta(seconds=LEAD_S))
        files = self.observation.write(self.folder)
        start_unix = self.observation.start_packet / ARTS.time_unit_hz
        receivers.record(self._ports, self.observation.utc_start, start_unix)
        for node, parset in _parsets(files).items():
            say(f"{node}: {cluster.darc(node, '--parset', str(parset), 'start_observation').stdout.strip()}")
        if time.time() > start_unix:
            raise DARCError(f"this machine was too slow: not ready within {LEAD_S:g} s")
        return files

    def _observe(self, files: ObservationFiles, start_unix: float) -> None:
        writers = [
            threading.Thread(target=each.run)
            for beam in self.beams
            for each in self._writers(files, beam, start_unix)
        ]
        try:
            for thread in writers:
                thread.start()
            self._show_progress(start_unix)
        finally:
            self._stop.set()
            for thread in writers:
                thread.join()

    def _writers(
        self, files: ObservationFiles, beam: int, start_unix: float
    ) -> Iterator[AmberWriter | FilterbankWriter]:
        def note(flushed: Flushed) -> None:
            key = (beam, flushed.batch)
            self.flushed[key] = max(self.flushed.get(key, 0.0), flushed.time_unix)

        yield AmberWriter(
            files.amber_dirs[beam],
            beam,
            self.feeds[beam],
            start_unix=start_unix,
            speed=self.speed,
            report=note,
            stop=self._stop,
        )
        if beam in self._skies:
            folder = files.amber_dirs[beam].parent / "filterbank"
            yield FilterbankWriter(
                folder, beam, self._skies[beam], start_unix=start_unix, speed=self.speed, stop=self._stop
            )

    def _show_progress(self, start_unix: float) -> None:
        length_s = self.observation.duration_s / self.speed + TAIL_S
        while (since_s := time.time() - start_unix) < length_s:
            data_s = min(max(since_s * self.speed, 0.0), self.observation.duration_s)
            text = f"observing: {data_s:6.1f} of {self.observation.duration_s:.1f} s of data"
            if since_s < 0:
                text = f"observing: starts in {-since_s:4.1f} s"
            if sys.stdout.isatty():
                done = int(30 * data_s / self.observation.duration_s)
                print(f"\r{text}  [{'#' * done}{'.' * (30 - done)}]", end="", flush=True)
            self._stop.wait(0.5 if sys.stdout.isatty() else 1.0)
        print("\r" if sys.stdout.isatty() else "", end="")
        if self._skies:
            keep_status(self.folder)
        say(f"observed {self.observation.duration_s:.1f} s of data")

    def _end(self, cluster: Cluster, files: ObservationFiles) -> None:
        for node, parset in _parsets(files).items():
            cluster.darc(node, "--parset", str(parset), "stop_observation")


def _parsets(files: ObservationFiles) -> dict[str, Path]:
    """Return the parset of each node."""
    return {MASTER: files.master, **{worker(beam): path for beam, path in files.workers.items()}}


def _counts(cluster: Cluster, node: str) -> str:
    """Return what the clustering of a node has counted."""
    return cluster.darc(node, "--service", "amber_clustering", "get_attr", "counts").stdout.strip()


def merge(*mappings: dict[str, Any]) -> dict[str, Any]:
    """Merge sections of configurations, later ones over earlier ones."""
    merged: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            merged[key] = {**merged.get(key, {}), **value}
    return merged


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)
