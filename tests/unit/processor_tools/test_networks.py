"""The networks that come with DARC, and files that are none."""

import numpy as np
import pytest

from darc.processor_tools.networks import PACKAGED_MODELS, Network, NetworkError

FREQTIME = PACKAGED_MODELS / "freqtime.onnx"


def image(nrow, *, pulse):
    rng = np.random.default_rng(1)
    data = rng.standard_normal((nrow, 64))
    data[:, 32] += pulse
    return data


def test_the_packaged_network_knows_a_burst_from_noise():
    network = Network(FREQTIME, (32, 64))
    assert network.probability(image(64, pulse=4.0)) > 0.9
    assert network.probability(image(64, pulse=0.0)) < 0.1


def test_a_bow_tie_of_dm_and_time_is_a_burst():
    network = Network(PACKAGED_MODELS / "dmtime.onnx", (64, 64))
    dm, time = np.mgrid[-32:32, -32:32]
    width = 1 + np.abs(dm) / 3
    bow_tie = 20 / width * (np.abs(time + dm / 3) < width / 2)
    noise = np.random.default_rng(1).standard_normal((64, 64))
    assert network.probability(bow_tie + noise) > 0.5
    assert network.probability(noise) < 0.5


def test_a_model_of_another_shape_is_refused_by_name_with_both_shapes():
    with pytest.raises(NetworkError, match=r"freqtime\.onnx.*\('n', 1, 32, 64\).*\(n, 16, 64\)"):
        Network(FREQTIME, (16, 64))


def test_a_missing_model_is_an_error_that_says_so(tmp_path):
    with pytest.raises(NetworkError, match=r"none\.onnx: there is no such model; see model_dir"):
        Network(tmp_path / "none.onnx", (32, 64))


@pytest.mark.parametrize("content", [b"", b"not a network", FREQTIME.read_bytes()[:5000]])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=r"broken\.onnx: no model"):
        Network(path, (32, 64))


def test_candidates_smaller_than_the_input_are_refused():
    with pytest.raises(NetworkError, match="cannot be reduced"):
        Network(FREQTIME, (32, 64)).probability(np.zeros((16, 64)))


def test_a_gpu_that_is_not_there_is_not_needed():
    assert not Network(FREQTIME, (32, 64), gpu=0).on_gpu
