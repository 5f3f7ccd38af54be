"""Figures of a node: counted in many processes, kept when these are killed, told to Prometheus."""

import errno
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from darc import metrics, metrics_store
from darc.errors import DARCError
from darc.formats.node_details import ServiceDetails
from darc.node.metrics_server import NodeCollector, NodeState
from darc.node.report import sending
from darc.outbox import Outbox
from darc.processor_tools.ledger import Ledger
from darc.processor_tools.progress import Progress

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOW = 1_800_000_000.0
STATE = NodeState(
    {"dada_trigger": ServiceDetails("running", restarts=2, queue=7), "processor": ServiceDetails("failed")},
    [(NOW, "running"), (NOW + 60, "waiting")],
    3,
)
OTHER_PROCESS = """
import sys
from darc import metrics, metrics_store
metrics_store.keep_as(sys.argv[1])
exec(sys.argv[2])
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path):
    """The folder of a node whose master is this test."""
    path = metrics_store.folder_in(tmp_path)
    with metrics_store.offered(path):
        yield path
    metrics.stop_keeping()


@pytest.fixture
def processes():
    started = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


@pytest.fixture
def process(processes):
    """Start a process below the master that counts something, then lives on."""

    def start(name, code):
        command = [sys.executable, "-c", OTHER_PROCESS, name, code]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert processes[-1].stdout.readline() == b"done\n"
        return processes[-1]

    return start


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_what_a_killed_process_counted_stays_and_its_successor_goes_on(folder, process):
    kill(process("amber_listener", "metrics.LINES.labels('1').inc(5)"))
    assert metrics.reading(folder)['darc_amber_lines_total{step="1"}'] == 5
    before = len(list(folder.iterdir()))
    process("amber_listener", "metrics.LINES.labels('1').inc(2)")
    assert metrics.reading(folder)['darc_amber_lines_total{step="1"}'] == 7
    assert len(list(folder.iterdir())) == before


def test_processes_of_one_name_at_the_same_time_are_added_up(folder, process):
    code = "metrics.CANDIDATES.labels('kept').inc(1); metrics.note_trigger('iquv', 'sent', 9.0, 8.5)"
    for _ in range(2):
        process("processor", code)
    figures = metrics.reading(folder)
    assert figures['darc_candidates_total{stage="kept"}'] == 2
    assert figures['darc_trigger_latency_seconds_count{kind="iquv"}'] == 2
    assert figures['darc_trigger_latency_seconds_sum{kind="iquv"}'] == 1.0


def test_what_holds_for_a_living_process_only_goes_with_it(folder, process):
    worker = process("amber_clustering", "metrics.BEHIND.set(0.5); metrics.note_trigger('iquv', 'sent', 9.0)")
    assert metrics.reading(folder)["darc_seconds_behind"] == 0.5
    kill(worker)
    figures = metrics.reading(folder)
    assert "darc_seconds_behind" not in figures
    assert figures['darc_trigger_last_time_seconds{kind="iquv",outcome="sent"}'] == 9.0
    # nor does it come back with a successor that has not measured it yet
    process("amber_clustering", "metrics.BATCHES.inc()")
    assert "darc_seconds_behind" not in metrics.reading(folder)


def test_a_delay_is_not_shown_between_observations(folder):
    metrics_store.keep_as("amber_clustering")
    metrics.BEHIND.set(0.5)
    assert metrics.reading(folder)["darc_seconds_behind"] == 0.5
    metrics.forget_delay()
    assert "darc_seconds_behind" not in metrics.reading(folder)


def test_a_master_starts_with_nothing(folder, tmp_path):
    metrics_store.keep_as("amber_listener")
    metrics.ROWS.inc(5)
    with metrics_store.offered(folder):
        assert metrics.reading(folder) == {}
    assert metrics.reading(tmp_path / "nowhere") == {}


def test_below_no_master_figures_stay_in_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metrics_store.keep_as("amber_listener")
    before = metrics.ROWS._value.get()
    metrics.ROWS.inc(5)
    assert metrics.ROWS._value.get() == before + 5
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_costs_the_figures_and_nothing_else(folder, monkeypatch, caplog):
    # writing to a mapped file that the disk has no room for would end the process
    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    metrics_store.keep_as("amber_listener")
    before = metrics.ROWS._value.get()
    for _ in range(3):
        metrics.ROWS.inc()
    assert metrics.ROWS._value.get() == before + 3
    assert caplog.text.count("metrics of this process are not kept") == 1


def test_a_folder_that_cannot_be_made_is_said(tmp_path, caplog):
    (tmp_path / "file").touch()
    with metrics_store.offered(tmp_path / "file" / "metrics"):
        metrics_store.keep_as("amber_listener")
        metrics.ROWS.inc()
    metrics.stop_keeping()
    assert "see darc_master.state_dir" in caplog.text


def test_a_follower_counts_what_came_since(folder):
    metrics_store.keep_as("processor")
    follower = metrics.Follower(metrics.CANDIDATES)
    for number in (3, 3, 5):
        follower.follow({("a stage",): number})
    # the next observation starts from zero
    metrics.Follower(metrics.CANDIDATES).follow({("a stage",): 2})
    assert metrics.reading(folder)['darc_candidates_total{stage="a stage"}'] == 7


def test_an_outbox_counts_what_waits_and_what_became_of_it():
    def counted():
        return [metrics.TRIGGERS.labels("i", each)._value.get() for each in (metrics.SENT, metrics.FAILED)]

    def send(item):
        seen.append(metrics.UNSENT.labels("i")._value.get())
        if item == "bad":
            raise DARCError("nobody there")

    before, seen = counted(), []
    outbox = Outbox("Stokes I", "i", send, logging.getLogger("darc.test"), lambda: 9.0)
    outbox.put("good", 8.5)
    outbox.put("bad")
    outbox.close(20.0)
    assert seen[-1] == 1
    assert metrics.UNSENT.labels("i")._value.get() == 0
    assert [after - each for after, each in zip(counted(), before, strict=True)] == [1, 1]


def test_a_master_without_a_port_does_without_what_serves_metrics():
    code = "import sys, darc.darc_master; print('prometheus_client' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_stages_and_reasons_follow_a_ledger(folder):
    metrics_store.keep_as("processor")

    def counted():
        metrics.BATCHES.inc()
        figures = metrics.reading(folder)
        return [
            figures.get(f"darc_candidates{rest}", 0)
            for rest in (
                '_total{stage="raw"}',
                '_total{stage="kept"}',
                '_skipped_total{reason="too faint in the data",stage="extraction"}',
                '_skipped_total{reason="no classifier",stage="classification"}',
            )
        ]

    before, ledger, progress = counted(), Ledger(), Progress()
    ledger.rows, ledger.kept = 100, [Path("a"), Path("b")]
    ledger.skipped["too faint in the data"] = 3
    ledger.unjudged.update({"no classifier: /a/model is damaged": 2, "no classifier: 10 processes died": 1})
    for _ in range(2):
        progress.follow(ledger)
    assert [after - each for after, each in zip(counted(), before, strict=True)] == [100, 2, 3, 3]


def test_all_figures_fit_into_their_files(folder, process):
    # a file that has to grow is one that the disk may have no room for
    process(
        "voevent_generator",
        "for kind in metrics.KINDS:\n"
        "    for outcome in metrics.OUTCOMES:\n"
        "        metrics.note_trigger(kind, outcome, 2.0, 1.0)",
    )
    assert len(metrics.reading(folder)) > 40
    assert {path.stat().st_size for path in folder.glob("*.db")} == {metrics_store.FILE_BYTES}


# --- what Prometheus gets -----------------------------------------------------------------------------------


def scrape(folder):
    registry = CollectorRegistry()
    registry.register(NodeCollector(folder, "worker03", "worker", lambda: STATE))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "node")): sample
        for family in families
        for sample in family.samples
    }


def test_prometheus_gets_figures_of_processes_and_of_the_master(folder):
    metrics_store.keep_as("amber_listener")
    metrics.LINES.labels("2").inc(5)
    samples = scrape(folder)
    assert {sample.labels["node"] for sample in samples.values()} == {"worker03"}
    assert samples["darc_amber_lines_total", "2"].value >= 5
    assert samples["darc_service_up", "dada_trigger"].value == 1
    assert samples["darc_service_up", "processor"].value == 0
    assert samples["darc_service_restarts_total", "dada_trigger"].value == 2
    assert samples["darc_queue_bytes", "dada_trigger"].value == 7
    assert ("darc_queue_bytes", "processor") not in samples
    assert samples["darc_observations", "running"].value == samples["darc_observations", "waiting"].value == 1
    assert samples["darc_observation_end_time_seconds",].value == NOW
    assert samples["darc_mails_queued",].value == 3


def test_what_has_not_happened_yet_is_zero(folder):
    # the first failure has to be an increase
    samples = scrape(folder)
    for kind, outcome in itertools.product(metrics.KINDS, metrics.OUTCOMES):
        assert samples["darc_triggers_total", kind, outcome].value == 0
    assert samples["darc_amber_rows_total",].value == 0
    assert ("darc_seconds_behind",) not in samples


# --- what is written about it -------------------------------------------------------------------------------


def all_metrics():
    """Every metric: its name as Prometheus has it, and its row in the table of the documentation."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(Path(), "n", "worker", lambda: STATE))
    labels = {metric._name: metric._labelnames for metric in metrics.REGISTRY._collector_to_names}
    own = [metric for metric in registry.collect() if metric.name not in labels]
    rows = {}
    for metric in (*own, *metrics.REGISTRY.collect()):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        known = labels.get(metric.name) or sorted(
            {*metric.samples[0].labels} - {"node"} if metric.samples else ()
        )
        shown = ", ".join(f"`{label}`" for label in known)
        rows[name] = f"| `{name}` | {metric.type} | {shown} | {metric.documentation} |"
    return rows


