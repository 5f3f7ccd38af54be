"""`darc demo` on a small scale: real processes, from the scheduler's command to the last trigger."""

import subprocess
import sys
from urllib.parse import quote

import pytest

from darc.simulation.demo import inject
from darc.simulation.scenario import DEMO, Injection, Scenario
from darc.simulation.sky import Burst, Pulsar

SHORT = Scenario(
    source="FRB20190303A",
    direction_deg=(207.9958, 48.1211),
    source_dm=222.4,
    duration_s=9.5,
    injections=(
        Injection("repeater", 0, Burst(3.3, 222.4, 60.0, 10)),
        Injection("new source", 1, Burst(5.6, 130.0, 60.0, 5)),
        Injection("below the limit", 1, Burst(7.4, 100.0, 9.0, 5), iquv=False, alert=False, extracted=False),
    ),
    pulsars={1: (Pulsar(2.337, 12.0, 25.0, 0.2, 10),)},
    impulses=(Burst(3.4, 0.0, 120.0, 3, None),),
    transmitters=DEMO.transmitters,
)


def test_every_burst_arrives_where_it_should_and_nothing_else_does(tmp_path, capsys):
    assert inject(SHORT, tmp_path / "demo").run(), capsys.readouterr().out
    printed = capsys.readouterr().out
    assert printed.count(" ok\n") == 6
    for beam in (0, 1):
        (pages,) = (tmp_path / "demo" / "results").glob(f"*/*/CB{beam:02d}.pdf")
        assert pages.read_bytes().startswith(b"%PDF")
    assert "e-mails about triggers to LOFAR: 2" in printed
    pages = tmp_path / "demo" / "pages"
    (page,) = pages.glob("*/*/index.html")
    assert SHORT.source in page.read_text()
    assert quote(page.parent.name) in (pages / "index.html").read_text()
    assert "worker01" in (pages / "status-while-observing" / "index.html").read_text()
    assert "offline" in (pages / "status" / "index.html").read_text()
    for log in (tmp_path / "demo").glob("cluster/darc/log/processor.*"):
        assert "no channel is masked" not in log.read_text()
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == "", "processes are left"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    demo = subprocess.run(
        [sys.executable, "-m", "darc.control", "demo", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 1
    assert "holds other things" in demo.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_replay_of_nothing_is_refused(tmp_path, folder):
    demo = subprocess.run(
        [
            sys.executable,
            "-m",
            "darc.control",
            "demo",
            "--folder",
            str(tmp_path / "out"),
            "--replay",
            str(tmp_path / folder),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 1
    assert "no AMBER files" in demo.stderr
