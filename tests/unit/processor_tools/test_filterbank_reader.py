"""Samples of filterbank files: any depth, any order of the band, growing, damaged; synthesised beams."""

import importlib
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import Instrument
from darc.formats.filterbank import (
    SAMPLE_TYPES,
    FilterbankError,
    FilterbankHeader,
    FilterbankTruncatedError,
    build_header,
    pack_samples,
)
from darc.processor_tools.filterbank_reader import (
    FilterbankGeometryError,
    FilterbankMissingError,
    FilterbankReader,
    SynthesisedBeamReader,
    TiedArrayBeams,
)
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter, filterbank_file
from darc.simulation.sky import Burst, Sky

HEADER = FilterbankHeader(
    nchan=16, nbit=8, fch1_mhz=1500.0, foff_mhz=-1.0, tsamp_s=1e-3, tstart_mjd=58000.0, source_name="Crab"
)
depths = st.sampled_from(list(SAMPLE_TYPES))


def noise(nsample, nchan, nbit, seed=0):
    random = np.random.default_rng(seed)
    if nbit == 32:
        return random.normal(size=(nsample, nchan)).astype(np.float32)
    return random.integers(0, 2**nbit, (nsample, nchan), dtype=SAMPLE_TYPES[nbit])


def write(path, samples, header=HEADER):
    header = replace(header, nchan=samples.shape[1])
    path.write_bytes(build_header(header) + pack_samples(samples, header.nbit).tobytes())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For property tests, the examples of which write over each other."""
    return tmp_path_factory.mktemp("examples")


@given(depths, st.integers(1, 9), st.integers(1, 20), st.data())
def test_samples_come_back_in_their_own_type(folder, nbit, nbyte, nsample, data):
    samples = noise(nsample, nbyte * 8, nbit)
    start = data.draw(st.integers(0, nsample - 1))
    stop = data.draw(st.integers(start + 1, nsample))
    with FilterbankReader(write(folder / "a.fil", samples, replace(HEADER, nbit=nbit))) as reader:
        assert reader.nsample == nsample
        read = reader.read(start, stop - start)
    assert read.dtype == SAMPLE_TYPES[nbit]
    np.testing.assert_array_equal(read, samples[start:stop])


def test_both_orders_of_the_band_are_read_as_they_are_stored(tmp_path):
    samples = noise(4, 3, 8)
    upwards = replace(HEADER, fch1_mhz=1200.0, foff_mhz=0.5)
    for header, freqs_mhz in ((HEADER, [1500, 1499, 1498]), (upwards, [1200, 1200.5, 1201])):
        with FilterbankReader(write(tmp_path / "a.fil", samples, header)) as reader:
            assert reader.freqs_mhz.tolist() == freqs_mhz
            np.testing.assert_array_equal(reader.read(0, 4), samples)


def test_a_file_is_mapped_only_while_its_samples_are_used(tmp_path):
    path = write(tmp_path / "a.fil", noise(10, 16, 8))
    with FilterbankReader(path) as reader:
        samples = reader.read(0, 10)
    assert samples.sum() > 0  # the file is closed, but they are still there
    with pytest.raises(ValueError, match="read-only"):
        samples[:] = 0
    assert str(path) in Path("/proc/self/maps").read_text()
    del samples
    assert str(path) not in Path("/proc/self/maps").read_text()


# --- growing and damaged files


@given(depths, st.lists(st.integers(1, 200), max_size=8))
def test_a_growing_file_has_the_samples_that_are_complete(folder, nbit, chunks):
    header = replace(HEADER, nbit=nbit)
    samples = noise(20, 16, nbit)
    content = pack_samples(samples, nbit).tobytes()
    path = write(folder / "a.fil", samples[:0], header)
    with FilterbankReader(path) as reader, path.open("ab") as writer:
        for position, chunk in zip(np.cumsum([0, *chunks]), chunks, strict=False):
            writer.write(content[position : position + chunk])
            writer.flush()
            written = min(position + chunk, len(content))
            assert reader.nsample == written // header.bytes_per_sample
            if reader.nsample:
                np.testing.assert_array_equal(reader.read(0, reader.nsample), samples[: reader.nsample])


def test_samples_that_are_not_there_yet_can_be_read_later(tmp_path):
    samples = noise(5, 16, 8)
    path = write(tmp_path / "a.fil", samples[:3])
    with FilterbankReader(path) as reader:
        with pytest.raises(FilterbankTruncatedError, match=r"a\.fil: has 3 samples; 2 to 4 were asked for"):
            reader.read(2, 3)
        with path.open("ab") as writer:
            writer.write(samples[3:].tobytes())
        np.testing.assert_array_equal(reader.read(2, 3), samples[2:])


def test_a_file_that_was_cut_short_after_it_was_opened_is_refused(tmp_path):
    path = write(tmp_path / "a.fil", noise(5, 16, 8))
    with FilterbankReader(path) as reader:
        os.truncate(path, reader.header.header_bytes + 2 * 16 + 15)
        assert reader.nsample == 2
        with pytest.raises(FilterbankTruncatedError, match="cut short"):
            reader.read(0, 5)
        os.truncate(path, 0)
        assert reader.nsample == 0


def test_a_file_may_come_later_and_its_header_in_parts(tmp_path):
    path = tmp_path / "a.fil"
    content = write(tmp_path / "whole.fil", noise(5, 16, 8)).read_bytes()
    with pytest.raises(FilterbankMissingError, match=r"a\.fil: there is no such file"):
        FilterbankReader(path)
    for nbyte in (0, 10, 100):
        path.write_bytes(content[:nbyte])
        with pytest.raises(FilterbankTruncatedError, match=rf"a\.fil: .* cut off after {nbyte} bytes"):
            FilterbankReader(path)
    path.write_bytes(content)
    with FilterbankReader(path) as reader:
        assert reader.nsample == 5


@pytest.mark.parametrize(("start", "nsample"), [(-1, 2), (0, 0), (0, -1)])
def test_a_window_that_cannot_be_is_a_defect_of_the_caller(tmp_path, start, nsample):
    path = write(tmp_path / "a.fil", noise(5, 16, 8))
    with FilterbankReader(path) as reader, pytest.raises(ValueError, match="neither can be read"):
        reader.read(start, nsample)


def test_what_is_no_filterbank_is_refused_by_name(tmp_path):
    text, fifo = tmp_path / "notes.txt", tmp_path / "fifo"
    text.write_text("nothing to see here")
    os.mkfifo(fifo)
    for path, message in (
        (text, r"notes\.txt: this is no filterbank"),
        (fifo, r"fifo: this is not a regular file"),
        (tmp_path, "this is not a regular file"),
        (tmp_path / ("x" * 300), "cannot be opened"),
    ):
        with pytest.raises(FilterbankError, match=message):
            FilterbankReader(path)


def test_several_polarisations_are_refused(tmp_path):
    path = write(tmp_path / "a.fil", noise(4, 16, 8), replace(HEADER, nifs=4))
    with pytest.raises(FilterbankGeometryError, match=r"a\.fil: has 4 polarisations"):
        FilterbankReader(path)


# --- synthesised beams


@given(
    depths,
    st.lists(st.integers(0, 4), min_size=1, max_size=6).map(np.array),
    st.integers(1, 9),
    st.booleans(),
)
def test_a_synthesised_beam_takes_each_subband_from_its_tab(folder, nbit, row, width, highest_first):
    nchan = 8 * len(row) * width  # whole bytes, but subbands may begin within one
    row = np.tile(row, 8) if nbit < 8 else row
    tabs = [noise(7, nchan, nbit, seed=tab) for tab in range(5)]
    header = replace(HEADER, nbit=nbit, foff_mhz=-0.1 if highest_first else 0.1)
    paths = [write(folder / f"{tab}.fil", samples, header) for tab, samples in enumerate(tabs)]
    with TiedArrayBeams(paths) as beams:
        reader = SynthesisedBeamReader(beams, row)
        beam = reader.read(2, 4)
        assert reader.nsample == 7 and beam.shape == (4, nchan) and beam.dtype == SAMPLE_TYPES[nbit]
        ascending = np.sort(reader.freqs_mhz)
        for channel, freq_mhz in enumerate(reader.freqs_mhz):
            subband = np.searchsorted(ascending, freq_mhz) * len(row) // nchan
            np.testing.assert_array_equal(beam[:, channel], tabs[row[subband]][2:6, channel])


def test_only_the_tabs_that_are_needed_have_to_be_there(tmp_path):
    # pitfall: reading all 12 TABs as 64-bit floats when a synthesised beam needs a few subbands of a few
    samples = [noise(6, 16, 8, seed=tab) for tab in range(12)]
    for tab in (3, 4):
        write(tmp_path / f"{tab}.fil", samples[tab])
    with TiedArrayBeams([tmp_path / f"{tab}.fil" for tab in range(12)]) as beams:
        beam = SynthesisedBeamReader(beams, np.array([4, 3])).read(0, 6)
        np.testing.assert_array_equal(beam, np.hstack([samples[3][:, :8], samples[4][:, 8:]]))
        assert (beam.dtype, beam.nbytes) == (np.uint8, 6 * 16)
        with pytest.raises(FilterbankMissingError, match=r"5\.fil: there is no such file"):
            SynthesisedBeamReader(beams, np.array([4, 5]))


def test_synthesised_beams_of_the_same_files_share_memory(tmp_path):
    paths = [write(tmp_path / f"{tab}.fil", noise(9, 16, 8, seed=tab)) for tab in range(2)]
    with TiedArrayBeams(paths) as beams:
        one = SynthesisedBeamReader(beams, np.array([0, 1])).read(0, 9)
        other = SynthesisedBeamReader(beams, np.array([1, 0])).read(0, 5)
        assert np.shares_memory(one, other)
        with pytest.raises(ValueError, match="read-only"):
            other[:] = 0


def test_a_synthesised_beam_is_as_long_as_the_shortest_of_its_tabs(tmp_path):
    paths = [write(tmp_path / f"{tab}.fil", noise(5 + tab, 16, 8)) for tab in range(3)]
    with TiedArrayBeams(paths) as beams:
        assert SynthesisedBeamReader(beams, np.array([2, 1])).nsample == 6
        reader = SynthesisedBeamReader(beams, np.array([2, 0]))
        with pytest.raises(FilterbankTruncatedError, match=r"0\.fil: has 5 samples"):
            reader.read(0, 6)
        with paths[0].open("ab") as writer:
            writer.write(bytes(32))
        assert reader.nsample == 7 and reader.read(0, 6).shape == (6, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nbit": 4}, "nbit 4 instead of 8"),
        ({"fch1_mhz": 1400.0}, r"fch1_mhz 1400\.0 instead of 1500\.0"),
        ({"foff_mhz": 1.0}, r"foff_mhz 1\.0 instead of -1\.0"),
        ({"tsamp_s": 2e-3}, r"tsamp_s 0\.002 instead of 0\.001"),
        ({"tstart_mjd": 58000.001}, "tstart_mjd"),
    ],
)
def test_tabs_that_differ_are_refused_by_name(tmp_path, changes, message):
    header = replace(HEADER, **changes)
    write(tmp_path / "0.fil", noise(5, 16, 8))
    write(tmp_path / "1.fil", noise(5, 16, header.nbit), header)
    with TiedArrayBeams([tmp_path / "0.fil", tmp_path / "1.fil"]) as beams:
        with pytest.raises(FilterbankGeometryError, match=rf"1\.fil: does not fit .*0\.fil: {message}"):
            SynthesisedBeamReader(beams, np.array([0, 1]))
        write(tmp_path / "1.fil", noise(5, 16, 8))  # once it was replaced, all is well
        assert SynthesisedBeamReader(beams, np.array([0, 1])).nsample == 5


def test_tabs_that_differ_in_channels_and_in_what_does_not_matter(tmp_path):
    write(tmp_path / "0.fil", noise(5, 16, 8))
    write(tmp_path / "1.fil", noise(5, 32, 8))
    write(
        tmp_path / "2.fil", noise(5, 16, 8), replace(HEADER, source_name="", ibeam=2, tstart_mjd=58000 + 1e-9)
    )
    with TiedArrayBeams([tmp_path / f"{tab}.fil" for tab in range(3)]) as beams:
        with pytest.raises(FilterbankGeometryError, match="nchan 32 instead of 16"):
            SynthesisedBeamReader(beams, np.array([0, 1]))
        assert SynthesisedBeamReader(beams, np.array([0, 2])).nsample == 5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 0, 0], r"0\.fil: 16 channels cannot be divided into the 3 subbands"),
        ([0, 2], "there is no TAB 2"),
    ],
)
def test_a_table_that_does_not_fit_the_files_is_refused(tmp_path, row, message):
    write(tmp_path / "0.fil", noise(5, 16, 8))
    beams = TiedArrayBeams([tmp_path / "0.fil", tmp_path / "1.fil"])
    with beams, pytest.raises(FilterbankGeometryError, match=message):
        SynthesisedBeamReader(beams, np.array(row))


# --- beside another reader, and real data


@pytest.fixture
def read_by_your(monkeypatch):
    """Reader of header and samples of a file with the package `your`.

    Only its SIGPROC reader is imported, which needs numpy alone; all else that it imports takes 800 MB.
    """
    if not (folder := os.environ.get("DARC_TEST_YOUR")):
        pytest.skip("pip install --no-deps --target FOLDER your, and set DARC_TEST_YOUR to that folder")
    package = ModuleType("your")
    package.__path__ = [f"{folder}/your"]
    monkeypatch.setitem(sys.modules, "your", package)
    sigproc = importlib.import_module("your.formats.pysigproc")

    def read(path):
        file = sigproc.SigprocFile(str(path))
        try:
            if file.nbits >= 8:
                return file, np.array(file.get_data(0, file.nspectra())[:, 0])
            # its code for fewer bits is for Python 2
            bits = np.unpackbits(np.fromfile(path, np.uint8, offset=file.hdrbytes), bitorder="little")
            return file, bits.reshape(-1, file.nchans, file.nbits) @ (1 << np.arange(file.nbits))
        finally:
            file._mmdata.close()
            file.fp.close()

    return read


def assert_same(path, other, samples):
    with FilterbankReader(path) as reader:
        header = reader.header
        assert (header.nchan, header.nbit, header.header_bytes) == (other.nchans, other.nbits, other.hdrbytes)
        assert (header.fch1_mhz, header.foff_mhz) == (other.fch1, other.foff)
        assert (header.tsamp_s, header.tstart_mjd) == (other.tsamp, other.tstart)
        assert (header.src_raj_hhmmss, header.src_dej_ddmmss) == (other.src_raj, other.src_dej)
        assert len(samples) == reader.nsample > 0
        np.testing.assert_array_equal(reader.read(0, reader.nsample), samples)


@pytest.mark.parametrize("nbit", SAMPLE_TYPES)
@pytest.mark.parametrize("foff_mhz", [-0.5, 0.5])
def test_an_independent_reader_reads_the_same(tmp_path, read_by_your, nbit, foff_mhz):
    header = replace(HEADER, nbit=nbit, foff_mhz=foff_mhz, src_dej_ddmmss=-12345.6, extra={"az_start": 3.0})
    path = write(tmp_path / "a.fil", noise(50, 24, nbit), header)
    assert_same(path, *read_by_your(path))


def test_an_independent_reader_reads_the_same_in_files_of_the_fake_telescope(tmp_path, read_by_your):
    instrument = Instrument(ntab=1, nsynthesised_beam=1, nsubband=8, nchan=64, samples_per_batch=500)
    sky = FilterbankSky(
        Sky(instrument.batch_s, bursts=(Burst(0.01, 20.0, 50.0, sb=0),)), instrument=instrument
    )
    FilterbankWriter(tmp_path, 3, sky, start_unix=0.0, speed=math.inf, source_name="FAKE").run()
    path = filterbank_file(tmp_path, 3, 0)
    assert_same(path, *read_by_your(path))


@pytest.mark.parametrize("name", ["parkes_8bit_1.fil", "parkes_4bit.fil"])
def test_an_independent_reader_reads_the_same_real_samples(reference_data, read_by_your, name):
    path = reference_data / "sigproc" / name
    assert_same(path, *read_by_your(path))


def test_real_samples_of_4_bits_are_those_of_8_bits_with_fewer_steps(reference_data):
    folder = reference_data / "sigproc"
    with (
        FilterbankReader(folder / "parkes_8bit_1.fil") as fine,
        FilterbankReader(folder / "parkes_4bit.fil") as coarse,
    ):
        assert fine.nsample == coarse.nsample == 4096
        four, eight = coarse.read(100, 1000), fine.read(100, 1000)
    assert four.max() <= 15
    assert np.corrcoef(four.ravel(), eight.ravel())[0, 1] > 0.95
    swapped = four.reshape(1000, -1, 2)[:, :, ::-1]
    assert np.corrcoef(swapped.ravel(), eight.ravel())[0, 1] < 0.1
