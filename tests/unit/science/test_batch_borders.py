"""Bursts on the border between two batches: one group, without waiting for what cannot come."""

from types import SimpleNamespace

import numpy as np
import pytest

from darc.definitions import ARTS
from darc.science.batch_borders import BatchBorders
from darc.science.clustering import cluster
from darc.simulation.amber import Amber
from darc.simulation.sky import Burst, Sky

BORDER_S = 3 * ARTS.batch_s
PATIENCE_S = 0.5


def batch(number, *rows, late=False):
    triggers = np.array(rows, dtype=float).reshape(-1, 5)
    return SimpleNamespace(number=number, rows=triggers, late=late)


def trigger(time, snr=10.0, dm=500.0, width=10.0):
    return (dm, snr, time, width, 0.0)


@pytest.fixture
def borders():
    return BatchBorders(ARTS, PATIENCE_S)


def grouped(borders, rows):
    found = cluster(rows, snr_min=8.0, origin=0.0, method="linked", earlier=borders.found)
    borders.note(found)
    return found.representatives.tolist()


@pytest.mark.parametrize("offset_s", [-0.3, -0.02, -0.003, 0.0, 0.003, 0.02, 0.1])
@pytest.mark.parametrize("width", [1, 60, 300])
def test_a_burst_near_a_border_is_one_group(borders, offset_s, width):
    amber = Amber(Sky(8.0, (Burst(BORDER_S + offset_s, 1500.0, 60.0, width),)), seed=3)
    groups = []
    for number in range(amber.nbatch):
        found = np.concatenate([amber.rows(number, plan) for plan in range(3)])
        names = ("DM", "SNR", "time", "integration_step", "beam_id")
        rows = np.column_stack([found[name] for name in names])
        groups += grouped(borders, borders.take(batch(number, *rows), float(number)))
    groups += grouped(borders, borders.release())
    assert len(groups) == 1
    assert groups[0][2] == pytest.approx(BORDER_S + offset_s, abs=0.06)


def test_only_the_end_of_a_batch_waits_for_the_next(borders):
    early, last = trigger(2.5), trigger(BORDER_S - 0.001)
    assert borders.take(batch(2, early, last), 100.0).tolist() == [list(early)]
    assert borders.deadline == pytest.approx(100.0 + ARTS.batch_s + PATIENCE_S)
    following = trigger(BORDER_S + 0.5)
    assert borders.take(batch(3, following), 101.0).tolist() == [list(last), list(following)]
    assert borders.deadline is None


# of the smear of bright bursts, the widest boxcars find only part
@pytest.mark.parametrize(("widths_before", "waits"), [(4.9, 1), (5.1, 0)])
def test_a_trigger_waits_if_the_batch_ends_within_five_of_its_widths(borders, widths_before, waits):
    start_s = BORDER_S - widths_before * 100 * ARTS.tsamp_s
    assert len(borders.take(batch(2, trigger(start_s, width=100.0)), 100.0)) == 1 - waits


def test_what_waits_can_be_had_when_there_is_no_next_batch(borders):
    borders.take(batch(2, trigger(BORDER_S - 0.001)), 100.0)
    assert len(borders.release()) == 1
    assert borders.deadline is None
    assert len(borders.release()) == 0


def test_nothing_waits_when_the_batch_came_late(borders):
    assert len(borders.take(batch(2, trigger(BORDER_S - 0.001), late=True), 100.0)) == 1
    assert borders.deadline is None


def test_groups_of_long_ago_are_forgotten(borders):
    grouped(borders, np.array([trigger(1.0)]))
    grouped(borders, np.array([trigger(9.0)]))
    assert borders.found[:, 2].tolist() == [9.0]
