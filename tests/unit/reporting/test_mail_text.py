"""Mails about an observation as plain text."""

import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from darc.formats.overview import BeamCoordinates, ObservationInfo
from darc.formats.results import Trigger
from darc.reporting.mail_text import late_mail, result_mail, warning_mail
from darc.reporting.report import BeamReport, BeamState, Candidate, ObservationReport

LABEL = "2019-05-18-23:51:13.B1933+16"
NOBODY_KNOWS = {"AMBER triggers": None, "kept": None}


def candidate(cb, snr, probability=0.9):
    return Candidate(
        trigger=Trigger(cb=cb, snr=snr, dm=56.77, time_s=12.5, downsamp=10, sb=35, probability=probability)
    )


def beam(cb, state=BeamState.DONE, snrs=(), **more):
    counts = {"AMBER triggers": 123, "kept": len(snrs)} if state is BeamState.DONE else NOBODY_KNOWS
    candidates = tuple(candidate(cb, snr) for snr in snrs)
    return BeamReport(**{"cb": cb, "node": f"arts{cb + 1:03d}", "state": state, "counts": counts,
                         "candidates": candidates} | more)  # fmt: skip


def report(*beams, source="B1933+16"):
    info = ObservationInfo(
        task_id="190518009", datetimesource=LABEL, source=source, frame="J2000", dm_galactic=415.54,
        start=datetime(2019, 5, 18, 23, 51, 12, tzinfo=UTC), duration_s=299.008, telescopes=("RT2", "RT3"),
        centre_mhz=1369.6, bandwidth_mhz=300.0,
    )  # fmt: skip
    return ObservationReport(info=info, beams=beams, written=datetime(2019, 5, 19, tzinfo=UTC))


def mail(*beams, most=100, link=None, **more):
    return result_mail(report(*beams, **more), max_candidates=most, link=link)


def row(text, start):
    return next(line.split() for line in text.splitlines() if line.split()[:2] == start.split())


def test_the_subject_says_what_matters():
    subject, _ = mail(beam(0, snrs=(10, 11)), beam(1, BeamState.MISSING), beam(2, BeamState.GIVEN_UP))
    assert subject == f"{LABEL}: 2 candidates, 1 of 3 beams missing"


def test_the_parameters_and_the_page_are_there():
    _, text = mail(beam(0), link="https://example.org/page")
    for said in (
        LABEL,
        "190518009",
        "2019-05-18 23:51:12 UTC",
        "299.0 s",
        "RT2, RT3",
        "415.5",
        "https://example.org/page",
    ):
        assert said in text


# candidates sorted worst first and then cut at 100
def test_the_best_candidates_of_all_beams_come_first_and_the_rest_is_counted():
    _, text = mail(beam(0, snrs=(10, 30)), beam(1, snrs=(20, 40)), most=3)
    assert [row(text, f"{rank} {cb}")[4] for rank, cb in ((1, "01"), (2, "00"), (3, "01"))] == [
        "40.0",
        "30.0",
        "20.0",
    ]
    assert "4 candidates, best first" in text and "and 1 more" in text and "10.0" not in text


@pytest.mark.parametrize("most", [0, 1])
def test_how_many_are_listed_is_limited_and_nothing_more(most):
    _, text = mail(beam(0, snrs=(10,)), most=most)
    assert ("and 1 more" in text) == (most == 0)


def test_no_candidates_are_said_to_be_none():
    assert "No candidates" in mail(beam(0))[1]


def test_an_empty_summary_shows_as_question_marks():
    _, text = mail(beam(0), beam(5, BeamState.GIVEN_UP))
    assert row(text, "05 arts006")[2:4] == ["?", "?"]
    assert row(text, "00 arts001")[2:4] == ["123", "0"]


def test_a_beam_that_failed_shows_why():
    _, text = mail(beam(5, BeamState.MISSING, reason="arts006:51000 did not answer"))
    assert "no results: arts006:51000 did not answer" in text


def test_positions_stand_with_their_beam():
    place = BeamCoordinates(cb=7, ra_deg=293.94876, dec_deg=16.27779, gl_deg=52.4, gb_deg=-2.1)
    assert row(mail(beam(7, coordinates=place))[1], "07 arts008")[4:8] == [
        "293.9488",
        "16.2778",
        "52.4000",
        "-2.1000",
    ]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a'b\"c; rm -rf $HOME `id` | %s {0} \\"])
def test_the_name_of_the_source_stands_there_exactly_as_given(name):
    assert f" {name}\n" in mail(beam(0), source=name)[1]


def test_late_results_are_told_of_and_no_others():
    everything = report(beam(0, snrs=(50,)), beam(3, snrs=(10,), late=True), beam(4, late=True))
    subject, text = late_mail(everything, [3, 4], max_candidates=100, link="https://example.org/page")
    assert subject == f"{LABEL}: late results of CB03, CB04, 1 candidate"
    assert "10.0" in text and "50.0" not in text and "https://example.org/page" in text


# a warning that tells the operator to create a file with another name than the one that is waited for
@pytest.mark.parametrize("folder", ["/results/20190518/label", "/results/with space/it's $HOME"])
def test_the_warning_names_the_file_that_is_waited_for_and_how_to_make_it(folder):
    awaited = Path(folder, "CB07_summary.yaml")
    subject, text = warning_mail(LABEL, 7, "arts008", "no route to host", awaited)
    assert subject == f"{LABEL}: no results of CB07 from arts008"
    assert f"    {awaited}\n" in text and "no route to host" in text
    command = next(line for line in text.splitlines() if line.strip().startswith("touch"))
    assert shlex.split(command) == ["touch", str(awaited)]


def test_the_subject_names_a_processing_other_than_that_in_real_time():
    subject, _ = result_mail(replace(report(beam(0)), processing="offline"), max_candidates=1, link=None)
    assert " (offline): 0 candidates" in subject


def test_problems_with_the_whole_observation_are_told():
    _, text = result_mail(replace(report(beam(0)), problems=("no list",)), max_candidates=1, link=None)
    assert "Problems\nno list\n" in text


def test_tied_array_beams_are_called_what_they_are():
    shown = replace(report(beam(3, snrs=(10,))), sub_beam="TAB")
    _, text = result_mail(shown, max_candidates=1, link=None)
    assert row(text, "rank CB")[2] == "TAB"
