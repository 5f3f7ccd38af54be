"""When the master node reports the results of an observation, what, and to whom. Nodes are stand-ins."""

import queue
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from darc import processor_master
from darc.errors import DARCError
from darc.formats.overview import parse_coordinates, parse_info
from darc.formats.parset import encode_parset, load_obs_config
from darc.formats.results import Summary, Trigger, build_summary, build_triggers
from darc.processes.deaths import DEATHS_MAX
from darc.processor_master import ProcessorMaster, ProcessorMasterManager
from darc.reporting.memory import MAILED_NAME
from darc.reporting.report import BeamState
from darc.simulation.observation import Observation

START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
DURATION_S = 30.72
BEAMS = (0, 3, 7)
LABEL = "2019-05-18-23:51:13.B1933+16"
MAX_WAIT_S, CHECK_S, LATE_S = 600.0, 60.0, 7200.0
PDF = b"%PDF-1.7\n%%EOF\n"


class World:
    """Time, nodes, results and mails."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.now = START.timestamp()
        self.mails, self.asked, self.problems = [], [], {}
        self.at = {}  # what happens when
        self.results = folder / "results" / "20190518" / LABEL
        monkeypatch.setattr(processor_master, "Thread", NoThread)
        monkeypatch.setattr("darc.observation_reporter.open_spool", lambda *_: self)
        monkeypatch.setattr(processor_master, "open_spool", lambda *_: self)
        monkeypatch.setattr(processor_master, "problem_of", self.problem_of)
        site = {
            "nodes": {
                "master": {"name": "master"},
                "workers": [
                    {"name": f"node{beam}", "beam": beam, "address": f"10.0.0.{beam}",
                     "config": {"processor": {"result_dir": str(folder / "results")}}}
                    for beam in BEAMS
                ],
            },
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 100.0},
            "darc_master": {"state_dir": str(folder / "state")},
            "processor_master": {
                "check_interval": CHECK_S,
                "max_wait_time": MAX_WAIT_S,
                "late_time": LATE_S,
                "ntrig_email_max": 2,
                "webdir": str(folder / "web"),
                "web_url": "https://example.org/darc/",
                "email_settings": {"to": ["observers@example.org"]},
            },
        }  # fmt: skip
        self.config_file = folder / "config.yaml"
        self.config_file.write_text(yaml.safe_dump(site))

    # --- the mail server and the nodes

    def put(self, message, *, smaller=None):
        self.mails.append(message)

    def close(self, timeout_s):
        pass

    def problem_of(self, worker, task_id, timeout_s, key_file):
        self.asked.append((self.now - self.end, worker.name))
        return self.problems.get(worker.name, "")

    # --- the observation

    @property
    def end(self):
        return START.timestamp() + self.duration_s

    duration_s = DURATION_S

    def pause(self, seconds):
        self.now += max(seconds, 0.01)
        for when in sorted(self.at):
            if self.now >= self.end + when:
                self.at.pop(when)()

    def write(self, beam, *snrs, probability=0.9):
        triggers = [
            Trigger(cb=beam, snr=snr, dm=56.77, time_s=1.5, downsamp=10, sb=35, probability=probability)
            for snr in snrs
        ]
        self.results.mkdir(parents=True, exist_ok=True)
        (self.results / f"CB{beam:02d}.pdf").write_bytes(PDF)
        (self.results / f"CB{beam:02d}_triggers.txt").write_text(build_triggers(triggers))
        (self.results / f"CB{beam:02d}_summary.yaml").write_text(build_summary(Summary(9, 9, 9, len(snrs))))

    def obs_config(self, number=1):
        observation = Observation("B1933+16", START, DURATION_S, beams=BEAMS, number=number)
        return load_obs_config(observation.write(self.folder / "observation").master)

    def service(self, **change):
        service = ProcessorMaster(queue.Queue(), config_file=self.config_file, node="master")
        service.clock, service._pause = lambda: self.now, self.pause
        service.start_observation({**self.obs_config(), **change})
        return service

    def observe(self, **change):
        """Run an observation to its very end."""
        service = self.service(**change)
        service._process_observation()
        return service

    # --- what came of it

    @property
    def page(self):
        return (self.folder / "web" / "20190518" / LABEL / "index.html").read_text()

    @property
    def subjects(self):
        return [mail["Subject"] for mail in self.mails]


class NoThread:
    def __init__(self, **_):
        pass

    def start(self):
        pass

    def join(self, timeout):
        pass


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def text(mail):
    return mail.get_body(("plain",)).get_content()


def html(mail):
    return mail.get_body(("html",)).get_content()


def plots(mail):
    return [part.get_filename() for part in mail.iter_attachments()]


# --- one observation ---------------------------------------------------------------------------------------


def test_results_of_all_beams_are_published_and_mailed_when_they_are_there(world):
    world.at[100] = lambda: [world.write(beam) for beam in (0, 3)]
    world.at[200] = lambda: world.write(7, 10.0, 30.0)
    world.observe()
    (mail,) = world.mails
    assert mail["Subject"] == f"{LABEL}: 2 candidates"
    assert plots(mail) == ["CB00.pdf", "CB03.pdf", "CB07.pdf"]
    assert f"https://example.org/darc/20190518/{LABEL.replace(':', '%3A').replace('+', '%2B')}" in text(mail)
    assert LABEL in world.page and "30.0" in html(mail)
    assert world.asked == []
    assert world.now - world.end < 200 + 2 * CHECK_S


def test_nothing_is_written_before_the_end(world):
    seen = []
    world.at[-1] = lambda: seen.append(world.results.exists())
    world.at[1] = lambda: seen.append((world.results / "info.yaml").exists())
    world.at[2] = lambda: [world.write(beam) for beam in BEAMS]
    world.observe()
    assert seen == [False, True]


def test_the_files_about_the_observation_are_in_the_folder_of_results(world):
    service = world.service()
    info, coordinates = service._generate_info_file()
    assert parse_info((world.results / "info.yaml").read_text()) == info
    rows = parse_coordinates((world.results / "coordinates.txt").read_text())
    assert [row.cb for row in rows] == list(BEAMS) == list(coordinates)


def test_the_folder_of_results_is_the_one_that_the_processor_of_a_worker_writes_to(world):
    # the master node's own configuration has another one
    assert world.service()._get_result_dir() == world.results


def test_results_are_loaded_from_the_files(world):
    world.write(3, 20.0)
    service = world.service()
    report, files = service._process_results(*service._generate_info_file())
    assert [beam.state for beam in report.beams] == [BeamState.WAITING, BeamState.DONE, BeamState.WAITING]
    assert files == [world.results / "CB03.pdf"]


def test_results_are_published_and_sent(world):
    world.write(0, 20.0)
    service = world.service()
    report, files = service._process_results(*service._generate_info_file())
    service._publish_results(report, files)
    assert "20.0" in world.page and world.mails == []
    service._send_email(report, files)
    assert plots(world.mails[0]) == ["CB00.pdf"]


# candidates sorted worst first and then cut at 100
def test_the_best_candidates_of_all_beams_are_shown_first(world):
    world.write(0, 11.0, 12.0)
    world.write(3, 40.0)
    world.write(7, 13.0, 50.0)
    world.observe()
    shown = [
        line.split()[4] for line in text(world.mails[0]).splitlines() if line.split()[:1] in (["1"], ["2"])
    ]
    assert shown == ["50.0", "40.0"] and "and 3 more" in text(world.mails[0])


def test_one_warning_per_silent_node_and_then_the_report_without_it(world):
    world.write(0), world.write(3, 20.0)
    world.problems["node7"] = "10.0.0.7:51000 did not answer"
    world.observe()
    warning, mail = world.mails
    assert "CB07 from node7" in warning["Subject"]
    assert mail["Subject"] == f"{LABEL}: 1 candidate, 1 of 3 beams missing"
    assert "no results: 10.0.0.7:51000 did not answer" in text(mail)
    assert world.asked[0] == (pytest.approx(MAX_WAIT_S, abs=2), "node7")
    assert {node for _, node in world.asked} == {"node7"}


# a warning that tells the operator to create a file with another name than the one that is waited for
def test_the_file_that_the_warning_names_makes_the_master_go_on(world):
    world.write(0), world.write(3)
    world.problems["node7"] = "no route to host"

    def obey():
        (command,) = (line for line in text(world.mails[0]).splitlines() if line.strip().startswith("touch "))
        for path in shlex.split(command)[1:]:
            Path(path).touch()

    world.at[MAX_WAIT_S + 10] = obey
    service = world.observe()
    assert world.subjects[1:] == [f"{LABEL}: 0 candidates"]
    assert "given up by an operator" in text(world.mails[1]) and "?" in text(world.mails[1])
    assert world.now - world.end < MAX_WAIT_S + 10 + 2 * CHECK_S
    assert service.result_dir == world.results


def test_a_node_that_works_is_waited_for(world):
    world.write(0), world.write(3)
    world.at[5 * MAX_WAIT_S] = lambda: world.write(7)
    world.observe()
    assert world.subjects == [f"{LABEL}: 0 candidates"]
    assert len(world.asked) == pytest.approx(4 * MAX_WAIT_S / CHECK_S, abs=2)


# a wait that adds up over beams, so that the last beam is declared dead at once
def test_every_beam_has_its_own_time(world):
    world.problems = {"node0": "silent"}
    world.at[MAX_WAIT_S + 2 * CHECK_S] = lambda: world.problems.update(node7="silent")
    world.at[2 * MAX_WAIT_S] = lambda: world.write(3)
    # node0 is given up by now; node7 has fallen silent later, and has time until a moment later
    world.at[2 * MAX_WAIT_S + CHECK_S] = lambda: world.write(7)
    world.observe()
    *warnings, mail = world.subjects
    assert [subject.rpartition(" ")[2] for subject in warnings] == ["node0", "node7"]
    assert mail == f"{LABEL}: 0 candidates, 1 of 3 beams missing"


def test_results_that_come_while_their_node_is_asked_are_no_reason_to_warn(world, monkeypatch):
    world.write(0), world.write(3)

    def problem_of(*_):
        world.write(7)
        return "its processor runs, but does not work on it"

    monkeypatch.setattr(processor_master, "problem_of", problem_of)
    world.observe()
    assert world.subjects == [f"{LABEL}: 0 candidates"]


def test_a_node_is_online_if_it_works_on_this_observation(world):
    service = world.service()
    assert service._check_node_online("node3")
    world.problems["node3"] = "its processor runs, but does not work on it"
    assert not service._check_node_online("node3")


def test_a_warning_names_the_node_and_the_file(world):
    world.service()._send_warning("node3")
    (mail,) = world.mails
    assert "node3" in mail["Subject"] and str(world.results / "CB03_summary.yaml") in text(mail)


def test_waiting_for_workers_ends_when_all_are_there(world):
    service = world.service()
    world.now = world.end
    world.at[100] = lambda: [world.write(beam) for beam in BEAMS]
    service._wait_for_workers()
    assert 100 <= world.now - world.end < 100 + 2 * CHECK_S
    assert "done" in world.page  # which was there, and followed


def test_late_results_update_the_page_and_are_told_in_one_mail(world):
    world.write(0)
    world.problems = {"node3": "silent", "node7": "silent"}
    world.at[2000] = lambda: world.write(3, 44.0)
    world.at[2050] = lambda: world.write(7)
    world.observe()
    assert [subject for subject in world.subjects if "late" in subject] == [
        f"{LABEL}: late results of CB03, CB07, 1 candidate"
    ]
    assert "44.0" in world.page and "44.0" in text(world.mails[-1])


def test_results_that_were_not_readable_are_read_again(world):
    world.write(0), world.write(3), world.write(7, 20.0)
    (world.results / "CB07_triggers.txt").write_text("#cb snr dm ti")
    world.at[500] = lambda: world.write(7, 20.0)
    world.observe()
    first, late = world.mails
    assert "1 of 3 beams missing" in first["Subject"] and "not readable" in text(first)
    assert "late results of CB07" in late["Subject"]


def test_nothing_is_waited_for_for_ever(world):
    world.problems = {f"node{beam}": "silent" for beam in BEAMS}
    world.observe()
    assert world.now - world.end < 2 * MAX_WAIT_S + LATE_S + 3 * CHECK_S


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"ncand_raw: 5", b"- [}"])
def test_damaged_results_of_a_beam_do_not_stop_the_others(world, content):
    world.write(0, 20.0), world.write(3)
    (world.results / "CB07_summary.yaml").write_bytes(content)
    world.observe()
    assert "20.0" in text(world.mails[0]) and "CB07_summary.yaml" in text(world.mails[0])


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a'b\"c; rm -rf $HOME `id` | %s \\"])
def test_names_from_the_observation_are_shown_as_given_and_run_nothing(world, name):
    for beam in BEAMS:
        world.write(beam)
    parset = f"task.taskID = 190518001\ntask.source.name = {name}\n"
    world.observe(parset=encode_parset(parset))
    (mail,) = world.mails
    assert f" {name}\n" in text(mail)
    for page in (world.page, html(mail)):
        assert "<script>alert" not in page
    assert yaml.safe_load((world.results / "info.yaml").read_text())["source"] == name


def test_a_page_that_cannot_be_written_does_not_stop_the_mail(world, caplog):
    (world.folder / "web").touch()
    for beam in BEAMS:
        world.write(beam)
    world.observe()
    assert len(world.mails) == 1 and "no page" in caplog.text


def test_a_beam_that_no_node_has_says_so_and_nobody_waits_for_it(world):
    for beam in BEAMS:
        world.write(beam)
    world.observe(beams=[*BEAMS, 12])
    assert "no node has this beam" in text(world.mails[0])
    assert world.now - world.end < CHECK_S


@pytest.mark.parametrize(
    "wrong", [{"datetimesource": "../../etc"}, {"date": None}, {"duration": "long"}, {"freq": "high"}]
)
def test_an_observation_that_cannot_be_reported_ends_its_process(world, wrong):
    service = ProcessorMaster(queue.Queue(), config_file=world.config_file, node="master")
    with pytest.raises(DARCError, match=next(iter(wrong))):
        service.start_observation({**world.obs_config(), **wrong})
    assert service.source_queue.get(block=False) == "stop"


def test_an_observation_that_is_stopped_early_is_reported_early(world):
    for beam in BEAMS:
        world.write(beam)
    service = world.service()
    service.stop_observation()
    service._process_observation()
    assert len(world.mails) == 1 and world.now < world.end


def test_an_abort_ends_the_process(world):
    service = world.service()
    service._handle({"command": "stop_observation", "obs_config": service.obs_config, "abort": True})
    assert service.source_queue.get(block=False) == "stop"


def test_the_end_of_the_service_leaves_mails_on_disk(world):
    closed = []
    world.close = closed.append
    world.service().cleanup()
    assert len(closed) == 1


def test_an_observation_that_the_configuration_does_not_let_start_is_tried_again(world):
    service = ProcessorMaster(queue.Queue(), config_file=world.config_file, node="master")
    world.config_file.write_text("nonsense: [")
    with pytest.raises(DARCError):
        service.start_observation(world.obs_config(), reload=True)
    assert service._defective  # which the exit code of its process says


# --- after a restart ---------------------------------------------------------------------------------------


def test_a_service_that_joins_again_does_not_mail_the_results_again(world):
    for beam in BEAMS:
        world.write(beam)
    world.observe()
    world.observe()
    assert len(world.mails) == 1
    (world.results / MAILED_NAME).unlink()
    world.observe()
    assert len(world.mails) == 2


def test_a_service_that_was_killed_before_the_mail_was_queued_mails_it_when_it_joins_again(
    world, monkeypatch
):
    for beam in BEAMS:
        world.write(beam)

    class KilledError(Exception):
        pass

    def killed(*_, **__):
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("darc.reporting.post.Post.put", killed)
        world.observe()
    world.observe()
    assert len(world.mails) == 1


def test_late_results_are_told_by_a_service_that_joins_again(world):
    world.write(0), world.write(3)
    world.problems["node7"] = "silent"

    class KilledError(Exception):
        pass

    def killed():
        raise KilledError

    world.at[2 * MAX_WAIT_S + 500] = killed
    with pytest.raises(KilledError):
        world.observe()
    world.write(7, 33.0)
    world.observe()
    world.observe()
    assert [subject for subject in world.subjects if "late" in subject] == [
        f"{LABEL}: late results of CB07, 1 candidate"
    ]
    assert len(world.mails) == 3  # the warning and the report before


# --- the manager -------------------------------------------------------------------------------------------


class Process:
    """A ProcessorMaster that is no process."""

    def __init__(self, source_queue, **_):
        self.source_queue = queue.Queue()
        self.pid, self.exitcode, self.signalled = 1, None, []

    def start(self):
        pass

    def is_alive(self):
        return self.exitcode is None

    def terminate(self):
        self.signalled.append("terminate")

    def kill(self):
        self.signalled.append("kill")

    def join(self, timeout):
        pass


@pytest.fixture
def managers(world, monkeypatch):
    """Make the manager of the master node, as after each start of the service."""
    monkeypatch.setattr(processor_master, "ProcessorMaster", Process)

    def manager():
        manager = ProcessorMasterManager(queue.Queue(), config_file=world.config_file, node="master")
        manager.monotonic = lambda: world.now
        return manager

    return manager


def process_of(manager):
    (running,) = manager.observations.values()
    return running.process


def test_each_observation_gets_a_process_that_is_told_to_start_it(world, managers):
    manager, obs_config = managers(), world.obs_config()
    manager._handle({"command": "start_observation", "obs_config": obs_config, "reload_conf": False})
    assert list(manager.observations) == ["190518001"]
    message = process_of(manager).source_queue.get(block=False)
    assert message["command"] == "start_observation" and message["obs_config"] == obs_config


def test_the_end_of_an_observation_reaches_its_process(world, managers):
    manager = managers()
    manager.start_observation(world.obs_config())
    process_of(manager).source_queue.get(block=False)
    manager.stop_observation(world.obs_config())
    assert process_of(manager).source_queue.get(block=False)["command"] == "stop_observation"


def test_the_parset_of_an_observation_is_a_dictionary(world, managers):
    assert managers()._load_parset(world.obs_config())["task.taskID"] == "190518001"


def test_what_is_not_finished_goes_on_after_a_restart(world, managers):
    manager = managers()
    manager.start_observation(world.obs_config())
    manager.cleanup()
    assert process_of(manager).signalled == ["terminate", "kill"]
    after = managers()
    after.do_what_is_due()
    message = process_of(after).source_queue.get(block=False)
    assert message["obs_config"] == world.obs_config()


def test_what_is_finished_or_aborted_does_not(world, managers):
    manager = managers()
    for number in (1, 2):
        manager.start_observation(world.obs_config(number))
    first, second = (running.process for running in manager.observations.values())
    first.exitcode = 0
    manager.stop_observation(world.obs_config(2), abort=True)
    assert second.signalled == ["terminate"]
    manager.thread_scavenger()
    after = managers()
    after.do_what_is_due()
    assert after.observations == {}


def test_a_process_that_dies_is_started_again_but_not_for_ever(world, managers, caplog):
    manager = managers()
    manager.start_observation(world.obs_config())
    for _ in range(DEATHS_MAX):
        process_of(manager).exitcode = -9
        manager.do_what_is_due()
    assert manager.observations == {} and "left alone" in caplog.text


def test_deaths_far_from_each_other_do_not_add_up(world, managers, caplog):
    manager = managers()
    manager.start_observation(world.obs_config())
    for _ in range(2 * DEATHS_MAX):
        process_of(manager).exitcode = -9
        manager.do_what_is_due()
        world.now += manager.config.darc_master.restart_window / (DEATHS_MAX - 1)
    assert len(manager.observations) == 1 and "left alone" not in caplog.text


def test_a_configuration_that_is_wrong_for_a_while_costs_no_observation(world, managers, caplog):
    manager, site = managers(), world.config_file.read_text()
    world.config_file.write_text("nonsense: [")
    manager._handle({"command": "start_observation", "obs_config": world.obs_config(), "reload_conf": True})
    assert manager.observations == {} and "start_observation refused" in caplog.text
    world.config_file.write_text(site)
    manager.do_what_is_due()
    assert list(manager.observations) == ["190518001"]


def test_an_observation_that_is_told_again_after_a_restart_is_not_worked_on_twice(world, managers):
    managers().start_observation(world.obs_config())
    manager = managers()
    manager.start_observation(world.obs_config())
    manager.do_what_is_due()
    assert len(manager.observations) == 1 and process_of(manager).source_queue.qsize() == 1


def test_the_manager_sends_the_mails_that_wait(world, managers, monkeypatch):
    manager, closed = managers(), []
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: None)
    monkeypatch.setattr("multiprocessing.set_forkserver_preload", lambda names: None)
    world.close = closed.append
    manager.prepare()
    manager.cleanup()
    assert len(closed) == 1
