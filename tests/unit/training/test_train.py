"""`darc train`; these tests need the extra `train`."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from darc.training import train
from darc.training.examples import SHAPES

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'darc[train]'")


def images(number, name="freqtime"):
    """Draw noise; every second image has a pulse."""
    burst = np.arange(number) % 2 == 0
    data = RNG.standard_normal((number, *SHAPES[name])).astype(np.float32)
    data[burst, :, 32] += 3
    return data, burst


def test_the_file_says_what_the_trained_network_says(torch):
    from darc.training import network

    data, burst = images(16)
    fitted = network.fit(data, burst, network.Recipe(epochs=1, seed=1))
    content = network.to_onnx(fitted, SHAPES["freqtime"], (1.5, -0.3), {"seed": "1"})
    expected = 1 / (1 + np.exp(-(1.5 * network.log_odds(fitted, data) - 0.3)))
    session = onnxruntime.InferenceSession(content)
    assert session.run(None, {"image": data[:, None]})[0] == pytest.approx(expected, abs=1e-5)
    assert session.get_modelmeta().custom_metadata_map == {"seed": "1"}
    assert len(content) < 2e6


def test_the_seed_decides_the_weights(torch):
    data, burst = images(16)
    first, again, other = (
        train.train_one("freqtime", data, burst, data, burst, 1, seed).content for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_models_and_cards_are_written(torch, tmp_path, monkeypatch):
    numbers = ["--number=6", "--validation=4", "--test=4", "--noise=1", "--epochs=1", "--jobs=1"]
    # both networks in this process: another one takes seconds to load PyTorch
    monkeypatch.setattr(train, "ProcessPoolExecutor", Here)
    assert train.main([str(tmp_path), *numbers]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{suffix}" for name in SHAPES for suffix in ("onnx", "md", "png")
    }
    card = (tmp_path / "freqtime.md").read_text()
    assert "--seed=1 --number=6 --validation=4 --test=4" in card
    assert re.search(r"recall, S/N >= 10 \| 99 % \| ([\d.]+ ± [\d.]+ %|-)", card)
    assert "None was there" in card


def test_without_pytorch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    data, burst = images(2)
    with pytest.raises(train.DARCError, match=r"pip install 'darc\[train\]'"):
        train.train_one("freqtime", data, burst, data, burst, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["m"], "pip install 'darc[train]'"),
        (["m", "--real", "none.fil"], "none.fil: there is no such file"),
        (["file/m"], "file/m: Not a directory"),
        (["m", "--keep", "file/k"], "file/k: Not a directory"),
    ],
)
def test_what_would_fail_in_the_end_is_refused_at_once(tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    torch = None if "pip" in reason else SimpleNamespace(__spec__="there")
    monkeypatch.setitem(sys.modules, "torch", torch)

    def nothing(*_, **__):
        raise AssertionError("candidates are drawn")

    monkeypatch.setattr(train, "Drawing", nothing)
    assert train.main(arguments) == 1
    assert reason in capsys.readouterr().err


class Here:
    """Runs at once what another process should."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        return type("Done", (), {"result": lambda _: function(*arguments)})()
