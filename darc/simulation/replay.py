"""What has to come of recorded AMBER files, worked out on all rows at once, without processes and clocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from darc.config import Config, load_config
from darc.definitions import ARTS
from darc.errors import DARCError
from darc.formats.amber import AmberParser
from darc.formats.source_list import Source
from darc.science.galaxy import galactic_dm
from darc.science.pointing import galactic
from darc.science.rules import Rules
from darc.science.selection import Selection, select
from darc.simulation.outcome import Expectation
from darc.simulation.receivers import LOFAR, VOEVENT, iquv

#: Name of the list of known sources that may lie beside recorded files.
SOURCE_LIST = "source_list.yaml"


def recorded_beams(folder: Path) -> list[int]:
    """Return the compound beams of which a folder holds AMBER files.

    Raises:
        DARCError: there are none
    """
    beams = {
        int(found[1])
        for path in folder.glob("CB*_step*.trigger")
        if (found := re.match(r"CB(\d+)_", path.name))
    }
    if not beams:
        raise DARCError(f"{folder} holds no AMBER files, such as CB00_step1.trigger")
    return sorted(beams)


@dataclass(frozen=True)
class RuleBook:
    """The rules of an observation, from its configuration and its source.

    Attributes:
        source: known source; None if it is not among the known ones
        direction_deg: RA and Dec in degrees
    """

    source: Source | None
    direction_deg: tuple[float, float]

    def rules(self, config: Config, beam: int) -> Rules:
        """Return the rules for a compound beam at that direction."""
        section = config.amber_clustering
        return Rules(
            beam=beam,
            source_name=self.source.name if self.source else None,
            source_kind=self.source.kind if self.source else None,
            source_dm=self.source.dm if self.source else None,
            dm_gal=galactic_dm(
                section.galaxy_model,
                section.galactic_dm_max,
                lambda: galactic(SkyCoord(*self.direction_deg, unit="deg")),
            ),
            clustering_window=section.clustering_window,
            clustering_method=section.clustering_method,
            dm_range=section.dm_range,
            dm_min_global=section.dm_min_global,
            snr_min_global=section.snr_min_global,
            sb_filter=section.sb_filter,
            sb_filter_period=(section.sb_filter_period_min, section.sb_filter_period_max),
            thresh_iquv=section.thresh_iquv.model_dump(),
            thresh_lofar=section.thresh_lofar.model_dump(),
            lofar_trigger_sources=list(section.lofar_trigger_sources),
            thresh_lofar_override=section.thresh_lofar_override.model_dump(),
        )


def decided_by(site_config: Path | str) -> dict[str, Any]:
    """Return what a site's configuration says of `amber_clustering`, but for its files.

    Raises:
        ConfigError: there are mistakes in it
    """
    section = load_config(site_config).amber_clustering
    return section.model_dump(mode="json", exclude={"log_file", "source_file"})


def decide(
    batches: dict[int, NDArray[np.float64]], rules: Rules, iquv_interval_s: float
) -> dict[int, Selection]:
    """Decide on batches in their order.

    Args:
        batches: triggers (n, 5) by batch number
        rules: rules
        iquv_interval_s: least time in s between IQUV triggers
    """
    last_s, decisions = -inf, {}
    for number in sorted(batches):
        selection = select(rules.groups(batches[number]), last_iquv_s=last_s, iquv_interval_s=iquv_interval_s)
        last_s, decisions[number] = selection.last_iquv_s, selection
    return decisions


def read_batches(folder: Path, beam: int) -> dict[int, NDArray[np.float64]]:
    """Return the triggers (n, 5) of each batch of a compound beam, of all AMBER instances together."""
    blocks: dict[int, list[NDArray[np.float64]]] = {}
    for path in sorted(folder.glob(f"CB{beam:02d}_step*.trigger")):
        rows = AmberParser(ARTS).feed(path.read_text(encoding="ascii", errors="replace"))
        for number in np.unique(rows.batch):
            blocks.setdefault(int(number), []).append(rows.triggers[rows.batch == number])
    return {number: np.concatenate(parts) for number, parts in blocks.items()}


def expected_triggers(
    folder: Path, book: RuleBook, config: Config, flushed: dict[tuple[int, int], float]
) -> list[Expectation]:
    """Return what has to arrive at each receiver.

    Args:
        folder: the recorded files
        book: rules
        config: configuration of the nodes
        flushed: when the last line of a beam's batch was written, in unix seconds
    """
    expected = []
    for beam in recorded_beams(folder):
        rules = book.rules(config, beam)
        interval_s = config.amber_clustering.thresh_iquv.interval
        for number, selection in decide(read_batches(folder, beam), rules, interval_s).items():
            for verdict in selection.verdicts:
                receivers = {iquv(beam)} if verdict in selection.iquv else set()
                receivers |= {LOFAR, VOEVENT} if verdict is selection.lofar else set()
                if receivers:
                    expected.append(
                        Expectation(
                            f"batch {number}",
                            beam,
                            verdict.snr,
                            verdict.time_s,
                            verdict.best_dm,
                            frozenset(receivers),
                            flushed[beam, number],
                        )
                    )
    return expected
