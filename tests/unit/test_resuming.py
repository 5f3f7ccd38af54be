"""Decisions are the same, each made once, however often the listener and the clustering are killed."""

import errno
import json
import queue
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darc.amber_clustering import AMBERClustering
from darc.formats.amber import format_row, header
from darc.formats.parset import load_obs_config
from darc.growing_file import LineReader
from darc.handover import Handover
from darc.simulation.observation import Observation

START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
TSAMP_S = 81.92e-6
STEPS = (1, 2)


class Killed(BaseException):
    """The process ends here."""


class Node:
    """AMBER's files, and the two services, which can be killed: their queue and the disk stay."""

    def __init__(self, folder):
        (folder / "config.yaml").write_text(f"""
nodes: {{workers: {{here: 0}}}}
darc_master: {{state_dir: {folder}/state}}
amber_clustering:
  {{log_file: {folder}/log, sb_filter: false, galaxy_model: none, galactic_dm_max: 100.0,
    thresh_iquv: {{interval: 5.0}}}}
""")
        observation = Observation("somewhere", START, 299.008, ninstance=len(STEPS))
        files = observation.write(folder)
        self.folder = folder
        self.obs_config = load_obs_config(files.workers[0])
        self.source_list = files.source_list
        amber = Path(self.obs_config["amber_dir"])
        self.paths = {step: amber / f"CB00_step{step}.trigger" for step in STEPS}
        amber.mkdir(parents=True, exist_ok=True)
        for path in self.paths.values():
            path.write_text(header())
        self.now = 1000.0
        self.messages = queue.Queue()
        self.iquv, self.lofar, self.voevents = queue.Queue(), queue.Queue(), queue.Queue()
        self.readers, self.dumps = {}, []
        self.start_listener()
        self.start_clustering(resume=False)

    def start_listener(self):
        for reader in self.readers.values():
            reader.close()
        self.readers = {step: LineReader(path) for step, path in self.paths.items()}

    def start_clustering(self, resume=True):
        service = AMBERClustering(
            self.messages, target_queue=self.iquv, config_file=self.folder / "config.yaml", node="here"
        )
        service.monotonic = lambda: self.now
        service.clock = lambda: START.timestamp() + self.now - 1000.0
        service.lofar_queue, service.vo_queue = self.lofar, self.voevents
        service.source_file = self.source_list
        service._handle({
            "command": "start_observation",
            "obs_config": self.obs_config,
            "reload_conf": False,
            "resume": resume,
        })  # fmt: skip
        self.service = service

    def write(self, step, batch, rows):
        with self.paths[step].open("a") as file:
            for number, (dm, snr) in enumerate(rows):
                time_s = (batch * 12500 + number * 10) * TSAMP_S
                file.write(
                    format_row(
                        beam=35,
                        batch=batch,
                        sample=number,
                        integration_step=10,
                        time_s=time_s,
                        dm=dm,
                        snr=snr,
                    )
                    + "\n"
                )

    def listen(self, step):
        reader = self.readers[step]
        while (block := reader.peek()) is not None:
            self.messages.put({
                "command": "trigger",
                "trigger": block.lines,
                "at_end": block.at_end,
                "step": step,
                "observation": self.obs_config["datetimesource"],
                "place": tuple(block.place),
            })  # fmt: skip
            reader.advance()

    def take(self, number=10**9):
        """Have the clustering handle some messages."""
        while number and not self.messages.empty():
            self.service._handle(self.messages.get())
            number -= 1

    def settle(self):
        """Have it decide on everything there is."""
        self.take()
        while self.service.due_in() < 1.0:
            self.now += max(self.service.due_in(), 0.05)
            self.service.do_what_is_due()

    def new_dumps(self):
        """What the DADA trigger is asked for the first time: it passes over what it knows."""
        for message in _all(self.iquv):
            dump = [(t["dm"], t["snr"], t["time"]) for t in message["trigger"]]
            if dump not in self.dumps:
                self.dumps.append(dump)
                yield dump

    def outcome(self):
        """What was sent, in its order."""
        return {
            "iquv": list(self.new_dumps()),
            "lofar": [(item["dm"], item["snr"], item["tarr"]) for item in _all(self.lofar)],
            "voevent": [(item["dm"], item["snr"], item["tarr"]) for item in _all(self.voevents)],
        }

    def close(self):
        for reader in self.readers.values():
            reader.close()
        self.service._log.close()


def _all(source):
    items = []
    while not source.empty():
        items.append(source.get())
    return items


