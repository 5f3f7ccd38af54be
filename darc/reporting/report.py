"""The report of an observation: what is shown on its page and in its mail, whoever writes them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from darc.formats.overview import BeamCoordinates, ObservationInfo
from darc.formats.results import Trigger, best_first


class BeamState(enum.Enum):
    """What became of a beam; the value is what people read."""

    WAITING = "waiting for its results"
    DONE = "done"
    NO_AMBER = "nothing came from AMBER"
    GIVEN_UP = "given up by an operator"
    UNREADABLE = "results not readable"
    MISSING = "no results"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate that was kept.

    Attributes:
        trigger: its parameters
        picture: plot of it as PNG; None if there is none
    """

    trigger: Trigger
    picture: Path | None = None

    @property
    def probability(self) -> float:
        """Probability of a burst."""
        return self.trigger.probability

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio."""
        return self.trigger.snr


@dataclass(frozen=True, kw_only=True)
class BeamReport:
    """Results of one compound beam.

    Attributes:
        cb: compound beam
        node: name of the node that processed it
        state: what became of it
        reason: why there are no results, or what is wrong with them; empty if nothing is
        counts: label of each step of processing and number of candidates after it, in order; None: unknown
        candidates: those that were kept, best first
        coordinates: where it looked; None if it is not known
        pages: PDF with plots; None if there is none
        late: whether the results came after the first report
    """

    cb: int
    node: str
    state: BeamState
    reason: str = ""
    counts: Mapping[str, int | None]
    candidates: tuple[Candidate, ...] = ()
    coordinates: BeamCoordinates | None = None
    pages: Path | None = None
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot about an observation as a whole.

    Attributes:
        title: what it shows
        path: the plot as PNG
    """

    title: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class ObservationReport:
    """Results of all beams of an observation.

    Attributes:
        info: what was observed
        beams: results of each beam, in the order of the beams
        written: when the report was made, with time zone UTC
        processing: name of the processing that gave them; empty: that in real time
        sub_beam: what a candidate's beam in its compound beam is: `SB`, or `TAB` for tied-array beams
        plots: plots about the observation as a whole
        problems: what went wrong with the observation as a whole, a line each
    """

    info: ObservationInfo
    beams: tuple[BeamReport, ...]
    written: datetime
    processing: str = ""
    sub_beam: str = "SB"
    plots: tuple[Plot, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates of all beams, best first."""
        return best_first(candidate for beam in self.beams for candidate in beam.candidates)
