import errno
import pickle
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

import numpy as np
import pytest

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats.filterbank import HEADER_BYTES_MAX, parse_header
from darc.formats.utc import mjd
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter, Grown, filterbank_file
from darc.simulation.sky import Burst, Sky

SMALL = Instrument(ntab=3, nsynthesised_beam=5, nsubband=8, nchan=64, samples_per_batch=500)
BATCH_S = 500 * 81.92e-6
BATCH_BYTES = 500 * 64
START = 1_000_000.0
SKY = Sky(4.5 * BATCH_S, (Burst(0.05, 20.0, 50.0, 5, 1),))
NAMES = ["CB07_00.fil", "CB07_01.fil", "CB07_02.fil"]


@dataclass
class FakeTime:
    """A clock that only waiting moves on; sets the event at `stop_at`; `watch` is called at every wait."""

    now: float = START - 10
    stop_at: float = inf
    watch: object = None
    waits: list[float] = field(default_factory=list)

    def __call__(self):
        return self.now

    def wait(self, timeout):
        if self.watch and timeout:
            self.watch()
        if self.now + timeout >= self.stop_at:
            return True
        self.waits.append(timeout)
        self.now += timeout
        return False


def sky():
    return FilterbankSky(SKY, seed=3, instrument=SMALL)


def write(folder, time=None, **settings):
    """Write the files of compound beam 7; return what was reported and whether the end was reached."""
    time = time or FakeTime()
    reports = []
    settings = {"start_unix": START, "clock": time, "stop": time, "report": reports.append} | settings
    return reports, FilterbankWriter(folder, 7, settings.pop("source", sky()), **settings).run()


def read(path):
    """Header of a file, and its samples, shape (nsample, nchan)."""
    content = path.read_bytes()
    header = parse_header(content[:HEADER_BYTES_MAX])
    return header, np.frombuffer(content, np.uint8, offset=header.header_bytes).reshape(-1, header.nchan)


def sizes(folder):
    """Bytes of samples in each file."""
    return [read(folder / name)[1].size for name in NAMES]


def test_there_is_one_file_per_tab(tmp_path):
    _, finished = write(tmp_path / "new" / "filterbank")
    assert finished
    assert sorted(path.name for path in (tmp_path / "new" / "filterbank").iterdir()) == NAMES


def test_the_incoherent_beam_is_written_if_asked_for(tmp_path):
    write(tmp_path, incoherent=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CB07.fil", *NAMES]
    assert filterbank_file(tmp_path, 7).name == "CB07.fil"
    assert np.array_equal(read(tmp_path / "CB07.fil")[1], sky().block(None, 0, 2000))


def test_the_header_describes_the_data(tmp_path):
    start = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
    write(tmp_path, start_unix=start.timestamp(), source_name="B1933+16")
    header, samples = read(tmp_path / NAMES[1])
    assert (header.nchan, header.nbit, header.nifs, header.ibeam) == (64, 8, 1, 7)
    assert header.source_name == "B1933+16"
    assert header.tsamp_s == SMALL.tsamp_s
    assert header.tstart_mjd == pytest.approx(mjd(start), abs=1e-9)
    # highest frequency first
    assert header.freqs_mhz[-1] == pytest.approx(SMALL.min_freq_mhz)
    assert header.freqs_mhz[0] == pytest.approx(SMALL.min_freq_mhz + 63 * 300 / 64)
    assert samples.shape == (4 * 500, 64)


def test_files_hold_what_the_sky_shows(tmp_path):
    write(tmp_path)
    for tab, name in enumerate(NAMES):
        assert np.array_equal(read(tmp_path / name)[1], sky().block(tab, 0, 2000))


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_a_batch_is_written_when_its_data_are_in(tmp_path, speed):
    reports, _ = write(tmp_path, speed=speed)
    assert reports == [
        Grown(batch, 3 * BATCH_BYTES, 0, pytest.approx(START + (batch + 1) * BATCH_S / speed))
        for batch in range(4)
    ]


def test_all_files_grow_batch_by_batch(tmp_path):
    seen = []
    write(tmp_path, FakeTime(watch=lambda: seen.append(sizes(tmp_path))))
    assert seen == [[batch * BATCH_BYTES] * 3 for batch in range(4)]


def test_headers_are_there_before_the_observation_starts(tmp_path):
    filterbank_file(tmp_path, 7, 0).write_bytes(b"left by the observation before\n" * 1000)
    _, finished = write(tmp_path, FakeTime(stop_at=START - 1))
    assert not finished
    assert sizes(tmp_path) == [0, 0, 0]


def test_what_is_overdue_is_written_at_once(tmp_path):
    for settings in ({"time": FakeTime(now=START + 100)}, {"speed": inf, "time": FakeTime(now=START)}):
        _, finished = write(tmp_path, **settings)
        assert finished
        assert not any(settings["time"].waits)
        assert sizes(tmp_path) == [4 * BATCH_BYTES] * 3


@pytest.mark.parametrize("speed", [1.0, inf])
def test_it_stops_when_told(tmp_path, speed):
    time = FakeTime(now=START, stop_at=START + 2.5 * BATCH_S if speed == 1 else START)
    reports, finished = write(tmp_path, time, speed=speed)
    assert not finished
    assert len(reports) == (2 if speed == 1 else 0)
    assert sizes(tmp_path) == [len(reports) * BATCH_BYTES] * 3


def test_clipped_samples_are_reported_with_their_batch(tmp_path):
    bright = Sky(4 * BATCH_S, (Burst(1.5 * BATCH_S, 0.0, 5000.0, 20, None),))
    reports, _ = write(tmp_path, source=FilterbankSky(bright, instrument=SMALL))
    assert [report.clipped > 0 for report in reports] == [False, True, False, False]
    assert reports[1].clipped == sum(np.count_nonzero(read(tmp_path / name)[1] == 255) for name in NAMES)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DARCError, match=r"cannot write filterbanks to .*file"):
        write(tmp_path / "file")


def test_a_full_disk_is_named(tmp_path):
    class Full(FilterbankSky):
        def block(self, tab, first, nsample):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DARCError, match=f"{tmp_path}: No space left on device"):
        write(tmp_path, source=Full(SKY, instrument=SMALL))


def test_a_writer_can_be_sent_to_another_process(tmp_path):
    writer = FilterbankWriter(tmp_path, 7, sky(), start_unix=START, speed=inf)
    assert len(pickle.dumps(writer)) < 10_000
    assert pickle.loads(pickle.dumps(writer)).run()
    assert sizes(tmp_path) == [4 * BATCH_BYTES] * 3
