"""The steps on the way from AMBER's rows to candidates, each alone."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from darc import logs
from darc.config import load_config
from darc.config_files import PACKAGED
from darc.errors import DARCError
from darc.offline import extract, master
from darc.offline.classify import first_gpu
from darc.offline.clusters import find_clusters, grouped, lowest_dm, read_clusters
from darc.offline.command import main
from darc.offline.extract import Outcome, extract_clusters, read_extracted
from darc.offline.plan import Account, Interrupted, OfflineError
from darc.offline.progress import Progress
from darc.offline.work import Mode, Work
from darc.offline.workers import ThisProcess

OBS_CONFIG = {
    "startpacket": 1243000000000000,
    "duration": 60.0,
    "beam": 3,
    "ntabs": 12,
    "date": "20190518",
    "datetimesource": "2019-05-18-23:51:13.FAKE",
}
ROW = "{sb} 0 0 4 4 {time} 0 {dm} 1 {snr}\n"


@pytest.fixture
def work(tmp_path):
    def work(obs_config=OBS_CONFIG, **settings):
        config = load_config(PACKAGED)
        galaxy = config.amber_clustering.model_copy(update={"galaxy_model": "none", "galactic_dm_max": 100.0})
        config = config.model_copy(
            update={
                "offline_processing": config.offline_processing.model_copy(
                    update={"result_dir": tmp_path / "results"} | settings
                ),
                "amber_clustering": galaxy,
            }
        )
        return Work.of(obs_config | {"output_dir": str(tmp_path)}, config)

    return work


def triggers(*rows):
    return np.array(rows, float).reshape(-1, 5)


def test_beams_are_chosen_by_the_observation_and_the_configuration(work):
    assert work().mode is Mode.SB and not work().tied_array
    assert work(process_sb=False).mode is Mode.TAB
    one = work(OBS_CONFIG | {"ntabs": 1})
    assert one.mode is Mode.IAB and [path.name for path in one.beam.filterbanks] == ["CB03.fil"]


# one key under two names, so that a configured value is never used; thresholds swapped
def test_each_key_of_the_configuration_reaches_its_place(work):
    one = work(ndm=2, ntime_plot=3, nfreq_plot=4, snrmin_processing_local=5, clean_type="both", cmap="magma")
    found = one.extractor
    assert (found.ndm, found.ntime, found.nfreq, found.snr_min_local) == (2, 3, 4, 5)
    assert found.rfi_clean_type == "both" and found.rfi_mask == one.config.processor.extractor.rfi_mask
    assert one.visualizer.cmap_freqtime == one.visualizer.cmap_dmtime == "magma"


def test_files_that_are_named_are_used_instead(work):
    assert [p.name for p in work().with_files("/d/CB00", None).beam.filterbanks[:2]] == [
        "CB00_00.fil",
        "CB00_01.fil",
    ]
    assert str(work().with_files("/d/x.fil", 2).beam.filterbanks[2]) == "/d/x.fil"
    assert str(work(OBS_CONFIG | {"ntabs": 1}).with_files("/d/x.fil", 0).beam.filterbanks[0]) == "/d/x.fil"


def test_each_beam_is_clustered_by_itself_the_brightest_first(work):
    one = work()
    rows = triggers((200, 20, 1.0, 4, 5), (201, 12, 1.01, 8, 5), (200, 30, 1.0, 4, 7), (200, 25, 9.0, 2, 5))
    found = grouped(rows, one, one.part(), 0.0)
    assert found == [(200, 30, 1.0, 4, 7), (200, 25, 9.0, 2, 5), (200, 20, 1.0, 4, 5)]
    assert grouped(rows, one, one.part(6, 9), 0.0) == found[:1]


@pytest.mark.parametrize("row", [(200, 7.9, 1.0, 4, 5), (39.9, 20, 1.0, 4, 5), (500.1, 20, 1.0, 4, 5)])
def test_rows_outside_of_the_limits_give_no_cluster(work, row):
    one = work(snrmin_processing=8.0, dmmax=500.0)
    assert grouped(triggers(row), one, one.part(), 40.0) == []


@pytest.mark.parametrize(("dmmin", "share", "lowest"), [(20, 0.8, 80), (90, 0.8, 90), (20, 0, 20)])
def test_the_lowest_dm_is_the_higher_one_of_two_limits(work, dmmin, share, lowest):
    assert lowest_dm(work(dmmin=dmmin, dmgal_frac=share)) == (lowest, [])


def test_without_a_direction_the_limit_of_the_configuration_is_taken_and_that_is_said(work):
    one = work(dmmin=20, dmgal_frac=0.8)
    one = replace(one, config=load_config(PACKAGED))
    lowest, (problem,) = lowest_dm(one)
    assert lowest == one.settings.dmmin and "the Galactic DM is not known: no observation parset" in problem


def write_rows(one, *rows):
    one.folder.mkdir(exist_ok=True)
    one.amber.write_text("".join(ROW.format(sb=sb, time=t, dm=dm, snr=snr) for sb, t, dm, snr in rows))


def test_clusters_are_read_as_they_were_found(work):
    one = work()
    write_rows(one, (5, 1.5, 200, 20), (7, 3.25, 300.123, 30))
    one.amber.write_text(one.amber.read_text() + "nonsense\n")
    done = find_clusters(one, one.part(), Account())
    assert done.numbers == {"ncand_raw": 2, "ncand_trigger": 2}
    assert done.problems == ["1 malformed lines of AMBER, the first of which: 'nonsense'"]
    assert [(c.number, c.dm, c.snr, c.time_s, c.width, c.sb) for c in read_clusters(one.part())] == [
        (0, 300.123, 30, 3.25, 4, 7),
        (1, 200, 20, 1.5, 4, 5),
    ]


def test_a_beam_is_in_one_part_only(work):
    one = work()
    write_rows(one, (5, 1.5, 200, 20))
    for first, last in ((0, 5), (6, 9), (5, 5)):
        find_clusters(one, one.part(first, last), Account())
    assert [(part.first, part.last) for part in one.parts] == [(5, 5), (6, 9)]


class Clock:
    """Advances by 1 s whenever it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def clustered(work, monkeypatch):
    """Return a function that makes work with ten clusters, which are never found in data."""

    def clustered(**settings):
        one = work(**settings)
        write_rows(one, *((5, 2.0 * i, 200, 20 + i) for i in range(10)))
        find_clusters(one, one.part(), Account())
        return one

    monkeypatch.setattr(extract, "CHUNK", 2)
    return clustered


