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


# --- models of other makers, written as ONNX: fields of protocol buffers, each a tag, a length and content

FLOAT, DOUBLE = 1, 11


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, kind, shape):
    axes = b"".join(field(1, field(1 if isinstance(axis, int) else 2, axis)) for axis in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, axes)))


def node(kind, sources, target):
    return b"".join(field(1, source) for source in sources.split()) + field(2, target) + field(4, kind)


def model(path, shape, output_shape, kind=FLOAT, nodes=("ReduceMax data inner", "Sigmoid inner answer")):
    """Write a model; by default it reduces its input to one number, and that to a probability."""
    steps = [line.partition(" ")[::2] for line in nodes]
    graph = b"".join(field(1, node(step, *rest.rsplit(" ", 1))) for step, rest in steps)
    graph += field(2, "graph") + field(11, tensor("data", kind, shape))
    graph += field(12, tensor("answer", kind, output_shape))
    path.write_bytes(field(1, 8) + field(8, field(2, 13)) + field(7, graph))
    return path


@pytest.mark.parametrize("shape", [("n", 1, 32, 64), (1, 1, 32, 64), (1, 32, 64, 1), ("n", 32, 64)])
def test_models_of_others_are_taken(tmp_path, shape):
    network = Network(model(tmp_path / "other.onnx", shape, (1,) * len(shape)), (32, 64))
    assert 0.5 < network.probability(image(64, pulse=4.0)) <= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # a batch of fixed size, which would only show at the first candidate
        ({"shape": (8, 1, 32, 64)}, r"input of shape \(8, 1, 32, 64\).*\(n, 32, 64\)"),
        ({"shape": (1, 1, 32, "time")}, r"input of shape \(1, 1, 32, 'time'\).*\(n, 32, 64\)"),
        ({"kind": DOUBLE}, r"tensor\(double\).*tensor\(float\)"),
        (
            {"nodes": ["Sigmoid data answer"], "output_shape": (1, 1, 32, 64)},
            r"shape \(1, 1, 32, 64\) to input of shape \(1, 1, 32, 64\).*\(n,\) or \(n, 2\)",
        ),
        ({"nodes": ["ReduceMin data answer"]}, "is no probability"),
        ({"nodes": ["Unique data inner", "MatMul data inner answer"]}, "cannot be run"),
    ],
)
def test_a_model_that_cannot_judge_candidates_is_refused_at_the_start(tmp_path, change, said):
    arguments = {"shape": (1, 1, 32, 64), "output_shape": (1, 1, 1, 1)} | change
    path = model(tmp_path / "other.onnx", **arguments)
    with pytest.raises(NetworkError, match=f"{path}: .*{said}"):
        Network(path, (32, 64))


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
