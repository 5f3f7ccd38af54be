"""`make chaos`: kills random processes during observations, and shows that nothing is lost by it.

A cluster on this machine observes a sky with bursts once in peace, and then several times while random
processes are killed: the masters of the nodes, their services, the processes that these start, and the
servers that all are forked from. What reaches dada_dbevent, LOFAR, the VOEvent broker and the mail server,
and the candidates, are compared with what came of the undisturbed observation.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darc.config import load_config
from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats.parset import load_obs_config
from darc.formats.results import summary_name
from darc.processor_tools.beam import ObservedBeam
from darc.simulation.amber import Amber
from darc.simulation.amber_writer import AmberWriter
from darc.simulation.chaos_nodes import Kill, Killer, RestartedCluster
from darc.simulation.chaos_outcome import RULES, Arrived, Marks, collect, compare
from darc.simulation.cluster import MASTER, free_ports, worker
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation, ObservationFiles
from darc.simulation.receivers import Receivers, event_ports
from darc.simulation.rehearsal import merge, say
from darc.simulation.showcase import PAGES, page_settings
from darc.simulation.sky import Burst, Sky

#: ARTS with fewer channels, beams and samples: what is tested does not depend on them.
SMALL = {
    "ntab": 3,
    "nsynthesised_beam": 5,
    "nsubband": 8,
    "nchan": 256,
    "tsamp_s": 1.024e-3,
    "samples_per_batch": 1000,
}
INSTRUMENT = Instrument(**SMALL)  # type: ignore[arg-type]
#: Time in s between the commands of the scheduler and the start of the data, and after their end.
LEAD_S, TAIL_S = 4.0, 3.0
#: Time in s between two bursts, and longest time in s for the results.
SPACING_S, RESULTS_S = 2.5, 60.0
#: File that marks a folder as one of ours.
MARK = "darc-chaos"


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        seed: of the sky, the moments and the choices of processes
        kills: number of processes that are killed, in all
        kills_each: number of them in an observation
        duration_s: length of an observation
    """

    seed: int
    kills: int
    kills_each: int
    duration_s: float

    def sky(self) -> Sky:
        """Return a sky with bursts of random properties, one in each stretch of time."""
        rng = random.Random(self.seed)  # noqa: S311  # nosec B311
        number = int((self.duration_s - 2.0) / SPACING_S)
        return Sky(
            self.duration_s,
            bursts=tuple(
                Burst(
                    1.0 + SPACING_S * (place + rng.uniform(0.0, 0.6)),
                    round(rng.uniform(80.0, 350.0), 1),
                    rng.uniform(40.0, 80.0),
                    rng.choice((2, 4, 6)),
                    rng.randrange(INSTRUMENT.nsynthesised_beam),
                )
                for place in range(number)
            ),
            noise_rows_per_s=10.0,
        )

    def portions(self) -> list[int]:
        """Return the number of kills in each observation."""
        whole, rest = divmod(self.kills, self.kills_each)
        return [self.kills_each] * whole + [rest] * bool(rest)


