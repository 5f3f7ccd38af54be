"""Rows of AMBER on their way in: what a predecessor has decided on, and what it has not."""

import logging
from collections import Counter

import pytest

from darc.amber_rows import RowIntake
from darc.definitions import ARTS
from darc.formats.amber import format_row


def line(batch, dm=500.0):
    time_s = batch * ARTS.batch_s
    return format_row(beam=35, batch=batch, sample=0, integration_step=1, time_s=time_s, dm=dm, snr=20.0)


@pytest.fixture
def intake():
    """One whose predecessor decided on three rows of batch 7."""
    return RowIntake(
        1, settle_s=0.1, interval_s=1.0, instrument=ARTS, logger=logging.getLogger("test"),
        clock=lambda: 100.0, decided={7: Counter({1: 3})},
    )  # fmt: skip


def test_the_first_rows_of_a_batch_are_passed_over_in_however_many_messages_they_come(intake):
    intake.put({"trigger": [line(7, dm) for dm in (1.0, 2.0)], "step": 1})
    assert intake.ready() == []
    intake.put({"trigger": [line(7, dm) for dm in (3.0, 4.0, 5.0)], "step": 1})
    (batch,) = intake.flush()
    assert batch.late and batch.rows[:, 0].tolist() == [4.0, 5.0]


def test_rows_of_other_batches_and_of_unknown_sources_are_not_passed_over(intake):
    intake.put({"trigger": [line(8)], "step": 1})
    intake.put({"trigger": [line(7)]})
    assert [(batch.number, len(batch.rows)) for batch in intake.flush()] == [(7, 1), (8, 1)]
