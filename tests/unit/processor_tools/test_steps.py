"""The steps of an observation, each alone: what they answer to what they are given."""

import errno
import os
import queue
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from darc.definitions import Instrument
from darc.errors import DARCError
from darc.formats import candidate as candidates
from darc.formats.amber import header
from darc.formats.amber_config import count_instances
from darc.formats.filterbank import build_header
from darc.formats.parset import load_obs_config
from darc.formats.results import parse_pulses
from darc.processor_tools.beam_extractor import extraction_settings
from darc.processor_tools.classifier import Classifier
from darc.processor_tools.clustering import FINISH, Clustering
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.hub import Processor
from darc.processor_tools.ledger import Cluster
from darc.processor_tools.messages import Classify, Draw, Drawn, Extract, Refused
from darc.processor_tools.visualizer import Visualizer
from darc.science.extraction import Settings
from darc.science.rfi import Cleaning
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter, filterbank_file, filterbank_header
from darc.simulation.observation import Observation
from darc.simulation.sky import Burst, Sky

BEAM = 3
START = datetime(2026, 1, 1, tzinfo=UTC)
INSTRUMENT = Instrument(
    ntab=2, nsynthesised_beam=3, nsubband=4, nchan=128, tsamp_s=1.024e-3, samples_per_batch=1000
)
BURST = Burst(2.0, 100.0, 30.0, 4, 1)
CLUSTER = Cluster(0, BURST.dm, BURST.snr, BURST.time_s, BURST.width_samples, 1)
DURATION_S = 4.096


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filterbank")
    sky = FilterbankSky(Sky(DURATION_S, bursts=(BURST,)), instrument=INSTRUMENT)
    FilterbankWriter(folder, BEAM, sky, start_unix=START.timestamp(), speed=1e9, incoherent=True).run()
    return folder