class Campaign:
    """A cluster that observes the same sky again and again while its processes are killed.

    Args:
        folder: for all files
        plan: what is done

    Attributes:
        kills: what was killed
        left: processes that were left after the end of all nodes
    """

    kills: Sequence[Kill] = ()
    left: Sequence[str] = ()

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._feed = Amber(plan.sky(), seed=plan.seed, instrument=INSTRUMENT)
        self._filterbank = FilterbankSky(plan.sky(), seed=plan.seed, instrument=INSTRUMENT)
        self._number = 0

    def run(self, portions: Sequence[int]) -> list[Arrived]:
        """Observe once for each number of kills, and return what arrived each time."""
        with Receivers(self._folder, instrument=INSTRUMENT) as receivers:
            with RestartedCluster(self._folder / "cluster", (0,), self._settings(receivers)) as cluster:
                killer = Killer(cluster, random.Random(self._plan.seed))  # noqa: S311  # nosec B311
                self.kills = killer.kills
                arrived = [self._observe(cluster, receivers, killer, number) for number in portions]
            self.left = cluster.wait_for_orphans()
        return arrived

    def _settings(self, receivers: Receivers) -> dict[str, Any]:
        source_list = self._folder / "source_list.yaml"
        source_list.write_text("{pulsars: {}, frbs: {}, aliases: {}}\n", encoding="utf-8")
        ports = free_ports(2)
        # each trigger is an event: none hides behind another that comes at the same time after an outage
        events = {"interval": 0.0, "send_events": True}
        return merge(
            receivers.settings(),
            {"lofar_trigger": {"server_port": ports[0], **events}},
            {"voevent_generator": {"server_port": ports[1], **events}},
            page_settings(self._folder),
            {
                "instrument": SMALL,
                "mail": {"retry_interval": 1.0},
                "darc_master": {
                    "mode": "real-time",
                    "setup_time": LEAD_S - 1.0,
                    # they die far more often than what is taken for a defect
                    "restart_backoff_min": 0.1,
                    "restart_backoff_max": 0.5,
                    "restart_limit": 1000,
                },
                "amber_clustering": {
                    "source_file": str(source_list),
                    "galaxy_model": "none",
                    "galactic_dm_max": 20.0,
                    "sb_filter": False,
                    "thresh_iquv": {"interval": 1.0},
                },
                "processor": {
                    "result_dir": str(self._folder / "results"),
                    "interval": 0.2,
                    "stop_delay": 0.5,
                    "scavenger_interval": 0.5,
                    "num_extractor": 1,
                    "extractor": {"rfi_apply_mask": False},
                    "visualizer": {"plot_types": ["freq_time"]},
                },
                "sb_generator": {
                    "numtab": {"sc4": SMALL["ntab"]},
                    "numsb": {"sc4": SMALL["nsynthesised_beam"]},
                    "table_folder": str(self._folder),
                },
            },
        )

    # --- an observation ------------------------------------------------------------------------------------

    def _observe(
        self, cluster: RestartedCluster, receivers: Receivers, killer: Killer, kills: int
    ) -> Arrived:
        """Observe, kill some processes meanwhile, and return what arrived."""
        self._number += 1
        recovery_s = cluster.wait_until_all_run()
        marks = Marks.now(receivers, cluster.log_folder)
        files, observation = self._submit(cluster, receivers)
        end_unix = receivers.start_unix + self._plan.duration_s
        stop = threading.Event()
        writers = [
            threading.Thread(target=each.run) for each in self._writers(files, receivers.start_unix, stop)
        ]
        try:
            for thread in writers:
                thread.start()
            killer.observe(kills, receivers.start_unix, end_unix + TAIL_S)
            recovery_s = cluster.wait_until_all_run()
        finally:
            stop.set()  # they have written all by now, unless something went wrong
            for thread in writers:
                thread.join()
        for node, parset in _parsets(files).items():
            cluster.ask(node, "stop_observation", payload=parset)
        beam = ObservedBeam.of(load_obs_config(files.workers[0]), load_config(cluster.site_file, worker(0)))
        label = observation.date_time_source
        in_time = self._wait_for_results(beam, receivers, label, marks)
        arrived = collect(receivers, marks, cluster.log_folder, [beam.result_folder], label)
        if not in_time:
            arrived.wrong.append(f"observation {self._number}: no results, or no mail, in {RESULTS_S:g} s")
        say(f"observation {self._number}: {kills} kills, all ran {recovery_s:.1f} s after the last moment")
        shutil.rmtree(beam.filterbanks[0].parent, ignore_errors=True)
        return arrived

    def _submit(
        self, cluster: RestartedCluster, receivers: Receivers
    ) -> tuple[ObservationFiles, Observation]:
        """Have the data start at a whole second, so that times of two observations can be compared."""
        ports = event_ports((0,))
        observation = Observation(
            f"CHAOS{self._number}",
            datetime.fromtimestamp(math.ceil(time.time() + LEAD_S), UTC),
            self._plan.duration_s,
            number=self._number,
            event_ports=ports,
            instrument=INSTRUMENT,
        )
        files = observation.write(self._folder / f"observation{self._number}")
        start_unix = observation.start_packet / INSTRUMENT.time_unit_hz
        receivers.record(ports, observation.utc_start, start_unix)
        for node, parset in _parsets(files).items():
            reply = cluster.ask(node, "start_observation", payload=parset)
            if reply.status != "Success":
                raise DARCError(f"{node} does not take the observation: {reply.message}")
        return files, observation

    def _writers(
        self, files: ObservationFiles, start_unix: float, stop: threading.Event
    ) -> tuple[AmberWriter, FilterbankWriter]:
        amber = files.amber_dirs[0]
        return (
            AmberWriter(amber, 0, self._feed, start_unix=start_unix, instrument=INSTRUMENT, stop=stop),
            FilterbankWriter(
                amber.parent / "filterbank", 0, self._filterbank, start_unix=start_unix, stop=stop
            ),
        )

    def _wait_for_results(self, beam: ObservedBeam, receivers: Receivers, label: str, marks: Marks) -> bool:
        deadline = time.monotonic() + RESULTS_S
        while time.monotonic() < deadline:
            mails = receivers.mail.received[marks.mails :]
            if (beam.result_folder / summary_name(0)).exists() and any(
                mail.subject.startswith(label) for mail in mails
            ):
                time.sleep(1.0)
                return True
            time.sleep(0.2)
        return False


