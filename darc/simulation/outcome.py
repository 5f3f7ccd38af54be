"""Compares what was injected with what arrived at the receivers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Largest difference in s between an injected and a received time of the same burst.
TIME_TOLERANCE_S = 0.3
#: Largest relative difference in DM.
DM_TOLERANCE = 0.1


@dataclass(frozen=True)
class Sighting:
    """A burst as a receiver was told of it.

    Attributes:
        receiver: name of the receiver
        time_s: arrival time at the top of the band in s from the start of the data
        dm: dispersion measure in pc cm^-3
        arrived_at: when it was told, in unix seconds
        snr: S/N if it was told
    """

    receiver: str
    time_s: float
    dm: float
    arrived_at: float
    snr: float | None = None


@dataclass(frozen=True)
class Expectation:
    """A burst, and the receivers that have to be told of it.

    Attributes:
        label: what it is
        beam: compound beam
        snr: S/N
        time_s: arrival time at the top of the band in s from the start of the data
        dm: dispersion measure in pc cm^-3
        receivers: names of the receivers
        flushed_at: when AMBER's last line of it was written, in unix seconds
    """

    label: str
    beam: int
    snr: float
    time_s: float
    dm: float
    receivers: frozenset[str]
    flushed_at: float

    def matches(self, sighting: Sighting) -> bool:
        """Return whether a sighting is of this burst."""
        return (
            abs(self.time_s - sighting.time_s) <= TIME_TOLERANCE_S
            and abs(self.dm - sighting.dm) <= DM_TOLERANCE * self.dm
        )


@dataclass(frozen=True)
class Row:
    """What came of one burst: latency in ms by receiver, and the receivers where something is wrong."""

    expectation: Expectation
    latency_ms: dict[str, float]
    missing: frozenset[str]
    uncalled: frozenset[str]

    @property
    def good(self) -> bool:
        """Whether it arrived where it should and nowhere else."""
        return not self.missing and not self.uncalled


@dataclass(frozen=True)
class Outcome:
    """The rows of all bursts, and the sightings that belong to none."""

    rows: tuple[Row, ...]
    unexplained: tuple[Sighting, ...]

    @property
    def good(self) -> bool:
        """Whether everything arrived where it should and nothing else did."""
        return all(row.good for row in self.rows) and not self.unexplained


def compare(expectations: Sequence[Expectation], sightings: Iterable[Sighting]) -> Outcome:
    """Assign every sighting to the burst it is of."""
    seen: dict[int, list[Sighting]] = {number: [] for number in range(len(expectations))}
    unexplained = []
    for sighting in sightings:
        number = next((n for n, expected in enumerate(expectations) if expected.matches(sighting)), None)
        if number is None:
            unexplained.append(sighting)
        else:
            seen[number].append(sighting)
    return Outcome(
        tuple(_row(expected, seen[n]) for n, expected in enumerate(expectations)), tuple(unexplained)
    )


def _row(expected: Expectation, sightings: list[Sighting]) -> Row:
    latency_ms: dict[str, float] = {}
    for sighting in sorted(sightings, key=lambda s: s.arrived_at):
        latency_ms.setdefault(sighting.receiver, (sighting.arrived_at - expected.flushed_at) * 1e3)
    told = frozenset(latency_ms)
    return Row(expected, latency_ms, expected.receivers - told, told - expected.receivers)
