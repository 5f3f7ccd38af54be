"""Real data: files are read as they are, and what is in them is no burst."""

from dataclasses import replace

import numpy as np
import pytest

from darc.errors import DARCError
from darc.formats.filterbank import FilterbankHeader, build_header, pack_samples
from darc.processor_tools.networks import PACKAGED_MODELS, Network
from darc.training import card, real_data, second_sky
from darc.training.examples import SHAPES

HEADER = FilterbankHeader(nchan=72, nbit=8, fch1_mhz=1518.0, foff_mhz=-4.0, tsamp_s=1e-3, tstart_mjd=60000.0)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(real_data, "NCANDIDATE", 3)
    monkeypatch.setattr(real_data, "NINJECTED", 4)


@pytest.mark.parametrize("nbit", [4, 8])
def test_candidates_and_injected_bursts_of_a_file(tmp_path, nbit):
    samples = np.random.default_rng(1).normal(7, 2, (1500, 72)).clip(0, 15).astype(np.uint8)
    path = tmp_path / "quiet.fil"
    path.write_bytes(build_header(replace(HEADER, nbit=nbit)) + pack_samples(samples, nbit).tobytes())
    there = real_data.read(path, 1)
    assert len(there.candidates) == 3
    assert there.number == 4
    assert 0 < len(there.in_noise) <= 4
    assert "72 channels from 1232 to 1520 MHz, 1.5 s" in there.described


def test_a_file_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(DARCError, match=r"none\.fil: cannot be read"):
        real_data.read(tmp_path / "none.fil", 1)
    (tmp_path / "other.fil").write_bytes(b"something else")
    with pytest.raises(DARCError, match=r"other\.fil"):
        real_data.read(tmp_path / "other.fil", 1)
    (tmp_path / "wide.fil").write_bytes(build_header(replace(HEADER, nbit=16)) + bytes(288))
    with pytest.raises(DARCError, match="up to 8 bits"):
        real_data.read(tmp_path / "wide.fil", 1)


def test_noise_and_interference_of_a_telescope_are_no_bursts_to_the_packaged_networks(reference_data):
    data, band = real_data.samples(reference_data / "sigproc" / "parkes_8bit_1.fil")
    found = second_sky.search(data, band, 50, 1, 245.0)
    for name, plane, lets_through in (("freqtime", "data_freq_time", 1), ("dmtime", "data_dm_time", 0)):
        network = Network(PACKAGED_MODELS / f"{name}.onnx", SHAPES[name])
        kept = network.probabilities(np.array([getattr(one, plane) for one in found])) >= 0.5
        # one of S/N 3 is, which the extraction would not have passed on
        assert kept.sum() <= lets_through
        assert not (kept & (np.array([one.snr for one in found]) >= second_sky.SNR_MIN)).any()


def test_bursts_are_compared_that_were_judged_in_data_and_in_noise():
    drawn = second_sky.draw(4, (1, 2))
    first, second = drawn.where(np.array([0, 1, 1])), drawn.where(np.array([1, 0]))
    first = replace(first, injected_snr=np.array([10.0, 20.0, 30.0]))
    second = replace(second, injected_snr=np.array([30.0, 10.0]))
    same, other = card._same(first, second)
    assert same.injected_snr.tolist() == other.injected_snr.tolist() == [10, 30]
