"""The hub of an observation, with steps that are no processes and clocks that stand still."""

import queue
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import numpy as np
import pytest

from darc.definitions import Instrument
from darc.formats import candidate as candidates
from darc.formats.parset import load_obs_config
from darc.formats.results import NOTHING_CAME, Summary, parse_summary, parse_triggers
from darc.processor_tools import crew as crews
from darc.processor_tools.clustering import FINISH
from darc.processor_tools.hub import DRAWING_STUCK_S, OVERDUE_S, Processor
from darc.processor_tools.messages import (
    Classified,
    Classify,
    Draw,
    Drawn,
    Extract,
    Extracted,
    Grouped,
    Refused,
    message,
)
from darc.processor_tools.result_folder import MAX_AGE_S, RETRY_S
from darc.simulation.observation import Observation

START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
START_UNIX = START.timestamp()
DURATION_S = 299.008
DELAY_S, STOP_DELAY_S = 5.0, 2.0
CLUSTER = (100.0, 12.0, 50.0, 10, 35)


class Worker:
    """A step as the hub sees it."""

    def __init__(self, name):
        self.name, self.inbox, self.living, self.ended = name, [], True, False
        self.full = self.reads_nothing = self.killed = False

    def alive(self):
        return self.living

    def send(self, message):
        if not self.full:
            self.inbox.append(message)
        return not self.full

    def unread(self):
        return self.reads_nothing and bool(self.inbox)

    def kill(self):
        self.killed = True  # one that waits for a disk lives on all the same

    def tell_to_end(self):
        self.ended = True

    def wait_and_kill(self):
        self.living = False

    def contents(self, kind):
        found = (message.get("content") for message in self.inbox)
        return [content for content in found if isinstance(content, kind)]


class Hub(Processor):
    def _hire(self, kind, name):
        self.hired[name] = Worker(name)
        return self.hired[name]


class Moment:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def hub(tmp_path):
    (tmp_path / "config.yaml").write_text(
        f"nodes: {{workers: {{here: 7}}}}\n"
        f"processor: {{result_dir: {tmp_path}/results, log_file: /nowhere/log, num_extractor: 2,"
        f" stop_delay: {STOP_DELAY_S}, extractor: {{delay: {DELAY_S}}}}}\n"
    )
    observation = Observation("somewhere", START, DURATION_S, beams=(7,), source_beam=7)
    hub = Hub(queue.Queue(), config_file=tmp_path / "config.yaml", node="here")
    hub.hired = {}
    hub.clock, hub.monotonic = Moment(START_UNIX), Moment(1000.0)
    hub.obs = load_obs_config(observation.write(tmp_path).workers[7])
    hub.folder = tmp_path / "results" / hub.obs["date"] / hub.obs["datetimesource"]
    hub.ends = []
    hub.stop = lambda: hub.ends.append(True)
    hub.start_observation(hub.obs, reload=False)
    return hub


def tell(hub, content):
    hub._handle(message(content))


def grouped(*clusters, rows=1, finished=False):
    return Grouped(rows, True, tuple(clusters), finished)


def worker(hub, name):
    return hub.hired[name]


def later(hub, seconds):
    hub.clock.now += seconds
    hub.monotonic.now += seconds
    hub.do_what_is_due()


def stored(folder, name="x", **probabilities):
    return candidates.write(
        folder / f"{name}.hdf5",
        candidates.Candidate(
            np.zeros((4, 8), np.float32), np.zeros((3, 8), np.float32), np.arange(3.0),
            81.92e-6, 35, 100.0, 11.5, 50.0004, 10, 100.0, 12.0, 50.0, 10, **probabilities,
        ),
    )  # fmt: skip


def finish(hub):
    """Stop the observation and answer for the clustering and the visualiser."""
    hub._handle({"command": "stop_observation", "obs_config": hub.obs})
    later(hub, STOP_DELAY_S)
    tell(hub, grouped(rows=0, finished=True))
    later(hub, DELAY_S + 1)


def draw(hub):
    later(hub, 1.0)
    tell(hub, Drawn("visualizer 1"))
    later(hub, 1.0)


