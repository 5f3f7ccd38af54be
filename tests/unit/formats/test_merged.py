"""All candidates in one file: written and read block by block, complete or not at all."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from darc.formats import merged
from darc.formats.candidate import Candidate
from darc.formats.merged import MergedError, read_blocks, write

KEYS = ("data_freq_time", "data_dm_time", "params", "sb", "tab")
SHAPES = (4, 8), (3, 8)


def candidate(number, nfreq=4):
    return Candidate(
        data_freq_time=np.full((nfreq, 8), number, np.float32),
        data_dm_time=np.full((3, 8), -number, np.float32),
        dms=np.arange(3.0), tsamp_s=1e-3, sb=number % 71,
        dm=10.0 + number, snr=20.0 + number, toa_s=30.0 + number, downsamp=5,
        dm_amber=1.0, snr_amber=2.0, toa_amber_s=3.0, downsamp_amber=4,
    )  # fmt: skip


def write_all(path, number, **more):
    options = {"keys": KEYS, "skipped": ("ntriggers_skipped", 7)} | more
    return write(path, map(candidate, range(number)), SHAPES, **options)


@pytest.mark.parametrize("way", ["link", "bytes", "group", "huge"])
def test_only_data_of_this_file_and_of_a_size_that_can_be_meant_are_read(tmp_path, way):
    path, other = tmp_path / "a.hdf5", tmp_path / "b.hdf5"
    write_all(path, 2)
    write_all(other, 2)
    with h5py.File(path, "r+") as file:
        del file["data_dm_time"]
        match way:
            case "link":
                file["data_dm_time"] = h5py.ExternalLink(str(other), "data_dm_time")
            case "bytes":
                file.create_dataset("data_dm_time", (2, 3, 8), "<f4", external=[(str(other), 0, 192)])
            case "group":
                file.create_group("data_dm_time")
            case "huge":
                file.create_dataset("data_dm_time", (2, 1 << 20, 1 << 20), "<f4", chunks=(1, 1024, 1024))
    with pytest.raises(MergedError, match=r"no data set of this file|cannot be meant"):
        list(read_blocks(path))


@pytest.mark.parametrize("number", [0, 1, merged.BLOCK, 2 * merged.BLOCK + 3])
def test_candidates_are_read_as_they_were_written(tmp_path, number):
    path = tmp_path / "data" / "data_full.hdf5"
    assert write_all(path, number) == number
    blocks = list(read_blocks(path, 50))
    params = np.concatenate([np.empty((0, 5)), *(block.params for block in blocks)])
    assert params.tolist() == [[20.0 + i, 10.0 + i, 5, 30.0 + i, 1e-3] for i in range(number)]
    for block in blocks:
        first = int(block.params[0, 0]) - 20
        for i in range(len(block.params)):
            assert (block.data_freq_time[i] == first + i).all() and (
                block.data_dm_time[i] == -first - i
            ).all()
            assert block.beams[i] == (first + i) % 71


def test_names_are_those_of_the_configuration(tmp_path):
    path = tmp_path / "x.hdf5"
    write_all(path, 2, keys=("params", "tab"), skipped=("left_out", 3), tied_array=True)
    with h5py.File(path) as file:
        assert set(file) == {"params", "tab", "left_out"} and file["left_out"][()].tolist() == [3]
    with pytest.raises(MergedError, match="data_freq_time, data_dm_time missing; see keys_data"):
        list(read_blocks(path))


def test_the_same_candidates_make_the_same_bytes(tmp_path):
    one, other = tmp_path / "one.hdf5", tmp_path / "other.hdf5"
    for path in (one, other):
        write_all(path, 70)
    assert one.read_bytes() == other.read_bytes()


def test_a_candidate_of_another_shape_is_refused_and_nothing_is_left(tmp_path):
    path = tmp_path / "x.hdf5"
    several = [candidate(0), candidate(1, nfreq=5)]
    with pytest.raises(MergedError, match=r"candidate 1 has data of shape \(5, 8\)"):
        write(path, several, SHAPES, keys=KEYS, skipped=("n", 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_what_is_no_such_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "x.hdf5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MergedError, match=r"x\.hdf5"):
        list(read_blocks(path))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MergedError, match="cannot be written"):
        write_all(tmp_path / "file" / "x.hdf5", 1)


# HDF5 ended the whole process when it closed a file that the disk had no room for
@pytest.mark.parametrize("limit", [10_000, 5_000_000])
def test_a_full_disk_is_an_error_and_nothing_is_left(tmp_path, limit):
    code = (
        "import resource\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from darc.formats import merged\n"
        "from darc.formats.candidate import Candidate\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "data = np.random.default_rng(0).normal(size=(64, 64)).astype('f4')\n"
        "one = Candidate(data, data, np.arange(64.0), 1e-3, 5, 100.0, 20.0, 3.0, 4, 100.0, 20.0, 3.0, 4)\n"
        "try:\n"
        "    merged.write(Path('x.hdf5'), [one] * 200, ((64, 64), (64, 64)), keys=['data_freq_time',\n"
        "        'data_dm_time', 'params', 'sb'], skipped=('n', 0))\n"
        "except merged.MergedError as error:\n"
        "    print(error)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("x.hdf5: cannot be written: ")
    assert list(tmp_path.iterdir()) == []
