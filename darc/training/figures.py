"""How good a network is: what is found, what is let through, and what its probabilities are worth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from darc.training.examples import Examples

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Bins of the tables: S/N in the data, DM (pc cm^-3), width (ms).
SNR_BINS = (5.0, 6.0, 8.0, 10.0, 15.0, 30.0, np.inf)
DM_BINS = (0.0, 50.0, 150.0, 500.0, 1500.0, np.inf)
WIDTH_BINS_MS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, np.inf)
#: Intervals of probability in which it is compared with the part that are bursts.
NCALIBRATION = 15
_EPSILON = 1e-12


@dataclass(frozen=True)
class Share:
    """A part of some candidates, with a 68 % interval.

    Attributes:
        label: which candidates
        kept: how many have at least the threshold
        number: how many there are
    """

    label: str
    kept: int
    number: int

    @property
    def part(self) -> float:
        """The part that is kept; NaN where there are none."""
        return self.kept / self.number if self.number else np.nan

    @property
    def error(self) -> float:
        """Half the length of Wilson's interval of one standard deviation (1927, JASA 22, 209)."""
        if not self.number:
            return np.nan
        n, p = self.number, self.part
        return float(np.sqrt(p * (1 - p) / n + 1 / (4 * n**2)) / (1 + 1 / n))

    def __str__(self) -> str:
        if not self.number:
            return "-"
        return f"{100 * self.part:.1f} ± {100 * self.error:.1f} %"


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a curve, (n,)."""

    x: Doubles
    y: Doubles


@dataclass(frozen=True, eq=False)
class Figures:
    """What was measured at a threshold.

    Attributes:
        threshold: lowest probability of what is kept
        recall: of all bursts, and of those of S/N at least 10 and from 8 to 10
        recall_bright, recall_faint: the latter two
        false_positives: what is kept of all that is no burst
        precision: part of what is kept that are bursts of S/N at least 10, if there are as many of them as
            of others
        roc_area: area below the ROC curve
        average_precision: area below the precision-recall curve
        calibration_error: expected calibration error
        by_snr, by_dm, by_width: recall in bins
        by_kind: what is kept of each kind that is no burst
        roc: false-positive rate and recall
        precision_recall: recall and precision
        calibration: mean probability, and the part that are bursts
    """

    threshold: float
    recall: Share
    recall_bright: Share
    recall_faint: Share
    false_positives: Share
    precision: float
    roc_area: float
    average_precision: float
    calibration_error: float
    by_snr: tuple[Share, ...]
    by_dm: tuple[Share, ...]
    by_width: tuple[Share, ...]
    by_kind: tuple[Share, ...]
    roc: Curve
    precision_recall: Curve
    calibration: Curve


def measure(probability: Doubles, there: Examples, threshold: float = 0.5) -> Figures:
    """Measure a network.

    Args:
        probability: what it says about each candidate, (n,)
        there: the candidates; among them are bursts and others
        threshold: lowest probability of what is kept
    """
    kept, burst = probability >= threshold, there.burst

    def share(label: str, chosen: Flags) -> Share:
        return Share(label, int((kept & chosen).sum()), int(chosen.sum()))

    def binned(values: Doubles, edges: tuple[float, ...]) -> tuple[Share, ...]:
        pairs = pairwise(edges)
        return tuple(share(_range(a, b), burst & (values >= a) & (values < b)) for a, b in pairs)

    bright = share("bursts of S/N >= 10", burst & (there.snr >= 10))
    false = share("no bursts", ~burst)
    roc, roc_area = roc_curve(probability, burst)
    precision_recall, average = precision_recall_curve(probability, burst)
    calibration, error = calibration_curve(probability, burst)
    kinds = sorted(set(there.kind[~burst].tolist()))
    return Figures(
        threshold,
        share("bursts", burst),
        bright,
        share("bursts of S/N 8 to 10", burst & (there.snr >= 8) & (there.snr < 10)),
        false,
        bright.part / (bright.part + false.part) if bright.kept or false.kept else np.nan,
        roc_area,
        average,
        error,
        binned(there.snr, SNR_BINS),
        binned(there.dm, DM_BINS),
        binned(there.width_s * 1e3, WIDTH_BINS_MS),
        tuple(share(kind, ~burst & (there.kind == kind)) for kind in kinds),
        roc,
        precision_recall,
        calibration,
    )


def roc_curve(probability: Doubles, burst: Flags) -> tuple[Curve, float]:
    """Return false-positive rate against recall for all thresholds, and the area below."""
    hits, alarms = _cumulated(probability, burst)
    false = np.concatenate([[0.0], alarms / max(1, alarms[-1])])
    recall = np.concatenate([[0.0], hits / max(1, hits[-1])])
    return Curve(false, recall), float(np.trapezoid(recall, false))


def precision_recall_curve(probability: Doubles, burst: Flags) -> tuple[Curve, float]:
    """Return recall against precision for all thresholds, and the average precision."""
    hits, alarms = _cumulated(probability, burst)
    recall, precision = hits / max(1, hits[-1]), hits / (hits + alarms)
    return Curve(recall, precision), float(np.sum(np.diff(recall, prepend=0) * precision))


def calibration_curve(probability: Doubles, burst: Flags) -> tuple[Curve, float]:
    """Return mean probability against the part that are bursts, and the expected calibration error.

    The latter is the mean distance of the two over equal intervals of probability, weighted by how many
    candidates each holds (Guo et al. 2017, ICML, eq. 3).
    """
    place = np.minimum((probability * NCALIBRATION).astype(int), NCALIBRATION - 1)
    number = np.bincount(place, minlength=NCALIBRATION)
    there = number > 0
    said = np.bincount(place, probability, NCALIBRATION)[there] / number[there]
    true = np.bincount(place, burst, NCALIBRATION)[there] / number[there]
    error = np.sum(np.abs(said - true) * number[there]) / max(1, len(probability))
    return Curve(said, true), float(error)


def calibrate(odds: Doubles, burst: Flags, rounds: int = 50) -> tuple[float, float]:
    """Return factor and summand of the logarithm of the odds that make probabilities true.

    They are those of the highest likelihood (Platt 1999, in Advances in Large Margin Classifiers, with his
    targets, which keep a perfect separation from giving an infinite factor), found by Newton's method.

    Args:
        odds: logarithm of the odds as the network says, (n,)
        burst: what is a burst, (n,)
        rounds: of Newton's method
    """
    nburst, nother = int(burst.sum()), int((~burst).sum())
    target = np.where(burst, (nburst + 1) / (nburst + 2), 1 / (nother + 2))
    design = np.stack([odds, np.ones_like(odds)])
    fitted = np.array([1.0, 0.0])
    for _ in range(rounds):
        probability = sigmoid(fitted @ design)
        weight = probability * (1 - probability)
        curvature = (design * weight) @ design.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design @ (target - probability))
        fitted = fitted + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    return float(fitted[0]), float(fitted[1])


def sigmoid(odds: Doubles) -> Doubles:
    """Return the probability of each logarithm of odds."""
    probability: Doubles = 0.5 * (1 + np.tanh(odds / 2))
    return probability


def _cumulated(probability: Doubles, burst: Flags) -> tuple[Doubles, Doubles]:
    """Return numbers of bursts and of others above each distinct probability, highest first."""
    order = np.argsort(-probability, kind="stable")
    last = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    hits = np.cumsum(burst[order])[last].astype(np.float64)
    return hits, last + 1 - hits


def _range(low: float, high: float) -> str:
    if high == np.inf:
        return f"from {low:g}"
    return f"below {high:g}" if low == 0 else f"{low:g} to {high:g}"
