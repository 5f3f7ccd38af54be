"""`darc evaluate-model`: measure a model with labelled candidates, or compare two."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats import candidate as candidates
from darc.formats.candidate import Candidate, CandidateError
from darc.formats.files import read_text, write_complete
from darc.processor_tools.networks import Network
from darc.training.card import picture
from darc.training.examples import SHAPES, Examples
from darc.training.figures import Figures, Share, measure

#: Labels of bursts, in lower case; every other one is a kind of what is none.
BURSTS = frozenset({"1", "burst", "bursts", "frb", "frbs", "pulsar", "real", "true", "yes"})
_LABELS_MAX = 2**26
#: Planes of a candidate by the name of the network that sees them.
_PLANES = {"freqtime": "data_freq_time", "dmtime": "data_dm_time"}


class LabelError(DARCError):
    """Candidates without labels, or labels without candidates."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure models; return 0 if that was possible."""
    options = _options(arguments)
    try:
        print(_evaluated(options))
    except DARCError as error:
        print(f"darc evaluate-model: {error}", file=sys.stderr)
        return 1
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darc evaluate-model",
        description="Measure a model with candidates (.hdf5) whose labels are known, or compare two.",
        epilog="A label is the name of the folder directly below FOLDER that holds the file, or stands in a "
        "file: CSV lines `file,label`, or YAML `file: label`. Labels of bursts are "
        f"{', '.join(sorted(BURSTS))}; each other label is a kind of what is no burst.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="ONNX file")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="candidates, in it and in folders below")
    parser.add_argument("--against", type=Path, metavar="MODEL", help="another model to compare with")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="labels, ending in .csv, .yaml or .yml")
    parser.add_argument(
        "--data",
        choices=sorted(_PLANES),
        help="what the model looks at [freqtime if it takes 32 rows, else dmtime]",
    )
    parser.add_argument("--threshold", type=float, default=0.5, metavar="P", help="lowest that is kept [0.5]")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the curves of MODEL there, as PNG")
    options = parser.parse_args(arguments)
    if not 0 <= options.threshold <= 1:
        parser.error(f"--threshold {options.threshold:g}: from 0 to 1")
    return options


def _evaluated(options: argparse.Namespace) -> str:
    network = Network(options.model)
    name = options.data or ("freqtime" if network.shape[0] == SHAPES["freqtime"][0] else "dmtime")
    networks = [network, *([Network(options.against)] if options.against else [])]
    there, planes = load(options.folder, options.labels, name)
    probabilities = [one.probabilities(planes) for one in networks]
    figures = [measure(one, there, options.threshold) for one in probabilities]
    if options.plot:
        write_complete(options.plot, picture(figures[0], options.model.name), DARCError)
    lines = [table([path.path.name for path in networks], figures)]
    if len(networks) == 2:
        kept = [one >= options.threshold for one in probabilities]
        only = [int((kept[i] & ~kept[1 - i] & there.burst).sum()) for i in (0, 1)]
        false = [int((kept[i] & ~kept[1 - i] & ~there.burst).sum()) for i in (0, 1)]
        lines += [f"\nkept by one only: bursts {only[0]} and {only[1]}, others {false[0]} and {false[1]}"]
    return "\n".join(lines)


def load(folder: Path, labels: Path | None, name: str) -> tuple[Examples, NDArray[np.float32]]:
    """Return labelled candidates, and what the network of that name is shown of each.

    Args:
        folder: with candidates
        labels: file of labels; None: folders are the labels
        name: `freqtime` or `dmtime`

    Raises:
        DARCError: there are none, a label is missing, a file is damaged, or the shapes differ
    """
    pairs = list(_labelled(folder, labels))
    if not pairs:
        raise LabelError(f"{folder}: there is no candidate (.hdf5) with a label")
    found = [candidates.read(path) for path, _ in pairs]
    planes = [getattr(one, _PLANES[name]) for one in found]
    shapes = {plane.shape for plane in planes}
    if len(shapes) > 1:
        raise CandidateError(
            f"{folder}: candidates of different shapes, {sorted(shapes)}: use those of one kind"
        )
    kinds = np.array([label for _, label in pairs])
    burst = np.array([label.lower() in BURSTS for label in kinds])
    if burst.all() or not burst.any():
        raise LabelError(
            f"{folder}: all {len(pairs)} candidates are {'' if burst.all() else 'no '}bursts: both needed"
        )
    return _examples(found, kinds, burst), np.stack(planes)


