"""Candidates to train with: the fake telescope's sky, through the extraction that real data go through.

Half of them are bursts. Data are those of `darc.simulation.filterbank_sky`: its bandpass, noise, bursts and
interference. They are drawn at a resolution that keeps each piece below a few MB: fewer channels than ARTS
has, and longer samples where a candidate is long or far away. Other bands than that of ARTS are among them,
since the DM-time plane looks different in each. `darc.training.interference` has what is no burst.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from darc.definitions import ARTS, Instrument
from darc.science.dedispersion import Band
from darc.science.dispersion import delay_s, smearing_s
from darc.science.extraction import Candidate, Detection, ExtractionError, Extractor, Plan, Settings, plan
from darc.simulation.amber import ARTS_PLANS
from darc.simulation.filterbank_sky import NOISE_RMS, FilterbankSky
from darc.simulation.signals import Emission, ShapedBurst, SubBurst, drifting
from darc.simulation.sky import Burst, Sky
from darc.training.disturbances import Canvas, Doubles, Samples, add
from darc.training.examples import Example, Examples, collect
from darc.training.interference import KINDS, Interference, Scene

#: Ranges, drawn from evenly in the logarithm: delay over the band (s; in the band of ARTS 1 s is a DM of 1000
#: pc cm^-3), width (s), S/N.
SWEEP_RANGE_S, WIDTH_RANGE_S, SNR_RANGE = (0.02, 5.0), (40e-6, 0.1), (5.0, 100.0)
#: Longest scattering time in the lowest channel (s).
SCATTERING_MAX_S = 0.2
#: Bytes of data that a candidate may take.
BYTES_MAX = 1.5e6
#: Samples of noise that a candidate's are taken from.
NTILE = 3000
#: S/N in the data below which a burst counts as not found, and other candidates are mostly left out.
SNR_FOUND, FAINT, FAINT_PART = 5.0, 4.5, 0.08
#: How many bursts have interference around them, and how many candidates have masked channels, or lie at the
#: beginning or end of the data.
DISTURBED, MASKED, AT_EDGE = 0.35, 0.4, 0.1
#: Where in a file a candidate is that lies at neither end of it (s).
MIDDLE_S = 60.0
#: Between candidates of one sky (s).
GAP_S = 5.0
SETTINGS = Settings(snr_min_local=0.0)
#: AMBER's boxcars in s.
WIDTHS_S = np.array(ARTS_PLANS[0].widths) * ARTS.tsamp_s


@dataclass(frozen=True)
class Place:
    """One candidate's part of a sky: what is there, and where it is looked for.

    Attributes:
        kind: what it is
        instrument: band and resolution of the data
        found: the detection
        todo: the samples it needs
        signal: what is there besides noise
        burst: the burst among that; None: there is none
        mask: channels to leave out
    """

    kind: str
    instrument: Instrument
    found: Detection
    todo: Plan
    signal: Interference
    burst: DrawnBurst | None
    mask: tuple[int, ...]


@dataclass(frozen=True)
class DrawnBurst:
    """A burst, in the band it is looked at.

    Attributes:
        view: the band
        burst: the burst, at time 0
        scattering_s: e-folding time in the middle of the band
    """

    view: View
    burst: ShapedBurst
    scattering_s: float

    @property
    def width_s(self) -> float:
        """Width of its pulses."""
        return self.burst.width_samples * self.view.instrument.tsamp_s

    @property
    def span_s(self) -> float:
        """Time from the first pulse's beginning to the last one's end."""
        return max(part.offset_s for part in self.burst.parts) + self.width_s

    @property
    def extent_s(self) -> float:
        """Time it takes in the middle of the band, smearing and scattering included."""
        band = self.view.band
        smearing = float(smearing_s(self.burst.dm, band.centre_mhz, band.channel_width_mhz))
        return float(np.hypot(self.span_s, smearing)) + self.scattering_s


@dataclass(frozen=True)
class View:
    """A band at a resolution."""

    instrument: Instrument

    @cached_property
    def band(self) -> Band:
        """The band, highest frequency first."""
        there = self.instrument
        top = there.min_freq_mhz + (there.nchan - 1) * there.channel_width_mhz
        return Band(top, -there.channel_width_mhz, there.nchan, there.tsamp_s)

    @cached_property
    def sweep_s(self) -> float:
        """Delay over the band per unit of DM."""
        band = self.band
        return float(delay_s(1.0, band.top_mhz - band.channel_width_mhz * band.nchan, band.top_mhz))

    @cached_property
    def middle_s(self) -> float:
        """Delay of the middle of the band per unit of DM."""
        return float(delay_s(1.0, self.band.centre_mhz, self.band.top_mhz))

    def coarser(self) -> View:
        """Return the same with samples of four times the length."""
        return View(replace(self.instrument, tsamp_s=4 * self.instrument.tsamp_s))


def draw(number: int, seed: tuple[int, ...]) -> Examples:
    """Draw candidates, half of them bursts."""
    rng = np.random.default_rng(seed)
    views = [_view(rng) for _ in range(2)]
    examples: list[Example] = []
    for is_burst in (True, False):
        wanted = (number + is_burst) // 2
        drawn: list[Example] = []
        while len(drawn) < wanted:
            tried = max(8, int((wanted - len(drawn)) * 1.3))
            drawn += _several(rng, views, is_burst, tried)
        examples += drawn[:wanted]
    return collect(examples)


def _view(rng: np.random.Generator) -> View:
    """Draw a band: mostly that of ARTS, else any between 300 MHz and 12 GHz."""
    nchan = int(rng.choice([256, 384, 384, 512]))
    if rng.random() < 0.65:
        return View(
            instrument(ARTS.centre_freq_mhz(ARTS.min_freq_mhz) - ARTS.bandwidth_mhz / 2, 300.0, nchan)
        )
    low_mhz = logarithmic(rng, (300.0, 2500.0))
    return View(instrument(low_mhz, low_mhz * (logarithmic(rng, (1.1, 5.0)) - 1), nchan))


def instrument(low_mhz: float, bandwidth_mhz: float, nchan: int) -> Instrument:
    """Return a telescope with one beam and a band."""
    return replace(
        ARTS,
        ntab=1,
        nsynthesised_beam=1,
        nchan=nchan,
        bandwidth_mhz=bandwidth_mhz,
        min_freq_mhz=low_mhz + bandwidth_mhz / nchan / 2,
    )


def _several(rng: np.random.Generator, views: list[View], is_burst: bool, number: int) -> list[Example]:
    """Draw candidates, one sky for each resolution, and leave out what would not be looked at."""
    places: dict[Instrument, list[Place]] = {}
    for _ in range(number):
        view = views[rng.integers(len(views))]
        if (place := _place(rng, view, is_burst)) is not None:
            places.setdefault(place.instrument, []).append(place)
    examples = [one for there in places.values() for one in _extracted(rng, there)]
    return [one for one in examples if _looked_at(rng, one)]


def _looked_at(rng: np.random.Generator, one: Example) -> bool:
    if one.burst:
        return one.candidate.snr >= SNR_FOUND and one.centred
    return one.candidate.snr >= FAINT or rng.random() < FAINT_PART


def _place(rng: np.random.Generator, view: View, is_burst: bool) -> Place | None:
    """Draw a candidate; None if the search could not have found it there."""
    burst = _burst(rng, view) if is_burst else None
    extent_s = burst.extent_s if burst else float(rng.choice(WIDTHS_S))
    dm = burst.burst.dm if burst else logarithmic(rng, SWEEP_RANGE_S) / view.sweep_s
    near = np.abs(np.log(WIDTHS_S / extent_s) + rng.normal(0, 0.4))
    width_s = float(WIDTHS_S[near.argmin()])
    found_dm = _trial_dm(rng, view, dm, extent_s) if is_burst else dm
    while True:
        width = max(1, round(width_s / view.instrument.tsamp_s))
        found = Detection(found_dm, MIDDLE_S, width)
        todo = plan(found, view.band, SETTINGS)
        if (todo.stop - todo.start) * view.band.nchan <= BYTES_MAX:
            break
        view = view.coarser()
    try:
        found, todo = _at_edge(rng, view, found, todo)
    except ExtractionError:
        return None
    mask = _mask(rng, view.band.nchan) if rng.random() < MASKED else ()
    scene = Scene(view.band, found, todo.start, todo.stop)
    kind, signal = "burst", Interference()
    if burst is None:
        kind = str(rng.choice(list(KINDS), p=[weight for _, weight in KINDS.values()]))
        signal = KINDS[kind][0](rng, scene, 1.0)
    elif rng.random() < DISTURBED:
        kinds = [kind for kind in KINDS if kind != "noise"]
        signal = KINDS[str(rng.choice(kinds))][0](rng, scene, 0.3)
    if burst is not None:
        burst = replace(burst, view=view, burst=_arriving(rng, burst, view, found))
        signal += Interference((burst.burst,))
    return Place(kind, view.instrument, found, todo, signal, burst, mask)


def _burst(rng: np.random.Generator, view: View) -> DrawnBurst:
    """Draw a burst of any shape."""
    dm = logarithmic(rng, SWEEP_RANGE_S) / view.sweep_s
    width = max(1, round(logarithmic(rng, WIDTH_RANGE_S) / view.instrument.tsamp_s))
    width_s, band = width * view.instrument.tsamp_s, view.band
    scattering_s = 0.0
    if rng.random() < 0.3:
        smearing = float(smearing_s(dm, band.centre_mhz, band.channel_width_mhz))
        lowest = (band.freq_mhz.min() / band.centre_mhz) ** 4
        scattering_s = min(max(width_s, smearing) * logarithmic(rng, (0.2, 3.0)), SCATTERING_MAX_S * lowest)
    shape = ShapedBurst(
        0.0,
        dm,
        logarithmic(rng, SNR_RANGE),
        width,
        None,
        scattering_s=scattering_s * (band.centre_mhz / 1000) ** 4,
        parts=_parts(rng, band, width_s),
    )
    return DrawnBurst(view, shape, scattering_s)


def _parts(rng: np.random.Generator, band: Band, width_s: float) -> tuple[SubBurst, ...]:
    """Draw a burst's pulses: one, flat, in part of the band or in patches; several; or some that drift."""
    bandwidth = band.channel_width_mhz * band.nchan
    low = band.top_mhz - bandwidth
    kind = rng.random()
    if kind < 0.4:
        return (SubBurst(),)
    if kind < 0.75:
        # several patches at once are what scintillation leaves of a burst
        number, widest = (1, 1.0) if kind < 0.6 else (int(rng.integers(2, 7)), 0.3)
        return tuple(
            SubBurst(
                0.0,
                rng.uniform(0.2, 1.0),
                low + bandwidth * rng.uniform(0.1, 0.9),
                bandwidth * rng.uniform(0.15 * widest, widest),
            )
            for _ in range(number)
        )
    number, interval_s = int(rng.integers(2, 6)), width_s * rng.uniform(1.0, 2.5)
    if kind < 0.85:
        return tuple(SubBurst(i * interval_s, rng.uniform(0.2, 1.0)) for i in range(number))
    start, drift = low + bandwidth * rng.uniform(0.5, 0.95), -bandwidth * rng.uniform(0.03, 0.25)
    return drifting(number, interval_s, drift / interval_s, start, bandwidth * rng.uniform(0.15, 0.6))