# --- the way of a cluster ----------------------------------------------------------------------------------


def test_an_observation_starts_each_step_as_often_as_configured(hub):
    assert set(hub.hired) == {"clustering 1", "extractor 1", "extractor 2", "classifier 1"}


def test_rows_go_to_the_clustering(hub):
    rows = {"command": "trigger", "trigger": ["a line"]}
    hub._handle(rows)
    assert worker(hub, "clustering 1").inbox == [rows]


def test_a_cluster_is_handed_out_when_its_data_are_on_disk(hub):
    tell(hub, grouped(CLUSTER))
    # the delay of the band at this DM and the window after the pulse
    for seconds, handed in ((50.0 + DELAY_S, 0), (0.1, 0), (0.4, 1)):
        later(hub, seconds)
        assert len(worker(hub, "extractor 1").contents(Extract)) == handed
    assert not worker(hub, "extractor 1").contents(Extract)[0].last_chance


def test_the_service_wakes_up_when_a_cluster_is_ready_and_not_much_later(hub):
    hub.do_what_is_due()
    assert 0 < hub.due_in() <= 1.0
    tell(hub, grouped(CLUSTER))
    later(hub, 50.0 + DELAY_S)
    assert 0 < hub.due_in() < 1.0


def test_extractors_share_clusters_and_never_hold_more_than_two(hub):
    later(hub, 100.0)
    tell(hub, grouped(*[CLUSTER] * 7))
    later(hub, 0.0)
    both = [worker(hub, f"extractor {i}") for i in (1, 2)]
    assert [len(one.contents(Extract)) for one in both] == [2, 2]
    for one in both:
        tell(hub, Extracted(one.name, one.contents(Extract)[0].cluster.number, reason="too faint"))
    assert [len(one.contents(Extract)) for one in both] == [3, 3]


def test_a_cluster_that_cannot_be_in_the_data_is_counted_and_skipped(hub, caplog):
    tell(hub, grouped((100.0, 12.0, -3.0, 10, 35)))
    assert hub.ledger.clusters == 1 and hub.ledger.skipped == {"not in the data": 1}
    assert "at least 0" in caplog.text


def test_data_that_are_late_are_asked_for_again(hub):
    tell(hub, grouped(CLUSTER))
    later(hub, 60.0)
    extractor = worker(hub, "extractor 1")
    tell(hub, Extracted(extractor.name, 0, reason="filterbank too short", too_early=True))
    later(hub, DELAY_S - 0.1)
    assert len(extractor.contents(Extract)) == 1
    later(hub, 0.2)
    assert len(extractor.contents(Extract)) == 2


def test_after_the_end_everything_is_handed_out_as_soon_as_the_last_data_are_on_disk(hub):
    late = (3000.0, 12.0, 290.0, 100, 35)  # its sweep goes on for long after the end
    later(hub, 292.0)
    tell(hub, grouped(late))
    hub.stop_observation()
    later(hub, DELAY_S - 0.1)
    assert not worker(hub, "extractor 1").contents(Extract)
    later(hub, 0.1)
    assert worker(hub, "extractor 1").contents(Extract)[0].last_chance


def test_a_candidate_goes_to_the_classifier_and_its_verdict_to_the_results(hub):
    later(hub, 100.0)
    path = stored(hub.folder, prob_freqtime=0.9, prob_dmtime=0.8)
    tell(hub, grouped(CLUSTER, CLUSTER, rows=20))
    later(hub, 0.0)
    tell(hub, Extracted("extractor 1", 0, path))
    tell(hub, Extracted("extractor 2", 1, reason="too faint"))
    assert worker(hub, "classifier 1").contents(Classify) == [Classify(0, path)]
    tell(hub, Classified("classifier 1", 0, path, keep=True))
    finish(hub)
    assert worker(hub, "visualizer 1").contents(Draw) == [Draw((path,))]
    draw(hub)
    assert hub.ends
    assert parse_summary((hub.folder / "CB07_summary.yaml").read_text()) == Summary(20, 2, 1, 1)
    (trigger,) = parse_triggers((hub.folder / "CB07_triggers.txt").read_text())
    assert (trigger.cb, trigger.snr, trigger.time_s, trigger.probability) == (7, 11.5, 50.0004, 0.9)


