"""Trained networks, run by ONNX Runtime.

A network takes one array of 32-bit floats, (n, rows, times) with any number of axes of length 1 beside
these, and gives one probability for each, or two that belong to "no burst" and "burst".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.errors import DARCError
from darc.science.network_input import network_input

#: Networks that come with DARC.
PACKAGED_MODELS = Path(__file__).resolve().parent.parent / "models"


class NetworkError(DARCError):
    """A network is missing, is none, or does not fit."""


class Network:
    """A network that says how probable it is that data hold a burst.

    Args:
        path: ONNX file
        shape: rows and times of the data that it will get
        gpu: number of the CUDA device; None: the CPU

    Raises:
        NetworkError: there is no such file, it is no network, or it takes data of another shape
    """

    def __init__(self, path: Path, shape: tuple[int, int], gpu: int | None = None) -> None:
        import onnxruntime  # noqa: PLC0415 (half a second that only the classifier needs)

        self.path, self.shape = path, shape
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
        self._input_shape = self._check_input()

    def _check_input(self) -> list[int]:
        inputs = self._session.get_inputs()
        taken = [axis if isinstance(axis, int) else None for axis in inputs[0].shape]
        if len(inputs) != 1 or tuple(axis for axis in taken[1:] if axis != 1) != self.shape:
            shapes = "; ".join(str(tuple(one.shape)) for one in inputs)
            raise NetworkError(
                f"{self.path}: this model takes input of shape {shapes}, but the configuration says that "
                f"candidates have shape (n, {self.shape[0]}, {self.shape[1]})"
            )
        self._input_name: str = inputs[0].name
        return [1, *(axis if axis is not None else 1 for axis in taken[1:])]

    def probability(self, data: NDArray[np.floating]) -> float:
        """Return the probability that data hold a burst.

        Args:
            data: shape (nrow, ntime), at least as large as the network's

        Raises:
            NetworkError: the data are smaller, or the network's answer is no probability
        """
        try:
            image = network_input(data, self.shape)
        except ValueError as error:
            raise NetworkError(f"{self.path}: {error}") from error
        (output, *_) = self._session.run(None, {self._input_name: image.reshape(self._input_shape)})
        answer = np.asarray(output, np.float64).ravel()
        if answer.size not in (1, 2) or not 0 <= answer[-1] <= 1:
            raise NetworkError(f"{self.path}: the answer {answer} of this model is no probability")
        return float(answer[-1])


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises, which has no class in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented")
    own = (getattr(state, name, RuntimeError) for name in (*names, "RuntimeException", "EPFail"))
    return (*own, RuntimeError, ValueError)
