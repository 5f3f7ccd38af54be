"""Files of Keras 2: what comes out of the converted network is what numpy makes of the same weights."""

import json

import h5py
import numpy as np
import onnxruntime
import pytest

from darc.training.convert import main
from darc.training.keras_file import KerasError, convert

RNG = np.random.default_rng(1)
IMAGES = RNG.standard_normal((3, 8, 10, 1)).astype(np.float32)


def values(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def write(path, layers, *, functional=False):
    """Write a model as Keras 2 does; layers are (class, configuration, weights)."""
    described = []
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        before = None
        for i, (kind, config, weights) in enumerate(layers):
            name = f"layer_{i}"
            shape = {} if i else {"batch_input_shape": [None, 8, 10, 1]}
            one = {"class_name": kind, "config": config | shape | {"name": name}}
            if functional:
                one |= {"name": name, "inbound_nodes": [[[before, 0, 0, {}]]] if before else []}
            described.append(one)
            before = name
            names = [f"{name}/{number}:0" for number in range(len(weights))]
            there = group.create_group(name)
            there.attrs["weight_names"] = np.array(names, "S")
            for weight_name, weight in zip(names, weights, strict=True):
                there[weight_name] = weight
        kind = "Functional" if functional else "Sequential"
        file.attrs["model_config"] = json.dumps({"class_name": kind, "config": {"layers": described}})
    return path


def run(content, images=IMAGES):
    return onnxruntime.InferenceSession(content).run(None, {"image": images})[0]


# --- what the layers do, in numpy, with data (n, rows, columns, channels)


def convolved(x, kernel, bias):
    """Convolve with padding such that the size stays."""
    rows, columns = kernel.shape[:2]
    x = np.pad(x, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (rows, columns), axis=(1, 2))
    return np.einsum("nrciyx,yxio->nrco", windows, kernel) + bias


def highest(x):
    n, rows, columns, channels = x.shape
    return x.reshape(n, rows // 2, 2, columns // 2, 2, channels).max((2, 4))


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


CONVOLUTION = {"padding": "same", "strides": [1, 1], "use_bias": True, "activation": "relu"}
KERNEL, BIAS = values(3, 3, 1, 4), values(4)
GAMMA, BETA, MEAN, VARIANCE = values(4), values(4), values(4), np.abs(values(4)) + 0.1
WEIGHTS, OFFSETS = values(4 * 5 * 4, 2), values(2)


@pytest.mark.parametrize("functional", [False, True])
def test_a_converted_network_says_what_the_original_says(tmp_path, functional):
    path = write(
        tmp_path / "model.hdf5",
        [
            ("InputLayer", {}, []),
            ("Conv2D", CONVOLUTION, [KERNEL, BIAS]),
            ("BatchNormalization", {"axis": [3], "epsilon": 0.001}, [GAMMA, BETA, MEAN, VARIANCE]),
            ("MaxPooling2D", {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}, []),
            ("Dropout", {"rate": 0.4}, []),
            ("Flatten", {}, []),
            ("Dense", {"activation": "softmax", "use_bias": True}, [WEIGHTS, OFFSETS]),
        ],
        functional=functional,
    )
    x = np.maximum(convolved(IMAGES, KERNEL, BIAS), 0)
    x = highest(GAMMA * (x - MEAN) / np.sqrt(VARIANCE + 0.001) + BETA)
    expected = softmax(x.reshape(3, -1) @ WEIGHTS + OFFSETS)
    assert run(convert(path)) == pytest.approx(expected, abs=1e-5)


def test_means_padding_and_other_activations(tmp_path):
    path = write(
        tmp_path / "model.hdf5",
        [
            ("ZeroPadding2D", {"padding": [[1, 1], [1, 1]]}, []),
            ("AveragePooling2D", {"pool_size": [2, 2], "strides": None, "padding": "valid"}, []),
            ("Dense", {"activation": "tanh", "use_bias": False}, [KERNEL[0, 0]]),
            ("GlobalAveragePooling2D", {}, []),
            ("LeakyReLU", {"alpha": 0.2}, []),
            ("Dense", {"activation": "linear", "use_bias": True}, [values(4, 1), BIAS[:1]]),
            ("Activation", {"activation": "sigmoid"}, []),
        ],
    )
    with h5py.File(path) as file:
        weights = file["model_weights/layer_5/layer_5/0:0"][:]
    x = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(3, 5, 2, 6, 2, 1).mean((2, 4))
    x = np.tanh(x @ KERNEL[0, 0]).mean((1, 2))
    x = np.where(x > 0, x, 0.2 * x) @ weights + BIAS[:1]
    assert run(convert(path)) == pytest.approx(1 / (1 + np.exp(-x)), abs=1e-5)


def test_same_padding_with_strides_adds_the_odd_row_at_the_end(tmp_path):
    config = {"pool_size": [3, 3], "strides": [2, 2], "padding": "same"}
    path = write(
        tmp_path / "model.hdf5",
        [
            ("MaxPooling2D", config, []),
            ("GlobalAveragePooling2D", {}, []),
            ("Activation", {"activation": "sigmoid"}, []),
        ],
    )
    padded = np.pad(IMAGES[..., 0], ((0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    mean = windows.max((3, 4)).mean((1, 2))[:, None]
    assert run(convert(path)) == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-5)


END = [("Flatten", {}, []), ("Dense", {"activation": "softmax"}, [values(80, 2), OFFSETS])]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([("LSTM", {}, []), *END], r"layer layer_0 is a LSTM, which cannot be converted; known are"),
        ([("Flatten", {}, []), ("Dense", {"activation": "swish"}, [values(80, 2), OFFSETS])], "'swish'"),
        ([("Flatten", {"data_format": "channels_first"}, []), END[1]], "channels first"),
        ([("Flatten", {}, []), ("Dense", {}, [values(80, 3), values(3)])], r"shape \(n, 3\)"),
        ([("Flatten", {}, []), ("Dense", {}, [])], r"layer_1 \(Dense\)"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, layers, said):
    path = write(tmp_path / "model.hdf5", layers)
    with pytest.raises(KerasError, match=f"{path}: .*{said}"):
        convert(path)


def test_a_network_with_branches_is_refused(tmp_path):
    path = write(tmp_path / "model.hdf5", [("InputLayer", {}, []), *END], functional=True)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][2]["inbound_nodes"] = [[["layer_0", 0, 0, {}]]]
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(KerasError, match="layer_2 follows layer_0"):
        convert(path)


def test_weights_alone_and_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "weights.hdf5", "w") as file:
        file["a"] = 1
    with pytest.raises(KerasError, match="only weights"):
        convert(tmp_path / "weights.hdf5")
    (tmp_path / "other.hdf5").write_text("something")
    with pytest.raises(KerasError, match="no model that Keras 2"):
        convert(tmp_path / "other.hdf5")
    with pytest.raises(KerasError, match=r"absent\.hdf5: there is no such file; check the path"):
        convert(tmp_path / "absent.hdf5")


def test_the_command_writes_a_model_that_the_classifier_takes(tmp_path, capsys):
    path = write(tmp_path / "model.hdf5", END)
    assert main([str(path)]) == 0
    assert "model.onnx: takes 8 rows of 10 times" in capsys.readouterr().out
    assert main([str(tmp_path / "none.hdf5")]) == 1
    assert "none.hdf5" in capsys.readouterr().err