def test_without_a_header_from_amber_all_counts_are_minus_one(hub):
    hub._handle({"command": "stop_observation", "obs_config": hub.obs})
    later(hub, STOP_DELAY_S)
    tell(hub, Grouped(0, False, (), finished=True))
    draw(hub)
    assert parse_summary((hub.folder / "CB07_summary.yaml").read_text()) == NOTHING_CAME
    assert parse_triggers((hub.folder / "CB07_triggers.txt").read_text()) == []


# --- the end -----------------------------------------------------------------------------------------------


def test_rows_are_taken_in_for_the_stop_delay_and_then_no_more(hub, caplog):
    clustering = worker(hub, "clustering 1")
    rows = {"command": "trigger", "trigger": ["a line", "another"]}
    hub.stop_observation()
    later(hub, STOP_DELAY_S - 0.1)
    hub._handle(rows)
    assert clustering.inbox == [rows]
    later(hub, 0.1)
    hub._handle(rows)
    assert clustering.inbox == [rows, FINISH]
    assert "2 lines of AMBER lost" in caplog.text


def test_nothing_is_stored_before_every_cluster_is_finished(hub):
    tell(hub, grouped(CLUSTER))
    finish(hub)
    assert "visualizer 1" not in hub.hired
    tell(hub, Extracted("extractor 1", 0, reason="too faint"))
    draw(hub)
    assert hub.ends


# a file server that cannot be reached: its mount point is there, and nothing can be made in it
def test_results_wait_while_their_folder_cannot_be_written_to(hub, caplog):
    away = hub.folder.parent
    away.parent.mkdir()
    away.write_text("in the way")
    finish(hub)
    for _ in range(3):
        later(hub, RETRY_S)
    assert "visualizer 1" not in hub.hired and caplog.text.count("results wait") == 1
    away.unlink()
    later(hub, RETRY_S)
    hub.folder.rename(hub.folder.with_name("elsewhere"))
    away.rename(away.with_name("elsewhere"))
    away.write_text("in the way again, after the plots")
    draw(hub)
    assert not hub.ends and "CB07_triggers.txt: cannot be written" in caplog.text
    away.unlink()
    later(hub, RETRY_S)
    assert hub.ends and (hub.folder / "CB07_summary.yaml").exists()


def test_results_do_not_wait_for_ever(hub, caplog):
    hub.folder.parent.parent.mkdir()
    hub.folder.parent.write_text("in the way")
    finish(hub)
    later(hub, MAX_AGE_S + RETRY_S)
    draw(hub)
    assert hub.ends and "given up" in caplog.text


def test_abort_drops_what_is_queued_and_stores_nothing(hub):
    tell(hub, grouped(CLUSTER))
    hub._handle({"command": "stop_observation", "obs_config": hub.obs, "abort": True})
    assert hub.ends
    hub.cleanup()
    assert all(one.ended and not one.living for one in hub.hired.values())
    assert not hub.folder.exists()


def test_an_observation_that_nobody_stops_ends_by_itself(hub, caplog):
    later(hub, DURATION_S + OVERDUE_S - 0.1)
    assert worker(hub, "clustering 1").inbox == []
    later(hub, 0.1)
    assert worker(hub, "clustering 1").inbox == [FINISH]


def test_a_second_stop_changes_nothing(hub):
    hub.stop_observation()
    later(hub, STOP_DELAY_S / 2)
    hub.stop_observation()
    later(hub, STOP_DELAY_S / 2)
    assert worker(hub, "clustering 1").inbox == [FINISH]


# --- what goes wrong ---------------------------------------------------------------------------------------


