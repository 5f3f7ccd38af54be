"""What the master node tells of an observation after its end. Time and the mail server are stand-ins."""

from datetime import UTC, datetime

import pytest
import yaml

from darc.config import load_config
from darc.errors import DARCError
from darc.formats.offline_results import OfflineSummary, OfflineTrigger, build_summary, build_triggers
from darc.formats.overview import parse_coordinates, parse_info
from darc.formats.parset import load_obs_config
from darc.offline import master
from darc.offline.plan import Account, Interrupted
from darc.simulation.observation import Observation

START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
BEAMS = (0, 3, 7)
LABEL = "2019-05-18-23:51:13.B1933+16"
TIMEOUT_S, INTERVAL_S = 3600.0, 10.0
TSAMP_S = 81.92e-6
PDF = b"%PDF-1.7\n%%EOF\n"


class World:
    """Time, results and mails."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.now, self.mails = folder, START.timestamp() + 40, []
        self.start, self.pauses = self.now, 0
        self.at = {}  # what happens when
        self.results = folder / "results" / "20190518" / LABEL
        self.settings = {
            "result_dir": str(folder / "results"),
            "timeout": TIMEOUT_S,
            "interval": INTERVAL_S,
        }
        monkeypatch.setattr("darc.observation_reporter.open_spool", lambda *_: self)
        observation = Observation("B1933+16", START, 30.72, beams=BEAMS)
        self.obs_config = load_obs_config(observation.write(folder / "observation").master)

    def put(self, message, *, smaller=None):
        self.mails.append(message)

    def close(self, timeout_s):
        pass

    @property
    def config(self):
        path = self.folder / "config.yaml"
        content = {
            "nodes": {"master": {"name": "master"}, "workers": {f"node{beam}": beam for beam in BEAMS}},
            "amber_clustering": {"galaxy_model": "none", "galactic_dm_max": 100.0},
            "offline_processing": self.settings,
            "processor_master": {
                "webdir": str(self.folder / "web"),
                "web_url": "https://example.org/darc/",
                "email_settings": {"to": ["observers@example.org"]},
            },
        }
        path.write_text(yaml.safe_dump(content))
        return load_config(path, "master")

    def write(self, beam, *snrs, dm=56.77, problems=()):
        rows = [
            OfflineTrigger(snr=snr, dm=dm, width_ms=10 * TSAMP_S * 1e3, time_s=1.5, probability=0.9, beam=35)
            for snr in snrs
        ]
        self.results.mkdir(parents=True, exist_ok=True)
        (self.results / f"CB{beam:02d}_candidates_summary.pdf").write_bytes(PDF)
        (self.results / f"CB{beam:02d}_triggers.txt").write_text(build_triggers(rows))
        summary = OfflineSummary(
            ncand_raw=99, ncand_trigger=9, ncand_skipped=1, ncand_abovethresh=5, ncand_classifier=len(rows),
            problems=problems,
        )  # fmt: skip
        (self.results / f"CB{beam:02d}_summary.yaml").write_text(build_summary(summary))

    def pause(self, seconds):
        self.now += max(seconds, 0.01)
        self.pauses += 1
        for when in sorted(self.at):
            if self.now >= self.start + when:
                self.at.pop(when)()

    def process(self, **account):
        told = Account(**account)
        master.process(self.obs_config, self.config, told, clock=lambda: self.now, pause=self.pause)
        return told.problems

    @property
    def page(self):
        return (self.folder / "web" / "offline" / "20190518" / LABEL / "index.html").read_text()

    @property
    def text(self):
        (mail,) = self.mails
        return mail.get_body(("plain",)).get_content()

    @property
    def attachments(self):
        (mail,) = self.mails
        return [part.get_filename() for part in mail.iter_attachments()]


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def test_results_of_all_beams_are_on_a_page_and_in_a_mail(world):
    for number, beam in enumerate(BEAMS):
        world.write(beam, *(10.0 + number,) * number)
    problems = world.process()
    (mail,) = world.mails
    assert mail["Subject"].endswith(f"{LABEL} (offline processing): 3 candidates")
    assert [line.split()[:4] for line in world.text.splitlines() if line.strip().startswith("1 ")] == [
        ["1", "07", "35", "0.90"]
    ]
    assert "https://example.org/darc/offline/20190518/" in world.text
    assert world.attachments == [f"CB{beam:02d}_candidates_summary.pdf" for beam in BEAMS]
    assert "0.82" in world.page and "skipped" in world.page  # width in ms: ten samples
    assert world.pauses == 0 and not problems


def test_overview_and_coordinates_are_written(world):
    world.settings["timeout"] = 1.0
    world.process()
    info = parse_info((world.results / "info.yaml").read_text())
    assert (info.source, info.duration_s, info.dm_galactic) == ("B1933+16", 30.72, 100.0)
    assert info.telescopes and info.task_id == "190518001"
    rows = parse_coordinates((world.results / "coordinates.txt").read_text())
    assert [row.cb for row in rows] == list(BEAMS)


# real-time and offline results overwrite each other
def test_pages_are_apart_from_those_of_the_processing_in_real_time(world):
    world.settings["timeout"] = 1.0
    world.process()
    assert [path.name for path in (world.folder / "web").iterdir()] == ["offline"]


def test_it_waits_for_beams_looks_at_intervals_and_shows_what_is_there(world):
    shown = []
    world.write(0)
    world.at = {
        95.0: lambda: world.write(3),
        1001.0: lambda: (shown.append(world.page), world.write(7, 20.0)),
    }
    world.process()
    assert world.now - world.start == pytest.approx(1010.0)
    assert "Not complete yet" in shown[0] and shown[0].count(">done<") == 2
    assert "Not complete yet" not in world.page and "1 candidate" in world.mails[0]["Subject"]


def test_a_beam_that_does_not_come_is_reported_as_missing(world):
    world.write(0)
    world.write(3)
    world.process()
    assert world.now - world.start == pytest.approx(TIMEOUT_S)
    assert "1 of 3 beams missing" in world.mails[0]["Subject"]
    assert "no results: nothing came within 3600 s" in world.text


def test_what_went_wrong_with_a_beam_is_told(world):
    for beam in BEAMS:
        world.write(beam, problems=["extract: no filterbanks"] * (beam == 3))
    (world.results / "CB07_summary.yaml").write_text("nonsense")
    problems = world.process()
    assert problems[0] == "CB03: done: extract: no filterbanks" and len(problems) == 2
    assert "extract: no filterbanks" in world.text and "extract: no filterbanks" in world.page
    assert "results not readable: CB07_summary.yaml" in world.text


def test_a_beam_without_node_is_not_waited_for(world):
    world.obs_config["beams"] = [0, 5]
    world.write(0)
    world.process()
    assert world.pauses == 0 and "no node has this beam" in world.text


def test_a_second_time_the_page_is_made_anew_and_nothing_is_mailed(world):
    world.write(0)
    world.process()
    world.write(3, 30.0)
    world.process()
    assert len(world.mails) == 1 and "30.0" in world.page


def test_candidates_near_a_known_burst_are_plotted_on_the_page_and_in_the_mail(world):
    world.settings["known_frbs"] = str(world.folder / "known.yaml")
    for beam in BEAMS:
        world.write(beam)
    where = master.Master.of(world.obs_config, world.config).coordinates[3]
    source = {"FRB1": {"ra": where.ra_deg, "dec": where.dec_deg, "dm": 560.0}}
    (world.folder / "known.yaml").write_text(yaml.safe_dump(source))
    world.write(3, 15.0, dm=557.0)
    world.process()
    assert "Candidates near known FRBs" in world.page and "known_frbs.png" in world.attachments
    assert master.plot_known_frbs(world.obs_config, world.config) == world.results / "known_frbs.png"
    elsewhere = {"FRB1": {"ra": 0.0, "dec": 0.0, "dm": 56.0}}
    (world.folder / "known.yaml").write_text(yaml.safe_dump(elsewhere))
    assert master.plot_known_frbs(world.obs_config, world.config) is None


def test_a_list_of_known_bursts_that_is_absent_costs_its_plot_only(world, caplog):
    world.settings["known_frbs"] = str(world.folder / "absent.yaml")
    for beam in BEAMS:
        world.write(beam)
    world.process()
    for told in (world.text, world.page, caplog.text):
        assert "absent.yaml" in told
    with pytest.raises(DARCError, match=r"absent\.yaml"):
        master.plot_known_frbs(world.obs_config, world.config)


def test_an_observation_without_parset_is_reported_with_what_is_known(world):
    del world.obs_config["parset"]
    world.obs_config["master_dir"] = str(world.folder / "nowhere")
    for beam in BEAMS:
        world.write(beam, 12.0)
    world.process()
    assert "3 candidates" in world.mails[0]["Subject"]
    assert "the observation has no task ID: no observation parset" in world.text
    assert not master.Master.of(world.obs_config, world.config).coordinates


def test_files_that_cannot_be_written_cost_themselves_only(world, monkeypatch):
    world.settings["result_dir"] = str(world.folder / "config.yaml" / "results")
    world.settings["timeout"] = 1.0
    world.process()
    assert "info.yaml" in world.text and "coordinates.txt" in world.text
    with pytest.raises(DARCError, match=r"info\.yaml"):
        master.write_overview(world.obs_config, world.config)


def test_work_that_is_to_end_ends(world):
    with pytest.raises(Interrupted):
        world.process(cancelled=lambda: world.now > world.start + 100)
    assert not world.mails


def test_the_coordinates_of_the_first_beam_are_returned(world):
    ra_deg, dec_deg = master.write_coordinates(world.obs_config, world.config)
    first = parse_coordinates((world.results / "coordinates.txt").read_text())[0]
    assert (ra_deg, dec_deg) == pytest.approx((first.ra_deg, first.dec_deg), abs=1e-6)


def test_a_name_that_leads_elsewhere_is_refused(world):
    with pytest.raises(DARCError, match="datetimesource"):
        master.write_overview({**world.obs_config, "datetimesource": "../x"}, world.config)