def _examples(found: Sequence[Candidate], kinds: NDArray[np.str_], burst: NDArray[np.bool_]) -> Examples:
    none = np.empty((0, 0, 0), np.float32)
    return Examples(
        none,
        none,
        burst,
        kinds,
        np.array([one.snr for one in found]),
        np.array([one.dm for one in found]),
        np.array([one.width_s for one in found]),
        np.full(len(found), np.nan),
        np.ones(len(found), np.bool_),
        np.full(len(found), np.nan),
    )


def _labelled(folder: Path, labels: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield the files of candidates and their labels."""
    if not folder.is_dir():
        raise LabelError(f"{folder}: there is no such folder")
    paths = sorted(folder.rglob(f"*{candidates.SUFFIX}"))
    if labels is None:
        for path in paths:
            first, *rest = path.relative_to(folder).parts
            if not rest:
                raise LabelError(f"{path} has no label: put it into a folder of that name, or use --labels")
            yield path, first
        return
    known = _read_labels(labels)
    for path in paths:
        inside = path.relative_to(folder).as_posix()
        if (label := known.pop(inside, None) or known.pop(path.name, None)) is None:
            raise LabelError(f"{labels}: there is no label of {inside}")
        yield path, label
    if known:
        raise LabelError(f"{labels}: {len(known)} labels belong to no file in {folder}, such as {min(known)}")


def _read_labels(path: Path) -> dict[str, str]:
    """Return the label of each file."""
    text = read_text(path, _LABELS_MAX, LabelError)
    if path.suffix == ".csv":
        rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].startswith("#")]
        if wrong := [row for row in rows if len(row) != 2]:
            raise LabelError(f"{path}: {','.join(wrong[0])!r} is not `file,label`")
        # files of tables often begin with the names of their columns
        return {name.strip(): label.strip() for name, label in rows if name.strip().lower() != "file"}
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LabelError(f"{path}: no YAML: {error}") from error
    if not isinstance(content, dict):
        raise LabelError(f"{path}: has to hold lines `file: label`")
    return {str(name): str(label) for name, label in content.items()}


def _percent(part: float) -> str:
    return "-" if np.isnan(part) else f"{100 * part:.1f} %"


def table(names: Sequence[str], figures: Sequence[Figures]) -> str:
    """Return figures of models side by side."""
    rows: list[tuple[str, list[str]]] = [
        ("recall, all", [str(one.recall) for one in figures]),
        ("recall, S/N >= 10", [str(one.recall_bright) for one in figures]),
        ("recall, S/N 8-10", [str(one.recall_faint) for one in figures]),
        ("kept of what is no burst", [str(one.false_positives) for one in figures]),
        ("precision, S/N >= 10, equal numbers", [_percent(one.precision) for one in figures]),
        ("area below the ROC curve", [f"{one.roc_area:.4f}" for one in figures]),
        ("average precision", [f"{one.average_precision:.4f}" for one in figures]),
        ("expected calibration error", [f"{one.calibration_error:.4f}" for one in figures]),
    ]
    groups = {
        "recall, S/N": "by_snr",
        "recall, DM": "by_dm",
        "recall, ms": "by_width",
        "kept of": "by_kind",
    }
    for title, attribute in groups.items():
        columns: list[tuple[Share, ...]] = [getattr(one, attribute) for one in figures]
        rows += [
            (f"{title} {shares[0].label} ({shares[0].number})", [str(share) for share in shares])
            for shares in zip(*columns, strict=True)
            if shares[0].number
        ]
    lines = [("", list(names)), *rows]
    widths = [max(len(lines[i][1][k]) for i in range(len(lines))) for k in range(len(names))]
    first = max(len(label) for label, _ in lines)
    return "\n".join(
        f"{label:{first}}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        for label, cells in lines
    )
