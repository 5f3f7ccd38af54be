"""Whole observations through real processes: from AMBER's rows and filterbank files to results."""

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pypdf import PdfReader

from darc.config import load_config
from darc.definitions import Instrument
from darc.formats import candidate as candidates
from darc.formats.amber import header
from darc.formats.parset import load_obs_config
from darc.formats.results import Summary, parse_pulses, parse_summary, parse_triggers, picture_name
from darc.growing_file import LineReader
from darc.network.process_queue import ProcessQueue
from darc.processor import ProcessorManager
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.crew import Crew, StepProcess, end_all
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.ledger import Cluster
from darc.processor_tools.messages import Extract, message
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation
from darc.simulation.sky import Burst, Sky

BEAM, DURATION_S, DELAY_S = 3, 20.48, 0.3
SMALL = {
    "ntab": 3,
    "nsynthesised_beam": 5,
    "nsubband": 8,
    "nchan": 256,
    "tsamp_s": 1.024e-3,
    "samples_per_batch": 1000,
}
INSTRUMENT = Instrument(**SMALL)
BURSTS = (
    Burst(0.01, 60.0, 30.0, 2, 1),  # so early that its window begins before the data
    Burst(5.0, 200.0, 30.0, 4, 2),
    Burst(12.0, 150.0, 25.0, 4, 3),
    Burst(20.1, 80.0, 40.0, 8, 4),  # so late that its window ends after them
)
FALSE_ALARM = Burst(8.0, 300.0, 11.0, 4, 0)
LONGEST_S = 50.0


@pytest.fixture(scope="module")
def filterbanks(tmp_path_factory):
    """Folder with the filterbanks of a beam with bursts."""
    folder = tmp_path_factory.mktemp("filterbanks")
    write_filterbanks(folder, datetime(2026, 1, 1, tzinfo=UTC))
    return folder


def write_filterbanks(folder, start, speed=1e9):
    sky = FilterbankSky(Sky(DURATION_S, bursts=BURSTS), instrument=INSTRUMENT)
    FilterbankWriter(folder, BEAM, sky, start_unix=start.timestamp(), speed=speed).run()


def until(condition, what):
    """Wait until something holds, and return it."""
    end = time.monotonic() + LONGEST_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class Observed:
    """An observation on the node."""

    def __init__(self, node, number, filterbanks, start):
        self.node = node
        observation = Observation(
            f"FAKE{number}", start, DURATION_S, beams=(BEAM,), source_beam=BEAM, number=number,
            instrument=INSTRUMENT,
        )  # fmt: skip
        files = observation.write(node.folder / str(number))
        self.obs_config = load_obs_config(files.workers[BEAM])
        self.label = observation.date_time_source
        self.output = Path(self.obs_config["output_dir"])
        self.filterbanks = self.output / "filterbank"
        if filterbanks is not None:
            shutil.rmtree(self.filterbanks, ignore_errors=True)
            shutil.copytree(filterbanks, self.filterbanks)
        self.results = node.folder / "results" / self.obs_config["date"] / self.label

        self.amber = Path(self.obs_config["amber_dir"]) / f"CB{BEAM:02d}_step1.trigger"
        self.reader = LineReader(self.amber)

    def start(self, **more):
        self.node.tell({
            "command": "start_observation",
            "obs_config": self.obs_config,
            "reload_conf": True,
            **more,
        })  # fmt: skip

    def write(self, *lines):
        """Have lines written by AMBER and told by the listener."""
        self.amber.parent.mkdir(parents=True, exist_ok=True)
        with self.amber.open("a") as file:
            file.writelines(f"{line.rstrip()}\n" for line in lines)
        block = self.reader.peek()
        self.reader.advance()
        self.node.tell({
            "command": "trigger",
            "trigger": block.lines,
            "step": 1,
            "observation": self.label,
            "place": tuple(block.place),
        })  # fmt: skip

    def trigger(self, *bursts):
        self.node.tell({
            "command": "trigger",
            "trigger": [header(), *map(row, bursts)],
            "step": 1,
            "observation": self.label,
        })  # fmt: skip

    def stop(self, **more):
        self.node.tell({"command": "stop_observation", "obs_config": self.obs_config, **more})

    def summary(self):
        path = self.results / f"CB{BEAM:02d}_summary.yaml"
        until(path.exists, f"{path}\n{self.node.log()}")
        return parse_summary(path.read_text())

    def triggers(self):
        return parse_triggers((self.results / f"CB{BEAM:02d}_triggers.txt").read_text())

    def processes(self, step):
        """Process IDs of a step of this observation, once there are any."""
        pattern = rf"processor {step} \d+: started with process ID (\d+)"
        return until(lambda: [int(pid) for pid in re.findall(pattern, self.node.log())], step)


