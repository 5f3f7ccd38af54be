"""A master as systemd runs it: what it is told from the start to the end, and the unit itself."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from darc.simulation.cluster import free_ports

PATIENCE_S = 30.0
UNIT = Path(__file__).parents[2] / "systemd" / "darc.service"
#: Highest exposure by `systemd-analyze security`, in tenths: above 4.0 it is no longer called OK.
EXPOSURE_MAX = 40


def heard(server: socket.socket, wanted: str) -> list[str]:
    """All datagrams up to the first that holds a line."""
    found: list[str] = []
    while not found or wanted not in found[-1].split("\n"):
        found.append(server.recv(4096).decode())
    return found


def test_systemd_hears_of_the_start_that_all_is_well_and_of_the_end(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    site = tmp_path / "config.yaml"
    site.write_text(yaml.safe_dump({
        "nodes": {"workers": [{"name": "w", "beam": 0, "address": "127.0.0.1", "port": port}]},
        "darc_master": {"services_worker_mix": ["dada_trigger"]},
    }))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{folder}/notify")
        systemd.settimeout(PATIENCE_S)
        told = {"NOTIFY_SOCKET": f"{folder}/notify", "WATCHDOG_USEC": "600000"}
        master = subprocess.Popen(
            [sys.executable, "-m", "darc.darc_master", "--config", str(site), "--node", "w"],
            env={**os.environ, "HOME": str(tmp_path), **told},
        )
        try:
            ready = heard(systemd, "READY=1")
            assert ready == ["READY=1\nSTATUS=worker node w: 1 of 1 services run; no observation"]
            assert heard(systemd, "WATCHDOG=1") and heard(systemd, "WATCHDOG=1")
            master.send_signal(signal.SIGTERM)
            assert heard(systemd, "STOPPING=1")
            assert master.wait(PATIENCE_S) == 0
        finally:
            master.kill()
            master.wait()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_the_unit_is_right_and_allows_little() -> None:
    def analyse(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", *arguments, str(UNIT)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "darc.service" not in "".join(analyse("verify", "--man=no").stderr)
    security = analyse("security", "--offline=true", f"--threshold={EXPOSURE_MAX}")
    assert security.returncode == 0, security.stdout
