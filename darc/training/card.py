"""Model cards, as Markdown with a picture: what a network is made of, what it does well, and what badly."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darc.processor_tools.networks import Network
from darc.training import second_sky
from darc.training.examples import SHAPES, Examples
from darc.training.figures import Figures, Share, measure
from darc.training.real_data import RealData

Doubles = NDArray[np.float64]

TITLES = {"freqtime": "frequency-time", "dmtime": "DM-time"}
ROWS = {"freqtime": "frequencies from the lowest up", "dmtime": "DMs ascending"}
#: Candidates that a beam is taken to have in an hour, for false positives per hour.
PER_HOUR = 1000
#: What is said to be done badly: recall below, or false positives above this.
_RECALL_LOW, _FALSE_HIGH = 0.9, 0.01
_THRESHOLD = 0.5
_BENT = """
  A fifth of the bursts were bent away from the law of dispersion by more than their width, and were none then
  (`darc.training.variation`). How many and how far was settled after a look at the second sky, by two trial
  networks: it is not entirely unseen."""


@dataclass(frozen=True)
class Made:
    """How the networks were made.

    Attributes:
        darc: version of DARC
        command: command that makes them
        versions: of what trained them
        duration_s: of all of it
        total_cpu_s: of all of it, on all cores together
        jobs: processes at once
        cpu_s: training of each network alone, on one core
        training, validation: how many candidates there were of each kind
        calibration: of each network: factor and summand of the logarithm of the odds
        sizes: of the files in bytes
    """

    darc: str
    command: str
    versions: str
    duration_s: float
    total_cpu_s: float
    jobs: int
    cpu_s: dict[str, float]
    training: str
    validation: str
    calibration: dict[str, tuple[float, float]]
    sizes: dict[str, int]


@dataclass(frozen=True, eq=False)
class RealFigures:
    """What the networks say about a file of real data.

    Attributes:
        there: the file
        kept: probabilities of the candidates that are none, for each network
        in_data, in_noise: recall of what was injected into the data, and into noise, for each network
        same_in_data, same_in_noise: the same of those bursts that were judged in both
    """

    there: RealData
    kept: dict[str, Doubles]
    in_data: dict[str, Share]
    in_noise: dict[str, Share]
    same_in_data: dict[str, Share]
    same_in_noise: dict[str, Share]


@dataclass(frozen=True, eq=False)
class Judged:
    """Candidates, and the probabilities that the networks give them, by the networks' names."""

    test: Examples
    probability: dict[str, Doubles]
    noise: dict[str, Doubles]
    noise_snr: Doubles
    real: tuple[RealFigures, ...]

    @classmethod
    def of(
        cls, networks: dict[str, Network], test: Examples, noise: Examples | None, real: Sequence[RealData]
    ) -> Judged:
        """Let the networks judge the candidates."""

        def judge(there: Examples) -> dict[str, Doubles]:
            return {name: one.probabilities(there.images(name)) for name, one in networks.items()}

        def recall(there: Examples) -> dict[str, Share]:
            kept = {name: int((one >= _THRESHOLD).sum()) for name, one in judge(there).items()}
            return {name: Share("injected", number, len(there)) for name, number in kept.items()}

        figures = []
        for one in real:
            planes = {
                "freqtime": np.array([candidate.data_freq_time for candidate in one.candidates]),
                "dmtime": np.array([candidate.data_dm_time for candidate in one.candidates]),
            }
            kept = {name: network.probabilities(planes[name]) for name, network in networks.items()}
            judged = (one.injected, one.in_noise, *_same(one.injected, one.in_noise))
            figures.append(RealFigures(one, kept, *map(recall, judged)))
        return cls(
            test,
            judge(test),
            judge(noise) if noise else {},
            noise.snr if noise else np.empty(0),
            tuple(figures),
        )


def _same(first: Examples, second: Examples) -> tuple[Examples, Examples]:
    """Return those of two sets of bursts that are in both; the S/N tells which are the same."""
    _, i, j = np.intersect1d(first.injected_snr, second.injected_snr, return_indices=True)
    return first.where(i), second.where(j)


def counted(there: Examples) -> str:
    """Say how many candidates there are of each kind."""
    kinds = Counter(there.kind.tolist())
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items(), key=lambda one: -one[1]))


def cards(made: Made, judged: Judged) -> dict[str, bytes]:
    """Return the files of the cards by their names."""
    files: dict[str, bytes] = {}
    for name in SHAPES:
        figures = measure(judged.probability[name], judged.test, _THRESHOLD)
        files[f"{name}.md"] = card(name, made, judged, figures).encode()
        files[f"{name}.png"] = picture(figures, f"{TITLES[name]} network")
    return files


def card(name: str, made: Made, judged: Judged, figures: Figures) -> str:
    """Return a card's text."""
    sections = (
        _head(name, made),
        _made(name, made),
        _measured(name, judged, figures),
        _real(name, judged),
        _limits(judged, figures),
    )
    return "\n\n".join(sections) + "\n"