def _trial_dm(rng: np.random.Generator, view: View, dm: float, extent_s: float) -> float:
    """Return the DM at which a search finds a burst: noise moves it, and only some are tried."""
    found = dm + rng.normal(0, 0.35) * extent_s / view.sweep_s
    # AMBER's steps in the band of ARTS, and steps of the same delay elsewhere
    arts = View(ARTS).sweep_s / view.sweep_s
    step = next(one for one in ARTS_PLANS[::-1] if found >= one.first_dm * arts or one.first_dm == 0).dm_step
    return max(0.0, round(found / (step * arts)) * step * arts)


def _arriving(rng: np.random.Generator, burst: DrawnBurst, view: View, found: Detection) -> ShapedBurst:
    """Return a burst at the time at which a detection found it, in the samples of the data."""
    tsamp_s = view.instrument.tsamp_s
    boxcar = found.width * tsamp_s
    centre_s = found.time_s + boxcar * rng.uniform(0.2, 0.8) + (found.dm - burst.burst.dm) * view.middle_s
    width = max(1, round(burst.width_s / tsamp_s))
    return replace(
        burst.burst, time_s=centre_s - burst.span_s / 2 - burst.scattering_s / 2, width_samples=width
    )


def _at_edge(rng: np.random.Generator, view: View, found: Detection, todo: Plan) -> tuple[Detection, Plan]:
    """Put some candidates at the beginning of the data, and end some data before a candidate is complete.

    Raises:
        ExtractionError: nothing of it would be left
    """
    where = rng.random()
    if where > AT_EDGE:
        return found, todo
    if where < AT_EDGE / 2:
        bins = rng.uniform(0, 0.7) * SETTINGS.ntime
        time_s = bins * todo.predownsampling * todo.downsampling * view.instrument.tsamp_s
        found = replace(found, time_s=float(time_s))
        return found, plan(found, view.band, SETTINGS)
    nsample = todo.start + int((todo.stop - todo.start) * rng.uniform(0.6, 1.0))
    return found, plan(found, view.band, SETTINGS, nsample)


