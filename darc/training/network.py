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

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: Rows and columns of each layer's kernels, and how many there are. Between layers, 2 x 2 are averaged.
LAYERS = ((5, 12), (3, 24), (3, 40), (3, 56))
DROPOUT = 0.2
BATCH, RATE, DECAY = 64, 4e-3, 2e-3
#: Each time an image is seen: noise that is added, and bins by which it is shifted in time at most.
NOISE, SHIFT = 0.1, 1
#: How often some rows of an image are emptied, as masked channels are, and how many of them.
EMPTIED, EMPTY_PART = 0.2, 0.15
_EVALUATED = 500


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; together with the images all that decides what comes out.

    Attributes:
        epochs: how often each image is seen
        seed: of the first weights, the order of the images, and what is varied
    """

    epochs: int = 10
    seed: int = 1


class Network(nn.Module):  # type: ignore[misc]  # (PyTorch need not be here)
    """Convolutions, then a sum of their responses: mean and highest anywhere, and mean in the middle."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for i, (size, number) in enumerate(LAYERS):
            layers += [nn.AvgPool2d(2)] if i else []
            layers += [
                nn.Conv2d(channels, number, size, padding=size // 2, bias=False),
                nn.BatchNorm2d(number),
            ]
            layers += [nn.ReLU()]
            channels = number
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(DROPOUT)
        self.judge = nn.Linear(3 * channels, 1)

    def forward(self, images: Any) -> Any:
        """Return the logarithm of the odds of a burst, (n,), for images of shape (n, 1, rows, times)."""
        features = self.features(images)
        middle = features.shape[3] // 2
        # the middle of the image is told from its sides: a burst is in the centre
        centre = features[:, :, :, middle - 1 : middle + 1]
        pooled = [centre.mean((2, 3)), features.mean((2, 3)), features.amax((2, 3))]
        return self.judge(self.dropout(torch.cat(pooled, 1))).squeeze(1)


def fit(images: Floats, bursts: NDArray[np.bool_], recipe: Recipe) -> Network:
    """Train a network.

    Args:
        images: shape (n, rows, times)
        bursts: which of them are bursts, (n,)
        recipe: how
    """
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(True)
    network = Network()
    data, target = torch.from_numpy(images[:, None]), torch.from_numpy(bursts.astype(np.float32))
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = recipe.epochs * -(-len(data) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(recipe.epochs):
        for part in torch.randperm(len(data)).split(BATCH):
            odds = network(_varied(data[part]))
            loss = nn.functional.binary_cross_entropy_with_logits(odds, target[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return network


def _varied(images: Any) -> Any:
    """Return images with other noise, shifted, some with rows that are empty.

    They are not turned upside down: at too high a DM, what is not dispersed bends to one side only.
    """
    shift = int(torch.randint(-SHIFT, SHIFT + 1, ()))
    images = torch.roll(images, shift, 3) + NOISE * torch.randn_like(images)
    number, rows = images.shape[0], images.shape[2]
    emptied = (torch.rand(number, 1, 1, 1) < EMPTIED) & (torch.rand(number, 1, rows, 1) < EMPTY_PART)
    return torch.where(emptied, 0.0, images)


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
    tensor = graph.input
    layers = list(network.features)
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.AvgPool2d):
            tensor = graph.add("AveragePool", tensor, kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, nn.Conv2d):
            weights, summand = _normalised(layer, layers[i + 1])
            pads = [int(layer.padding[0])] * 4
            tensor = graph.add("Conv", tensor, graph.constant(weights), graph.constant(summand), pads=pads)
            tensor = graph.add("Relu", tensor)
    middle = shape[1] // 2 ** (len(LAYERS) - 1) // 2
    first, last, axis = (graph.constant(np.array([one])) for one in (middle - 1, middle + 1, 3))
    centre = graph.add("Slice", tensor, first, last, axis)
    pooled = [
        graph.add("ReduceMean", centre, axes=[2, 3], keepdims=0),
        graph.add("ReduceMean", tensor, axes=[2, 3], keepdims=0),
        graph.add("ReduceMax", tensor, axes=[2, 3], keepdims=0),
    ]
    factor, summand_ = calibration
    weight = network.judge.weight.detach().double().numpy().T * factor
    bias = network.judge.bias.detach().double().numpy() * factor + summand_
    odds = graph.add(
        "Gemm",
        graph.add("Concat", *pooled, axis=1),
        graph.constant(weight.astype(np.float32)),
        graph.constant(bias.astype(np.float32)),
    )
    squeezed = graph.add("Squeeze", graph.add("Sigmoid", odds), graph.constant(np.array([1])))
    return graph.build(squeezed, "probability", ("n",), properties)


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