def test_every_metric_is_documented_as_it_is():
    documented = [
        line for line in (DOCS / "metrics.md").read_text().splitlines() if line.startswith("| `darc_")
    ]
    assert sorted(documented) == sorted(all_metrics().values())


def expressions(panels):
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", ()))
        yield from expressions(panel.get("panels", ()))


def test_the_dashboard_names_metrics_that_exist_and_leaves_none_out():
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    variables = [variable["query"] for variable in dashboard["templating"]["list"] if "query" in variable]
    text = "\n".join([*expressions(dashboard["panels"]), *map(json.dumps, variables)])
    used = {
        re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in re.findall(r"\bdarc_\w+", text)
    }
    assert used == set(all_metrics())


def test_every_panel_of_the_dashboard_shows_the_chosen_nodes():
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "node"]
    found = list(expressions(dashboard["panels"]))
    assert len(found) >= 15
    assert all('node=~"$node"' in expression for expression in found)


@pytest.mark.parametrize(
    ("is_on", "test", "told"),
    [
        (False, True, "disabled"),
        (False, False, "disabled"),
        (True, True, "enabled, all events are tests"),
        (True, False, "enabled"),
    ],
)
def test_whether_others_are_told_is_said_in_words(folder, is_on, test, told):
    metrics_store.keep_as("lofar_trigger")
    metrics.note_sending("lofar_trigger", is_on, test)
    assert sending(metrics.reading(folder)) == {"lofar_trigger": told}