class Node:
    """A worker node of which only the processor runs."""

    def __init__(self, folder):
        self.folder = folder
        self.config_file = folder / "config.yaml"
        self.configure()

    def start(self):
        multiprocessing.set_forkserver_preload(["darc.processor"])
        self.queue, self.control_queue = ProcessQueue(), ProcessQueue()
        self.manager = ProcessorManager(
            self.queue,
            control_queue=self.control_queue,
            config_file=self.config_file,
            node="here",
            start_method="forkserver",
        )
        self.manager.start()

    def configure(self, **settings):
        processor = {
            "log_file": str(self.folder / "log"),
            "result_dir": str(self.folder / "results"),
            "interval": 0.1,
            "stop_delay": 0.1,
            "scavenger_interval": 0.2,
            "num_extractor": 1,
            "extractor": {"delay": DELAY_S, "rfi_apply_mask": False},
            "visualizer": {"plot_types": ["freq_time"]},
        }
        content = {
            "instrument": SMALL,
            "nodes": {"workers": {"here": BEAM}},
            "darc_master": {"state_dir": str(self.folder / "state")},
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 100.0},
            "processor": processor | settings,
            "sb_generator": {
                "numtab": {"sc4": SMALL["ntab"]},
                "numsb": {"sc4": SMALL["nsynthesised_beam"]},
                "table_folder": str(self.folder),
            },
        }
        self.config_file.write_text(yaml.safe_dump(content))

    def observation(self, number, filterbanks, start=None):
        return Observed(self, number, filterbanks, start or datetime.now(UTC) - timedelta(seconds=60))

    def tell(self, message):
        self.queue.put(message, timeout=5)

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def processes(self):
        """Process IDs in the log that still live."""
        pids = {int(pid) for pid in re.findall(r"started with process ID (\d+)", self.log())}
        return {pid for pid in pids if is_alive(pid)}

    def close(self):
        self.queue.put("stop")
        self.manager.join(10)
        self.control_queue.close()
        assert self.manager.exitcode == 0, self.log()
        until(lambda: not self.processes(), "the end of all processes")


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def row(burst):
    batch = int(burst.time_s / INSTRUMENT.batch_s)
    sample = round((burst.time_s - batch * INSTRUMENT.batch_s) / INSTRUMENT.tsamp_s)
    return (
        f"{burst.sb} {batch} {sample} {burst.width_samples} {burst.width_samples} {burst.time_s:.6g} "
        f"0 {burst.dm} 1 {burst.snr}"
    )


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    node.start()
    yield node
    node.close()


def check_complete(observed):
    """Check that all bursts, and nothing else, came through."""
    assert observed.summary() == Summary(5, 5, 4, 4), observed.node.log()
    # whoever sees the summary finds the pictures
    assert all((observed.results / picture_name(BEAM, row)).is_file() for row in range(4))
    triggers = sorted(observed.triggers(), key=lambda trigger: trigger.time_s)
    assert [trigger.dm for trigger in triggers] == [burst.dm for burst in BURSTS]
    for trigger, burst in zip(triggers, BURSTS, strict=True):
        middle_s = burst.time_s + burst.width_samples * INSTRUMENT.tsamp_s / 2
        # half the width of the best boxcar
        assert trigger.time_s == pytest.approx(middle_s, abs=trigger.downsamp * INSTRUMENT.tsamp_s / 2)
        assert trigger.snr == pytest.approx(burst.snr, rel=0.3)


