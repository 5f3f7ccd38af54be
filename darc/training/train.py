"""`darc train`: draw candidates, train both networks with them, measure these, and write models and cards.

All that is random follows from the seed, whatever the number of processes. The networks are trained with
candidates of `darc.training.telescope_sky`, their probabilities calibrated with others, and measured with
those of `darc.training.second_sky` and, where there is a file of them, with real data.
"""

from __future__ import annotations

import argparse
import logging
import resource
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darc import __version__
from darc.errors import DARCError
from darc.formats.files import check_is_file, write_complete
from darc.processor_tools.networks import Network
from darc.training import card, real_data, second_sky, telescope_sky
from darc.training.examples import SHAPES, Drawing, Examples
from darc.training.figures import calibrate

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_logger = logging.getLogger("darc.training")

NO_PYTORCH = "PyTorch is needed to train: pip install 'darc[train]'"
#: Options that are numbers: what the shipped models were trained with, and what they mean.
DEFAULTS = {
    "seed": 1,
    "number": 40000,
    "validation": 2000,
    "test": 3000,
    "noise": 1000,
    "epochs": 9,
    "jobs": 2,
}
_NUMBERS = {
    "seed": "of all that is random",
    "number": "candidates to train with",
    "validation": "candidates to calibrate with",
    "test": "candidates to measure with, of another simulation",
    "noise": "candidates of pure noise to measure with",
    "epochs": "how often each candidate is seen",
    "jobs": "processes at once",
}


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that was trained.

    Attributes:
        content: the ONNX file
        calibration: factor and summand of the logarithm of the odds
        cpu_s: time it took, on one core
        versions: of what trained it
    """

    content: bytes
    calibration: tuple[float, float]
    cpu_s: float
    versions: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the networks; return 0 if models and cards were written."""
    options = _options(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        _train(options)
    except DARCError as error:
        print(f"darc train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndarc train: interrupted; nothing was replaced", file=sys.stderr)
        return 130
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="darc train",
        description="Train the two networks that classify candidates, on simulated ones, and write each as "
        "an ONNX file with a model card. Needs PyTorch: pip install 'darc[train]'.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where models and cards are written")
    for name, text in _NUMBERS.items():
        default = DEFAULTS[name]
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} [{default}]")
    parser.add_argument(
        "--real", type=Path, nargs="*", default=[], metavar="FILE",
        help="filterbank files without bursts, to measure with",
    )  # fmt: skip
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep what is drawn there, and take it from there the next time",
    )
    options = parser.parse_args(arguments)
    for name in _NUMBERS:
        if getattr(options, name) < (0 if name in ("seed", "noise") else 1):
            parser.error(f"--{name} has to be at least 1")
    return options


def command(options: argparse.Namespace) -> str:
    """Return the command line that gives the same models, without what does not change them."""
    names = ("seed", "number", "validation", "test", "noise", "epochs")
    words = [f"--{name}={getattr(options, name)}" for name in names]
    real = [path.name for path in options.real]
    return shlex.join(["darc", "train", "darc/models", *words, *(["--real", *real] if real else [])])


def _train(options: argparse.Namespace) -> None:
    _refuse_at_once(options)
    start = time.monotonic()
    drawn = partial(Drawing, seed=options.seed, keep=options.keep)
    training = drawn(telescope_sky.draw, "training", options.number).examples(options.jobs)
    validation = drawn(telescope_sky.draw, "validation", options.validation).examples(options.jobs)
    _logger.info("%d candidates drawn", len(training) + len(validation))
    trained = _both(training, validation, options)
    _logger.info("networks trained")
    _write(options.folder, {f"{name}.onnx": one.content for name, one in trained.items()})
    test = drawn(second_sky.draw, "test", options.test).examples(options.jobs)
    noise = (
        drawn(second_sky.draw_noise, "noise", options.noise).examples(options.jobs) if options.noise else None
    )
    real = [real_data.read(path, options.seed) for path in options.real]
    networks = {name: Network(options.folder / f"{name}.onnx", SHAPES[name]) for name in SHAPES}
    judged = card.Judged.of(networks, test, noise, real)
    made = card.Made(
        __version__,
        command(options),
        next(iter(trained.values())).versions,
        time.monotonic() - start,
        _cpu_s(),
        options.jobs,
        {name: one.cpu_s for name, one in trained.items()},
        card.counted(training),
        card.counted(validation),
        {name: one.calibration for name, one in trained.items()},
        {name: len(one.content) for name, one in trained.items()},
    )
    _write(options.folder, card.cards(made, judged))
    _logger.info("models and cards are in %s", options.folder)


def _refuse_at_once(options: argparse.Namespace) -> None:
    """Look at what is needed in the end, before that takes its minutes.

    Raises:
        DARCError: it is not there
    """
    if find_spec("torch") is None:
        raise DARCError(NO_PYTORCH)
    for path in options.real:
        check_is_file(path, DARCError)
    for folder in filter(None, (options.folder, options.keep)):
        _write(folder, {})


def _both(training: Examples, validation: Examples, options: argparse.Namespace) -> dict[str, Trained]:
    """Train the networks, each in a process of its own with one thread: more would change the sums' order."""
    tasks = {
        name: (name, training.images(name), training.burst, validation.images(name), validation.burst)
        for name in SHAPES
    }
    with ProcessPoolExecutor(min(options.jobs, len(tasks)), get_context("spawn")) as processes:
        waiting = {
            name: processes.submit(train_one, *task, options.epochs, options.seed)
            for name, task in tasks.items()
        }
        return {name: one.result() for name, one in waiting.items()}


def train_one(
    name: str,
    images: Floats,
    burst: NDArray[np.bool_],
    other_images: Floats,
    other_burst: NDArray[np.bool_],
    epochs: int,
    seed: int,
) -> Trained:
    """Train and calibrate a network.

    Args:
        name: of the network
        images: what it is trained with, (n, rows, times)
        burst: which of these are bursts, (n,)
        other_images: what it is calibrated with
        other_burst: which of those are bursts
        epochs: how often each image is seen
        seed: of all that is random

    Raises:
        DARCError: PyTorch is not installed
    """
    try:
        import torch  # noqa: PLC0415 (an extra)

        from darc.training import network  # noqa: PLC0415
    except ImportError as error:
        raise DARCError(f"{NO_PYTORCH} ({error})") from error
    start = time.process_time()
    torch.set_num_threads(1)
    fitted = network.fit(images, burst, network.Recipe(epochs, seed, bend=name == "freqtime"))
    calibration = calibrate(network.log_odds(fitted, other_images), other_burst)
    properties = {"network": name, "darc": __version__, "seed": str(seed), "candidates": str(len(images))}
    content = network.to_onnx(fitted, SHAPES[name], calibration, properties)
    versions = f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, NumPy {np.__version__}"
    return Trained(content, calibration, time.process_time() - start, versions)


def _cpu_s() -> float:
    """Return the time that this process and those it started, which have ended, took of all cores."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DARCError(f"{folder}: {error.strerror}") from error
    for name, content in files.items():
        write_complete(folder / name, content, DARCError)
