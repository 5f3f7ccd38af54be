"""Compiled kernels do what their plain Python says."""

import numpy as np
import pytest

from darc.science import _kernels

RANDOM = np.random.default_rng(5)
# more channels than are processed together
NSAMPLE, NCHAN = 23, _kernels.BLOCK + 5
DATA = RANDOM.integers(0, 256, (NSAMPLE, NCHAN), dtype=np.uint8)
DATA[:, 3] = 17
SKIPPED = np.isin(np.arange(NSAMPLE), [0, 7])


def histograms():
    counts = np.zeros((NCHAN, _kernels.HISTOGRAM_LENGTH), np.uint32)
    for channel in range(NCHAN):
        counts[channel, :256] = np.bincount(DATA[:, channel], minlength=256)
    return counts


def windows_case():
    levels = np.stack([RANDOM.uniform(low, low + 50, NCHAN) for low in (0, 150, 80, 80, 1)])
    first = np.sort(RANDOM.integers(0, 5, NCHAN))
    length = 11 - first - np.arange(NCHAN) % 2
    return DATA, SKIPPED, levels.astype(np.float32), 2, first, length, np.zeros((NCHAN, 16), np.float32)


def edges_case(step):
    windows = RANDOM.integers(0, 100, (NCHAN, 16)).astype(np.float32)
    offset = RANDOM.integers(-4, 10, (NCHAN, 3))
    row = RANDOM.integers(0, 5, (NCHAN, 3))
    return windows, np.full(NCHAN, 12), offset, row, step, np.zeros((5, 4))


CASES = {
    "count_levels": [(DATA, SKIPPED, np.zeros((NCHAN, _kernels.HISTOGRAM_LENGTH), np.uint32))],
    "clip_levels": [
        (histograms(), threshold, niter, np.zeros((NCHAN, 2), np.uint8), np.zeros(NCHAN), np.zeros(NCHAN))
        for threshold, niter in ((1.2, 3), (1e9, 2), (0.01, 2))
    ],
    "add_channels": [(DATA, (np.arange(NCHAN) % 3 > 0).astype(np.uint8), np.zeros(NSAMPLE))],
    "accumulate_windows": [windows_case()],
    "_add_sample": [(DATA[1], *windows_case()[2][:3], np.ones(NCHAN, np.float32))],
    "_transpose": [
        (
            RANDOM.integers(0, 99, (8, NCHAN)).astype(np.float32),
            *(4, 12, np.arange(NCHAN) % 9, 5 + np.arange(NCHAN) % 9, np.zeros((NCHAN, 9), np.float32)),
        )
    ],
    "add_windows": [
        (RANDOM.integers(0, 9, (NCHAN, 16)).astype(np.float32), np.arange(NCHAN) % 4, np.zeros(12))
    ],
    "add_edges": [edges_case(1), edges_case(3)],
    "clipped_moments": [
        (np.sort(RANDOM.standard_t(2, 50)).astype(np.float32), 2.0, 4),
        (np.ones(5, np.float32), 3.0, 4),
    ],
}


@pytest.mark.parametrize(
    "name", [name for name, value in vars(_kernels).items() if hasattr(value, "py_func")]
)
def test_compiled_kernel_equals_plain_python(name):
    kernel = getattr(_kernels, name)
    for case in CASES[name]:
        compiled, plain = ([np.copy(value) if np.ndim(value) else value for value in case] for _ in range(2))
        returned = kernel(*compiled), kernel.py_func(*plain)
        if returned[0] is not None:
            np.testing.assert_allclose(*returned, rtol=1e-6)
        for mine, theirs in zip(compiled, plain, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-3)


def test_kernels_work_where_no_compiled_code_can_be_kept(monkeypatch):
    def njit(function=None, *, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    def refusing_njit(*args, **options):
        if options.get("cache"):
            return lambda function: njit(function, cache=True)
        return njit(*args)

    monkeypatch.setattr(_kernels.numba, "njit", refusing_njit)
    assert _kernels.kernel(abs)(-1) == 1
