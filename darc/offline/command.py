"""`darc process-offline`: the processing after an observation, by hand, for one or many observations."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darc import logs
from darc.config import Config, load_config
from darc.errors import DARCError
from darc.formats.observation_name import observation_label, observation_names
from darc.formats.parset import load_obs_config
from darc.offline.plan import ALL, Account
from darc.offline.process import local_workers, process
from darc.offline.progress import Progress
from darc.offline.work import Work

_logger = logging.getLogger("darc.offline")


def main(arguments: Sequence[str] | None = None) -> int:
    """Process observations; return 0 only if all of it was done and nothing was wrong."""
    options = _options(arguments)
    try:
        config = load_config(options.site_config, options.node)
        log_file = config.offline_processing.log_file
        logs.set_up_logging("offline_processing", log_file, *config.log_settings)
        if options.dask or options.scheduler:
            from darc.offline.dask_command import process_spread  # noqa: PLC0415 (few need it)

            outcomes = process_spread(options, config)
        else:
            outcomes = [_process(Path(parset), config, options) for parset in options.parsets]
    except DARCError as error:
        print(f"darc process-offline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # which would begin from the start once more
        without = " without --again" if options.again else ""
        said = f"interrupted; the same command{without} goes on where it was"
        print(f"\ndarc process-offline: {said}", file=sys.stderr)
        return 130
    finally:
        logs.set_observation(None)
    return 0 if all(outcomes) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darc process-offline",
        description="Process finished observations of this node: cluster, extract, classify, plot. What is "
        "done already is not repeated, so that it can be interrupted at any time and started again.",
    )
    parser.add_argument("parsets", nargs="+", metavar="PARSET", help="configuration of an observation")
    parser.add_argument(
        "--again",
        action="append_const",
        const=ALL,
        default=[],
        help="repeat everything, although it is done",
    )
    parser.add_argument(
        "--again-from",
        action="append",
        dest="again",
        metavar="STEP",
        help="repeat a step and all that follow from it; any other word is answered with their names",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that extract [numthread]")
    parser.add_argument("--dask", action="store_true", help="have all of it done by workers of dask")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="dask workers of a cluster, instead of some on this machine"
    )
    parser.add_argument("--site-config", metavar="FILE", help="configuration of the site")
    parser.add_argument("--node", metavar="NAME", help="name of the node, as the configuration has it")
    options = parser.parse_args(arguments)
    if options.workers is not None and options.workers < 1:
        parser.error("--workers has to be 1 or more")
    return options


def _process(parset: Path, config: Config, options: argparse.Namespace) -> bool:
    """Process an observation; return whether all of it was done and nothing was wrong."""
    try:
        obs_config = load_obs_config(parset)
        logs.set_observation(*observation_names(obs_config))
        if config.beam is None and "beam" not in obs_config:
            return _summarise(obs_config, config)
        work = Work.of(obs_config, config)
        progress = Progress(f"{work.beam.label} CB{work.beam.beam:02d}", sys.stdout)
        account = Account(report=progress.report)
        workers = local_workers(work, options.workers)
        done = process(work, account, again=options.again, workers=workers)
    except DARCError as error:
        _logger.error("%s: not processed: %s", parset, error)
        print(f"{parset}: not processed: {error}", file=sys.stderr)
        return False
    how = "not complete" if account.failed else "complete" if done else "was complete already"
    progress.end(how, account)
    return not account.problems


def _summarise(obs_config: dict[str, Any], config: Config) -> bool:
    """Summarise an observation as the master node does; return whether nothing was wrong."""
    from darc.offline import master  # noqa: PLC0415 (pages and mails, which few need)

    label, account = observation_label(obs_config), Account()
    print(f"{label}: summary of all beams; their results are waited for")
    master.process(obs_config, config, account)
    print("\n".join([f"{label}: complete", *(f"{label}: {problem}" for problem in account.problems)]))
    return not account.problems
