"""Observations processed by the workers of a dask cluster on this machine."""

import os
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from darc.config import load_config
from darc.definitions import Instrument
from darc.formats.amber import format_row, header
from darc.formats.offline_results import OfflineSummary, parse_summary
from darc.formats.parset import load_obs_config
from darc.offline.command import main
from darc.offline.dask_run import connected, process_all
from darc.offline.dask_workers import DaskWorkers
from darc.offline.extract import extract_chunk
from darc.offline.plan import Account
from darc.offline.process import process
from darc.offline.work import Work
from darc.offline.workers import ThisProcess
from darc.simulation.amber_writer import trigger_file
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter
from darc.simulation.observation import Observation
from darc.simulation.sky import Burst, Sky

BEAMS, DURATION_S = (3, 4), 8.192
SMALL = {
    "ntab": 3,
    "nsynthesised_beam": 5,
    "nsubband": 8,
    "nchan": 128,
    "tsamp_s": 1.024e-3,
    "samples_per_batch": 1000,
}
INSTRUMENT = Instrument(**SMALL)
BURSTS = (Burst(0.01, 60.0, 30.0, 2, 1), Burst(3.0, 200.0, 30.0, 4, 2), Burst(6.0, 150.0, 25.0, 4, 3))
FALSE_ALARM = Burst(4.5, 300.0, 11.0, 4, 0)
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(burst):
    batch, rest_s = divmod(burst.time_s, INSTRUMENT.batch_s)
    width = burst.width_samples
    sample = round(rest_s / INSTRUMENT.tsamp_s) // width
    return format_row(
        beam=burst.sb, batch=int(batch), sample=sample, integration_step=width, time_s=burst.time_s,
        dm=burst.dm, snr=burst.snr,
    )  # fmt: skip


class Observed:
    """Two beams of an observation that has ended."""

    def __init__(self, folder):
        self.folder = folder
        observation = Observation(
            "FAKE", START, DURATION_S, beams=BEAMS, source_beam=3, instrument=INSTRUMENT, ninstance=1
        )
        files = observation.write(folder)
        self.parsets = [str(files.workers[beam]) for beam in BEAMS]
        self.obs_configs = [load_obs_config(parset) for parset in self.parsets]
        self.outputs = [Path(obs_config["output_dir"]) for obs_config in self.obs_configs]
        sky = FilterbankSky(Sky(DURATION_S, bursts=BURSTS), instrument=INSTRUMENT)
        for beam, output in zip(BEAMS, self.outputs, strict=True):
            (output / "filterbank").mkdir(parents=True)
            FilterbankWriter(output / "filterbank", beam, sky, start_unix=START.timestamp(), speed=1e9).run()
            rows = "".join(map(row, (*BURSTS, FALSE_ALARM)))
            trigger_file(files.amber_dirs[beam], beam, 1).write_text(header() + rows)
        self.results = folder / "results" / self.obs_configs[0]["date"] / observation.date_time_source
        self.config = folder / "config.yaml"
        content = {
            "instrument": SMALL,
            "nodes": {"workers": {"here": 3}},
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 50.0},
            "offline_processing": {
                "log_file": str(folder / "log"),
                "result_dir": str(folder / "results"),
                "clean_type": "none",
                "dmgal_frac": 0.0,
                "snrmin_processing_local": 8.0,
            },
            "sb_generator": {
                "numtab": {"sc4": SMALL["ntab"]},
                "numsb": {"sc4": SMALL["nsynthesised_beam"]},
                "table_folder": str(folder),
            },
            "processor": {"visualizer": {"plot_types": ["freq_time"]}},
        }
        self.config.write_text(yaml.safe_dump(content))

    def process(self, *arguments):
        return main([*self.parsets, "--site-config", str(self.config), "--node", "here", *arguments])

    @property
    def works(self):
        config = load_config(self.config, "here")
        return [Work.of(obs_config, config) for obs_config in self.obs_configs]

    def take_files(self):
        """Return the content of all that was made, and remove it."""
        folders = [*(output / "triggers" for output in self.outputs), self.results]
        found = {
            path.relative_to(self.folder): path.read_bytes()
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return found

    def summary(self):
        return parse_summary((self.results / f"CB{BEAMS[0]:02d}_summary.yaml").read_text())


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    return Observed(tmp_path_factory.mktemp("observed"))


@pytest.fixture(scope="module")
def client():
    with connected(None, 2) as client:
        yield client


def test_the_files_are_those_of_the_serial_run_byte_for_byte(observed, client, capsys):
    for work in observed.works:
        process(work, Account(), workers=ThisProcess())
    serial = observed.take_files()
    assert observed.process("--scheduler", client.scheduler.address) == 0, capsys.readouterr()
    spread = observed.take_files()
    assert spread.keys() == serial.keys()
    assert [path for path in serial if serial[path] != spread[path]] == []
    assert "[2 of 2]" in capsys.readouterr().out
    log = (observed.folder / "log").read_text()
    # of all workers, in the lines of the observation, and each once
    assert (
        log.count("offline_processing [2026-01-01-00:00:00.FAKE ") >= log.count(": extracted with S/N") == 6
    )


def die_once(chunk):
    try:
        (chunk.job.folder.parents[3] / "fatal").unlink()
    except FileNotFoundError:
        return extract_chunk(chunk)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_costs_the_repetition_of_its_task(observed, client, monkeypatch):
    monkeypatch.setattr("darc.offline.extract.extract_chunk", die_once)
    fatal = observed.outputs[0] / "fatal"
    fatal.touch()
    outcomes = []
    process_all(observed.works[:1], client, outcomes.append)
    (outcome,) = outcomes
    assert outcome.good and not fatal.exists()
    assert observed.summary() == OfflineSummary(
        ncand_raw=4, ncand_trigger=4, ncand_skipped=0, ncand_abovethresh=3, ncand_classifier=3
    )
    observed.take_files()


def deadly(task):
    if task == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return task.upper()


def test_a_task_that_its_workers_die_of_has_no_result_and_the_others_have(client):
    tasks = ["one", "deadly", "two"]
    found = dict(DaskWorkers(client).results(deadly, tasks, lambda: None))
    assert found == {"one": "ONE", "deadly": None, "two": "TWO"}
