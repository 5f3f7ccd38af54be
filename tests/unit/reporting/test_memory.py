"""What the master node knows of observations after a restart."""

import logging
from datetime import UTC, datetime

import pytest

from darc.formats.overview import ObservationInfo
from darc.reporting.memory import MAILED_NAME, Mailed, OpenObservations
from darc.reporting.report import BeamReport, BeamState, ObservationReport

LOGGER = logging.getLogger("test")


def beam(cb, state=BeamState.DONE, late=False):
    return BeamReport(cb=cb, node="", state=state, counts={}, late=late)


def test_what_was_mailed_is_known_afterwards(tmp_path):
    mailed = Mailed(first_unix=12.5, beams=(0, 3), late=(7,), reasons={5: "no answer: 'x'"})
    mailed.write(tmp_path)
    assert Mailed.read(tmp_path) == mailed


# a mail rather twice than never
@pytest.mark.parametrize(
    "content", [None, "", "nonsense", "mailed: yes", "mailed: 3\nbeams: 5\nlate: []\nreasons: {}"]
)
def test_without_a_complete_note_nothing_was_mailed(tmp_path, content):
    if content is not None:
        (tmp_path / MAILED_NAME).write_text(content)
    assert Mailed.read(tmp_path) is None


def test_late_are_results_that_the_first_mail_did_not_have():
    mailed = Mailed(first_unix=0.0, beams=(0,))
    assert not mailed.is_late(beam(0))
    assert mailed.is_late(beam(1)) and mailed.is_late(beam(1, BeamState.NO_AMBER))
    # nothing to tell of
    assert not mailed.is_late(beam(1, BeamState.GIVEN_UP)) and not mailed.is_late(
        beam(1, BeamState.UNREADABLE)
    )


def test_late_results_are_untold_until_a_mail_has_them():
    info = ObservationInfo(
        task_id="", datetimesource="", source="", start=datetime(2019, 1, 1, tzinfo=UTC), duration_s=1.0,
        telescopes=(), frame="", dm_galactic=None, centre_mhz=0.0, bandwidth_mhz=0.0,
    )  # fmt: skip
    report = ObservationReport(
        info=info, beams=(beam(0), beam(1, late=True), beam(2, late=True)), written=info.start
    )
    assert Mailed(first_unix=0.0, beams=(0,), late=(1,)).untold(report) == [2]


def test_open_observations_are_known_until_they_are_finished(tmp_path):
    known = {
        "datetimesource": "2019-05-18-23:51:13.B1933+16",
        "beams": [0, 1],
        "duration": 299.008,
        "parset": "00a1",
    }
    OpenObservations(tmp_path / "open", LOGGER).keep("190518009", known)
    after = OpenObservations(tmp_path / "open", LOGGER)
    assert after.all() == {"190518009": known}
    after.drop("190518009")
    after.drop("190518009")
    assert after.all() == {}


def test_a_damaged_note_is_forgotten_and_told(tmp_path, caplog):
    (tmp_path / "1.yaml").write_text("nonsense")
    assert OpenObservations(tmp_path, LOGGER).all() == {} and "1.yaml" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_is_told_and_costs_nothing_else(tmp_path, caplog):
    (tmp_path / "file").touch()
    OpenObservations(tmp_path / "file", LOGGER).keep("190518009", {})
    assert "190518009 will be forgotten" in caplog.text
