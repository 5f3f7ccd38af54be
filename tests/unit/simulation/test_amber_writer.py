from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.definitions import ARTS
from darc.errors import DARCError
from darc.simulation.amber import Amber, Chunk
from darc.simulation.amber_writer import AmberWriter, Flushed, Recording, trigger_file
from darc.simulation.sky import Sky, random_sky

START = 1_000_000.0
HEADER = b"# beam_id batch_id sample_id integration_step time DM_id DM SNR\n"


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


@dataclass
class Lines:
    """A feed of the given chunks."""

    chunks: list[Chunk]
    headers: tuple[bytes, ...] = (b"# one\n", b"# two\n")

    def __iter__(self):
        return iter(self.chunks)


CHUNKS = [Chunk(0, 0, [b"a\n", b"b\n"]), Chunk(0, 1, []), Chunk(2, 0, [b"c\n"]), Chunk(2, 1, [b"d\n"])]


def write(folder, feed, time=None, **settings):
    """Write a feed; return what was reported and whether the end was reached."""
    time = time or FakeTime()
    reports = []
    settings = {"start_unix": START, "clock": time, "stop": time, "report": reports.append} | settings
    return reports, AmberWriter(folder, 3, feed, **settings).run()


def content(folder, step=1):
    return trigger_file(folder, 3, step).read_bytes()


def test_all_rows_are_written_below_the_header(tmp_path):
    _, finished = write(tmp_path / "new" / "amber", Lines(CHUNKS))
    assert finished
    assert (tmp_path / "new" / "amber" / "CB03_step1.trigger").read_bytes() == b"# one\na\nb\nc\n"
    assert (tmp_path / "new" / "amber" / "CB03_step2.trigger").read_bytes() == b"# two\nd\n"


def test_headers_are_there_before_the_observation_starts(tmp_path):
    trigger_file(tmp_path, 3, 1).write_bytes(b"left by the observation before\n" * 100)
    seen = []
    time = FakeTime(watch=lambda: seen.append((content(tmp_path), content(tmp_path, 2))))
    write(tmp_path, Lines(CHUNKS), time)
    assert seen[0] == (b"# one\n", b"# two\n")


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_a_batch_is_written_when_its_data_are_in_and_the_latency_is_over(tmp_path, speed):
    reports, _ = write(tmp_path, Lines(CHUNKS), speed=speed, latency_s=0.3)
    after = [START + ((batch + 1) * ARTS.batch_s + 0.3) / speed for batch in (0, 2, 2)]
    assert reports == [
        Flushed(0, 0, 2, pytest.approx(after[0])),
        Flushed(2, 0, 1, pytest.approx(after[1])),
        Flushed(2, 1, 1, pytest.approx(after[2])),
    ]


def test_an_instance_with_longer_latency_writes_its_rows_later(tmp_path):
    chunks = [Chunk(batch, instance, [b"x\n"]) for batch in range(4) for instance in range(2)]
    reports, _ = write(tmp_path, Lines(chunks), latency_s=(0.2, 2.5))
    order = [(report.batch, report.instance) for report in reports]
    assert order == [(0, 0), (1, 0), (2, 0), (0, 1), (3, 0), (1, 1), (2, 1), (3, 1)]
    for report in reports:
        due = START + (report.batch + 1) * ARTS.batch_s + (0.2, 2.5)[report.instance]
        assert report.time_unix == pytest.approx(due)


def test_as_many_latencies_as_instances(tmp_path):
    with pytest.raises(ValueError, match="3 latencies for 2 instances"):
        AmberWriter(tmp_path, 0, Lines(CHUNKS), start_unix=START, latency_s=(1, 2, 3))


def test_infinite_speed_does_not_wait(tmp_path):
    time = FakeTime(now=START)
    reports, finished = write(tmp_path, Lines(CHUNKS), time, speed=inf)
    assert finished
    assert len(reports) == 3
    assert not any(time.waits)


def test_what_is_overdue_is_written_at_once(tmp_path):
    time = FakeTime(now=START + 100)
    write(tmp_path, Lines(CHUNKS), time)
    assert content(tmp_path) == b"# one\na\nb\nc\n"
    assert not any(time.waits)