def _head(name: str, made: Made) -> str:
    rows, times = SHAPES[name]
    return f"""# The {TITLES[name]} network, `{name}.onnx`

Gives the probability that a candidate is a burst. Written by `darc train`; trained with simulated data only.

| | |
| --- | --- |
| input | `image`: 32-bit floats, (n, 1, {rows}, {times}): {ROWS[name]}, times |
| made by | `darc.science.network_input`: averaged to this shape, less each row's median, over its scatter |
| output | `probability`: 32-bit floats, (n,), calibrated |
| file | {made.sizes[name] / 1e3:.0f} kB, ONNX |"""


def _made(name: str, made: Made) -> str:
    factor, summand = made.calibration[name]
    bent = _BENT if name == "freqtime" else ""
    processes = f"{made.jobs} process" + ("es" if made.jobs > 1 else "")
    return f"""## How it was made

    {made.command}

with DARC {made.darc}, {made.versions}, in {made.duration_s / 60:.0f} minutes
with {processes}: {made.total_cpu_s / 60:.0f} minutes of one core, of which training this network \
took {made.cpu_s[name] / 60:.1f}
(not counted is what `--keep` had kept; on a machine that others use it lasts longer).
The same command gives the same weights on the same kind of machine.

- Training: {made.training}.
- Calibration: {made.validation}.
- Both are of the fake telescope's sky (`darc.training.telescope_sky`) and went through the extraction of DARC
  with its default settings: S/N 5-100, DM 20-5000 in the band of ARTS, widths from 40 us to 100 ms, errors of
  DM and time as of AMBER's search. A third is in other bands between 300 MHz and 12 GHz, with equal delays.
- What is no burst is that of the fake telescope (`darc.training.interference`), and lines, pulses and patches
  of any shape (`darc.training.disturbances`). The latter were added after earlier networks had failed on some
  kinds of interference of the second sky, as the tables of their cards had shown; neither code nor ranges
  are taken from there.
- Each time that a candidate was seen, noise was added, it was shifted, or rows of it were emptied.{bent}
- The logarithm of the odds is multiplied by {factor:.3f}, and {summand:+.3f} added, which makes probabilities
  true for the second set, half of which are bursts (Platt's scaling; part of the last layer's weights)."""


def _headline(name: str, judged: Judged, figures: Figures) -> list[tuple[str, str, str]]:
    """Return what was asked for and what was measured, a row each."""
    test, there = judged.test, judged.probability[name]
    undecided, alike = second_sky.undecided(test), second_sky.sweeps_like_bursts(test)
    false, sweep = ~test.burst, np.isfinite(test.departure)
    hours = (
        ("interference", figures.false_positives.part),
        ("noise", _part(judged.noise.get(name), judged.noise_snr)),
    )
    rows = [
        ("recall, S/N >= 10", "99 %", str(figures.recall_bright)),
        ("precision, S/N >= 10, as many bursts as others", "99 %", f"{100 * figures.precision:.1f} %"),
        ("recall, S/N 8-10", "90 %", str(figures.recall_faint)),
        ("kept of what is no burst", "0.1 %", str(figures.false_positives)),
        ("- where DM 0 is ruled out by the data", "", _share(there, false & ~undecided)),
        (
            "- where it is not: delay over the band below twice the width",
            "",
            _share(there, false & undecided),
        ),
        ("- sweeps that leave the dispersion by more than the width", "", _share(there, sweep & ~alike)),
        ("- sweeps that follow it as closely as bursts", "", _share(there, sweep & alike)),
        (
            "- all but those that the data cannot tell from bursts",
            "",
            _share(there, false & ~undecided & ~alike),
        ),
        ("expected calibration error", "0.02", f"{figures.calibration_error:.4f}"),
        ("area below the ROC curve", "", f"{figures.roc_area:.4f}"),
        ("average precision", "", f"{figures.average_precision:.4f}"),
    ]
    return rows + [
        (f"false positives in an hour of {PER_HOUR} candidates of {what}", "", f"{part * PER_HOUR:.1f}")
        for what, part in hours
    ]


def _measured(name: str, judged: Judged, figures: Figures) -> str:
    test = judged.test
    default = judged.probability["freqtime"] >= _THRESHOLD
    both = default & (judged.probability["dmtime"] >= _THRESHOLD)
    undecided, false = second_sky.undecided(test), ~test.burst
    tables = (
        ("Recall by S/N in the data", figures.by_snr),
        ("Recall by DM (pc cm^-3)", figures.by_dm),
        ("Recall by width (ms)", figures.by_width),
        ("Kept of what is no burst", figures.by_kind),
    )
    return f"""## What was measured

On {len(test)} candidates of another sky (`darc.training.second_sky`), which shares only the extraction with
that of the training: {counted(test)}.
All have an S/N of 5 at least in the data, as those that the classifier gets. Kept is what has a probability
of {_THRESHOLD} or more. Errors are 68 % intervals.

{_table(("", "asked for", "measured"), _headline(name, judged, figures))}

The default configuration keeps what the frequency-time network keeps. With a limit of 0.5 for both networks:
recall {_share_of(both, test.burst & (test.snr >= 10))} at S/N >= 10 and \
{_share_of(both, test.burst & (test.snr >= 8) & (test.snr < 10))} at S/N 8-10, kept of what is no burst \
{_share_of(both, false)} (where DM 0 is ruled out: {_share_of(both, false & ~undecided)}).

![ROC, precision and recall, calibration; recall against S/N, DM and width]({name}.png)

""" + "\n\n".join(f"{title}:\n\n{_shares(shares)}" for title, shares in tables)


