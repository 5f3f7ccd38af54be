"""`darc demo`: a whole cluster at work on this machine, from the scheduler's command to the last trigger."""

from __future__ import annotations

import argparse
import math
import shutil
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
from darc.formats.files import write_complete
from darc.formats.parset import load_obs_config
from darc.formats.results import pages_name
from darc.formats.source_list import SourceList, load_source_list
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.rfi_mask import PLACEHOLDER
from darc.simulation.amber import Amber
from darc.simulation.amber_writer import AmberWriter, Feed, Flushed, Recording, Together
from darc.simulation.cluster import MASTER, Cluster, free_ports, worker
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation, ObservationFiles
from darc.simulation.outcome import Expectation, compare
from darc.simulation.processed import Found, find, problem, wait_for_results
from darc.simulation.receivers import LOFAR, VOEVENT, Receivers, event_ports, iquv
from darc.simulation.replay import SOURCE_LIST, RuleBook, expected_triggers, recorded_beams
from darc.simulation.report import clustered, print_end, print_processed, print_report
from darc.simulation.scenario import DEMO, Injection, Scenario
from darc.simulation.search import Search, targets

#: Time in s between the start of the first process and the start of the data.
LEAD_S = 17.0
#: Time in s after the last row for everything to arrive.
TAIL_S = 4.0
#: Time in s between two IQUV triggers; a real site dumps less often.
IQUV_INTERVAL_S = 5.0
#: Seconds that a replay takes, unless a speed is given.
REPLAY_S = 30.0
Expect = Callable[[dict[tuple[int, int], float], Config], list[Expectation]]

#: Longest time in s for the results after the end of the observation.
RESULTS_S = 60.0
#: ARTS with broader channels, so that two beams can be written to disk in real time.
INSTRUMENT = replace(ARTS, nchan=128, min_freq_mhz=ARTS.min_freq_mhz + (300 / 128 - 300 / 1536) / 2)

#: File that marks a folder as one of ours.
MARK = "darc-demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 only if every burst arrived where it should and nothing else did."""
    options = _options(arguments)
    folder = Path(options.folder).absolute()
    try:
        _make_empty(folder)
        demo = _replay(options, folder) if options.replay else inject(DEMO, folder)
        outcome = demo.run()
    except DARCError as error:
        print(f"darc demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndarc demo: interrupted; everything was stopped", file=sys.stderr)
        return 130
    return 0 if outcome else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darc demo", description="Run a cluster on this machine and observe."
    )
    parser.add_argument(
        "--folder", default="demo-output", help="where all files go [demo-output]; emptied before"
    )
    parser.add_argument(
        "--replay", metavar="DIR", help="AMBER's files of a real observation, instead of bursts"
    )
    parser.add_argument(
        "--speed", type=float, help="seconds of data per second in a replay [such that it takes 30 s]"
    )
    parser.add_argument("--source", default="B0531+21", help="source of the replayed observation [B0531+21]")
    parser.add_argument(
        "--direction",
        type=float,
        nargs=2,
        metavar=("RA", "DEC"),
        default=(83.633, 22.0145),
        help="its direction in degrees [83.633 22.0145]",
    )
    return parser.parse_args(arguments)


