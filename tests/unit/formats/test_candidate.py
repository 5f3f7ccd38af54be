"""Files of candidates: complete or absent, and whatever is in them, they cost no more than a clear error."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats.candidate import (
    Candidate,
    CandidateError,
    build,
    file_name,
    parse,
    read,
    store_probabilities,
    write,
)

RANDOM = np.random.default_rng(1)
CANDIDATE = Candidate(
    data_freq_time=RANDOM.normal(size=(64, 48)).astype(np.float32),
    data_dm_time=RANDOM.normal(size=(32, 48)).astype(np.float32),
    dms=np.linspace(46.8, 66.8, 32),
    tsamp_s=81.92e-6,
    sb=35,
    dm=56.791,
    snr=18.4666,
    toa_s=123.45678,
    downsamp=25,
    dm_amber=56.8,
    snr_amber=17.1,
    toa_amber_s=123.46,
    downsamp_amber=50,
    nsamp_bin=10,
)
CONTENT = build(CANDIDATE)


def assert_same(candidate, other):
    for name, value in vars(other).items():
        np.testing.assert_array_equal(getattr(candidate, name), value, err_msg=name)


def test_what_was_written_is_read(tmp_path):
    assert_same(read(write(tmp_path, CANDIDATE)), CANDIDATE)


def in_another_file(file, name, other):
    """Put a data set into a file in one of the ways that lead out of it."""
    layout = h5py.VirtualLayout((64, 48), "<f4")
    layout[:] = h5py.VirtualSource(str(other), name, (64, 48))
    return {
        "link": lambda: file.__setitem__(name, h5py.ExternalLink(str(other), name)),
        "link to a link": lambda: (
            file.__setitem__("a", h5py.ExternalLink(str(other), name)),
            file.__setitem__(name, h5py.SoftLink("/a")),
        ),
        "bytes": lambda: file.create_dataset(name, (64, 48), "<f4", external=[(str(other), 0, 64 * 48 * 4)]),
        "view": lambda: file.create_virtual_dataset(name, layout),
    }


@pytest.mark.parametrize("way", ["link", "link to a link", "bytes", "view"])
def test_data_of_another_file_are_not_read(tmp_path, way):
    other, path = write(tmp_path / "other.hdf5", CANDIDATE), tmp_path / "a.hdf5"
    path.write_bytes(CONTENT)
    with h5py.File(path, "r+") as file:
        del file["data_freq_time"]
        in_another_file(file, "data_freq_time", other)[way]()
    with pytest.raises(CandidateError, match="data_freq_time lies in another file"):
        read(path)
    with pytest.raises(CandidateError, match="data_freq_time lies in another file"):
        store_probabilities(path, lambda *_: (0.5, 0.5))


def test_probabilities_are_added_to_a_file(tmp_path):
    path = write(tmp_path, CANDIDATE)
    for freqtime, dmtime in ((0.5, 1.0), (0.987, 0.123)):  # the second classification replaces the first one
        assert store_probabilities(path, lambda *_, said=(freqtime, dmtime): said) == (freqtime, dmtime)
        assert_same(read(path), replace(CANDIDATE, prob_freqtime=freqtime, prob_dmtime=dmtime))


def test_both_arrays_are_judged_and_what_others_added_stays(tmp_path):
    path, judged = write(tmp_path, CANDIDATE), []
    with h5py.File(path, "a") as file:
        file.attrs["remark"] = "looks good"

    def judge(*arrays):
        judged.extend(arrays)
        return 0.5, 0.25

    store_probabilities(path, judge)
    np.testing.assert_array_equal(judged[0], CANDIDATE.data_freq_time)
    np.testing.assert_array_equal(judged[1], CANDIDATE.data_dm_time)
    with h5py.File(path) as file:
        assert (file.attrs["remark"], file.attrs["prob_dmtime"]) == ("looks good", 0.25)


@pytest.mark.parametrize(
    ("judge", "error", "complaint"),
    [
        (lambda *_: (0.5, 1.5), CandidateError, "prob_dmtime is 1.5"),
        (lambda *_: (np.nan, 0.5), CandidateError, "prob_freqtime is nan"),
        # what is wrong with a judge is not said of the file
        (lambda *_: int("many"), ValueError, "invalid literal"),
    ],
)
def test_a_judge_that_fails_leaves_the_file_as_it_was(tmp_path, judge, error, complaint):
    path = write(tmp_path, CANDIDATE)
    with pytest.raises(error, match=complaint):
        store_probabilities(path, judge)
    assert path.read_bytes() == CONTENT


def test_data_that_are_no_numbers_are_not_judged(tmp_path):
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(foreign(data_freq_time=np.full((64, 48), np.nan)))
    with pytest.raises(CandidateError, match=f"{path}: data_freq_time has values"):
        store_probabilities(path, lambda *_: (0.5, 0.5))


@pytest.mark.parametrize("content", [b"", b"text", CONTENT[:3000], CONTENT[:-100]])
def test_a_damaged_file_is_not_judged(tmp_path, content):
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(content)
    with pytest.raises(CandidateError, match=f"{path}: damaged"):
        store_probabilities(path, lambda *_: (0.5, 0.5))
    assert path.read_bytes() == content


def test_the_name_holds_arrival_time_dm_width_and_snr(tmp_path):
    assert write(tmp_path, CANDIDATE).name == "TOA123.4568_DM56.79_DS25_SNR18.hdf5" == file_name(CANDIDATE)


def test_a_folder_is_made_and_a_path_is_taken(tmp_path):
    path = tmp_path / "triggers" / "data" / "other.hdf5"
    assert write(path, CANDIDATE) == path
    assert_same(read(path), CANDIDATE)


def test_other_readers_of_hdf5_find_the_documented_names(tmp_path):
    path = write(tmp_path, replace(CANDIDATE, prob_freqtime=0.5, prob_dmtime=0.25))
    with h5py.File(path) as file:
        assert file["data_freq_time"].shape == (64, 48)
        assert file["data_dm_time"].dtype == np.float32
        attributes = dict(file.attrs)
    np.testing.assert_array_equal(attributes.pop("dms"), CANDIDATE.dms)
    assert attributes == {
        **{"nfreq": 64, "ntime": 48, "ndm": 32, "tsamp": 81.92e-6, "sb": 35},
        **{"dm": 56.791, "snr": 18.4666, "toa": 123.45678, "downsamp": 25},
        **{"dm_amber": 56.8, "snr_amber": 17.1, "toa_amber": 123.46, "downsamp_amber": 50},
        **{"nsamp_bin": 10},
        **{"prob_freqtime": 0.5, "prob_dmtime": 0.25},
    }


def test_files_of_other_writers_of_hdf5_are_read(tmp_path):
    path = tmp_path / "other.hdf5"
    with h5py.File.in_memory(CONTENT) as ours, h5py.File(path, "w", libver="earliest") as theirs:
        theirs.create_dataset(
            "data_freq_time", data=ours["data_freq_time"][()].astype(float), compression="gzip"
        )
        theirs.create_dataset("data_dm_time", data=ours["data_dm_time"][()])
        for name, value in ours.attrs.items():
            theirs.attrs[name] = np.float32(value) if name == "downsamp" else value
    assert_same(read(path), CANDIDATE)


def test_more_dms_than_an_old_attribute_holds():
    n = 10_000
    candidate = replace(CANDIDATE, dms=np.arange(n, dtype=float), data_dm_time=np.zeros((n, 48), np.float32))
    assert len(parse(build(candidate)).dms) == n


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"dms": CANDIDATE.dms[1:]}, "shapes"),
        ({"data_freq_time": CANDIDATE.data_freq_time[:, 1:]}, "shapes"),
        ({"data_freq_time": CANDIDATE.data_freq_time[:0]}, "empty"),
        ({"data_freq_time": np.full((64, 48), np.nan)}, "data_freq_time"),
        ({"dm": np.inf}, "dm is inf"),
        ({"dm": 1e300}, "dm is 1e"),
        ({"dms": np.full(32, np.nan)}, "dms"),
        ({"tsamp_s": 0.0}, "cannot last"),
        ({"downsamp": 0}, "cannot last"),
        ({"nsamp_bin": 0}, "nsamp_bin is 0"),
        ({"nsamp_bin": 10**10}, "nsamp_bin is 1"),
        ({"prob_freqtime": 1.1}, "prob_freqtime is 1.1"),
        ({"prob_dmtime": np.nan}, "prob_dmtime is nan"),
    ],
)
def test_a_candidate_that_makes_no_sense_is_refused(change, complaint):
    with pytest.raises(CandidateError, match=complaint):
        replace(CANDIDATE, **change)


@given(st.integers(0, len(CONTENT) - 1))
def test_a_truncated_file_is_refused(length):
    with pytest.raises(CandidateError, match="damaged"):
        parse(CONTENT[:length])


@pytest.mark.parametrize("position", range(48, 53))
def test_a_file_that_hdf5_cannot_even_close_is_refused(tmp_path, position):
    with h5py.File.in_memory(libver="earliest") as file:
        file["data_freq_time"] = np.ones((4, 8), "<f4")
        file.flush()
        damaged = bytearray(file.id.get_file_image())
    damaged[position : position + 8] = b"\xff\xfe" + b"\xff" * 6
    with pytest.raises(CandidateError, match="damaged"):
        parse(bytes(damaged))
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(damaged)
    with pytest.raises(CandidateError, match="damaged"):
        store_probabilities(path, lambda *_: (0.5, 0.5))


@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=20))
def test_damage_is_refused_or_stays_in_the_data(changes):
    damaged = bytearray(CONTENT)
    for position, byte in changes:
        damaged[position] = byte
    try:
        candidate = parse(bytes(damaged))
    except CandidateError:
        return
    assert_same(
        replace(candidate, data_freq_time=CANDIDATE.data_freq_time, data_dm_time=CANDIDATE.data_dm_time),
        CANDIDATE,
    )


@given(st.binary(max_size=200))
def test_other_content_is_refused(content):
    with pytest.raises(CandidateError, match="damaged"):
        parse(content)


def foreign(**changes):
    """Content of an HDF5 file that is almost a candidate; None leaves something out."""
    with h5py.File.in_memory(CONTENT) as ours, h5py.File.in_memory() as file:
        for name in ("data_freq_time", "data_dm_time"):
            if (value := changes.get(name, ours[name][()])) is not None:
                file[name] = value
        for name, value in ({**ours.attrs, "prob_freqtime": 0.5} | changes).items():
            if not (value is None or name.startswith("data_")):
                file.attrs[name] = value
        file.flush()
        return bytes(file.id.get_file_image())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"snr": None, "data_dm_time": None}, "is no candidate: data_dm_time, snr missing"),
        ({"dms": None}, "dms missing"),
        ({"dm": "many"}, "damaged"),
        ({"dm": [1.0, 2.0]}, "damaged"),
        ({"sb": 3.5}, "sb is 3.5"),
        ({"sb": np.nan}, "sb is nan"),
        ({"nsamp_bin": 2.5}, "nsamp_bin is 2.5"),
        ({"prob_freqtime": 7.0}, "prob_freqtime is 7.0"),
        ({"data_freq_time": "text"}, "damaged"),
        ({"data_freq_time": np.zeros((64, 47))}, "shapes"),
        ({"data_dm_time": h5py.Empty("f4")}, "damaged"),
    ],
)
def test_an_hdf5_file_that_is_no_candidate_is_refused(changes, complaint):
    with pytest.raises(CandidateError, match=complaint):
        parse(foreign(**changes))


# the width of the pulse taken for the length of a bin
def test_the_width_and_the_length_of_a_bin_are_two_things():
    found = parse(CONTENT)
    assert (found.width_s, found.bin_s) == pytest.approx((25 * 81.92e-6, 10 * 81.92e-6))


def test_without_nsamp_bin_a_bin_is_as_long_as_the_width():
    found = parse(foreign(nsamp_bin=None))
    assert found.bin_s == found.width_s == pytest.approx(25 * 81.92e-6)
    assert parse(build(found)).nsamp_bin is None


def test_data_that_only_their_header_makes_large_are_not_loaded():
    with h5py.File.in_memory(foreign(data_freq_time=None)) as file:
        file.create_dataset("data_freq_time", shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))
        file.flush()
        content = bytes(file.id.get_file_image())
    with pytest.raises(CandidateError, match="would be larger"):
        parse(content)


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(CONTENT[:5000])
    with pytest.raises(CandidateError, match=f"^{path}: damaged"):
        read(path)
    with pytest.raises(CandidateError, match="no such file"):
        read(tmp_path / "absent.hdf5")
    os.mkfifo(tmp_path / "fifo.hdf5")
    with pytest.raises(CandidateError, match="is no file"):
        read(tmp_path / "fifo.hdf5")


def fail_with(monkeypatch, number, written=100):
    """Let writes of files fail after some bytes."""

    def fail(path, data):
        with path.open("wb") as stream:
            stream.write(data[:written])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    fail_with(monkeypatch, errno.ENOSPC)
    with pytest.raises(
        CandidateError, match=rf"{tmp_path}.*No space left.*free space on the disk mounted at /"
    ):
        write(tmp_path, CANDIDATE)
    assert not list(tmp_path.iterdir())


def test_the_old_file_stays_when_probabilities_cannot_be_stored(tmp_path, monkeypatch):
    path = write(tmp_path, CANDIDATE)
    fail_with(monkeypatch, errno.EIO)
    with pytest.raises(CandidateError, match="Input/output error"):
        store_probabilities(path, lambda *_: (0.9, 0.8))
    assert_same(read(path), CANDIDATE)


def test_a_writer_that_is_killed_leaves_no_half_file(tmp_path):
    # a limit on the size of files kills while the data are on their way
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from darc.formats.candidate import read, write\n"
        "candidate = read(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "write(Path(sys.argv[2]), candidate)\n"
    )
    source = write(tmp_path / "source", CANDIDATE)
    folder = tmp_path / "data"
    process = subprocess.run([sys.executable, "-c", script, source, folder], check=False)
    assert process.returncode < 0
    assert not list(folder.glob("*.hdf5"))
