"""The documentation says what the code says: its references, its runbook, its pictures, its figures."""

import ast
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml

from benchmarks import run, table
from darc import config
from darc.commands.catalogue import COMMANDS
from darc.formats.node_details import Disk, NodeDetails, ServiceDetails
from darc.network.sweep import NodeError
from darc.web.status import Node, NonsenseError, Settings, Status
from docs import blocks, data_flow
from docs.generators import api, commands, configuration

ROOT = Path(__file__).parents[2]
RUNBOOK = (blocks.DOCS / "guides" / "when-something-fails.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### (.+)$", RUNBOOK, re.MULTILINE)


def keys_of(mapping, prefix=""):
    for key, value in mapping.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{key}.")


def test_every_key_is_in_the_reference_and_has_an_explanation():
    page = configuration.page()
    defaults = yaml.safe_load((ROOT / "darc" / "config.yaml").read_text(encoding="utf-8"))
    for section, content in defaults.items():
        (text,) = re.findall(rf"^## {section}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert {*re.findall(r"`([\w.]+)`(?: = |,|$)", text, re.MULTILINE)} >= {*keys_of(content)}
        assert not re.search(r"^: *$", text, re.MULTILINE), "an explanation is missing"


def test_the_reference_says_what_a_value_may_be():
    page = configuration.page()
    assert "`level` = `info`" in page
    assert "one of `debug`, `info`, `warning`, `error`" in page
    assert re.search(r"`settling_time`: a number, 0 or more", page)


def test_every_command_and_option_is_in_the_reference():
    page = commands.page()
    for name, command in COMMANDS.items():
        (text,) = re.findall(rf"^## darc {name}$(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
        assert all(f"`{option}" in text for option in command.options)
    assert "## darc demo" in page
    assert "## darc_service" in page
    for script in (ROOT / "bin").iterdir():
        assert f"## {script.name}\n\n```text\nusage: {script.name} " in page


def test_every_public_module_is_in_the_reference():
    text = "\n".join(api.pages().values())
    for path in (ROOT / "darc").rglob("*.py"):
        if not path.stem.startswith("_"):
            name = ".".join(("darc", *path.relative_to(ROOT / "darc").with_suffix("").parts))
            assert f".. automodule:: {name}\n" in text


def sick_node(name, **changes):
    details = {
        "node": name,
        "role": "worker",
        "beam": 0,
        "version": "1.0.0",
        "time": 100.0,
        "up_since": 0.0,
        "services": {"processor": ServiceDetails("running", 0.0, 0, 1, 0)},
        "observations": (),
        "delay_s": None,
        "last_triggers": {},
        "disks": {},
    } | changes
    return Node(name, "worker", 0, NodeDetails(**details))


def alarms():
    sick = [
        Node("a", "worker", 0, NodeError("no answer in time")),
        Node("b", "worker", 0, NonsenseError("what is that?")),
        sick_node("c", services={}),
        sick_node("d", services={"processor": ServiceDetails("failed", 0.0, 9, None, 0)}),
        sick_node("e", delay_s=99.0),
        sick_node("f", disks={"results": Disk("/data", 1, 1000)}),
        sick_node("g", version="0.9"),
        sick_node("h", time=900.0),
    ]
    status = Status(sick, 100.0, 101.0, Settings(10.0, {}, "1.0.0", 10.0))
    assert len(status.alarms) == len(sick), "an alarm is missing here: add a node that raises it"
    return [alarm.text for alarm in status.alarms]


@pytest.mark.parametrize("alarm", alarms())
def test_every_alarm_of_the_status_page_has_a_chapter_in_the_runbook(alarm):
    heading = (
        "A service is failed"
        if alarm.endswith(" failed")
        else alarm.removesuffix(" 1.0.0").removesuffix(" than")
    )
    assert any(each.startswith(heading) for each in HEADINGS)


def test_no_alarm_was_forgotten_above():
    source = ast.parse((ROOT / "darc" / "web" / "status.py").read_text(encoding="utf-8"))
    (function,) = (node for node in ast.walk(source) if getattr(node, "name", "") == "_alarms_of")
    yields = [node for node in ast.walk(function) if isinstance(node, ast.Yield)]
    # the first of them stands for two: no answer, and nonsense
    assert len(yields) + 1 == len(alarms())


def test_every_alarm_of_prometheus_has_a_chapter_in_the_runbook():
    text = (blocks.DOCS / "metrics.md").read_text(encoding="utf-8")
    found = re.findall(r"- alert: (\w+)", text)
    assert found
    assert {*found} <= {*HEADINGS}


def test_the_picture_of_the_data_flow_is_the_one_that_is_drawn():
    shown = (blocks.DOCS / "images" / "data-flow.svg").read_text(encoding="utf-8")
    assert shown == data_flow.svg(), "python docs/figures.py draws it"


def test_what_the_readme_links_to_is_there():
    targets = re.findall(r"\]\(([^)#\s]+)\)", table.README.read_text(encoding="utf-8"))
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_the_readme_shows_the_figures_of_the_last_run():
    readme = table.README.read_text(encoding="utf-8")
    assert table.filled(readme, table.figures()) == readme, "python -m benchmarks.table"


def test_the_figures_of_the_readme_were_measured_by_benchmarks_that_are_there():
    assert {*table.SHOWN} <= {*run.benchmarks()}
    measured = {figure.name for figure in table.figures()}
    assert {name for names in table.SHOWN.values() for name in names} <= measured


def test_a_missed_target_is_said_in_the_table():
    figure = run.Figure("a thing", 3.0, "ms", 2.0, "less", 1.0)
    assert "3 ms (missed)" in table.table([figure])


def test_a_readme_without_a_place_for_figures_is_refused():
    with pytest.raises(table.MarkersError):
        table.filled("# DARC", [])


def test_the_example_of_a_site_file_has_no_mistakes(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.check_config(ROOT / "config.yaml") == []


def test_every_dependency_has_a_row_that_says_what_it_is_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    required = {re.match(r"[\w-]+", each)[0].lower() for each in wanted} - {"setuptools"}  # for pyymw16
    text = (blocks.DOCS / "decisions" / "0001-dependencies.md").read_text(encoding="utf-8")
    rows = ", ".join(re.findall(r"^\| ([\w, -]+) \| \S", text, re.MULTILINE)).lower().split(", ")
    assert {*rows} - {"package", "---"} == required