@pytest.fixture
def node(tmp_path):
    numbers, nodes = count(), []

    def node():
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        nodes.append(Node(folder))
        return nodes[-1]

    yield node
    for each in nodes:
        each.close()


#: What AMBER finds in one batch: DM and S/N of some rows, by instance.
batches = st.lists(
    st.fixed_dictionaries(
        {
            step: st.lists(
                st.tuples(st.sampled_from([150.0, 400.0]), st.sampled_from([9.0, 12.0, 25.0])), max_size=3
            )
            for step in STEPS
        }
    ),
    min_size=1,
    max_size=5,
)
#: What happens between two batches.
events = st.sampled_from(
    ["listen 1", "listen 2", "take 1", "take", "due", "kill listener", "kill clustering"]
)


def run(node, found, plan):
    for number, rows in enumerate(found):
        batch = 10 + 2 * number
        for step in STEPS:
            node.write(step, batch, rows[step])
        for event in plan[number] if plan else ():
            match event.split():
                case "listen", step:
                    node.listen(int(step))
                case "take", one:
                    node.take(int(one))
                case ["take"]:
                    node.take()
                case ["due"]:
                    node.service.do_what_is_due()
                case "kill", "listener":
                    node.start_listener()
                case "kill", "clustering":
                    node.service._log.close()
                    node.start_clustering()
        for step in STEPS:
            node.listen(step)
        node.settle()
    counts = dict(node.service.counts)
    return node.outcome(), counts


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=batches, data=st.data())
def test_decisions_are_the_same_and_made_once_whatever_is_killed(node, found, data):
    plan = [data.draw(st.lists(events, max_size=8)) for _ in found]
    disturbed, disturbed_counts = run(node(), found, plan)
    undisturbed, counts = run(node(), found, None)
    assert disturbed == undisturbed
    assert disturbed_counts == counts


def burst(node, batch=10, snr=25.0):
    node.write(1, batch, [(400.0, snr)])
    node.listen(1)


def test_lines_that_a_dead_clustering_had_read_are_read_again(node):
    node = node()
    burst(node)
    node.take()
    node.service._log.close()
    node.start_clustering()
    node.settle()
    assert len(node.outcome()["iquv"]) == 1


def test_the_rate_limit_outlives_the_process(node):
    node = node()
    burst(node)
    node.settle()
    node.service._log.close()
    node.start_clustering()
    burst(node, batch=12)
    node.settle()
    assert len(node.outcome()["iquv"]) == 1


@pytest.mark.parametrize("after", ["log", "queues"])
def test_a_death_between_deciding_and_sending_repeats_all_but_lofar(node, monkeypatch, after):
    def die(*_):
        raise Killed

    node = node()
    burst(node)
    owner, name = (Handover, "send") if after == "log" else (node.service._log, "sent")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(Killed):
            node.settle()
    before = node.outcome()
    assert len(before["lofar"]) == len(before["iquv"]) == (0 if after == "log" else 1)
    node.service._log.close()
    node.start_clustering()
    node.settle()
    outcome = node.outcome()
    assert len(before["iquv"] + outcome["iquv"]) == 1
    assert [len(outcome[kind]) for kind in ("lofar", "voevent")] == [0, 1]
    # once is enough
    node.service._log.close()
    node.start_clustering()
    node.settle()
    assert not any(node.outcome().values())


# who catches up after a long time must not freeze LOFAR's buffers, which the burst has left
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(("away_s", "told"), [(30, ["lofar", "voevent"]), (250, ["voevent"]), (4000, [])])
def test_what_is_found_too_late_for_its_receiver_is_dropped_and_said(node, caplog, away_s, told, resume):
    node = node()
    node.service._log.close()
    node.write(1, 10, [(400.0, 25.0)])
    node.now += 10 + away_s
    node.start_clustering(resume)
    node.listen(1)
    node.settle()
    outcome = node.outcome()
    assert [kind for kind in ("lofar", "voevent") if outcome[kind]] == told
    assert len(outcome["iquv"]) == 1
    assert ("LOFAR trigger not sent, too late" in caplog.text) == ("lofar" not in told)


# what waits in a queue of the node ends with it
def test_all_recent_dumps_are_asked_for_again_by_who_follows_as_they_may_have_been_in_a_queue(node):
    node = node()
    for batch in (10, 20, 30):
        burst(node, batch)
        node.settle()
    before = _all(node.iquv)
    node.service._log.close()
    node.start_clustering()
    again = _all(node.iquv)
    assert [len(message["trigger"]) for message in again] == [1, 1, 1]
    assert all(message["again"] for message in again)
    assert [m["trigger"][0]["time"] for m in again] == [m["trigger"][0]["time"] for m in before]
    node.service._log.close()
    node.start_clustering(resume=False)
    assert _all(node.iquv) == []


