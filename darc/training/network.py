"""The networks, in PyTorch: what they are, how they are trained, and how they become ONNX files.

Only this module needs PyTorch; it is an extra (`pip install darc[train]`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from darc.training.onnx_file import Graph
from darc.training.variation import bent, varied

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: Kernels of each stage, and whether two more convolutions follow whose result is added. The first kernels
#: are 5 x 5, all others 3 x 3; between stages, 2 x 2 are averaged.
STAGES = ((16, False), (32, True), (48, True), (64, True))
HIDDEN, DROPOUT = 64, 0.3
#: More rows than these are averaged first: neighbouring DMs are nearly alike.
ROWS_MAX = 32
BATCH, RATE, DECAY = 128, 4e-3, 1e-2
_EVALUATED = 500


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; together with the images all that decides what comes out.

    Attributes:
        epochs: how often each image is seen
        seed: of the first weights, the order of the images, and what is varied
        bend: whether some bursts are bent, after which they are none; for images of frequency against time
    """

    epochs: int = 10
    seed: int = 1
    bend: bool = False


def _convolution(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)]


class Residual(nn.Module):  # type: ignore[misc]  # (PyTorch need not be here)
    """Two convolutions, whose result is added to what goes in (He et al. 2016, CVPR)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.parts = nn.Sequential(
            *_convolution(number, number, 3), nn.ReLU(), *_convolution(number, number, 3)
        )

    def forward(self, data: Any) -> Any:
        """Return the data with the result added."""
        return torch.relu(data + self.parts(data))


class Network(nn.Module):  # type: ignore[misc]
    """Convolutions, then what they found, place by place, and the highest of it anywhere.

    Args:
        shape: rows and times of the images
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        rows, times = shape
        layers: list[nn.Module] = []
        if rows > ROWS_MAX:
            layers, rows = [nn.AvgPool2d((rows // ROWS_MAX, 1))], ROWS_MAX
        channels = 1
        for i, (number, residual) in enumerate(STAGES):
            layers += [nn.AvgPool2d(2)] if i else []
            layers += [*_convolution(channels, number, 3 if i else 5), nn.ReLU()]
            layers += [Residual(number)] if residual else []
            channels = number
        self.features = nn.Sequential(*layers)
        shrunk = 2 ** (len(STAGES) - 1)
        self.dropout = nn.Dropout(DROPOUT)
        self.hidden = nn.Linear(channels * (rows // shrunk) * (times // shrunk), HIDDEN)
        self.judge = nn.Linear(HIDDEN + channels, 1)

    def forward(self, images: Any) -> Any:
        """Return the logarithm of the odds of a burst, (n,), for images of shape (n, 1, rows, times)."""
        features = self.features(images)
        placed = torch.relu(self.hidden(self.dropout(features.flatten(1))))
        return self.judge(torch.cat([placed, features.amax((2, 3))], 1)).squeeze(1)


def fit(images: Floats, bursts: NDArray[np.bool_], recipe: Recipe) -> Network:
    """Train a network.

    Args:
        images: shape (n, rows, times)
        bursts: which of them are bursts, (n,)
        recipe: how
    """
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(True)
    rows, times = images.shape[1:]
    network = Network((rows, times))
    network.to(memory_format=torch.channels_last)
    data, target = torch.from_numpy(images[:, None]), torch.from_numpy(bursts.astype(np.float32))
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = recipe.epochs * -(-len(data) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(recipe.epochs):
        for part in torch.randperm(len(data)).split(BATCH):
            seen, wanted = data[part], target[part]
            if recipe.bend:
                seen, wanted = bent(seen, wanted)
            loss = nn.functional.binary_cross_entropy_with_logits(network(varied(seen)), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return network


def log_odds(network: Network, images: Floats) -> Doubles:
    """Return the logarithm of the odds of a burst, shape (n,), for images of shape (n, rows, times)."""
    with torch.no_grad():
        parts = [network(torch.from_numpy(part[:, None])).numpy() for part in _parts(images)]
    return np.concatenate(parts).astype(np.float64)


def _parts(images: Floats) -> list[Floats]:
    return [images[i : i + _EVALUATED] for i in range(0, len(images), _EVALUATED)]


def to_onnx(
    network: Network, shape: tuple[int, int], calibration: tuple[float, float], properties: Mapping[str, str]
) -> bytes:
    """Return a network as an ONNX file that gives calibrated probabilities.

    Normalisation is part of the convolutions' weights, and the calibration part of the last layer's.

    Args:
        network: the network
        shape: rows and times of its images
        calibration: factor and summand of the logarithm of the odds
        properties: texts that say where the model comes from
    """
    graph = Graph("image", ("n", 1, *shape))
    tensor = _add_layers(graph, graph.input, network.features)
    highest = graph.add("ReduceMax", tensor, axes=[2, 3], keepdims=0)
    placed = graph.add("Relu", _add_linear(graph, graph.add("Flatten", tensor, axis=1), network.hidden))
    odds = _add_linear(graph, graph.add("Concat", placed, highest, axis=1), network.judge, calibration)
    squeezed = graph.add("Squeeze", graph.add("Sigmoid", odds), graph.constant(np.array([1])))
    return graph.build(squeezed, "probability", ("n",), properties)


def _add_layers(graph: Graph, tensor: str, layers: Any) -> str:
    """Add layers to a graph and return what comes out."""
    for layer, following in zip(layers, [*[*layers][1:], None], strict=True):
        if isinstance(layer, nn.AvgPool2d):
            size = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,) * 2
            tensor = graph.add("AveragePool", tensor, kernel_shape=size, strides=size)
        elif isinstance(layer, nn.Conv2d):
            weights, summand = _normalised(layer, following)
            pads = [int(layer.padding[0])] * 4
            tensor = graph.add("Conv", tensor, graph.constant(weights), graph.constant(summand), pads=pads)
        elif isinstance(layer, nn.ReLU):
            tensor = graph.add("Relu", tensor)
        elif isinstance(layer, Residual):
            tensor = graph.add("Relu", graph.add("Add", tensor, _add_layers(graph, tensor, layer.parts)))
    return tensor


def _add_linear(graph: Graph, tensor: str, layer: Any, calibration: tuple[float, float] = (1.0, 0.0)) -> str:
    """Add a linear layer, whose result is multiplied and added to as the calibration says."""
    factor, summand = calibration
    weight = layer.weight.detach().double().numpy().T * factor
    bias = layer.bias.detach().double().numpy() * factor + summand
    constants = (graph.constant(np.ascontiguousarray(one, np.float32)) for one in (weight, bias))
    return graph.add("Gemm", tensor, *constants)


def _normalised(convolution: Any, normalisation: Any) -> tuple[Floats, Floats]:
    """Return weights and summands of a convolution with the normalisation that follows it."""
    weights = convolution.weight.detach().double().numpy()
    mean, variance, gamma, beta = (
        one.detach().double().numpy()
        for one in (
            normalisation.running_mean,
            normalisation.running_var,
            normalisation.weight,
            normalisation.bias,
        )
    )
    scale = gamma / np.sqrt(variance + normalisation.eps)
    summand = beta - mean * scale
    return (weights * scale[:, None, None, None]).astype(np.float32), summand.astype(np.float32)