def _make_empty(folder: Path) -> None:
    """Make an empty folder; delete only what an earlier demo left."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise DARCError(f"{folder} holds other things; choose another one with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


class Demo:
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
        start = datetime.now(UTC) + timedelta(seconds=LEAD_S)
        self._ports = event_ports(self.beams)
        self.observation = Observation(start=start, beams=self.beams, event_ports=self._ports, **observation)
        self.flushed: dict[tuple[int, int], float] = {}
        self._stop = threading.Event()

    def run(self) -> bool:
        """Run the observation, print the report, and return whether everything was right."""
        start_unix = self.observation.start_packet / ARTS.time_unit_hz
        with ExitStack() as stack:
            say(f"receivers: dada_dbevent of {len(self.beams)} nodes, LOFAR, a Comet broker, a mail server")
            receivers = stack.enter_context(
                Receivers(
                    self.folder,
                    self._ports,
                    utc_start=self.observation.utc_start,
                    start_unix=start_unix,
                    speed=self.speed,
                    instrument=self.observation.instrument,
                )
            )
            files = self.observation.write(self.folder)
            say(f"cluster: a master node and {len(self.beams)} worker nodes")
            cluster = stack.enter_context(self._cluster(receivers, files))
            self._observe(cluster, files, start_unix)
            counts = {node: _counts(cluster, node) for node in cluster.nodes if node != MASTER}
            self._end(cluster, files)
            found = self._processed(cluster, files)
            expected = self._expect(self.flushed, load_config(cluster.site_file, MASTER))
            outcome = compare(expected, receivers.sightings())
            print_report(outcome, receivers, clustered(cluster.log_folder, self.beams), counts, self.folder)
            print_processed(found)
            pictures = self._pictures(cluster, files)
            good = outcome.good and not receivers.problems() and all(path.exists() for path in pictures)
            good = good and not any(problem(*item) for item in found.items())
            print_end(self.folder, pictures, good)
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

    def _pictures(self, cluster: Cluster, files: ObservationFiles) -> list[Path]:
        beams = self._observed_beams(cluster, files).values()
        return [beam.result_folder / pages_name(beam.beam) for beam in beams]

    def _cluster(self, receivers: Receivers, files: ObservationFiles) -> Cluster:
        ports = free_ports(2)
        settings = merge(
            receivers.settings(),
            {"lofar_trigger": {"server_port": ports[0]}, "voevent_generator": {"server_port": ports[1]}},
            {"amber_clustering": {"source_file": str(files.source_list)}},
            self._settings,
        )
        return Cluster(self.folder / "cluster", self.beams, settings)

    def _observe(self, cluster: Cluster, files: ObservationFiles, start_unix: float) -> None:
        for system in ("lofar_enable", "voevent_enable"):
            say(f"darc {system}: {cluster.darc(MASTER, system).stdout.strip()}")
        parsets = {MASTER: files.master, **{worker(beam): path for beam, path in files.workers.items()}}
        for node, parset in parsets.items():
            say(f"{node}: {cluster.darc(node, '--parset', str(parset), 'start_observation').stdout.strip()}")
        if time.time() > start_unix:
            raise DARCError(f"this machine was too slow: not ready within {LEAD_S:g} s")
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
        say(f"observed {self.observation.duration_s:.1f} s of data")

    def _end(self, cluster: Cluster, files: ObservationFiles) -> None:
        parsets = {MASTER: files.master, **{worker(beam): path for beam, path in files.workers.items()}}
        for node, parset in parsets.items():
            cluster.darc(node, "--parset", str(parset), "stop_observation")


def _counts(cluster: Cluster, node: str) -> str:
    """Return what the clustering of a node has counted."""
    return cluster.darc(node, "--service", "amber_clustering", "get_attr", "counts").stdout.strip()


def _expectation(injection: Injection, flushed: dict[tuple[int, int], float]) -> Expectation:
    burst = injection.burst
    receivers = [iquv(injection.beam)] * injection.iquv + [LOFAR, VOEVENT] * injection.alert
    flushed_at = flushed.get((injection.beam, int(burst.time_s / ARTS.batch_s)), math.nan)
    return Expectation(
        injection.label, injection.beam, burst.snr, burst.time_s, burst.dm, frozenset(receivers), flushed_at
    )


def inject(scenario: Scenario, folder: Path) -> Demo:
    """Return the demo with simulated bursts."""

    def expect(flushed: dict[tuple[int, int], float], _: Config) -> list[Expectation]:
        return [_expectation(injection, flushed) for injection in scenario.injections]

    observation = {
        "source": scenario.source,
        "direction_deg": scenario.direction_deg,
        "duration_s": scenario.duration_s,
        "frbs": {scenario.source: scenario.source_dm},
        "instrument": INSTRUMENT,
    }
    masked = scenario.masked(INSTRUMENT)
    skies: dict[int, FilterbankSky] = {}
    feeds: dict[int, Feed] = {}
    for beam in scenario.beams:
        say(f"sky of beam {beam}: drawing noise and bursts, searching them as AMBER does")
        bursts = scenario.sky(beam)
        skies[beam] = sky = FilterbankSky(bursts, scenario.emissions(), seed=beam, instrument=INSTRUMENT)
        sky.prepare()
        # it looks for bursts only, since it leaves out the channels with interference
        search = Search(sky, targets(FilterbankSky(bursts, seed=beam, instrument=INSTRUMENT)), zapped=masked)
        list(search)  # what it found once is at hand when it is due
        feeds[beam] = Together(search, Amber(scenario.interference(beam), seed=beam, instrument=INSTRUMENT))
    settings = {
        "instrument": {"nchan": INSTRUMENT.nchan, "min_freq_mhz": INSTRUMENT.min_freq_mhz},
        "amber_clustering": {"thresh_iquv": {"interval": IQUV_INTERVAL_S}},
        # not channel by channel: with so few of them, a bright burst is what stands out in each
        "processor": {
            "result_dir": str(folder / "results"),
            "extractor": {"rfi_clean_type": "time", "rfi_mask": str(_write_mask(folder, masked))},
        },
    }
    return Demo(folder, observation, feeds, expect, settings, skies=skies, injections=scenario.injections)


def _write_mask(folder: Path, channels: Sequence[int]) -> Path:
    """Write which channels are left out, and return the path with a placeholder for the band's centre."""
    path = folder / "rfi_masks" / f"zapped_channels_{PLACEHOLDER}.conf"
    centre_mhz = INSTRUMENT.centre_freq_mhz(INSTRUMENT.min_freq_mhz)
    name = path.name.replace(PLACEHOLDER, f"{centre_mhz:.0f}")
    write_complete(path.with_name(name), "".join(f"{channel}\n" for channel in channels), DARCError)
    return path


def _replay(options: argparse.Namespace, folder: Path) -> Demo:
    """Return the demo with recorded rows; what has to arrive is what the rules say on all of them at once."""
    recorded = Path(options.replay)
    feeds: dict[int, Feed] = {beam: Recording.of_beam(recorded, beam) for beam in recorded_beams(recorded)}
    duration_s = ARTS.batch_s * (1 + max(chunk.batch for feed in feeds.values() for chunk in feed))
    sources = load_source_list(recorded / SOURCE_LIST) if (recorded / SOURCE_LIST).exists() else SourceList()
    observation = {
        "source": options.source,
        "direction_deg": tuple(options.direction),
        "duration_s": duration_s,
        "pulsars": sources.pulsars,
        "frbs": sources.frbs,
        "aliases": sources.aliases,
    }
    rules = RuleBook(sources.lookup(options.source), options.direction)
    return Demo(
        folder,
        observation,
        feeds,
        lambda flushed, config: expected_triggers(recorded, rules, config, flushed),
        {"darc_master": {"services_worker_mix": ["amber_listener", "amber_clustering", "dada_trigger"]}},
        options.speed or max(1.0, duration_s / REPLAY_S),
    )


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
