"""What the demo injects, and what has to come of each burst."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from darc.definitions import Instrument
from darc.simulation.signals import Emission, channel_freqs_mhz, narrow_band
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
        extracted: whether the processor has to cut it out of the data
    """

    label: str
    beam: int
    burst: Burst
    iquv: bool = True
    alert: bool = True
    extracted: bool = True


@dataclass(frozen=True)
class Transmitter:
    """Narrow-band interference that comes and goes, at a frequency that is known.

    Attributes:
        freq_mhz: its centre
        width_mhz: width of its band
        level: power while it sends, in units of the noise rms of a sample of a channel
    """

    freq_mhz: float
    width_mhz: float
    level: float


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
        impulses: broad-band interference in all beams
        transmitters: narrow-band interference in all beams
    """

    source: str
    direction_deg: tuple[float, float]
    source_dm: float
    duration_s: float
    injections: tuple[Injection, ...]
    pulsars: dict[int, tuple[Pulsar, ...]] = field(default_factory=dict)
    storms: dict[int, tuple[RfiStorm, ...]] = field(default_factory=dict)
    impulses: tuple[Burst, ...] = ()
    transmitters: tuple[Transmitter, ...] = ()

    @property
    def beams(self) -> tuple[int, ...]:
        """Compound beams, in order."""
        return tuple(sorted({injection.beam for injection in self.injections}))

    def sky(self, beam: int) -> Sky:
        """Return what a compound beam sees."""
        injected = (injection.burst for injection in self.injections if injection.beam == beam)
        return Sky(
            self.duration_s,
            bursts=(*injected, *self.impulses),
            pulsars=self.pulsars.get(beam, ()),
        )

    def emissions(self) -> tuple[Emission, ...]:
        """Return what the transmitters send."""
        return tuple(
            emission
            for seed, each in enumerate(self.transmitters)
            for emission in narrow_band(
                each.freq_mhz, each.width_mhz, each.level, duration_s=self.duration_s, duty=0.5, seed=seed
            )
        )

    def masked(self, instrument: Instrument) -> list[int]:
        """Return the channels that transmitters reach, counted from the lowest frequency."""
        freqs_mhz = channel_freqs_mhz(instrument)[::-1]
        reached = np.zeros(freqs_mhz.size, bool)
        for each in self.transmitters:
            reached |= np.abs(freqs_mhz - each.freq_mhz) < (each.width_mhz + instrument.channel_width_mhz) / 2
        return [int(channel) for channel in np.flatnonzero(reached)]

    def interference(self, beam: int) -> Sky:
        """Return what AMBER of a compound beam takes for signals besides."""
        return Sky(self.duration_s, storms=self.storms.get(beam, ()), noise_rows_per_s=20.0)


#: An observation of a repeating burst source, far from the Galactic plane, in two beams. The Galactic
#: maximum DM there is about 21 pc/cm3, so that new sources are looked for above 26 and announced above 43.
#: The bursts that have to be found are so bright that the filter on the periodicity over synthesised beams
#: passes them, and of such DMs that the broad channels of the demo smear them little.
DEMO = Scenario(
    source="FRB20190303A",
    direction_deg=(207.9958, 48.1211),
    source_dm=222.4,
    duration_s=34.9,
    injections=(
        Injection("repeater", 0, Burst(5.6, 222.4, 60.0, 10)),
        Injection("new source", 1, Burst(10.6, 130.0, 60.0, 5)),
        Injection("new, too near to announce", 0, Burst(16.7, 35.0, 50.0, 5), alert=False),
        Injection(
            "below the S/N limit", 1, Burst(20.7, 400.0, 9.0, 5), iquv=False, alert=False, extracted=False
        ),
        Injection("too wide", 1, Burst(22.8, 600.0, 50.0, 500), iquv=False, alert=False),
        Injection("new source in a storm", 0, Burst(26.8, 160.0, 60.0, 5)),
    ),
    pulsars={1: (Pulsar(5.347, 12.0, 30.0, 0.1, 10, first_s=3.4),)},
    storms={0: (RfiStorm(25.0, 4.0, 20000.0, dm_scale=30.0, all_beams=True),)},
    # during the repeater and the wide burst
    impulses=(Burst(5.7, 0.0, 120.0, 3, None), Burst(23.1, 0.0, 120.0, 3, None)),
    transmitters=(Transmitter(1381.0, 2.0, 10.0), Transmitter(1268.5, 4.0, 6.0)),
)
