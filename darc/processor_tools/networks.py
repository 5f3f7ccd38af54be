"""Trained networks, run by ONNX Runtime.

A network takes one array of 32-bit floats, (n, rows, times) with any number of axes of length 1 beside
these, and gives one probability for each, or two that belong to "no burst" and "burst".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.science.network_input import network_input

#: Networks that come with DARC.
PACKAGED_MODELS = Path(__file__).resolve().parent.parent / "models"

_INPUT_TYPE = "tensor(float)"


class NetworkError(DARCError):
    """A network is missing, is none, or does not fit."""


class Network:
    """A network that says how probable it is that data hold a burst.

    Args:
        path: ONNX file
        shape: rows and times of the data that it will get; None: what it takes
        gpu: number of the CUDA device; None: the CPU

    Raises:
        NetworkError: there is no such file, it is no network, it takes data of another shape or type, or its
            answer is no probability
    """

    def __init__(self, path: Path, shape: tuple[int, int] | None = None, gpu: int | None = None) -> None:
        # it would report to its makers over the network, and keep a database of what could not be sent
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime  # noqa: PLC0415 (half a second that only the classifier needs)

        self.path = path
        if not path.is_file():
            raise NetworkError(
                f"{path}: there is no such model; see model_dir, model_freqtime and model_dmtime of the "
                "classifier's configuration"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the other cores extract
        options.log_severity_level = 3
        available = onnxruntime.get_available_providers()
        cuda = gpu is not None and "CUDAExecutionProvider" in available
        providers = [("CUDAExecutionProvider", {"device_id": gpu})] if cuda else []
        self.on_gpu = cuda
        try:
            self._session: Any = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except _runtime_errors() as error:
            raise NetworkError(f"{path}: no model that ONNX Runtime can run: {error}") from error
        self.shape = self._check_input(shape)
        # as most candidates are: what such a model cannot do is found out before the first of them
        self._run([np.random.default_rng(0).standard_normal(self._input_shape, np.float32)])

    def _check_input(self, shape: tuple[int, int] | None) -> tuple[int, int]:
        """Return rows and times of the data it takes, which have to be `shape` if that is given."""
        first, *others = self._session.get_inputs()
        taken = tuple(axis for axis in first.shape[1:] if axis != 1)
        #: whether it takes one at a time only; it may not insist on another number
        self._single = first.shape[0] == 1
        whole = len(taken) == 2 and all(isinstance(axis, int) for axis in taken)
        batch = self._single or not isinstance(first.shape[0], int)
        if others or not whole or not batch or taken != (shape or taken):
            shapes = "; ".join(str(tuple(one.shape)) for one in (first, *others))
            rows, times = shape or ("rows", "times")
            raise NetworkError(
                f"{self.path}: this model takes input of shape {shapes}, but the configuration says that "
                f"candidates have shape (n, {rows}, {times})"
            )
        if first.type != _INPUT_TYPE:
            raise NetworkError(
                f"{self.path}: this model takes a {first.type}, but candidates are {_INPUT_TYPE}"
            )
        self._input_name: str = first.name
        self._input_shape = tuple(first.shape[1:])
        return taken

    def probability(self, data: NDArray[np.floating]) -> float:
        """Return the probability that data hold a burst.

        Args:
            data: shape (nrow, ntime), at least as large as the network's

        Raises:
            NetworkError: the data are smaller, or the network's answer is no probability
        """
        return float(self.probabilities(data[np.newaxis])[0])

    def probabilities(self, data: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability for each of several candidates, shape (n,).

        Args:
            data: shape (n, nrow, ntime), each at least as large as the network's

        Raises:
            NetworkError: as `probability`
        """
        try:
            images = [network_input(one, self.shape).reshape(self._input_shape) for one in data]
        except ValueError as error:
            raise NetworkError(f"{self.path}: {error}") from error
        step = 1 if self._single else max(1, len(images))
        answers = [self._run(images[i : i + step]) for i in range(0, len(images), step)]
        return np.concatenate([np.empty(0), *answers])

    def _run(self, images: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        stack = np.stack(images)
        try:
            (output, *_) = self._session.run(None, {self._input_name: stack})
        except _runtime_errors() as error:
            raise NetworkError(f"{self.path}: this model cannot be run: {error}") from error
        answer = np.asarray(output, np.float64)
        if answer.size not in (len(images), 2 * len(images)):
            raise NetworkError(
                f"{self.path}: this model gives output of shape {answer.shape} to input of shape "
                f"{stack.shape}; it has to be (n,) or (n, 2)"
            )
        burst = answer.reshape(len(images), -1)[:, -1]
        if not ((burst >= 0) & (burst <= 1)).all():
            raise NetworkError(f"{self.path}: the answer {burst} of this model is no probability")
        return burst


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises, which has no class in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented")
    own = (getattr(state, name, RuntimeError) for name in (*names, "RuntimeException", "EPFail"))
    return (*own, RuntimeError, ValueError)
