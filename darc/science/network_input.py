"""What a network sees of a candidate: its data reduced to the network's shape, and scaled row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def network_input(data: NDArray[np.floating], shape: tuple[int, int]) -> Floats:
    """Reduce data by averaging, then remove the median of each row and divide it by its standard deviation.

    Bins that do not divide evenly differ in size by one row or column. A row without any scatter, such as
    that of channels that are all masked, is 0.

    Args:
        data: shape (nrow, ntime)
        shape: rows and times that the network takes, not more than there are

    Raises:
        ValueError: the data are smaller than that
    """
    if data.ndim != 2 or not all(
        0 < wanted <= there for wanted, there in zip(shape, data.shape, strict=True)
    ):
        raise ValueError(f"data of shape {data.shape} cannot be reduced to {shape}")
    reduced = np.asarray(data, np.float64)
    for axis, wanted in enumerate(shape):
        reduced = _averaged(reduced, wanted, axis)
    reduced = reduced - np.median(reduced, axis=1, keepdims=True)
    scatter = reduced.std(axis=1, keepdims=True)
    # the scatter of equal numbers need not be exactly 0
    lowest = 1e-9 * np.abs(data).max()
    np.divide(reduced, scatter, out=reduced, where=scatter > lowest)
    return np.where(scatter > lowest, reduced, 0).astype(np.float32)


def _averaged(data: NDArray[np.float64], wanted: int, axis: int) -> NDArray[np.float64]:
    edges = np.arange(wanted + 1) * data.shape[axis] // wanted
    count = np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
    averaged: NDArray[np.float64] = np.add.reduceat(data, edges[:-1], axis=axis) / count
    return averaged
