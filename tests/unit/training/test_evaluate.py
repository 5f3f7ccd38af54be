"""`darc evaluate-model`: labels, and what is printed."""

import numpy as np
import pytest

from darc.formats.candidate import Candidate, write
from darc.processor_tools.networks import PACKAGED_MODELS
from darc.training.evaluate import main

FREQTIME, DMTIME = (str(PACKAGED_MODELS / f"{name}.onnx") for name in ("freqtime", "dmtime"))
RNG = np.random.default_rng(1)


def candidate(number, *, burst):
    data = RNG.standard_normal((2, 64, 64)).astype(np.float32)
    if burst:
        data[0, :, 32] += 4
    return Candidate(
        data_freq_time=data[0],
        data_dm_time=data[1],
        dms=np.arange(64.0),
        tsamp_s=1e-3,
        sb=1,
        dm=100.0 + number,
        snr=20.0 if burst else 6.0,
        toa_s=1.0,
        downsamp=3,
        dm_amber=100.0,
        snr_amber=10.0,
        toa_amber_s=1.0,
        downsamp_amber=3,
    )


@pytest.fixture
def folder(tmp_path):
    """Three bursts, four that are none, in folders of their labels."""
    for label, numbers in (("frb", range(3)), ("RFI", range(3, 6)), ("noise", range(6, 7))):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in numbers:
            path = tmp_path / "data" / label / f"{number}.hdf5"
            write(path, candidate(number, burst=label == "frb"))
    return tmp_path / "data"


def lines(text):
    return {line.split("  ")[0]: line.split("  ")[1:] for line in text.splitlines()}


def test_folders_are_labels(folder, capsys):
    assert main([FREQTIME, str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "freqtime.onnx" in printed
    table = lines(printed)
    assert "100.0 ±" in " ".join(table["recall, all"])
    assert "kept of RFI (3)" in table
    assert "kept of noise (1)" in table
    assert "recall, S/N 15 to 30 (3)" in table


@pytest.mark.parametrize("suffix", [".csv", ".yaml"])
def test_a_file_may_hold_the_labels(folder, tmp_path, capsys, suffix):
    separator = "," if suffix == ".csv" else ": "
    names = [(f"{'frb' if i < 3 else 'RFI' if i < 6 else 'noise'}/{i}.hdf5", i < 3) for i in range(7)]
    labels = tmp_path / f"labels{suffix}"
    labels.write_text("".join(f"{name}{separator}{'real' if burst else 'radar'}\n" for name, burst in names))
    assert main([FREQTIME, str(folder), "--labels", str(labels)]) == 0
    assert "kept of radar (4)" in capsys.readouterr().out


def test_two_models_are_compared_and_curves_drawn(folder, tmp_path, capsys):
    arguments = [FREQTIME, str(folder), "--against", FREQTIME, "--plot", str(tmp_path / "curves.png")]
    assert main(arguments) == 0
    assert "kept by one only: bursts 0 and 0, others 0 and 0" in capsys.readouterr().out
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_dm_time_model_sees_dm_and_time(folder, capsys):
    assert main([DMTIME, str(folder)]) == 0
    # nothing but noise was put there
    assert " 0.0 ±" in capsys.readouterr().out


def test_what_cannot_be_measured_is_said(folder, tmp_path, capsys):
    def said(*arguments):
        assert main([FREQTIME, *map(str, arguments)]) == 1
        return capsys.readouterr().err

    assert "no such folder" in said(tmp_path / "none")
    assert "both needed" in said(folder.parent / "data", "--labels", labels(tmp_path, "radar"))
    assert "no label of RFI/3.hdf5" in said(folder, "--labels", labels(tmp_path, "burst", only="frb"))
    write(folder / "loose.hdf5", candidate(9, burst=True))
    assert "loose.hdf5 has no label" in said(folder)


def test_curves_that_cannot_be_written_are_an_error(folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([FREQTIME, str(folder), "--plot", str(tmp_path / "file" / "curves.png")]) == 1
    assert "curves.png: cannot be written: " in capsys.readouterr().err


def test_a_limit_is_a_probability(folder, capsys):
    with pytest.raises(SystemExit):
        main([FREQTIME, str(folder), "--threshold", "7"])
    assert "--threshold 7: from 0 to 1" in capsys.readouterr().err
    assert main([FREQTIME, str(folder), "--threshold", "1"]) == 0
    assert "nan" not in capsys.readouterr().out


def labels(tmp_path, label, only=""):
    path = tmp_path / "some.csv"
    names = [f"{'frb' if i < 3 else 'RFI' if i < 6 else 'noise'}/{i}.hdf5" for i in range(7)]
    path.write_text("file,label\n" + "".join(f"{name},{label}\n" for name in names if name.startswith(only)))
    return path