def test_overlapping_observations_find_the_same_with_one_extractor_and_with_three(node, filterbanks):
    node.configure(num_extractor=1)
    one = node.observation(1, filterbanks)
    one.start()
    one.trigger(*BURSTS[:2])
    until(lambda: "extractor 1: started" in node.log(), "the first observation")
    node.configure(num_extractor=3)
    three = node.observation(2, filterbanks)
    three.start()
    three.trigger(*BURSTS, FALSE_ALARM)
    one.trigger(*BURSTS[2:], FALSE_ALARM)
    three.stop()
    one.stop()
    for observed in (one, three):
        check_complete(observed)
        pulses = parse_pulses(
            (observed.output / "triggers_realtime" / "grouped_pulses.singlepulse").read_text()
        )
        assert sorted(pulse.dm for pulse in pulses) == sorted(b.dm for b in (*BURSTS, FALSE_ALARM))
        text = PdfReader(observed.results / f"CB{BEAM:02d}.pdf").pages[0].extract_text()
        assert observed.label in text
        stored = [candidates.read(path) for path in (observed.output / "triggers_realtime/data").iterdir()]
        assert sorted(candidate.dm_amber for candidate in stored) == sorted(b.dm for b in BURSTS)
        assert all(candidate.prob_freqtime > 0.5 for candidate in stored)
    until(lambda: len(re.findall("is finished", node.log())) == 2, "the scavenger")
    assert "extractor 3: started" in node.log()


def test_a_killed_extractor_costs_nothing(node, filterbanks):
    node.configure(num_extractor=2)
    observed = node.observation(1, filterbanks)
    observed.start()
    pids = until(
        lambda: (found := observed.processes("extractor")) and len(found) == 2 and found, "extractors"
    )
    os.kill(pids[0], signal.SIGSTOP)  # so that it has work in hand when it is killed
    observed.trigger(*BURSTS, FALSE_ALARM)
    observed.stop()
    until(lambda: "extracted with" in node.log(), "a candidate")
    os.kill(pids[0], signal.SIGKILL)
    check_complete(observed)
    assert "extractor 3: started" in node.log()


def test_a_killed_clustering_and_a_killed_processor_cost_nothing(node, filterbanks):
    observed = node.observation(1, filterbanks)
    observed.start(resume=False)
    observed.write(header(), *map(row, BURSTS[:2]))
    os.kill(observed.processes("clustering")[0], signal.SIGKILL)
    observed.write(row(BURSTS[2]))
    until(lambda: "extracted with" in node.log(), "a candidate")
    (pid,) = re.findall(r"is processed by process (\d+)", node.log())
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: len(re.findall(r"is processed by process", node.log())) == 2, "the next processor")
    observed.write(row(BURSTS[3]), row(FALSE_ALARM))
    observed.stop()
    check_complete(observed)
    (listed,) = observed.output.rglob("*.singlepulse")
    assert len(parse_pulses(listed.read_text())) == len(BURSTS) + 1


@pytest.fixture
def extractors(tmp_path):
    """One extractor of an observation without data, and its answers; it is killed if it does not get on."""
    node, answers = Node(tmp_path), ProcessQueue()
    beam = ObservedBeam.of(node.observation(1, None).obs_config, load_config(node.config_file, "here"))

    def hire(name):
        inbox = ProcessQueue()
        step = Extractor(
            name, beam, inbox, answers, config_file=node.config_file, node="here", start_method="forkserver"
        )
        return StepProcess(step, inbox)

    crew = Crew("extractor", 1, hire, stuck_s=0.2)
    crew.fill()
    yield crew, answers
    end_all([crew])
    answers.close()


def test_an_extractor_that_is_stopped_is_killed_and_replaced(extractors):
    crew, answers = extractors
    work = message(Extract(Cluster(0, 100.0, 20.0, 5.0, 4, 0), last_chance=True))
    assert crew.send(work)
    assert answers.get(timeout=LONGEST_S)["content"].worker == "extractor 1"
    (stopped,) = crew.workers
    os.kill(stopped.pid, signal.SIGSTOP)
    assert crew.send(work)

    def replaced():
        crew.kill_stuck(time.monotonic(), lambda worker: "the work" if worker is stopped else None)
        return crew.replace_dead()

    assert until(replaced, "the end of the stopped process") == ["extractor 1"]
    assert not stopped.alive()
    assert crew.send(work)
    assert answers.get(timeout=LONGEST_S)["content"].worker == "extractor 2"