@pytest.fixture
def step(tmp_path, data):
    """Return a function that makes a step, set up in this process."""

    def step(kind, instrument=INSTRUMENT, ntabs=2, **sections):
        settings = "".join(f"  {name}: {{{text}}}\n" for name, text in sections.items())
        (tmp_path / "config.yaml").write_text(
            "instrument: {ntab: 2, nsynthesised_beam: 3, nsubband: 4, nchan: 128, tsamp_s: 1.024e-3,"
            f" samples_per_batch: 1000}}\nnodes: {{workers: {{here: {BEAM}}}}}\n"
            "amber_clustering: {galaxy_model: none, galactic_dm_max: 50}\n"
            f"sb_generator: {{numtab: {{sc4: 2}}, numsb: {{sc4: 3}}, table_folder: {tmp_path}}}\n"
            f"processor:\n  result_dir: {tmp_path}/results\n  log_file: {tmp_path}/log\n{settings}"
        )
        observation = Observation(
            "FAKE", START, DURATION_S, beams=(BEAM,), source_beam=BEAM, instrument=instrument
        )
        obs_config = load_obs_config(observation.write(tmp_path).workers[BEAM]) | {"ntabs": ntabs}
        hub = Processor(queue.Queue(), config_file=tmp_path / "config.yaml", node="here")
        hub._add_crew = lambda *_: None
        hub.start_observation(obs_config, reload=False)
        for path in data.iterdir():
            target = hub.beam.filterbanks[0].with_name(path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        made = kind(
            "step 1",
            hub.beam,
            queue.Queue(),
            queue.Queue(),
            config_file=tmp_path / "config.yaml",
            node="here",
        )
        steps.append(made)
        made.prepare()
        return made

    steps = []
    yield step
    for made in steps:
        made.cleanup()


def answer(step):
    return step.target_queue.get(block=False)["content"]


# --- extractor ---------------------------------------------------------------------------------------------

NO_MASK = "rfi_apply_mask: false"


def extract(step, cluster=CLUSTER, last_chance=True):
    step.work(Extract(cluster, last_chance))
    return answer(step)


def test_a_cluster_becomes_a_file_that_holds_the_burst(step):
    extracted = extract(step(Extractor, extractor=NO_MASK))
    found = candidates.read(extracted.path)
    assert (found.dm, found.sb, found.dm_amber, found.toa_amber_s) == (100.0, 1, 100.0, 2.0)
    middle_s = BURST.time_s + BURST.width_samples / 2 * INSTRUMENT.tsamp_s
    assert found.toa_s == pytest.approx(middle_s, abs=found.bin_s / 2)
    assert np.argmax(found.data_freq_time.mean(axis=0)) == found.data_freq_time.shape[1] // 2


# the width of the pulse taken for the length of a bin
def test_of_a_burst_narrower_than_its_bins_the_width_is_told_and_the_length_of_a_bin(step):
    wide = replace(CLUSTER, width=8 * BURST.width_samples)
    extracted = extract(step(Extractor, extractor=NO_MASK), wide)
    found = candidates.read(extracted.path)
    assert found.downsamp_amber == wide.width
    assert found.downsamp < found.nsamp_bin == wide.width
    assert f"_DS{found.downsamp}_" in extracted.path.name


def test_the_incoherent_beam_is_taken_where_there_is_one_tab(step):
    one = step(Extractor, ntabs=1, extractor="rfi_apply_mask: false, snr_min_local: 1")
    assert [path.name for path in one.beam.filterbanks] == [f"CB{BEAM:02d}.fil"]
    assert extract(one).path is not None


# the whole processing ended by a disk that is full for a while
def test_a_full_disk_is_a_reason_and_named_and_the_next_candidate_is_stored(step, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    one = step(Extractor, extractor=NO_MASK)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert extract(one).reason == "file not written"
    assert "free space on the disk mounted at /" in caplog.text
    assert list(one.beam.candidate_folder.iterdir()) == []
    assert extract(one).path is not None


# one key under two names, so that a configured value is never used; thresholds swapped
def test_each_key_of_the_extraction_reaches_its_place(step):
    one = step(
        Extractor,
        extractor="dm_halfrange: 1, ndm: 2, ntime: 3, nfreq: 4, snr_min_local: 5, rfi_clean_type: both,"
        " rfi_threshold_time: 6, rfi_n_iter_time: 7, rfi_threshold_freq: 8, rfi_n_iter_freq: 9,"
        f" rfi_bin_size: 10, {NO_MASK}",
    )
    cleaning = Cleaning(
        clean_type="both", threshold_time=6, n_iter_time=7, threshold_freq=8, n_iter_freq=9, bin_size=10
    )
    assert extraction_settings(one.settings) == Settings(
        dm_halfrange=1, ndm=2, ntime=3, nfreq=4, snr_min_local=5, cleaning=cleaning
    )


# an RFI mask turned around with an off-by-one
@pytest.mark.parametrize("lowest", [True, False])
def test_channels_of_the_mask_are_counted_from_the_lowest_frequency(step, tmp_path, lowest):
    channels = range(4) if lowest else range(124, 128)
    (tmp_path / "mask_1370.conf").write_text(" ".join(map(str, channels)))
    one = step(Extractor, extractor=f"rfi_mask: {tmp_path}/mask_FREQ.conf, nfreq: 32")
    power = np.abs(candidates.read(extract(one).path).data_freq_time).sum(axis=1)
    assert [power[0] == 0, power[-1] == 0] == [lowest, not lowest]
    assert (power[1:-1] > 0).all()


@pytest.mark.parametrize("text", ["128", "one"])
def test_without_a_usable_mask_the_data_are_extracted_all_the_same(step, tmp_path, text, caplog):
    (tmp_path / "mask").write_text(text)
    one = step(Extractor, extractor=f"rfi_mask: {tmp_path}/mask")
    assert "no channel is masked" in caplog.text
    assert extract(one).path is not None


def test_a_missing_file_is_waited_for_until_the_last_chance(step):
    one = step(Extractor, extractor=NO_MASK)
    one.beam.filterbanks[0].unlink()
    one.beam.filterbanks[1].unlink()
    for last_chance in (False, True):
        extracted = extract(one, last_chance=last_chance)
        assert (extracted.too_early, extracted.reason) == (not last_chance, "filterbank missing")


# shorter than announced, or a recording that stopped
def test_a_file_that_is_too_short_is_waited_for_and_then_what_there_is_has_to_do(step):
    one = step(Extractor, extractor=NO_MASK)
    for path in one.beam.filterbanks:
        os.truncate(path, path.stat().st_size * 11 // 20)
    assert extract(one, last_chance=False).too_early
    assert extract(one).path is not None
    for path in one.beam.filterbanks:
        os.truncate(path, path.stat().st_size // 2)
    assert extract(one).reason == "not in the data"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nchan": 64}, "64 channels instead of 128"),
        ({"tsamp_s": 2e-3}, "0.002 s of sampling time"),
        ({"fch1_mhz": 1600.0}, "centred on"),
        ({"foff_mhz": -1.0}, "1 MHz wide channels"),
    ],
)
def test_data_of_another_geometry_are_refused_by_what_differs(step, change, said, caplog):
    one = step(Extractor, extractor=NO_MASK)
    for path in one.beam.filterbanks:
        head = replace(filterbank_header(INSTRUMENT, START.timestamp(), beam=BEAM), **change)
        path.write_bytes(build_header(head) + bytes(4000 * head.nchan))
    assert extract(one).reason == "filterbank of the wrong geometry"
    assert said in caplog.text


def test_a_file_that_is_no_filterbank_is_skipped(step):
    one = step(Extractor, extractor=NO_MASK)
    one.beam.filterbanks[0].write_bytes(b"not a filterbank" * 100)
    assert extract(one).reason == "filterbank not readable"


def test_noise_is_too_faint(step):
    faint = replace(CLUSTER, time_s=1.0, width=1)
    assert extract(step(Extractor, extractor=NO_MASK), faint).reason == "too faint in the data"


def test_a_beam_that_does_not_exist_is_skipped(step):
    one = step(Extractor, extractor=NO_MASK)
    assert extract(one, replace(CLUSTER, sb=3)).reason == "no such synthesised beam"


def test_a_folder_that_cannot_be_written_is_a_reason(step, caplog):
    one = step(Extractor, extractor=NO_MASK)
    one.beam.work_folder.parent.mkdir(parents=True, exist_ok=True)
    one.beam.work_folder.write_text("in the way")
    assert extract(one).reason == "file not written"
    assert str(one.beam.candidate_folder) in caplog.text


def test_tabs_that_no_table_fits_are_refused_at_the_start(step):
    with pytest.raises(DARCError, match="no synthesised beams are known for 7 TABs"):
        step(Extractor, ntabs=7, extractor=NO_MASK)


def test_the_file_of_the_incoherent_beam_has_the_documented_name(data):
    assert filterbank_file(data, BEAM).name == "CB03.fil"


# --- clustering --------------------------------------------------------------------------------------------


def row(dm, snr, time_s=1.0, width=4, sb=35):
    batch = int(time_s / INSTRUMENT.batch_s)
    sample = round((time_s - batch * INSTRUMENT.batch_s) / INSTRUMENT.tsamp_s)
    return f"{sb} {batch} {sample} {width} {width} {time_s:.6g} 0 {dm} 1 {snr}"


def group(step, *lines):
    step.process_command({"command": "trigger", "trigger": list(lines)})
    step.process_command(FINISH)
    return answer(step)


LIMITS = "dm_min: 20, dm_max: 500, snr_min_clustering: 8, snr_min: 10, width_max: 50"


def test_rows_become_clusters_within_the_limits(step):
    rows = [
        row(100, 12),
        row(101, 11),
        row(10, 30),
        row(600, 30, 2.0),
        row(300, 9, 3.0),
        row(200, 20, 4.0, 100),
    ]
    grouped = group(step(Clustering, clustering=LIMITS), header(), *rows)
    assert grouped.clusters == ((100.0, 12.0, 1.0, 4, 35),)
    assert (grouped.rows, grouped.header_seen, grouped.finished) == (6, True, True)


@pytest.mark.parametrize(("method", "number"), [("linked", 1), ("windows", 2)])
def test_a_burst_on_the_border_of_two_batches_is_one_linked_cluster(step, method, number):
    border_s = 3 * INSTRUMENT.batch_s
    one = step(Clustering, clustering=f"dm_min: 20, method: {method}")
    rows = row(101, 12, border_s - 0.002, width=1), row(100, 30, border_s + 0.0005, width=1)
    assert len(group(one, header(), *rows).clusters) == number


def test_what_waits_for_the_next_batch_is_told_when_that_does_not_come(step):
    border_s = 3 * INSTRUMENT.batch_s
    one = step(Clustering, clustering="dm_min: 20, method: linked")
    rows = row(100, 12, border_s - 0.002, width=1), row(300, 15, border_s + 3.0)
    for instance in range(count_instances(one.beam.obs_config["amber_config"])):  # all are beyond the batch
        one.process_command({"command": "trigger", "trigger": [*rows[instance > 0 :]], "step": instance + 1})
    one.do_what_is_due()
    assert answer(one).clusters == ()
    assert 0 < one.due_in() < 10
    one.monotonic = lambda: time.monotonic() + 100.0
    one.do_what_is_due()
    assert [cluster[0] for cluster in answer(one).clusters] == [100.0]


def test_minus_one_is_no_limit(step):
    one = step(Clustering, clustering="dm_min: 0, dm_max: -1, width_max: -1")
    grouped = group(one, header(), row(9000, 12, width=2000))
    assert [cluster[0] for cluster in grouped.clusters] == [9000.0]


def test_every_cluster_is_listed_as_soon_as_it_is_found(step):
    one = step(Clustering)
    group(one, header(), row(100, 12.345), row(50, 20, 3.0))
    path = one.beam.work_folder / "grouped_pulses.singlepulse"
    assert sorted((pulse.dm, pulse.snr) for pulse in parse_pulses(path.read_text())) == [
        (50, 20),
        (100, 12.35),
    ]
    one.prepare()  # it died, and another one takes over
    group(one, row(70, 30, 5.0))
    assert [pulse.dm for pulse in parse_pulses(path.read_text())][-1] == 70


def test_a_file_with_only_a_header_is_told_from_none(step):
    assert group(step(Clustering), header()).header_seen
    assert not group(step(Clustering)).header_seen


def test_a_storm_is_told_in_messages_of_a_limited_size(step):
    one = step(Clustering, clustering="snr_min: 8, dm_min: 0, clustering_window: 0.01")
    one.process_command(
        {"command": "trigger", "trigger": [header(), *(row(100, 12, i * 0.02) for i in range(2500))]}
    )
    one.process_command(FINISH)
    told = [one.target_queue.get(block=False)["content"] for _ in range(one.target_queue.qsize())]
    assert max(len(grouped.clusters) for grouped in told) <= 1000
    assert sum(grouped.rows for grouped in told) == sum(len(grouped.clusters) for grouped in told) == 2500
    assert [grouped.finished for grouped in told] == [False] * (len(told) - 1) + [True]


def test_a_message_that_holds_no_lines_is_refused(step):
    with pytest.raises(DARCError, match="a line of AMBER"):
        step(Clustering).process_command({"command": "trigger", "trigger": 5})


# --- classifier and visualiser -----------------------------------------------------------------------------


def stored(step, pulse):
    rng = np.random.default_rng(1)
    freq_time, dm_time = rng.standard_normal((2, 64, 64)).astype(np.float32)
    freq_time[:, 32] += pulse
    values = (1e-3, 1, 100.0, 12.0, 2.0, 4, 100.0, 12.0, 2.0, 4)
    return candidates.write(
        step.beam.candidate_folder / f"{pulse}.hdf5",
        candidates.Candidate(freq_time, dm_time, np.linspace(90, 110, 64), *values),
    )


def test_a_burst_is_kept_and_noise_is_not_and_both_get_their_probabilities(step):
    one = step(Classifier)
    for pulse, keep in ((5.0, True), (0.0, False)):
        path = stored(one, pulse)
        one.work(Classify(0, path))
        assert answer(one).keep is keep
        found = candidates.read(path)
        assert (found.prob_freqtime >= 0.5) is keep and 0 <= found.prob_dmtime <= 1


def test_both_thresholds_count(step):
    one = step(Classifier, classifier="thresh_dmtime: 1.0")
    one.work(Classify(0, stored(one, 5.0)))
    assert not answer(one).keep


def test_a_damaged_candidate_is_a_reason(step, caplog):
    one = step(Classifier)
    path = stored(one, 5.0)
    path.write_bytes(path.read_bytes()[:3000])
    one.work(Classify(4, path))
    answered = answer(one)
    assert (answered.number, answered.keep, answered.reason) == (4, False, "damaged or not written")
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classifier": "nfreq: 16"}, r"freqtime\.onnx.*\('n', 1, 32, 64\).*\(n, 16, 64\)"),
        ({"extractor": "nfreq: 16"}, r"classifier\.nfreq is 32, but extractor\.nfreq only 16"),
        ({"classifier": "model_dir: /nowhere"}, r"/nowhere/freqtime\.onnx: there is no such model"),
    ],
)
def test_models_that_do_not_fit_are_refused_at_the_start_and_the_hub_is_told(
    step, settings, said, monkeypatch
):
    told = []
    monkeypatch.setattr(Classifier, "answer", lambda self, content: told.append(content))
    with pytest.raises(DARCError, match=said):
        step(Classifier, **settings)
    assert isinstance(told[0], Refused) and told[0].worker == "step 1"


