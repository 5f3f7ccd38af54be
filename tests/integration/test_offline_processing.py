"""Whole observations after their end: from AMBER's files and filterbanks to results."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import h5py
import pytest
import yaml

from darc.definitions import Instrument
from darc.formats.amber import format_row, header
from darc.formats.offline_results import parse_summary, parse_triggers
from darc.formats.parset import load_obs_config
from darc.offline.command import main
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
    "nchan": 128,
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

    def __init__(self, folder, filterbanks, number=1):
        observation = Observation(
            f"FAKE{number}", START, DURATION_S, beams=(BEAM,), source_beam=BEAM, number=number,
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

    def observe(number=1, **settings):
        content = {
            "instrument": SMALL,
            "nodes": {"workers": {"here": BEAM}},
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 50.0},
            "processor": {
                "extractor": {"rfi_apply_mask": False},
                "visualizer": {"plot_types": ["freq_time"]},
            },
            "offline_processing": {
                "log_file": str(tmp_path / "log"),
                "result_dir": str(tmp_path / "results"),
            }
            | settings,
            "sb_generator": {
                "numtab": {"sc4": SMALL["ntab"]},
                "numsb": {"sc4": SMALL["nsynthesised_beam"]},
                "table_folder": str(tmp_path),
            },
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        return Observed(tmp_path, filterbanks, number)

    return observe


def test_bursts_come_through_from_files_to_results(observe, capsys):
    observed = observe()
    assert observed.process() == 0, capsys.readouterr()
    summary = observed.summary()
    assert (summary.ncand_raw, summary.ncand_trigger, summary.ncand_abovethresh) == (4, 4, 3), summary
    assert (summary.ncand_skipped, summary.ncand_classifier, summary.problems) == (0, 3, ())
    found = sorted(observed.triggers(), key=lambda trigger: trigger.time_s)
    assert [(one.dm, one.beam) for one in found] == [(burst.dm, burst.sb) for burst in BURSTS]
    assert (observed.results / f"CB{BEAM:02d}_candidates_summary.pdf").read_bytes().startswith(b"%PDF")
    with h5py.File(observed.output / "triggers" / "data" / "data_full.hdf5") as file:
        shapes = {name: dataset.shape for name, dataset in file.items()}
    assert shapes == {
        "data_freq_time": (3, 64, 64), "data_dm_time": (3, 64, 64), "params": (3, 5), "sb": (3,),
        "ntriggers_skipped": (1,),
    }  # fmt: skip
