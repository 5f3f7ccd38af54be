"""`make bench`: benchmarks of a made-up folder in processes of their own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUNNER = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
FIGURE = {"name": "sorting", "value": 30.0, "unit": "ms", "target": 40.0, "better": "less", "limit": 20.0}

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    shutil.copy(RUNNER, folder)
    return folder


@pytest.fixture
def bench(folder: Path) -> Bench:
    def run(*names: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmarks.run", *names]
        return subprocess.run(
            command, cwd=folder.parent, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def write(folder: Path, name: str, *figures: dict, first: str = "") -> None:
    (folder / f"{name}.py").write_text(f"def measure():\n    {first}\n    return {list(figures)}\n")


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())


def test_figures_of_all_benchmarks_are_shown_and_kept(folder, bench):
    speed = FIGURE | {
        "name": "speed",
        "value": 12345.0,
        "unit": "lines/s",
        "target": 2e4,
        "better": "more",
        "limit": 24690.0,
    }
    write(folder, "a", FIGURE, first="print('chatter')")
    write(folder, "b", speed)
    (folder / "helper.py").write_text("VALUE = 1\n")
    done = bench()
    assert done.returncode == 0
    _machine, _heading, first, second = done.stdout.splitlines()
    assert first.split() == ["sorting", "30", "ms", "<=", "40", "20", "1.50", "yes"]
    assert second.split() == ["speed", "12,345", "lines/s", ">=", "20,000", "24,690", "2.00", "NO"]
    assert results(folder) == [FIGURE, speed]


def test_a_failure_is_shown_and_costs_its_own_figures_only(folder, bench):
    write(folder, "a", first="raise OSError('disk on fire')")
    write(folder, "b", FIGURE)
    write(folder, "c", FIGURE | {"better": "smaller"})
    write(folder, "d", {"name": "half"})
    done = bench()
    assert done.returncode == 1
    assert "disk on fire" in done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()[-3:]] == [
        "FAILED a",
        "FAILED c",
        "FAILED d",
    ]
    assert results(folder) == [FIGURE]


def test_a_named_benchmark_runs_alone_and_leaves_the_results(folder, bench):
    write(folder, "a", FIGURE)
    write(folder, "b", first="raise OSError")
    assert bench("a").returncode == 0
    assert not (folder / "results.json").exists()


def test_an_unknown_name_is_refused_with_the_known_ones(folder, bench):
    write(folder, "grouping", FIGURE)
    refused = bench("groping")
    assert refused.returncode == 2
    assert "groping" in refused.stderr
    assert "grouping" in refused.stderr