# plots of a whole page lost because one candidate's file is damaged
def test_a_damaged_candidate_costs_its_own_panel_only(step, caplog):
    one = step(Visualizer, visualizer="nplot_per_side: 2, plot_types: [freq_time]")
    good, damaged = stored(one, 5.0), stored(one, 0.0)
    damaged.write_bytes(b"")
    one.work(Draw((good, damaged)))
    assert isinstance(answer(one), Drawn)
    assert (one.beam.result_folder / "CB03.pdf").stat().st_size > 1000
    assert f"{damaged}: not plotted" in caplog.text
    assert [path.name for path in (one.beam.result_folder / "CB03_pictures").iterdir()] == ["000.png"]


def test_pages_that_cannot_be_written_are_an_error_in_the_log_and_over(step, caplog):
    one = step(Visualizer)
    one.beam.result_folder.parent.parent.mkdir()
    one.beam.result_folder.parent.write_text("in the way")
    one.work(Draw(()))
    assert isinstance(answer(one), Drawn)
    assert "no plots" in caplog.text


@pytest.mark.parametrize("kind", [Clustering, Extractor, Classifier, Visualizer])
def test_work_of_another_step_is_refused(step, kind):
    with pytest.raises(DARCError, match="cannot do this"):
        step(kind).process_command({"command": "something", "content": 5})