def test_data_are_waited_for_while_the_files_grow(node):
    start = datetime.now(UTC) - timedelta(seconds=DURATION_S - 6)
    observed = node.observation(1, None, start)
    writer = multiprocessing.get_context("forkserver").Process(
        target=write_filterbanks, args=(observed.filterbanks, start, 1.0)
    )
    writer.start()
    observed.start()
    observed.trigger(*BURSTS, FALSE_ALARM)
    until(lambda: "extracted with" in node.log(), "a candidate")
    writer.join(LONGEST_S)
    observed.stop()
    check_complete(observed)
    assert "skipped" not in re.sub(r".*too_faint.*|.*S/N [\d.]+ is below.*|.*1 skipped.*", "", node.log())


def test_abort_leaves_no_processes_and_no_results(node, filterbanks):
    observed = node.observation(1, filterbanks)
    observed.start()
    observed.trigger(*BURSTS)
    extractor, *_ = observed.processes("extractor")
    os.kill(extractor, signal.SIGSTOP)
    observed.stop(abort=True)
    until(lambda: node.processes() == {node.manager.pid}, "the end of the processes")
    assert not observed.results.exists()


def test_a_killed_processor_takes_its_steps_along_and_is_replaced(node, filterbanks):
    observed = node.observation(1, filterbanks)
    observed.start()
    observed.processes("classifier")
    (pid,) = re.findall(r"is processed by process (\d+)", node.log())
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: "died: code" in node.log(), "the manager to notice")
    until(lambda: len(observed.processes("classifier")) == 2, "the next processor")
    observed.trigger(*BURSTS, FALSE_ALARM)
    observed.stop()
    check_complete(observed)


def test_filterbanks_that_are_missing_or_cut_short_cost_their_candidates_only(node, filterbanks):
    observed = node.observation(1, filterbanks)
    missing = observed.filterbanks / f"CB{BEAM:02d}_02.fil"
    missing.unlink()
    for path in observed.filterbanks.iterdir():
        os.truncate(path, int(path.stat().st_size * 10 / DURATION_S))
    observed.start()
    observed.trigger(*BURSTS)
    observed.stop()
    summary = observed.summary()
    assert summary.ncand_post_clustering == 4

    def skipped():
        return {reason: int(number) for number, reason in re.findall(r"(\d+) skipped: (.*)", node.log())}

    # the log tells them after the summary is there
    until(lambda: summary.ncand_post_thresholds + sum(skipped().values()) == 4, "4 clusters in all")
    reasons = skipped()
    assert set(reasons) <= {"filterbank missing", "not in the data"} and "filterbank missing" in reasons
    assert f"{missing}: there is no such file" in node.log()


@pytest.fixture
def small_disk():
    """Function that returns the path by which a folder is a file system with room for one candidate.

    It is mounted in namespaces of another process, which anybody may make and reach through /proc.
    """
    with ExitStack() as stack:

        def mount(folder):
            script = f"mount -t tmpfs -o size=64k tmpfs '{folder}' && echo done && read -r _"
            keeper = stack.enter_context(
                subprocess.Popen(
                    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            if keeper.stdout.readline() != b"done\n":
                pytest.skip("this system lets nobody make namespaces, and so no small file system")
            return f"/proc/{keeper.pid}/root{folder}"

        yield mount


def test_a_full_disk_is_named_and_the_statistics_are_stored_all_the_same(node, filterbanks, small_disk):
    observed = node.observation(1, filterbanks)
    folder = observed.output / "triggers_realtime" / "data"
    folder.mkdir(parents=True)
    path = small_disk(folder)
    observed.obs_config["output_dir"] = str(Path(path).parent.parent)
    observed.start()
    observed.trigger(*BURSTS)
    observed.stop()
    summary = observed.summary()
    assert summary.ncand_post_clustering == 4 and summary.ncand_post_thresholds == 1
    assert f"free space on the disk mounted at {path}" in node.log()
    # the log tells it after the summary is there
    until(lambda: "3 skipped: file not written" in node.log(), "the reason")