def faint(chunk):
    return [Outcome(cluster.number, extract.TOO_FAINT) for cluster in chunk.clusters]


def test_what_there_is_no_time_for_is_counted_the_brightest_are_done(clustered, monkeypatch):
    monkeypatch.setattr(extract, "extract_chunk", faint)
    one = clustered(max_proc_time=3.5)
    done = extract_clusters(one, one.part(), ThisProcess(), Account(), clock=Clock())
    assert done.numbers == {"ncand_skipped": 4, "ncand_abovethresh": 0}
    assert done.problems == ["4 of 10 clusters skipped: no time left (max_proc_time)"]
    reasons = [outcome.reason for outcome in read_extracted(one.part())]
    assert reasons == [extract.TOO_FAINT] * 6 + [extract.NO_TIME] * 4


def test_after_an_interruption_only_the_rest_is_extracted(clustered, monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        extract, "extract_chunk", lambda chunk: looked_at.extend(chunk.clusters) or faint(chunk)
    )
    one = clustered()
    left = iter([False] * 3)
    with pytest.raises(Interrupted):
        extract_clusters(one, one.part(), ThisProcess(), Account(cancelled=lambda: next(left, True)))
    assert [cluster.number for cluster in looked_at] == list(range(6))
    extract_clusters(one, one.part(), ThisProcess(), Account())
    assert [cluster.number for cluster in looked_at] == list(range(10))


