"""Whole observations after their end: from AMBER's files and filterbanks to results."""

import multiprocessing
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from pypdf import PdfReader

from darc.config import load_config
from darc.definitions import Instrument
from darc.formats import results
from darc.formats.amber import format_row, header
from darc.formats.offline_results import OfflineSummary, parse_summary, parse_triggers
from darc.formats.parset import load_obs_config
from darc.network.process_queue import ProcessQueue
from darc.offline.command import main
from darc.offline.extract import extract_chunk
from darc.offline.plan import Account, Interrupted
from darc.offline.process import process
from darc.offline.work import Work
from darc.offline.workers import ThisProcess
from darc.offline_processing import OfflineProcessing
from darc.processor import ProcessorManager
from darc.simulation.amber_writer import trigger_file
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation
from darc.simulation.sky import Burst, Sky

BEAM, DURATION_S = 3, 8.192
SMALL = {
    "ntab": 3,
    "nsynthesised_beam": 5,
    "nsubband": 8,
    "nchan": 256,
    "tsamp_s": 1.024e-3,
    "samples_per_batch": 1000,
}
INSTRUMENT = Instrument(**SMALL)
BURSTS = (Burst(0.01, 60.0, 30.0, 2, 1), Burst(3.0, 200.0, 30.0, 4, 2), Burst(6.0, 150.0, 25.0, 4, 3))
FALSE_ALARM = Burst(4.5, 300.0, 11.0, 4, 0)
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def filterbanks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filterbanks")
    sky = FilterbankSky(Sky(DURATION_S, bursts=BURSTS), instrument=INSTRUMENT)
    FilterbankWriter(folder, BEAM, sky, start_unix=START.timestamp(), speed=1e9, incoherent=True).run()
    return folder


def row(burst):
    batch = int(burst.time_s / INSTRUMENT.batch_s)
    sample = round((burst.time_s / INSTRUMENT.batch_s - batch) * INSTRUMENT.samples_per_batch)
    width = burst.width_samples
    return format_row(
        beam=burst.sb, batch=batch, sample=sample // width, integration_step=width, time_s=burst.time_s,
        dm=burst.dm, snr=burst.snr,
    )  # fmt: skip


class Observed:
    """An observation that has ended, with all its files."""

    def __init__(self, folder, filterbanks, number, start):
        observation = Observation(
            f"FAKE{number}", start, DURATION_S, beams=(BEAM,), source_beam=BEAM, number=number,
            instrument=INSTRUMENT, ninstance=2,
        )  # fmt: skip
        files = observation.write(folder / str(number))
        self.parset = files.workers[BEAM]
        self.obs_config = load_obs_config(self.parset)
        self.output = Path(self.obs_config["output_dir"])
        shutil.copytree(filterbanks, self.output / "filterbank", dirs_exist_ok=True)
        self.amber = [trigger_file(files.amber_dirs[BEAM], BEAM, step) for step in (1, 2)]
        self.amber[0].write_text(header() + "".join(map(row, BURSTS[::2])))
        self.amber[1].write_text(header() + "".join(map(row, (BURSTS[1], FALSE_ALARM))))
        self.results = folder / "results" / self.obs_config["date"] / observation.date_time_source
        self.config = folder / "config.yaml"

    def process(self, *arguments):
        return main([str(self.parset), "--site-config", str(self.config), "--node", "here", *arguments])

    def summary(self):
        return parse_summary((self.results / f"CB{BEAM:02d}_summary.yaml").read_text())

    def triggers(self):
        return parse_triggers((self.results / f"CB{BEAM:02d}_triggers.txt").read_text())[0]


@pytest.fixture
def observe(tmp_path, filterbanks):
    """Return a function that makes an observation."""

    def observe(number=1, start=START, **settings):
        content = {
            "instrument": SMALL,
            "nodes": {"workers": {"here": BEAM}},
            "darc_master": {"state_dir": str(tmp_path / "state")},
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 50.0},
            "processor": {
                "log_file": str(tmp_path / "log"),
                "result_dir": str(tmp_path / "real-time"),
                "interval": 0.1,
                "stop_delay": 0.1,
                "num_extractor": 1,
                "extractor": {"rfi_apply_mask": False},
                "visualizer": {"plot_types": ["freq_time"], "nplot_per_side": 2},
            },
            "offline_processing": {
                "log_file": str(tmp_path / "log"),
                "result_dir": str(tmp_path / "results"),
                "delay": 0.1,
            }
            | settings,
            "sb_generator": {
                "numtab": {"sc4": SMALL["ntab"]},
                "numsb": {"sc4": SMALL["nsynthesised_beam"]},
                "table_folder": str(tmp_path),
            },
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        return Observed(tmp_path, filterbanks, number, start)

    return observe


