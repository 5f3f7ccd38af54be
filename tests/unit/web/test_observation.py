"""The page of an observation and the list of observations: what stands on them, whatever the results hold."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from darc.errors import DARCError
from darc.formats.overview import BeamCoordinates, ObservationInfo
from darc.formats.results import Trigger, parse_triggers
from darc.reporting.report import BeamReport, BeamState, Candidate, ObservationReport, Plot
from darc.web import observation as observation_page
from darc.web.observation import publish

START = datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC)
INFO = ObservationInfo(
    task_id="190518009",
    datetimesource="2019-05-18-23:51:13.B1933+16",
    source="B1933+16",
    start=START,
    duration_s=300.0,
    telescopes=("RT2", "RT3"),
    frame="J2000",
    dm_galactic=250.0,
    centre_mhz=1369.6,
    bandwidth_mhz=300.0,
)
COUNTS = {"AMBER": 1234, "clusters": 20, "kept": 1}
HOSTILE = "<script>alert(1)</script> \"q\" 'r' & a/b \\ $(rm) µ日本  two"


def trigger(cb, **changes):
    fields = {"snr": 20.0, "dm": 158.5, "time_s": 12.5, "downsamp": 25, "sb": 35, "probability": 0.9}
    return Trigger(cb=cb, **fields | changes)


def beam(cb, state=BeamState.DONE, **changes):
    where = BeamCoordinates(cb=cb, ra_deg=293.949 + cb / 2, dec_deg=16.278, gl_deg=52.4, gb_deg=-2.1)
    fields = {"node": f"arts{cb:03d}", "counts": COUNTS, "coordinates": where}
    return BeamReport(cb=cb, state=state, **fields | changes)


def report(*beams, info=INFO):
    return ObservationReport(info=info, beams=beams, written=START + timedelta(seconds=400))


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, path):
        super().__init__()
        self.path, self.tags, self.links, self.ids, self.texts, self.table = path, [], [], set(), [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids |= {value for name, value in attrs if name == "id"}
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.texts.append(data)

    def dead_links(self):
        files = [link for link in self.links if not link.startswith("#")]
        dead = [link for link in files if not (self.path.parent / unquote(link)).is_file()]
        return dead + [link for link in self.links if link.startswith("#") and link[1:] not in self.ids]


@pytest.fixture
def webdir(tmp_path):
    return tmp_path / "web"


def published(webdir, *beams, info=INFO):
    return Page(publish(report(*beams, info=info), webdir))


def file(path, content=b"content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_page_and_list_stand_where_they_are_looked_for(webdir):
    page = published(webdir, beam(0))
    assert page.path == webdir / "20190518" / "2019-05-18-23:51:13.B1933+16" / "index.html"
    assert page.dead_links() == []
    index = Page(webdir / "index.html")
    assert index.dead_links() == []
    assert "B1933+16" in index.texts


def test_candidates_stand_best_first_with_their_plots(webdir, tmp_path):
    # pitfall: candidates sorted worst first
    picture, pages = file(tmp_path / "results" / "000.png"), file(tmp_path / "results" / "CB01.pdf")
    good = Candidate(trigger=trigger(1, probability=0.95, dm=300.25), picture=picture)
    bad = Candidate(trigger=trigger(0, probability=0.6, snr=99.0))
    page = published(webdir, beam(0, candidates=(bad,)), beam(1, candidates=(good,), pages=pages))
    assert page.texts.index("300.2") < page.texts.index("158.5")
    assert page.dead_links() == []
    assert {"pictures/CB01_000.png", "CB01.pdf"} <= set(page.links)
    images = [attrs for tag, attrs in page.tags if tag == "img" and attrs["alt"]]
    assert images[-1]["alt"] == "Plot of candidate 1"
    assert {attrs["src"] for attrs in images} == {"pictures/CB01_000.png"}


def test_a_beam_that_failed_says_why(webdir):
    page = published(webdir, beam(3, BeamState.MISSING, reason="arts003 does not answer"), beam(4))
    assert "arts003 does not answer" in page.texts
    assert "no results" in page.texts
    assert "1 of 2" in Page(webdir / "index.html").texts


def test_an_empty_summary_shows_as_question_marks(webdir):
    page = published(webdir, beam(3, BeamState.GIVEN_UP, counts=dict.fromkeys(COUNTS)))
    assert page.texts.count("?") == 3


@pytest.mark.parametrize("state", BeamState)
def test_every_state_of_a_beam_is_told(webdir, state):
    assert state.value in published(webdir, beam(0, state)).texts


def test_names_from_the_observation_appear_as_given_and_run_nothing(webdir):
    info = replace(INFO, source=HOSTILE, task_id=HOSTILE, telescopes=(HOSTILE,), frame=HOSTILE)
    page = published(webdir, beam(0, reason=HOSTILE, node=HOSTILE), info=info)
    for each in (page, Page(webdir / "index.html")):
        scripts = [attrs for tag, attrs in each.tags if tag == "script"]
        assert [attrs["src"].endswith("sort.js") for attrs in scripts] == [True]
        assert HOSTILE in each.texts
        assert not any(name.startswith("on") or name == "style" for _, attrs in each.tags for name in attrs)
        assert each.dead_links() == []


def test_a_name_that_is_no_text_does_not_stop_the_page(webdir):
    page = published(webdir, beam(0), info=replace(INFO, source="half a character: \ud800"))
    assert "half a character: ?" in page.texts


def test_a_label_that_would_lead_elsewhere_is_refused(webdir):
    with pytest.raises(DARCError, match="datetimesource"):
        publish(report(beam(0), info=replace(INFO, datetimesource="../../etc")), webdir)


def test_folders_with_special_characters_are_found(webdir):
    published(webdir, beam(0), info=replace(INFO, datetimesource="2019 B1933+16,@=:x"))
    assert Page(webdir / "index.html").dead_links() == []


def test_results_that_come_late_change_page_and_list(webdir):
    published(webdir, beam(0, BeamState.WAITING))
    late = beam(0, candidates=(Candidate(trigger=trigger(0)),), late=True)
    page = published(webdir, late)
    assert "late" in page.texts
    assert "Not complete yet." not in page.texts
    assert "1 of 1" in Page(webdir / "index.html").texts


def test_doing_it_again_changes_nothing(webdir, tmp_path):
    picture = file(tmp_path / "000.png")
    again = beam(0, candidates=(Candidate(trigger=trigger(0), picture=picture),))
    published(webdir, again)
    before = {path: path.read_bytes() for path in webdir.rglob("*") if path.is_file()}
    published(webdir, again)
    assert {path: path.read_bytes() for path in webdir.rglob("*") if path.is_file()} == before


def test_plots_are_renewed_when_they_change_and_stay_when_their_source_is_gone(webdir, tmp_path):
    picture = file(tmp_path / "000.png", b"first")
    shown = beam(0, candidates=(Candidate(trigger=trigger(0), picture=picture),))
    copy = published(webdir, shown).path.parent / "pictures" / "CB00_000.png"
    file(picture, b"second")
    published(webdir, shown)
    assert copy.read_bytes() == b"second"
    picture.unlink()
    assert "pictures/CB00_000.png" in published(webdir, shown).links


def test_copies_can_be_read_by_whoever_can_read_the_page(webdir, tmp_path):
    pages = file(tmp_path / "CB00.pdf")
    pages.chmod(0o600)
    page = published(webdir, beam(0, pages=pages))
    assert page.path.with_name("CB00.pdf").stat().st_mode == page.path.stat().st_mode


def test_a_plot_that_is_not_there_is_not_linked(webdir, tmp_path):
    gone = Candidate(trigger=trigger(0), picture=tmp_path / "gone.png")
    page = published(webdir, beam(0, candidates=(gone,), pages=tmp_path / "gone.pdf"))
    assert page.dead_links() == []
    assert "none" in page.texts


def test_a_page_shows_the_best_of_many_candidates_and_a_table_has_all(webdir, monkeypatch):
    monkeypatch.setattr(observation_page, "ROWS_MAX", 10)
    many = tuple(Candidate(trigger=trigger(0, snr=10.0 + i)) for i in range(40))
    page = published(webdir, beam(0, candidates=many))
    assert "candidate10" in page.ids
    assert "candidate11" not in page.ids
    table = (page.path.parent / "candidates.txt").read_text(encoding="utf-8")
    assert [row.snr for row in parse_triggers(table)] == [50.0 - 1 - i for i in range(40)]


def test_little_can_be_known(webdir):
    info = replace(INFO, source="", telescopes=(), dm_galactic=None, task_id="")
    page = published(webdir, beam(0, BeamState.MISSING, coordinates=None, counts={}), info=info)
    assert page.dead_links() == []
    assert not any(tag == "svg" for tag, _ in page.tags)
    assert published(webdir).dead_links() == []


# --- the list ----------------------------------------------------------------------------------------------


def test_the_newest_observation_comes_first(webdir):
    for days in (1, 3, 2):
        info = replace(INFO, source=f"S{days}", datetimesource=f"S{days}", start=START + timedelta(days=days))
        published(webdir, beam(0), info=info)
    assert [text for text in Page(webdir / "index.html").texts if text in ("S1", "S2", "S3")] == [
        "S3",
        "S2",
        "S1",
    ]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"start": 1}', "\udce9", '{"a": ' * 2000, "1e999"],
)
def test_folders_with_something_else_are_left_alone(webdir, content):
    old = webdir / "20180101" / "old"
    file(old / "index.html", b"an old page")
    file(old / "observation.json", content.encode("utf-8", "surrogateescape"))
    file(webdir / "20180102" / "older" / "index.html")
    published(webdir, beam(0))
    assert "1 observation, the newest first" in Page(webdir / "index.html").text
    assert (old / "index.html").read_bytes() == b"an old page"


@pytest.mark.parametrize(
    ("key", "value"),
    [("start", 1e300), ("duration_s", float("nan")), ("start", "x"), ("source", 3), ("beams", True)],
)
def test_an_entry_with_a_value_that_makes_no_sense_is_left_out(webdir, key, value):
    path = published(webdir, beam(0)).path.with_name("observation.json")
    other = file(webdir / "20180101" / "other" / "observation.json")
    other.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    published(webdir, beam(0))
    assert "1 observation, the newest first" in Page(webdir / "index.html").text


def test_nothing_half_written_is_left(webdir):
    published(webdir, beam(0))
    assert not [path for path in Path(webdir).rglob("*") if path.suffix == ".part"]


def test_a_plot_about_the_whole_observation_and_the_name_of_the_processing_are_on_the_page(webdir, tmp_path):
    path = tmp_path / "near.png"
    path.write_bytes(b"picture")
    plots = (Plot(title="Candidates near known FRBs", path=path),)
    shown = replace(report(beam(3)), processing="offline processing", plots=plots, problems=("a < b",))
    page = Page(publish(shown, webdir))
    assert "pictures/000.png" in page.links and not page.dead_links()
    assert "Candidates near known FRBs" in page.text and "offline processing" in page.text
    assert "a < b" in page.text


def test_tied_array_beams_are_called_what_they_are(webdir):
    shown = report(beam(3, candidates=(Candidate(trigger=trigger(3)),)))
    assert "SB" in Page(publish(shown, webdir)).text.split()
    named = Page(publish(replace(shown, sub_beam="TAB"), webdir)).text.split()
    assert "TAB" in named and "SB" not in named
