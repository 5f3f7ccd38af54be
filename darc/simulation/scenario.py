"""What the demo injects, and what has to come of each burst."""

from __future__ import annotations

from dataclasses import dataclass, field

from darc.simulation.sky import Burst, Pulsar, RfiStorm, Sky


@dataclass(frozen=True)
class Injection:
    """A burst in one beam with what has to become of it.

    Attributes:
        label: what it is, for the table
        beam: compound beam
        burst: the burst
        iquv: whether the node has to dump its ring buffer
        alert: whether LOFAR and the world have to be told
    """

    label: str
    beam: int
    burst: Burst
    iquv: bool = True
    alert: bool = True


@dataclass(frozen=True)
class Scenario:
    """An observation of the fake telescope.

    Attributes:
        source: source of the observation
        direction_deg: its RA and Dec in degrees
        source_dm: its DM in pc cm^-3
        duration_s: length of the data in s
        injections: bursts
        pulsars: by compound beam
        storms: by compound beam
    """

    source: str
    direction_deg: tuple[float, float]
    source_dm: float
    duration_s: float
    injections: tuple[Injection, ...]
    pulsars: dict[int, tuple[Pulsar, ...]] = field(default_factory=dict)
    storms: dict[int, tuple[RfiStorm, ...]] = field(default_factory=dict)

    @property
    def beams(self) -> tuple[int, ...]:
        """Compound beams, in order."""
        return tuple(sorted({injection.beam for injection in self.injections}))

    def sky(self, beam: int) -> Sky:
        """Return what a compound beam sees."""
        return Sky(
            self.duration_s,
            bursts=tuple(injection.burst for injection in self.injections if injection.beam == beam),
            pulsars=self.pulsars.get(beam, ()),
            storms=self.storms.get(beam, ()),
            noise_rows_per_s=20.0,
        )


#: An observation of a repeating burst source in two beams. The Galactic maximum DM there is about 330 pc/cm3,
#: so that new sources are looked for above 400 and announced above 660. The bursts that have to be
#: found are so bright that the filter on the periodicity over synthesised beams passes them.
DEMO = Scenario(
    source="FRB20180916B",
    direction_deg=(29.5031, 65.7168),
    source_dm=348.8,
    duration_s=34.9,
    injections=(
        Injection("repeater", 0, Burst(5.6, 348.8, 45.0, 10)),
        Injection("new source", 1, Burst(10.6, 1500.0, 40.0, 5)),
        Injection("new, too near to announce", 0, Burst(16.7, 550.0, 40.0, 5), alert=False),
        Injection("below the S/N limit", 1, Burst(20.7, 700.0, 9.0, 5), iquv=False, alert=False),
        Injection("too wide", 1, Burst(22.8, 2000.0, 40.0, 500), iquv=False, alert=False),
        Injection("new source in a storm", 0, Burst(26.8, 1200.0, 40.0, 5)),
    ),
    pulsars={1: (Pulsar(1.337, 80.0, 25.0, 0.2, 10, first_s=0.4),)},
    storms={0: (RfiStorm(25.0, 4.0, 20000.0, dm_scale=30.0, all_beams=True),)},
)