def test_what_a_dead_extractor_had_in_hand_is_done_by_the_others(hub):
    later(hub, 100.0)
    tell(hub, grouped(CLUSTER))
    later(hub, 0.0)
    worker(hub, "extractor 1").living = False
    later(hub, 1.0)
    (again,) = worker(hub, "extractor 2").contents(Extract)
    assert again.cluster.number == 0
    assert "extractor 3" in hub.hired
    tell(hub, Extracted("extractor 1", 0, Path("late.hdf5")))
    assert hub.ledger.extracted == 0


def test_a_cluster_that_two_extractors_died_of_is_given_up(hub):
    later(hub, 100.0)
    tell(hub, grouped(CLUSTER))
    later(hub, 0.0)
    for name in ("extractor 1", "extractor 2"):
        worker(hub, name).living = False
        later(hub, 1.0)
    assert hub.ledger.finished and sum(hub.ledger.skipped.values()) == 1


def test_an_observation_ends_with_its_statistics_although_no_extractor_survives(hub):
    later(hub, 100.0)
    tell(hub, grouped(*[CLUSTER] * 40, rows=40))
    for _ in range(crews.DEATHS_MAX + 3):
        for one in list(hub.hired.values()):
            one.living &= not one.name.startswith("extractor")
        later(hub, 1.0)
    assert len([name for name in hub.hired if name.startswith("extractor")]) <= crews.DEATHS_MAX + 2
    finish(hub)
    draw(hub)
    assert parse_summary((hub.folder / "CB07_summary.yaml").read_text()) == Summary(40, 40, 0, 0)


def test_what_a_process_does_not_take_goes_to_another_or_waits(hub, caplog):
    later(hub, 100.0)
    one, other = worker(hub, "extractor 1"), worker(hub, "extractor 2")
    one.full = other.full = True
    tell(hub, grouped(CLUSTER))
    later(hub, 0.0)
    assert "extractor 1 does not take piece of work 0" in caplog.text
    assert len(hub.ledger.extraction) == 1 and hub.due_in() <= 0
    other.full = False
    later(hub, 0.0)
    assert [len(each.contents(Extract)) for each in (one, other)] == [0, 1]


# a step that hangs without dying, which holds an observation open for ever
def test_an_extractor_that_does_not_get_on_is_killed_and_others_do_its_work(hub, caplog):
    later(hub, 100.0)
    tell(hub, grouped(*[CLUSTER] * 4))
    later(hub, 0.0)
    later(hub, 0.0)
    tell(hub, Extracted("extractor 2", 1, reason="too faint"))
    later(hub, crews.STUCK_S / 2)
    tell(hub, Extracted("extractor 2", 3, reason="too faint"))
    later(hub, crews.STUCK_S / 2 - 0.1)
    assert "extractor 3" not in hub.hired
    later(hub, 0.1)
    assert worker(hub, "extractor 1").killed and not worker(hub, "extractor 2").killed
    done_by_others = worker(hub, "extractor 2").contents(Extract) + worker(hub, "extractor 3").contents(
        Extract
    )
    assert sorted(order.cluster.number for order in done_by_others) == [0, 1, 2, 3]
    assert "extractor 1 did not get on for 120 s: killed" in caplog.text
    assert "2 pieces of work of extractor 1" in caplog.text


def test_work_that_takes_long_in_all_but_gets_on_is_left_alone(hub):
    later(hub, 100.0)
    tell(hub, grouped(*[CLUSTER] * 8))
    for _ in range(2):
        later(hub, 0.0)
        later(hub, 0.0)
        later(hub, crews.STUCK_S - 1)
        for name in ("extractor 1", "extractor 2"):
            tell(hub, Extracted(name, hub.ledger.extraction.working_on(name), reason="too faint"))
    later(hub, 2.0)
    assert not any(one.killed for one in hub.hired.values())


def test_a_clustering_that_does_not_read_its_rows_is_killed_and_replaced(hub, caplog):
    hub._handle({"command": "trigger", "trigger": ["# header", "a row", "another", "a third"]})
    tell(hub, grouped(rows=1))
    worker(hub, "clustering 1").reads_nothing = True
    later(hub, 0.0)
    later(hub, crews.STUCK_S)
    assert worker(hub, "clustering 1").killed and "clustering 2" in hub.hired
    assert "clustering 1 did not get on" in caplog.text


