"""`darc demo`: a whole cluster at work on this machine, from the scheduler's command to the last trigger."""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from darc.config import Config
from darc.definitions import ARTS
from darc.errors import DARCError
from darc.formats.files import write_complete
from darc.formats.source_list import SourceList, load_source_list
from darc.processor_tools.rfi_mask import PLACEHOLDER
from darc.simulation.amber import Amber
from darc.simulation.amber_writer import Feed, Recording, Together
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.outcome import Expectation
from darc.simulation.receivers import LOFAR, VOEVENT, iquv
from darc.simulation.rehearsal import Rehearsal, say
from darc.simulation.replay import SOURCE_LIST, RuleBook, decided_by, expected_triggers, recorded_beams
from darc.simulation.scenario import DEMO, Injection, Scenario
from darc.simulation.search import Search, targets
from darc.simulation.showcase import PAGES, STATUS, Showcase, page_settings

#: Time in s between two IQUV triggers; a real site dumps less often.
IQUV_INTERVAL_S = 5.0
#: Seconds that a replay takes, unless a speed is given.
REPLAY_S = 30.0

#: ARTS with broader channels, so that two beams can be written to disk in real time.
INSTRUMENT = replace(ARTS, nchan=128, min_freq_mhz=ARTS.min_freq_mhz + (300 / 128 - 300 / 1536) / 2)

#: File that marks a folder as one of ours.
MARK = "darc-demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 only if every burst arrived where it should and nothing else did."""
    options = _options(arguments)
    folder = Path(options.folder).absolute()
    try:
        if not options.show:
            _make_empty(folder)
        with Showcase(folder) as showcase:
            pages = f"pages: {showcase.address}/ and, of the cluster's state, {showcase.address}/{STATUS}/"
            print(pages)
            if options.show:
                return _wait_for_the_end()
            demo = _replay(options, folder) if options.replay else inject(DEMO, folder)
            good = demo.run()
            if sys.stdin.isatty() and not options.replay:
                print(pages)
                _wait_for_the_end()
            elif not options.replay:
                print(f"'darc demo --show --folder {folder}' shows the pages at an address of this machine")
            return 0 if good else 1
    except DARCError as error:
        print(f"darc demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndarc demo: interrupted; everything was stopped", file=sys.stderr)
        return 130


def _wait_for_the_end() -> int:
    """Have the pages shown for as long as somebody looks at them."""
    print("the pages are shown until Ctrl-C", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darc demo", description="Run a cluster on this machine and observe."
    )
    parser.add_argument(
        "--folder", default="demo-output", help="where all files go [demo-output]; emptied before"
    )
    parser.add_argument(
        "--show", action="store_true", help="show the pages that the last demo made, and do nothing else"
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
    parser.add_argument(
        "--site-config",
        metavar="FILE",
        help="configuration whose section amber_clustering decides in a replay [the defaults]",
    )
    options = parser.parse_args(arguments)
    if options.site_config and not options.replay:
        parser.error("--site-config is for --replay: the injected bursts are those that the defaults find")
    if options.speed is not None and not options.speed > 0:
        parser.error(f"--speed {options.speed:g}: above 0")
    return options


def _make_empty(folder: Path) -> None:
    """Make an empty folder; delete only what an earlier demo left.

    Raises:
        DARCError: it holds other things, or cannot be made
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            if not (folder / MARK).exists():
                raise DARCError(f"{folder} holds other things; choose another one with --folder")
            shutil.rmtree(folder)
        (folder / PAGES).mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        raise DARCError(f"{folder}: {error.strerror}; choose another one with --folder") from error


def _expectation(injection: Injection, flushed: dict[tuple[int, int], float]) -> Expectation:
    burst = injection.burst
    receivers = [iquv(injection.beam)] * injection.iquv + [LOFAR, VOEVENT] * injection.alert
    flushed_at = flushed.get((injection.beam, int(burst.time_s / ARTS.batch_s)), math.nan)
    return Expectation(
        injection.label, injection.beam, burst.snr, burst.time_s, burst.dm, frozenset(receivers), flushed_at
    )


def inject(scenario: Scenario, folder: Path) -> Rehearsal:
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
        **page_settings(folder),
        "darc_master": {"mode": "real-time"},
        "instrument": {"nchan": INSTRUMENT.nchan, "min_freq_mhz": INSTRUMENT.min_freq_mhz},
        "amber_clustering": {"thresh_iquv": {"interval": IQUV_INTERVAL_S}},
        # not channel by channel: with so few of them, a bright burst is what stands out in each
        "processor": {
            "result_dir": str(folder / "results"),
            "extractor": {"rfi_clean_type": "time", "rfi_mask": str(_write_mask(folder, masked))},
        },
    }
    injected = scenario.injections
    return Rehearsal(folder, observation, feeds, expect, settings, skies=skies, injections=injected)


def _write_mask(folder: Path, channels: Sequence[int]) -> Path:
    """Write which channels are left out, and return the path with a placeholder for the band's centre."""
    path = folder / "rfi_masks" / f"zapped_channels_{PLACEHOLDER}.conf"
    centre_mhz = INSTRUMENT.centre_freq_mhz(INSTRUMENT.min_freq_mhz)
    name = path.name.replace(PLACEHOLDER, f"{centre_mhz:.0f}")
    write_complete(path.with_name(name), "".join(f"{channel}\n" for channel in channels), DARCError)
    return path


def _replay(options: argparse.Namespace, folder: Path) -> Rehearsal:
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
    return Rehearsal(
        folder,
        observation,
        feeds,
        lambda flushed, config: expected_triggers(recorded, rules, config, flushed),
        {
            "darc_master": {"services_worker_mix": ["amber_listener", "amber_clustering", "dada_trigger"]},
            "amber_clustering": decided_by(options.site_config) if options.site_config else {},
        },
        options.speed or max(1.0, duration_s / REPLAY_S),
    )