def _parsets(files: ObservationFiles) -> dict[str, Path]:
    return {MASTER: files.master, worker(0): files.workers[0]}


# --- the report --------------------------------------------------------------------------------------------


def report(plan: Plan, campaign: Campaign, undisturbed: Arrived, disturbed: Sequence[Arrived]) -> bool:
    """Print what was killed and what came of it, and return whether all rules hold."""
    wrong = [*undisturbed.wrong, *(f"left after the end: {each}" for each in campaign.left)]
    print(f"\nkilled with seed {plan.seed}: {len(campaign.kills)} processes in {len(disturbed)} observations")
    for process, number in sorted(Counter(kill.what for kill in campaign.kills).items()):
        print(f"  {number:4d}  {process}")
    print(f"\nbursts in each observation: {len(plan.sky().bursts)}\n{_HEADINGS}")
    compared = [row for arrived in disturbed for row in compare(undisturbed, arrived)]
    for what, rule in RULES.items():
        rows = [row for row in compared if row.what == what]
        wrong += [f"{what}: {problem}" for row in rows for problem in row.wrong]
        print(_line(what, [sum(getattr(row, name) for row in rows) for name in _COLUMNS], rule))
        if not any(undisturbed.times[what].values()):
            wrong.append(f"{what}: nothing to compare with, nothing came of the undisturbed observation")
    wrong += [problem for arrived in disturbed for problem in arrived.wrong]
    print(
        "\n".join(
            ["\nNOT AS THE RULES SAY:", *(f"  {each}" for each in wrong)] if wrong else ["\nall rules hold"]
        )
    )
    return not wrong


def _line(what: str, columns: Sequence[object], rule: str) -> str:
    return f"{what:14}" + "".join(f"{column!s:>11}" for column in columns) + f"  {rule}"


_COLUMNS = ("expected", "arrived", "repeated", "missing", "excused", "unexpected")
_HEADINGS = _line("", _COLUMNS, "rule")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; return 0 only if all rules hold."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description="Kill random processes of a cluster during observations."
    )
    parser.add_argument("--seed", type=int, default=1, help="of the sky and of the kills [1]")
    parser.add_argument("--kills", type=int, default=100, help="number of processes that are killed [100]")
    parser.add_argument("--kills-each", type=int, default=20, help="number of them in an observation [20]")
    parser.add_argument("--duration", type=float, default=30.72, help="seconds of an observation [30.72]")
    parser.add_argument("--folder", default="chaos-output", help="where all files go [chaos-output]; emptied")
    options = parser.parse_args(arguments)
    folder = Path(options.folder).absolute()
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
            raise DARCError(f"{folder} holds other things; choose another one with --folder")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / PAGES).mkdir(parents=True)
        (folder / MARK).touch()
        plan = Plan(options.seed, options.kills, options.kills_each, options.duration)
        campaign = Campaign(folder, plan)
        undisturbed, *disturbed = campaign.run([0, *plan.portions()])
        return 0 if report(plan, campaign, undisturbed, disturbed) else 1
    except DARCError as error:
        print(f"make chaos: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake chaos: interrupted; everything was stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