def process_here(observed, again=(), **account):
    """Process an observation in this process; return what became of it."""
    work = Work.of(observed.obs_config, load_config(observed.config, "here"))
    account = Account(**account)
    process(work, account, again=again, workers=ThisProcess())
    return account


def check_complete(observed):
    """Check that all bursts, and nothing else, came through."""
    assert observed.summary() == OfflineSummary(
        ncand_raw=4, ncand_trigger=4, ncand_skipped=0, ncand_abovethresh=3, ncand_classifier=3
    )
    found = sorted(observed.triggers(), key=lambda trigger: trigger.time_s)
    assert [(one.dm, one.beam) for one in found] == [(burst.dm, burst.sb) for burst in BURSTS]
    for one, burst in zip(found, BURSTS, strict=True):
        middle_s = burst.time_s + burst.width_samples * INSTRUMENT.tsamp_s / 2
        assert one.time_s == pytest.approx(middle_s, abs=one.width_ms / 2e3 + INSTRUMENT.tsamp_s)
        assert one.snr == pytest.approx(burst.snr, rel=0.3)
    assert len(PdfReader(observed.results / f"CB{BEAM:02d}_candidates_summary.pdf").pages) == 1


def content(folder):
    """Content of all files below a folder, but of those that hold times."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pdf"
    }


def test_the_command_processes_several_observations_and_repeats_nothing(observe, capsys):
    one, other = observe(1), observe(2)
    arguments = [str(one.parset), str(other.parset), "--site-config", str(one.config), "--node", "here"]
    assert main(arguments) == 0, capsys.readouterr()
    check_complete(one)
    check_complete(other)
    with h5py.File(one.output / "triggers" / "data" / "data_full.hdf5") as file:
        shapes = {name: dataset.shape for name, dataset in file.items()}
    assert shapes == {
        "data_freq_time": (3, 64, 64), "data_dm_time": (3, 64, 64), "params": (3, 5), "sb": (3,),
        "ntriggers_skipped": (1,),
    }  # fmt: skip
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("was complete already") == 2


@pytest.fixture
def started(tmp_path):
    """Return a function that starts a service and returns its queue."""

    def start(kind):
        multiprocessing.set_forkserver_preload(["darc.processor", "darc.offline_processing"])
        inbox = ProcessQueue()
        service = kind(inbox, config_file=tmp_path / "config.yaml", node="here", start_method="forkserver")
        service.start()
        services.append((service, inbox))
        return inbox

    services = []
    yield start
    for service, inbox in services:
        inbox.put("stop")
        service.join(10)
        assert service.exitcode == 0


def until(condition, log):
    end = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def test_real_time_and_offline_processing_find_the_same_bursts(observe, started, tmp_path):
    observed = observe()
    queues = [started(kind) for kind in (OfflineProcessing, ProcessorManager)]
    for inbox in queues:
        inbox.put({"command": "start_observation", "obs_config": observed.obs_config, "host_type": "worker"})
    rows = [line for path in observed.amber for line in path.read_text().splitlines()]
    queues[1].put({"command": "trigger", "trigger": rows})
    queues[1].put({"command": "stop_observation", "obs_config": observed.obs_config})
    real_time = tmp_path / "real-time" / observed.results.relative_to(tmp_path / "results")
    for folder in (observed.results, real_time):
        until((folder / f"CB{BEAM:02d}_summary.yaml").exists, tmp_path / "log")
    check_complete(observed)
    found = results.parse_triggers((real_time / f"CB{BEAM:02d}_triggers.txt").read_text())
    assert {(one.snr, one.dm, one.time_s, one.sb, one.probability) for one in found} == {
        (one.snr, one.dm, one.time_s, one.beam, one.probability) for one in observed.triggers()
    }


def test_an_aborted_observation_is_dropped_and_a_stopped_one_processed(observe, started, tmp_path):
    now = datetime.now(UTC)
    one, other = observe(1, now), observe(2, now)
    inbox = started(OfflineProcessing)
    for observed in (one, other):
        inbox.put({"command": "start_observation", "obs_config": observed.obs_config, "host_type": "worker"})
    inbox.put({"command": "stop_observation", "obs_config": one.obs_config, "abort": True})
    inbox.put({"command": "stop_observation", "obs_config": other.obs_config})
    until((other.results / f"CB{BEAM:02d}_summary.yaml").exists, tmp_path / "log")
    check_complete(other)
    assert not one.results.exists() and "is aborted" in (tmp_path / "log").read_text()


def test_a_service_that_is_killed_is_followed_by_one_that_goes_on(observe, tmp_path):
    observed, inbox, log = observe(), ProcessQueue(), tmp_path / "log"
    multiprocessing.set_forkserver_preload(["darc.processor", "darc.offline_processing"])

    def start():
        service = OfflineProcessing(
            inbox, control_queue=ProcessQueue(), config_file=observed.config, node="here",
            start_method="forkserver",
        )  # fmt: skip
        service.start()
        return service

    inbox.put({"command": "start_observation", "obs_config": observed.obs_config, "host_type": "worker"})
    first = start()
    until(lambda: "extract: begins" in (log.read_text() if log.exists() else ""), log)
    first.kill()
    first.join()
    second = start()
    until((observed.results / f"CB{BEAM:02d}_summary.yaml").exists, log)
    kept = tmp_path / "state" / "offline_processing"
    until(lambda: not list(kept.iterdir()), log)
    inbox.put("stop")
    second.join(10)
    check_complete(observed)
    assert log.read_text().count("extract: begins") == 2 and log.read_text().count("cluster: begins") == 1


@pytest.mark.parametrize("checks", [0, 3, 6, 8, 10, 12])
def test_work_that_is_interrupted_anywhere_ends_with_the_same_files(observe, checks, monkeypatch):
    monkeypatch.setattr("darc.offline.extract.CHUNK", 1)
    observed = observe()
    left = iter([False] * checks)
    with pytest.raises(Interrupted):
        process_here(observed, cancelled=lambda: next(left, True))
    assert not (observed.results / f"CB{BEAM:02d}_summary.yaml").exists()
    process_here(observed)
    check_complete(observed)
    first = content(observed.output / "triggers") | content(observed.results)
    process_here(observed, again=["amber"])
    assert content(observed.output / "triggers") | content(observed.results) == first


def test_a_worker_that_is_killed_costs_nothing(observe, monkeypatch):
    observed = observe(numthread=1)
    observed.output.joinpath("fatal").touch()
    monkeypatch.setattr("darc.offline.extract.extract_chunk", die_once)
    work = Work.of(observed.obs_config, load_config(observed.config, "here"))
    process(work, Account())
    check_complete(observed)


def die_once(chunk):
    try:
        (chunk.job.folder.parents[3] / "fatal").unlink()
    except FileNotFoundError:
        return extract_chunk(chunk)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_goes_on_where_it_was_and_leaves_no_process(observe, number):
    observed = observe()
    arguments = [str(observed.parset), "--site-config", str(observed.config), "--node", "here"]
    code = "import sys; from darc.offline.command import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], start_new_session=True) as command:
        log = observed.config.with_name("log")
        until(lambda: "extract: begins" in (log.read_text() if log.exists() else ""), log)
        command.send_signal(number)
    assert command.returncode == (130 if number == signal.SIGINT else -number)
    until(lambda: not processes_of_session(command.pid), log)
    process_here(observed)
    check_complete(observed)
    assert not list(observed.output.rglob("*.part"))


def processes_of_session(session):
    """Process IDs of a session, in which no process of the tests is."""
    command = ["ps", "-o", "pid=,stat=", "-s", str(session)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in answer.stdout.splitlines() if " Z" not in line]


def test_the_documented_steps_do_the_same_one_by_one(observe):
    observed = observe()
    service = OfflineProcessing(queue.Queue(), config_file=observed.config, node="here")
    obs_config = observed.obs_config
    prefix = str(observed.output / "filterbank" / f"CB{BEAM:02d}")
    numbers = np.zeros(2, int)
    service._merge_triggers(obs_config)
    service._cluster(obs_config, prefix, ind=0, sbmin=0, sbmax=2, out=numbers)
    service._cluster(obs_config, prefix, ind=1, sbmin=3, sbmax=4, out=numbers)
    assert numbers.tolist() == [3, 1]
    path = observed.output / "triggers" / "data" / "data_full.hdf5"
    assert service._merge_hdf5(obs_config, path) == 3
    assert service._classify(obs_config, path).endswith(f"CB{BEAM:02d}_candidates_summary")
    service._merge_plots(obs_config)
    service._gather_results(
        obs_config, ncand_raw=4, ncand_trigger=4, ncand_skipped=0, ncand_abovethresh=3, ncand_classifier=3
    )
    check_complete(observed)


def test_tied_array_beams_are_processed_each_by_itself(observe):
    observed = observe(
        process_sb=False, snrmin_processing_local=0.0, pthresh_freqtime=0.0, pthresh_dmtime=0.0
    )
    tabs = [Burst(3.0, 200.0, 12.0, 4, tab) for tab in range(3)]
    observed.amber[0].write_text(header() + "".join(map(row, tabs)))
    observed.amber[1].write_text(header())
    account = process_here(observed)
    assert account.numbers["ncand_trigger"] == 3 and not account.problems
    text = (observed.results / f"CB{BEAM:02d}_triggers.txt").read_text()
    assert text.startswith("# SNR DM Width T0 p TAB\n")
    with h5py.File(observed.output / "triggers" / "data" / "data_full.hdf5") as file:
        assert sorted(file["tab"]) == [0, 1, 2] and "sb" not in file
    page = PdfReader(observed.results / f"CB{BEAM:02d}_candidates_summary.pdf").pages[0].extract_text()
    assert "TAB 2" in page and "SB" not in page


def test_the_incoherent_beam_is_processed_where_there_is_one_tab(observe):
    observed = observe(snrmin_processing_local=3.0)
    observed.obs_config["ntabs"] = 1
    for path in (observed.output / "filterbank").glob("*_*.fil"):
        path.unlink()
    observed.amber[0].write_text(header() + row(Burst(3.0, 200.0, 12.0, 4, 0)))
    observed.amber[1].write_text("")
    account = process_here(observed)
    assert account.numbers["ncand_abovethresh"] == 1
    assert [one for one in account.problems if "is empty" not in one] == []


def broken_filterbanks(observed):
    for path in (observed.output / "filterbank").iterdir():
        path.unlink()
    return "4 of 4 clusters skipped: filterbank missing: .*there is no such file"


def other_geometry(observed):
    config = yaml.safe_load(observed.config.read_text())
    config["instrument"]["nchan"] = 64
    observed.config.write_text(yaml.safe_dump(config))
    return "4 of 4 clusters skipped: filterbank of the wrong geometry: .*256 channels instead of 64"


def no_triggers(observed):
    for path in observed.amber:
        path.unlink()
    return "amber: failed: no trigger files of AMBER: .*step1.trigger: there is no such file"


def one_instance_missing(observed):
    observed.amber[0].unlink()
    return "amber: .*step1.trigger: there is no such file"


def no_amber_settings(observed):
    observed.obs_config["amber_config"] = "/nowhere/amber.conf"
    return "amber: how many files AMBER should have written is not known: /nowhere/amber.conf: "


def no_parset(observed):
    (observed.output.parents[2] / "controller" / "parset" / "darc_master.parset").unlink()
    config = yaml.safe_load(observed.config.read_text())
    config["amber_clustering"] = {"galaxy_model": "ymw16"}
    observed.config.write_text(yaml.safe_dump(config))
    return "cluster: DMs from dmmin on, 20, since the Galactic DM is not known: no observation parset"


def no_model(observed):
    config = yaml.safe_load(observed.config.read_text())
    config["offline_processing"]["model_dmtime"] = "absent.onnx"
    observed.config.write_text(yaml.safe_dump(config))
    return "classify: failed: .*absent.onnx: there is no such model"


def no_time(observed):
    config = yaml.safe_load(observed.config.read_text())
    config["offline_processing"]["max_proc_time"] = 1e-9
    observed.config.write_text(yaml.safe_dump(config))
    return r"extract: 4 of 4 clusters skipped: no time left \(max_proc_time\)"


@pytest.mark.parametrize(
    "spoil",
    [
        broken_filterbanks,
        other_geometry,
        no_triggers,
        one_instance_missing,
        no_amber_settings,
        no_parset,
        no_model,
        no_time,
    ],
)
def test_what_is_wrong_is_named_in_log_and_summary_and_the_rest_goes_on(observe, spoil, caplog):
    observed = observe()
    message = spoil(observed)
    account = process_here(observed)
    (problem,) = [one for one in account.problems if re.search(message, one)]
    assert problem in observed.summary().problems
    assert problem.partition(": ")[2].removeprefix("failed: ") in caplog.text