def test_only_as_many_dumps_are_asked_for_again_as_may_be_of_use(node, monkeypatch):
    monkeypatch.setattr("darc.records.decisions.RECALLED", 2)
    node = node()
    for batch in (10, 20, 30):
        burst(node, batch)
        node.settle()
    dumps = node.outcome()["iquv"]
    node.service._log.close()
    node.dumps.clear()
    node.start_clustering()
    assert node.outcome()["iquv"] == dumps[1:]


# the clock is set, by a time server or by hand
@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_no_decision(node, step_s):
    node = node()
    burst(node)
    node.take()
    node.service.clock = lambda: START.timestamp() + node.now + step_s
    node.settle()
    assert [len(sent) for sent in node.outcome().values()] == [1, 1, 1]


def test_late_rows_are_late_for_the_successor_too(node):
    node = node()
    burst(node)
    node.settle()
    node.write(1, 10, [(400.0, 25.0)])
    node.service._log.close()
    node.start_clustering()
    node.settle()
    assert node.service.counts["batches"] == 2
    assert node.service.counts["rows"] == 2


def test_a_new_start_of_the_same_observation_begins_anew(node):
    node = node()
    burst(node)
    node.settle()
    node.service._handle({"command": "stop_observation", "obs_config": node.obs_config})
    node.start_listener()
    node.start_clustering(resume=False)
    node.listen(1)
    node.settle()
    assert len(node.outcome()["lofar"]) == 2


# the queue outlives a service that is killed before it has read that an observation starts
def test_a_start_that_the_predecessor_did_not_read_does_not_begin_anew(node):
    node = node()
    burst(node)
    node.settle()
    node.service._log.close()
    node.start_clustering()
    start = {"command": "start_observation", "obs_config": node.obs_config, "resume": False}
    node.service._handle(start)
    node.start_listener()
    node.listen(1)
    node.settle()
    assert len(node.outcome()["iquv"]) == 1


def test_a_damaged_record_costs_the_damaged_lines_only(node):
    node = node()
    for batch in (10, 20, 30):
        burst(node, batch)
        node.settle()
    node.service._log.close()
    path = node.folder / "state" / "decisions"
    lines = path.read_text().splitlines()
    assert sum("batch" in json.loads(line) for line in lines) == 3
    path.write_text("\n".join(lines)[:-30])
    node.start_clustering()
    node.settle()
    outcome = node.outcome()
    assert len(outcome["lofar"]) == 4


# disk full
def test_a_state_that_cannot_be_written_stops_nobody_and_is_told_once(node, caplog):
    node = node()
    node.service._log.close()
    (node.folder / "state" / "decisions").unlink()
    (node.folder / "state").rmdir()
    (node.folder / "state").write_text("a file where the folder should be")
    for batch in (10, 20):
        burst(node, batch)
        node.settle()
    assert len(node.outcome()["iquv"]) == 2
    assert caplog.text.count("decisions are not written down") == 1


def test_a_file_system_without_locks_costs_the_waiting_only(node, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    node = node()
    monkeypatch.setattr("darc.records.decisions.fcntl.flock", no_locks)
    node.start_clustering()
    for batch in (10, 20):
        burst(node, batch)
        node.settle()
    node.service._log.close()
    node.start_clustering()
    assert len(node.service._log.before.rows) == 2


# services of a master that was killed end by themselves, after the next master may have started
def test_a_successor_waits_for_the_end_of_its_predecessor(node, monkeypatch):
    node = node()
    burst(node)
    node.take()
    first = node.service
    waits = []

    def wait(seconds):
        waits.append(seconds)
        node.settle()
        first._log.close()

    monkeypatch.setattr("darc.records.predecessor.time.sleep", wait)
    node.start_clustering()
    assert waits
    node.settle()
    assert len(node.outcome()["lofar"]) == 1


def test_an_observation_that_was_refused_does_not_hold_up_the_next_one(node, monkeypatch):
    node = node()
    monkeypatch.setattr("darc.records.predecessor.time.sleep", lambda _: pytest.fail("waits for itself"))
    start = {"command": "start_observation", "obs_config": node.obs_config, "resume": False, "reload": False}
    settings = Path(node.obs_config["amber_config"])
    content = settings.read_text()
    for text in ("damaged", content):
        settings.write_text(text)
        node.service._handle(start)
    burst(node)
    node.settle()
    assert len(node.outcome()["lofar"]) == 1