def _mask(rng: np.random.Generator, nchan: int) -> tuple[int, ...]:
    """Draw channels to leave out: a few blocks and some single ones."""
    masked = rng.random(nchan) < rng.uniform(0, 0.05)
    for _ in range(rng.integers(0, 5)):
        first, length = rng.integers(nchan), rng.integers(1, max(2, nchan // 15))
        masked[first : first + length] = True
    return tuple(np.flatnonzero(masked).tolist())


def _extracted(rng: np.random.Generator, places: list[Place]) -> list[Example]:
    """Put several candidates' signals into one sky, one after another, and extract each."""
    view = View(places[0].instrument)
    tsamp_s = view.instrument.tsamp_s
    bursts: list[Burst] = []
    emissions: list[Emission] = []
    begins, end = [], 0
    for place in places:
        begins.append(end)
        bursts += [replace(one, time_s=one.time_s + end * tsamp_s) for one in place.signal.bursts]
        emissions += [replace(one, start_s=one.start_s + end * tsamp_s) for one in place.signal.emissions]
        end += place.todo.stop + int(GAP_S / tsamp_s)
    sky = FilterbankSky(
        Sky(end * tsamp_s, tuple(bursts)),
        tuple(emissions),
        seed=int(rng.integers(2**31)),
        instrument=view.instrument,
        tile_samples=NTILE,
    )
    examples = []
    for place, begin in zip(places, begins, strict=True):
        data = sky.block(0, begin + place.todo.start, place.todo.stop - place.todo.start)
        if place.signal.layers:
            data = _disturbed(rng, data, place, view, sky.gain[0] * NOISE_RMS)
        try:
            candidate = Extractor(view.band, SETTINGS, place.mask).extract(data, place.todo)
        except ExtractionError:
            continue
        examples.append(_example(place, view, candidate))
    return examples


def _disturbed(rng: np.random.Generator, data: Samples, place: Place, view: View, rms: Doubles) -> Samples:
    """Return data with the interference that is drawn over them."""
    band = view.band
    delays_s = np.asarray(delay_s(place.found.dm, band.freq_mhz, band.top_mhz))
    canvas = Canvas.empty(len(data), place.todo.start, place.found, delays_s, band.tsamp_s)
    for layer in place.signal.layers:
        layer.draw(canvas)
    return add(data, canvas, rms, rng)


def _example(place: Place, view: View, candidate: Candidate) -> Example:
    """Label a candidate; a burst that is not in the centre has not been found."""
    drawn, tsamp_s = place.burst, view.instrument.tsamp_s
    if drawn is None:
        return Example(candidate, place.kind, False, place.found.dm, candidate.width * tsamp_s)
    burst = drawn.burst
    middle = burst.time_s + (drawn.span_s + drawn.scattering_s) / 2
    middle += (burst.dm - candidate.dm) * view.middle_s
    tolerance = drawn.extent_s + 0.5 * candidate.width * tsamp_s + candidate.tsamp_s
    centred = abs(candidate.time_s - middle) <= tolerance
    return Example(candidate, "burst", True, burst.dm, drawn.width_s, burst.snr, centred)


def logarithmic(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw a number, evenly in its logarithm."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
