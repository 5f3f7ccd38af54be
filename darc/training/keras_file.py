"""Keras 2 files (`.hdf5`) as ONNX: the network is rebuilt from the file's `model_config` and its weights.

Keras is not needed: its version 3 does not load such files, and h5py does. Networks that go from layer to
layer in one line are understood, `Sequential` ones and others, with data in the order (n, rows, columns,
channels). Dropout, noise and regularisation do nothing to a finished network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.formats.files import check_is_file
from darc.training.onnx_file import Graph

Floats = NDArray[np.float32]
Config = dict[str, Any]
Weights = list[Floats]


class KerasError(DARCError):
    """A file that is no Keras model, or one that holds what cannot be converted."""


def convert(path: Path) -> bytes:
    """Return a Keras 2 model as an ONNX file.

    Raises:
        KerasError: it cannot be read, or a layer of it is not known; says which
    """
    check_is_file(path, KerasError)
    try:
        with h5py.File(path) as file:
            layers = _layers(file)
            weights = {name: _weights(file, name) for name, _, _ in layers}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise KerasError(f"{path}: no model that Keras 2 has written: {error}") from error
    except KerasError as error:
        raise KerasError(f"{path}: {error}") from error
    try:
        return Conversion(layers).run(weights, path.name)
    except KerasError as error:
        raise KerasError(f"{path}: {error}") from error


#: Name, class and configuration of a layer.
Layer = tuple[str, str, Config]


def _layers(file: h5py.File) -> list[Layer]:
    """Return the layers in their order."""
    if "model_config" not in file.attrs:
        raise KerasError(
            "it has no model_config: only weights were saved; save the whole model with model.save"
        )
    text = file.attrs["model_config"]
    model = json.loads(text.decode() if isinstance(text, bytes) else text)
    config = model["config"]
    # older files of a Sequential hold just the list
    described = config if isinstance(config, list) else config["layers"]
    layers = []
    for i, one in enumerate(described):
        name = one.get("name", one["config"].get("name", ""))
        layers.append((name, one["class_name"], one["config"]))
        before = _inbound(one)
        if before and before != [layers[i - 1][0]]:
            raise KerasError(
                f"layer {name} follows {', '.join(before)}: only networks without branches are known"
            )
    return layers


def _inbound(layer: Config) -> list[str]:
    """Return the names of the layers that a layer takes its input from; none for those of a Sequential."""
    nodes = layer.get("inbound_nodes") or []
    if len(nodes) > 1:
        raise KerasError(f"layer {layer.get('name')} is used twice")
    return [str(one[0]) for node in nodes for one in node]


def _weights(file: h5py.File, name: str) -> Weights:
    """Return the weights of a layer in the order in which they were saved."""
    group = file.get("model_weights", file)
    if name not in group:
        return []
    names = [
        one.decode() if isinstance(one, bytes) else str(one) for one in group[name].attrs["weight_names"]
    ]
    return [np.asarray(group[name][one], np.float32) for one in names]


class Conversion:
    """The conversion of one network.

    Args:
        layers: its layers in their order

    Raises:
        KerasError: it does not begin with the shape of an image
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        name, _, first = layers[0] if layers else ("", "", {})
        shape = first.get("batch_input_shape") or first.get("batch_shape")
        if not shape or len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]):
            raise KerasError(
                f"input of shape {shape} (layer {name}) is not that of images, (n, rows, columns, channels)"
            )
        self.graph = Graph("image", ("n", *shape[1:]))
        #: shape of the data without n, in Keras's order; images have three axes
        self.shape: tuple[int, ...] = tuple(shape[1:])
        # ONNX has the channels first
        self.tensor = self.graph.add("Transpose", self.graph.input, perm=[0, 3, 1, 2])

    def run(self, weights: dict[str, Weights], source: str) -> bytes:
        """Return the ONNX file.

        Raises:
            KerasError: a layer is not known, or the network does not end in one or two probabilities
        """
        for name, kind, config in self._layers:
            if kind not in _KINDS:
                raise KerasError(
                    f"layer {name} is a {kind}, which cannot be converted; known are "
                    f"{', '.join(sorted(_KINDS))}"
                )
            if config.get("data_format", "channels_last") != "channels_last":
                raise KerasError(
                    f"layer {name} has its channels first; only (n, rows, columns, channels) is known"
                )
            try:
                _KINDS[kind](self, config, weights.get(name, []))
            except (KeyError, ValueError, IndexError) as error:
                raise KerasError(f"layer {name} ({kind}): {error} is missing or not understood") from error
            except KerasError as error:
                raise KerasError(f"layer {name} ({kind}): {error}") from error
        if self.shape not in ((1,), (2,)):
            raise KerasError(
                f"the output has shape (n, {', '.join(map(str, self.shape))}), not (n, 2) or (n, 1)"
            )
        properties = {"converted_from": source}
        return self.graph.build(self.tensor, "probability", ("n", *self.shape), properties)

    def convolution(self, config: Config, weights: Weights) -> None:
        """Convolve; the kernel has the axes (rows, columns, channels in, channels out)."""
        if config.get("groups", 1) != 1:
            raise KerasError("groups are not known")
        kernel = np.ascontiguousarray(weights[0].transpose(3, 2, 0, 1))
        bias = weights[1] if config.get("use_bias", True) else np.zeros(kernel.shape[0], np.float32)
        dilation = list(config.get("dilation_rate", (1, 1)))
        size = [(n - 1) * d + 1 for n, d in zip(kernel.shape[2:], dilation, strict=True)]
        pads = self._window(config, size, config.get("strides", (1, 1)), kernel.shape[0])
        constants = (self.graph.constant(kernel), self.graph.constant(bias))
        strides = list(config.get("strides", (1, 1)))
        self._add("Conv", *constants, pads=pads, strides=strides, dilations=dilation)
        self.activation(config, [])

    def pooling(self, operator: str, config: Config) -> None:
        """Take the mean or the highest of each window."""
        size = list(config["pool_size"])
        strides = list(config.get("strides") or size)
        pads = self._window(config, size, strides, self.shape[2])
        self._add(operator, kernel_shape=size, strides=strides, pads=pads)

    def _window(
        self, config: Config, size: Sequence[int], strides: Sequence[int], channels: int
    ) -> list[int]:
        """Set the shape after a window moved over the image, and return the rows and columns to be added.

        Where Keras adds an odd number, the last side gets one more.
        """
        padding = config.get("padding", "valid")
        if padding not in ("valid", "same"):
            raise KerasError(f"padding {padding!r} is not known")
        before, after, shape = [], [], []
        for there, window, step in zip(self.shape[:2], size, strides, strict=True):
            number = -(-there // step) if padding == "same" else (there - window) // step + 1
            added = max(0, (number - 1) * step + window - there) if padding == "same" else 0
            before.append(added // 2)
            after.append(added - added // 2)
            shape.append(number)
        self.shape = (*shape, channels)
        return before + after

    def normalisation(self, config: Config, weights: Weights) -> None:
        """Apply mean and variance of the training, and scale and offset where there are any."""
        if config.get("axis", -1) not in (-1, [len(self.shape)], len(self.shape), [3]):
            raise KerasError(f"axis {config['axis']} is not that of the channels")
        left = list(weights)
        size = self.shape[-1]
        gamma = left.pop(0) if config.get("scale", True) else np.ones(size, np.float32)
        beta = left.pop(0) if config.get("center", True) else np.zeros(size, np.float32)
        mean, variance = left
        factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + config.get("epsilon", 1e-3))
        offset = beta - mean * factor
        axes = (-1, 1, 1) if len(self.shape) == 3 else (-1,)
        for operator, values in (("Mul", factor), ("Add", offset)):
            self._add(operator, self.graph.constant(values.astype(np.float32).reshape(axes)))

    def dense(self, config: Config, weights: Weights) -> None:
        """Multiply by a matrix, along the last axis."""
        kernel = weights[0]
        image = len(self.shape) == 3
        if image:
            self._add("Transpose", perm=[0, 2, 3, 1])
        self._add("MatMul", self.graph.constant(kernel))
        if config.get("use_bias", True):
            self._add("Add", self.graph.constant(weights[1]))
        if image:
            self._add("Transpose", perm=[0, 3, 1, 2])
        self.shape = (*self.shape[:-1], kernel.shape[1])
        self.activation(config, [])

    def flatten(self, config: Config, weights: Weights) -> None:
        """Put all numbers in a row, in Keras's order."""
        del config, weights
        if len(self.shape) == 3:
            self._add("Transpose", perm=[0, 2, 3, 1])
        self._add("Flatten", axis=1)
        self.shape = (int(np.prod(self.shape)),)

    def global_pooling(self, operator: str) -> None:
        """Take the mean or the highest of the whole image."""
        self._add(operator, axes=[2, 3], keepdims=0)
        self.shape = self.shape[2:]

    def zero_padding(self, config: Config, weights: Weights) -> None:
        """Add rows and columns of zeros."""
        del weights
        (top, bottom), (left, right) = config["padding"]
        pads = np.array([0, 0, top, left, 0, 0, bottom, right])
        self._add("Pad", self.graph.constant(pads))
        self.shape = (self.shape[0] + top + bottom, self.shape[1] + left + right, self.shape[2])

    def activation(self, config: Config, weights: Weights) -> None:
        """Apply a function to each number, or the softmax to those of a candidate."""
        del weights
        name = config.get("activation") or "linear"
        if name == "softmax":
            self._add("Softmax", axis=1)
        elif name in _FUNCTIONS:
            operator, attributes = _FUNCTIONS[name]
            if operator:
                self._add(operator, **attributes)
        else:
            raise KerasError(f"activation {name!r} is not known")

    def leaky(self, config: Config, weights: Weights) -> None:
        """Apply a leaky rectifier."""
        del weights
        self._add("LeakyRelu", alpha=float(config.get("alpha", 0.3)))

    def rectify(self, config: Config, weights: Weights) -> None:
        """Apply a rectifier that is a layer of its own."""
        if config.get("max_value") is not None or config.get("threshold") or config.get("negative_slope"):
            raise KerasError("a rectifier with a limit, threshold or slope is not known")
        self.activation({"activation": "relu"}, weights)

    def soft_maximum(self, config: Config, weights: Weights) -> None:
        """Apply the softmax that is a layer of its own."""
        self.activation({"activation": "softmax"}, weights)

    def nothing(self, config: Config, weights: Weights) -> None:
        """Leave the data as they are."""

    def _add(self, operator: str, *constants: str, **attributes: Any) -> None:
        self.tensor = self.graph.add(operator, self.tensor, *constants, **attributes)


#: ONNX's operator for each activation, and its attributes.
_FUNCTIONS: dict[str, tuple[str, dict[str, float]]] = {
    "linear": ("", {}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {}),
    "softplus": ("Softplus", {}),
}
Convert = Callable[[Conversion, Config, Weights], None]
_KINDS: dict[str, Convert] = {
    "InputLayer": Conversion.nothing,
    "Conv2D": Conversion.convolution,
    "MaxPooling2D": lambda c, config, _: c.pooling("MaxPool", config),
    "AveragePooling2D": lambda c, config, _: c.pooling("AveragePool", config),
    "GlobalMaxPooling2D": lambda c, *_: c.global_pooling("ReduceMax"),
    "GlobalAveragePooling2D": lambda c, *_: c.global_pooling("ReduceMean"),
    "BatchNormalization": Conversion.normalisation,
    "Dense": Conversion.dense,
    "Flatten": Conversion.flatten,
    "ZeroPadding2D": Conversion.zero_padding,
    "Activation": Conversion.activation,
    "LeakyReLU": Conversion.leaky,
    "ReLU": Conversion.rectify,
    "Softmax": Conversion.soft_maximum,
    "Dropout": Conversion.nothing,
    "SpatialDropout2D": Conversion.nothing,
    "GaussianNoise": Conversion.nothing,
    "GaussianDropout": Conversion.nothing,
    "ActivityRegularization": Conversion.nothing,
}