def test_a_cluster_that_workers_die_of_is_given_up_and_no_other_one(clustered, monkeypatch):
    monkeypatch.setattr(extract, "extract_chunk", faint)

    class Mortal(ThisProcess):
        def results(self, function, tasks, check):
            for task in tasks:
                deadly = any(cluster.number == 3 for cluster in task.clusters)
                yield task, None if deadly else function(task)

    one = clustered()
    done = extract_clusters(one, one.part(), Mortal(), Account())
    assert done.problems == ["1 of 10 clusters skipped: two workers died of it"]
    assert read_extracted(one.part())[3] == Outcome(3, extract.DEADLY)


def test_two_cannot_work_on_the_same_observation(work):
    one = work()
    stray = one.folder / "parts" / "0.hdf5.17.part"
    stray.parent.mkdir(parents=True)
    stray.touch()
    with one.locked():
        assert not stray.exists()
        with pytest.raises(OfflineError, match="is processed already"), one.locked():
            pass
    with one.locked():
        pass


@pytest.mark.parametrize(
    ("gpus", "first"), [(None, None), (1, 1), ([2, 3], 2), ("0,1", 0), ("", None), ([], None)]
)
def test_the_first_gpu_classifies(gpus, first):
    assert first_gpu(gpus) == first


def test_a_gpu_without_a_number_is_refused():
    with pytest.raises(DARCError, match="ml_gpus is 'all'"):
        first_gpu("all")


@pytest.mark.parametrize(
    ("terminal", "shown"), [(True, "\rx: merge\rx: merge\rx: merge 1 of 2"), (False, "x: merge\n")]
)
def test_a_step_that_counts_from_nought_is_told_once(terminal, shown):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    progress = Progress("x", stream)
    for done, total in ((0, 0), (0, 2), (1, 2)):
        progress.report("merge", done, total)
    assert stream.getvalue() == shown


def test_progress_counts_on_a_terminal_and_tells_steps_elsewhere():
    def told(terminal):
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        progress = Progress("obs", stream)
        for step, done, total in (("amber", 0, 0), ("extract", 0, 0), ("extract", 5, 12), ("plot", 0, 0)):
            progress.report(step, done, total)
        progress.end("complete", SimpleNamespace(numbers={"ncand_raw": 3}, problems=["bad"]))
        return stream.getvalue()

    assert told(False) == "obs: amber\nobs: extract\nobs: plot\nobs: complete: ncand_raw 3\nobs: bad\n"
    assert told(True).split("\n")[1] == "\robs: extract\robs: extract 5 of 12"


def test_on_the_master_node_the_command_summarises(tmp_path, monkeypatch, capsys):
    (tmp_path / "site.yaml").write_text(
        f"nodes: {{master: {{name: m}}}}\noffline_processing: {{log_file: {tmp_path}/log}}\n"
    )
    (tmp_path / "obs.yaml").write_text("datetimesource: 2019-05-18-23:51:13.FAKE\nbeams: [1, 2]\n")
    monkeypatch.setattr(logs, "set_up_logging", lambda *_: None)
    monkeypatch.setattr(master, "process", lambda _, __, account: account.problems.append("beam 2 is silent"))
    arguments = [str(tmp_path / "obs.yaml"), "--site-config", str(tmp_path / "site.yaml"), "--node", "m"]
    assert main(arguments) == 1
    assert "2019-05-18-23:51:13.FAKE: beam 2 is silent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"), [([], "same command goes"), (["--again"], "same command without --again goes")]
)
def test_who_interrupts_is_told_how_to_go_on(tmp_path, monkeypatch, capsys, options, told):
    def interrupt(*_):
        raise KeyboardInterrupt

    (tmp_path / "site.yaml").write_text("nodes: {master: {name: m}}\n")
    monkeypatch.setattr(logs, "set_up_logging", interrupt)
    arguments = [str(tmp_path / "obs.yaml"), "--site-config", str(tmp_path / "site.yaml"), "--node", "m"]
    assert main([*arguments, *options]) == 130
    assert told in capsys.readouterr().err
