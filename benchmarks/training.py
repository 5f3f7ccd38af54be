"""Time to draw candidates, to classify one with both networks, and to train the networks from nothing.

The whole training takes longer than a benchmark may: it is put together from parts, as if one process did it.
Limits are the bare networks, without reduction of the data and checks of the answer; three times that for an
image in a step of training, one forward and two backward; and for a drawn candidate its extraction alone.
Training is left out where PyTorch is not installed.
"""

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.extraction import median_ms
from darc.definitions import ARTS
from darc.processor_tools.networks import PACKAGED_MODELS, Network
from darc.science.extraction import Detection, Extractor, warm_up
from darc.training import telescope_sky
from darc.training.examples import SHAPES
from darc.training.train import DEFAULTS

NDRAWN, NTRAINED = 200, 1024
#: A step forward, and two backward: to the data and to the weights.
_PASSES = 3


def measure() -> list[dict[str, object]]:
    """Return the figures."""
    warm_up()
    drawn_ms = timed_ms(lambda: telescope_sky.draw(NDRAWN, (1, 0))) / NDRAWN
    figures = [
        figure("candidate to train with, drawn and extracted", drawn_ms, "ms", 60.0, extraction_ms()),
        figure("both networks on a candidate", networks_ms(), "ms", 1.0, sessions_ms()),
    ]
    if importlib.util.find_spec("torch"):
        number = DEFAULTS["number"] + DEFAULTS["validation"]
        seen = DEFAULTS["number"] * DEFAULTS["epochs"]
        trained = (number * drawn_ms + seen * training_ms()) / 60e3
        limit = (number * extraction_ms() + seen * _PASSES * sessions_ms()) / 60e3
        figures.append(figure("training from nothing, one process", trained, "min", 60.0, limit))
    return figures


def figure(name: str, value: float, unit: str, target: float, limit: float) -> dict[str, object]:
    """Return a figure of which less is better."""
    return {"name": name, "value": value, "unit": unit, "target": target, "better": "less", "limit": limit}


def networks_ms() -> float:
    """Return the time of both networks on a candidate's data, their reduction included."""
    rng = np.random.default_rng(1)
    data = {name: rng.standard_normal((64, 64), np.float32) for name in SHAPES}
    networks = {name: Network(PACKAGED_MODELS / f"{name}.onnx", shape) for name, shape in SHAPES.items()}

    def judge() -> None:
        for name, network in networks.items():
            network.probability(data[name])

    return median_ms(judge)


def training_ms() -> float:
    """Return the time in which an image is seen once by each network."""
    import torch

    from darc.training import network

    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    burst = rng.random(NTRAINED) < 0.5
    total = 0.0
    for shape in SHAPES.values():
        images = rng.standard_normal((NTRAINED, *shape), np.float32)
        network.fit(images[:64], burst[:64], network.Recipe(1))
        total += timed_ms(lambda images=images: network.fit(images, burst, network.Recipe(1)))  # type: ignore[misc]
    return total / NTRAINED


def extraction_ms() -> float:
    """Return the time to extract from data of the size that is drawn on average."""
    view = telescope_sky.View(telescope_sky.instrument(ARTS.min_freq_mhz, ARTS.bandwidth_mhz, 384))
    extractor = Extractor(view.band, telescope_sky.SETTINGS)
    todo = extractor.plan(Detection(250.0, 1.0, 5))
    shape = (todo.stop - todo.start, view.band.nchan)
    data = np.random.default_rng(1).integers(80, 120, shape, dtype=np.uint8)
    return median_ms(lambda: extractor.extract(data, todo))


def sessions_ms() -> float:
    """Return the time of both networks on data of the right shape."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = []
    for name, shape in SHAPES.items():
        content = (PACKAGED_MODELS / f"{name}.onnx").read_bytes()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        sessions.append((session, {session.get_inputs()[0].name: np.ones((1, 1, *shape), np.float32)}))
    return median_ms(lambda: [session.run(None, inputs) for session, inputs in sessions])


def timed_ms(function: Callable[[], object]) -> float:
    """Return the time of one run."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