def _real(name: str, judged: Judged) -> str:
    if not judged.real:
        return "## Real data\n\nNone was there when this was written: name files of it with `--real`."
    parts = ["## Real data"]
    for one in judged.real:
        there, kept = one.there, one.kept[name]
        parts.append(
            f"`{there.name}` ({there.described}): {(kept >= _THRESHOLD).sum()} of {len(kept)} candidates "
            f"at any time and DM, none of them a burst, were kept (highest probability {kept.max():.3f}); "
            f"{_bright(there, kept)}. Of "
            f"{there.number} bursts injected into it, {len(there.injected)} had S/N 5 and were judged, "
            f"{one.in_data[name]} of them kept; of the same bursts in noise of the same level and scatter "
            f"{len(there.in_noise)}, {one.in_noise[name]} of them kept. Of those that were judged in both "
            f"({one.same_in_data[name].number}), {one.same_in_data[name]} were kept in the data and "
            f"{one.same_in_noise[name]} in noise."
        )
    return "\n\n".join(parts)


def _bright(there: RealData, probability: Doubles) -> str:
    """Say how many candidates the extraction would pass on, and how many of these would be kept."""
    bright = np.array([one.snr for one in there.candidates]) >= second_sky.SNR_MIN
    kept = int((bright & (probability >= _THRESHOLD)).sum())
    return f"{bright.sum()} have the S/N of 5 that it takes, {kept} of them kept"


def _limits(judged: Judged, figures: Figures) -> str:
    binned = {"S/N": figures.by_snr, "DM": figures.by_dm, "width in ms": figures.by_width}
    worst = [
        f"- Recall is {share} for bursts of {what} {share.label}."
        for what, shares in binned.items()
        for share in shares
        if share.number and share.part < _RECALL_LOW
    ]
    worst += [
        f"- Of {share.label}, {share} is kept."
        for share in figures.by_kind
        if share.number and share.part > _FALSE_HIGH
    ]
    off = int((~judged.test.centred).sum())
    return "\n".join(
        (
            "## What it does badly",
            "",
            "- Where the delay over the band is shorter than the pulse, an impulse without dispersion looks\n"
            "  like a burst: the data cannot tell them apart, nor can this network.",
            "- So does a sweep that follows the dispersion to within the width of the pulse.",
            "- It sees neither DM nor width nor S/N, only shapes.",
            f"- {off} of {int(judged.test.burst.sum())} bursts of the test set were not in the centre, since "
            "the extraction found something brighter;\n  they count as bursts above.",
            "- Both skies are simulations by the same people. Measure with candidates of your own: "
            "`darc evaluate-model`.",
            *worst,
        )
    )


def _part(probability: Doubles | None, snr: Doubles) -> float:
    """Return the part of noise that passes the S/N limit and is kept; NaN if there is none."""
    if probability is None:
        return float("nan")
    return float(((probability >= _THRESHOLD) & (snr >= second_sky.SNR_MIN)).mean())


def _share(probability: Doubles, chosen: NDArray[np.bool_]) -> str:
    return _share_of(probability >= _THRESHOLD, chosen)


def _share_of(kept: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> str:
    return str(Share("", int((kept & chosen).sum()), int(chosen.sum())))


def _shares(shares: Sequence[Share]) -> str:
    return _table(("", "candidates", "kept"), [(one.label, str(one.number), str(one)) for one in shares])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def picture(figures: Figures, title: str) -> bytes:
    """Return the curves as a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes half a second)

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 3)
    curves = (
        ("ROC", figures.roc, "false-positive rate", "recall"),
        ("Precision and recall", figures.precision_recall, "recall", "precision"),
        ("Calibration", figures.calibration, "probability", "part that are bursts"),
    )
    for axes, (name, curve, x, y) in zip(upper, curves, strict=True):
        axes.plot(curve.x, curve.y, marker="o" if name == "Calibration" else "", markersize=3)
        if name == "Calibration":
            axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        axes.set(title=name, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    binned = (("S/N", figures.by_snr), ("DM (pc cm$^{-3}$)", figures.by_dm), ("width (ms)", figures.by_width))
    for axes, (x, shares) in zip(lower, binned, strict=True):
        there = [share for share in shares if share.number]
        axes.errorbar(
            [share.label for share in there],
            [share.part for share in there],
            [share.error for share in there],
            fmt="o",
            markersize=4,
        )
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
        axes.set(xlabel=x, ylabel="recall", ylim=(0, 1.03))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90, metadata={"Software": None})
    return content.getvalue()
