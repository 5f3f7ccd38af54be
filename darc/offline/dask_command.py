"""`darc process-offline --dask`: many beams and observations at once, by the workers of a dask cluster."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from darc.config import Config
from darc.errors import DARCError
from darc.formats.parset import load_obs_config
from darc.offline.plan import Interrupted, OfflineError
from darc.offline.progress import Progress
from darc.offline.work import Work

if TYPE_CHECKING:
    from darc.offline.dask_run import Outcome

_logger = logging.getLogger("darc.offline")


def process_spread(options: argparse.Namespace, config: Config) -> list[bool]:
    """Process observations as the command line says; return of each whether nothing was wrong.

    Raises:
        OfflineError: dask is not installed, or there is no scheduler, or it is gone
    """
    try:
        from darc.offline.dask_run import connected, process_all  # noqa: PLC0415 (an extra)
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise OfflineError(
            "--dask and --scheduler need dask.distributed, which is not installed: pip install 'darc[dask]'"
        ) from error
    works, good = [], []
    for parset in options.parsets:
        try:
            works.append(Work.of(load_obs_config(Path(parset)), config))
        except DARCError as error:
            _logger.error("%s: not processed: %s", parset, error)
            print(f"{parset}: not processed: {error}", file=sys.stderr)
            good.append(False)

    def took(outcome: Outcome) -> None:
        good.append(outcome.good)
        beam = outcome.work.beam
        title = f"[{len(good)} of {len(options.parsets)}] {beam.label} CB{beam.beam:02d}"
        if outcome.error:
            print(f"{title}: not processed: {outcome.error}", file=sys.stderr)
        else:
            how = "complete" if outcome.done else "was complete already"
            Progress(title, sys.stdout).end(how, outcome.account)

    with connected(options.scheduler, options.workers or config.offline_processing.numthread) as client:
        try:
            process_all(works, client, took, again=options.again)
        except Interrupted:
            raise OfflineError("the dask scheduler is gone; the same command goes on where it was") from None
    return good
