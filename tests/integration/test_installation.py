"""The check of a node against a master that runs, and a mail server that answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from darc.config import load_config
from darc.installation import host, others
from darc.installation.findings import Grade
from darc.network.command_protocol import Reply, Request
from darc.network.command_server import CommandServer
from darc.network.mail import MailError, MailSettings, check_server
from darc.simulation.cluster import free_ports


def test_a_mail_server_is_greeted_and_gets_no_mail() -> None:
    (port,) = free_ports(1)
    settings = MailSettings("127.0.0.1", port, "a@example.org", timeout_s=10.0)
    with pytest.raises(MailError, match="nobody listens"):
        check_server(settings)
    server = Controller(Sink(), "127.0.0.1", port)
    server.start()
    try:
        assert check_server(settings) == f"127.0.0.1:{port} answers"
    finally:
        server.stop()


@pytest.mark.parametrize(("name", "grade"), [("w", Grade.OK), ("v", Grade.WRONG)])
def test_ports_that_our_own_master_uses_are_well(tmp_path: Path, name: str, grade: Grade) -> None:
    def answer(request: Request) -> Reply:
        assert request.command == "details"
        return Reply("Success", {"node": name, "role": "worker", "version": "1", "services": {}})

    with CommandServer(("127.0.0.1", 0), answer, timeout_s=10.0) as server:
        site = tmp_path / "site.yaml"
        entry = {"name": "w", "beam": 0, "address": "127.0.0.1", "port": server.address[1]}
        site.write_text(yaml.safe_dump({"nodes": {"workers": [entry]}}))
        config = load_config(site, "w")
        (found,) = host.ports(config, others.running_node(config, 10.0))
    assert found.grade is grade and "is used by the DARC of" in found.text
    (found,) = host.ports(config, others.running_node(config, 10.0))
    assert found.text.endswith("is free")


def test_a_network_that_is_loaded_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it is about to send to its makers in the folder for caches."""
    program = "from darc.processor_tools.networks import *; Network(PACKAGED_MODELS / 'dmtime.onnx')"
    kept = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment = {**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name] == []