@pytest.mark.parametrize("speed", [1.0, inf])
def test_it_stops_when_told(tmp_path, speed):
    time = FakeTime(now=START, stop_at=START + 2 if speed == 1 else START)
    reports, finished = write(tmp_path, Lines(CHUNKS), time, speed=speed)
    assert not finished
    assert len(reports) == (1 if speed == 1 else 0)
    assert content(tmp_path) == (b"# one\na\nb\n" if speed == 1 else b"# one\n")


def test_one_write_per_batch_leaves_the_same_files(tmp_path):
    feed = Amber(random_sky(np.random.default_rng(3), 10.0, 3, noise_rows_per_s=20), seed=1)
    for name, flush_rows in (("rows", True), ("bulk", False)):
        write(tmp_path / name, feed, speed=inf, flush_rows=flush_rows)
    for step in (1, 2, 3):
        assert content(tmp_path / "rows", step) == content(tmp_path / "bulk", step)
    assert content(tmp_path / "rows").count(b"\n") > 10


def test_a_sky_without_anything_leaves_only_headers(tmp_path):
    write(tmp_path, Amber(Sky(5.0)), speed=inf)
    assert [content(tmp_path, step) == Amber(Sky(5.0)).headers[0] for step in (1, 2, 3)] == [True] * 3


def recording(folder, *contents):
    """Files of instances 1, 2, ... of compound beam 7, ready for replay."""
    for step, text in enumerate(contents, start=1):
        trigger_file(folder, 7, step).write_bytes(text)
    return Recording.of_beam(folder, 7)


def row(batch):
    return f"5 {batch} 10 1 0.5 20 4 11.5\n".encode()


def test_replay_goes_batch_by_batch_through_all_files(tmp_path):
    feed = recording(tmp_path, HEADER + row(0) + row(0) + row(4), HEADER, HEADER + row(0) + row(2) + row(4))
    assert [(chunk.batch, chunk.instance) for chunk in feed] == [(0, 0), (0, 2), (2, 2), (4, 0), (4, 2)]
    reports, _ = write(tmp_path, feed, speed=50.0, latency_s=0)
    assert [report.time_unix - START for report in reports] == pytest.approx(
        [(batch + 1) * ARTS.batch_s / 50 for batch in (0, 0, 2, 4, 4)]
    )


def test_replay_keeps_every_line_as_it_is(tmp_path):
    odd = HEADER + row(3) + b"rubbish\n" + row(5) + row(4) + HEADER + b"\n" + row(0) + b"5 17 1"
    write(tmp_path, recording(tmp_path, odd, b""), speed=inf)
    assert content(tmp_path) == odd
    assert content(tmp_path, 2) == b""


lines = st.one_of(st.binary(max_size=30), st.just(HEADER), st.integers(0, 300).map(row))


@given(st.lists(st.lists(lines).map(b"".join), min_size=1, max_size=3))
def test_replay_keeps_whatever_a_file_holds(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("replay")
    write(folder, recording(folder, *contents), speed=inf)
    assert [content(folder, step) for step in range(1, len(contents) + 1)] == contents


def test_replay_finds_batches_by_the_name_of_their_column(tmp_path):
    feed = recording(tmp_path, b"# batch_id DM SNR beam_id\n3 56.8 11 8\n4 56.8 11 7\n")
    assert [chunk.batch for chunk in feed] == [3, 4]


def test_instances_are_replayed_in_the_order_of_their_numbers(tmp_path):
    feed = recording(tmp_path, *(f"# {step}\n".encode() for step in range(1, 13)))
    assert feed.headers == [f"# {step}\n".encode() for step in range(1, 13)]


def test_nothing_to_replay_is_refused(tmp_path):
    with pytest.raises(DARCError, match=r"CB02_step\*\.trigger"):
        Recording.of_beam(tmp_path, 2)
    with pytest.raises(DARCError, match="No such file"):
        Recording([tmp_path / "CB00_step1.trigger"])


def test_a_real_observation_is_replayed_byte_for_byte(reference_data: Path, tmp_path):
    feed = Recording.of_beam(reference_data / "amber", 0)
    reports, _ = write(tmp_path, feed, speed=100.0)
    for step in (1, 2, 3):
        assert content(tmp_path, step) == (reference_data / "amber" / f"CB00_step{step}.trigger").read_bytes()
    batches = [report.batch for report in reports]
    assert batches == sorted(batches)
    assert sum(report.nline for report in reports) == 2466 + 12
