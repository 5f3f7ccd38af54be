"""What has to come of recorded files."""

import numpy as np
import pytest
import yaml

from darc.config import ConfigError, load_config
from darc.errors import DARCError
from darc.formats.source_list import Source, load_source_list
from darc.simulation.replay import (
    SOURCE_LIST,
    RuleBook,
    decide,
    decided_by,
    expected_triggers,
    read_batches,
    recorded_beams,
)

CRAB = (83.633, 22.0145)


def test_a_folder_without_recorded_files_is_refused(tmp_path):
    with pytest.raises(DARCError, match="no AMBER files"):
        recorded_beams(tmp_path)


def test_what_a_site_decides_can_be_replayed_with_other_files(tmp_path):
    site = tmp_path / "site.yaml"
    site.write_text(
        "amber_clustering: {thresh_iquv: {snr_min: 9.5}, sb_filter: false, source_file: /away.yaml}\n"
    )
    decided = decided_by(site)
    assert decided["thresh_iquv"]["snr_min"] == 9.5
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({"amber_clustering": decided}))
    section, default = (
        load_config(tmp_path / "cluster.yaml").amber_clustering,
        load_config(site).amber_clustering,
    )
    assert section.sb_filter is False and section.thresh_lofar == default.thresh_lofar
    assert str(section.source_file) != "/away.yaml"
    site.write_text("amber_clustering: {snr_mim: 9.5}\n")
    with pytest.raises(ConfigError):
        decided_by(site)


def test_real_pulses_of_the_crab_trigger_dumps_and_nothing_else(reference_data, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    recorded = reference_data / "amber"
    source = load_source_list(recorded / SOURCE_LIST).lookup("B0531+21")
    flushed = {(0, number): 0.0 for number in read_batches(recorded, 0)}
    expected = expected_triggers(recorded, RuleBook(source, CRAB), load_config(), flushed)
    assert recorded_beams(recorded) == [0]
    assert expected
    assert {receiver for each in expected for receiver in each.receivers} == {"IQUV CB00"}
    assert {each.dm for each in expected} == {source.dm}


def test_the_order_of_batches_in_memory_does_not_matter(reference_data):
    rules = RuleBook(Source("B0531+21", "pulsar", 56.8), CRAB).rules(load_config(), 0)
    batches = read_batches(reference_data / "amber", 0)
    backwards = {number: np.flip(rows, axis=0) for number, rows in reversed(batches.items())}
    sent, sent_backwards = (
        [
            (v.time_s, v.dm, v.snr, v.sb)
            for selection in decide(each, rules, 60.0).values()
            for v in selection.iquv
        ]
        for each in (batches, backwards)
    )
    assert sent and sent == sent_backwards