def test_what_a_clustering_tells_again_that_replaces_another_one_counts_once(hub):
    other = (200.0, 12.0, 51.0, 10, 35)
    tell(hub, Grouped(10, True, (CLUSTER,), worker="clustering 1"))
    worker(hub, "clustering 1").living = False
    later(hub, 1.0)
    tell(hub, Grouped(12, True, (CLUSTER, other), worker="clustering 2"))
    assert (hub.ledger.rows, hub.ledger.clusters) == (12, 2)


def test_rows_that_the_clustering_does_not_take_are_no_loss_if_they_are_in_a_file(hub, caplog):
    worker(hub, "clustering 1").full = True
    hub._handle({"command": "trigger", "trigger": ["a row"], "place": (1, 0, 0, 6)})
    assert caplog.text == ""
    hub._handle({"command": "trigger", "trigger": ["a row"]})
    assert "1 lines of AMBER lost" in caplog.text


def test_a_clustering_that_does_not_finish_is_killed_and_its_successor_told_to(hub):
    hub.stop_observation()
    later(hub, STOP_DELAY_S)
    later(hub, 0.0)
    later(hub, crews.STUCK_S)
    assert worker(hub, "clustering 2").inbox == [FINISH]


def test_a_visualiser_that_hangs_has_longer_and_does_not_cost_the_statistics(hub):
    finish(hub)
    later(hub, 1.0)
    later(hub, DRAWING_STUCK_S - 1)
    assert "visualizer 2" not in hub.hired
    for _ in range(2):
        later(hub, 1.0)
        later(hub, DRAWING_STUCK_S)
    assert hub.ends and (hub.folder / "CB07_summary.yaml").exists()


def test_a_classifier_without_models_leaves_candidates_unclassified(hub, caplog):
    tell(hub, Refused("classifier 1", "freqtime.onnx: takes (n, 16, 64), not (n, 32, 64)"))
    worker(hub, "classifier 1").living = False
    later(hub, 100.0)
    assert "classifier 2" not in hub.hired
    tell(hub, grouped(CLUSTER))
    later(hub, 0.0)
    tell(hub, Extracted("extractor 1", 0, Path("x.hdf5")))
    finish(hub)
    draw(hub)
    assert "takes (n, 16, 64), not (n, 32, 64)" in caplog.text
    assert parse_summary((hub.folder / "CB07_summary.yaml").read_text()) == Summary(1, 1, 1, 0)


def test_a_clustering_that_dies_at_the_end_is_told_to_finish_again(hub):
    hub.stop_observation()
    later(hub, STOP_DELAY_S)
    worker(hub, "clustering 1").living = False
    later(hub, 1.0)
    assert worker(hub, "clustering 2").inbox == [FINISH]


def test_a_visualiser_that_keeps_dying_does_not_cost_the_statistics(hub):
    finish(hub)
    for _ in range(crews.DEATHS_MAX + 3):
        for name, one in hub.hired.items():
            one.living &= not name.startswith("visualizer")
        later(hub, 1.0)
    assert hub.ends and (hub.folder / "CB07_summary.yaml").exists()


@pytest.mark.parametrize("key", ["output_dir", "date", "startpacket", "duration"])
def test_an_observation_that_lacks_something_is_refused_by_the_name_of_it(hub, key, caplog):
    hub.ends.clear()
    obs_config = {name: value for name, value in hub.obs.items() if name != key}
    hub._handle({"command": "start_observation", "obs_config": obs_config, "reload_conf": False})
    assert key in caplog.text and "refused" in caplog.text
    assert hub.ends


def test_frequencies_and_files_follow_from_the_observation(hub):
    instrument, band = Instrument(), hub.beam.band
    assert band.top_mhz == pytest.approx(instrument.top_freq_mhz(float(hub.obs["min_freq"])))
    assert [path.name for path in hub.beam.filterbanks][:2] == ["CB07_00.fil", "CB07_01.fil"]
    assert hub.beam.differences(band) == []
    assert hub._last_data_at < inf
