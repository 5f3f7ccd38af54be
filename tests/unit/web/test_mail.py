"""The HTML part of a mail: what it tells, and that it needs nothing from elsewhere."""

import re
from dataclasses import replace
from datetime import UTC, datetime

from lxml import html

from darc.formats.overview import ObservationInfo
from darc.formats.results import Trigger
from darc.reporting.report import BeamReport, BeamState, Candidate, ObservationReport
from darc.web.mail import mail_html

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
HOSTILE = "<script>alert(1)</script><img src=x> \"q\" 'r' & a/b µ"


def candidate(**changes):
    fields = {"cb": 7, "snr": 20.0, "dm": 158.5, "time_s": 12.5, "downsamp": 25, "sb": 35, "probability": 0.9}
    return Candidate(trigger=Trigger(**fields | changes))


def beam(state=BeamState.DONE, **changes):
    fields = {"cb": 7, "node": "arts007", "counts": {"AMBER": 12345}}
    return BeamReport(state=state, **fields | changes)


def mail(*beams, info=INFO, max_candidates=100, link="https://example.org/darc/a%20b/index.html"):
    report = ObservationReport(info=info, beams=beams, written=START)
    return html.fromstring(mail_html(report, max_candidates=max_candidates, link=link))


def text(document):
    return re.sub(r"\s+", " ", document.text_content())


def test_the_best_candidates_are_shown():
    # pitfall: candidates sorted worst first and then cut
    found = tuple(candidate(snr=10.0 + i, dm=100.0 + i) for i in range(5))
    told = text(mail(beam(candidates=found), max_candidates=2))
    assert told.index("104.0") < told.index("103.0")
    assert "102.0" not in told
    assert "The best 2 of 5" in told
    assert "5 candidates in 5 min" in told


def test_it_tells_width_and_arrival():
    told = text(mail(beam(candidates=(candidate(),))))
    assert "2.05" in told
    assert "23:51:25.500" in told


def test_it_tells_which_beams_have_no_results_and_why():
    told = text(mail(beam(BeamState.MISSING, reason="arts007 does not answer", counts={"AMBER": None})))
    assert "no results" in told
    assert "arts007 does not answer" in told
    assert "?" in told


def test_it_leads_to_the_page_if_there_is_one():
    (link,) = mail(beam()).iter("a")
    assert link.get("href") == "https://example.org/darc/a%20b/index.html"
    assert list(mail(beam(), link=None).iter("a")) == []


def test_names_appear_as_given_and_run_nothing():
    info = replace(INFO, source=HOSTILE, task_id=HOSTILE, datetimesource=HOSTILE, telescopes=(HOSTILE,))
    document = mail(beam(BeamState.MISSING, reason=HOSTILE), info=info)
    assert document.text_content().count(HOSTILE) == 6
    assert list(document.iter("script", "img")) == []


def test_nothing_comes_from_elsewhere():
    document = mail(beam(candidates=(candidate(),)), link=None)
    assert list(document.iter("link", "style", "script", "img", "svg")) == []
    assert not document.xpath("//@src|//@href|//@class")
    assert "url(" not in html.tostring(document, encoding="unicode")
