"""What is found of a host: folders, disks, ports, clock."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from darc.config import load_config
from darc.formats.node_details import NodeDetails
from darc.installation import host
from darc.installation.findings import Grade

NODES = "nodes: {master: {name: m, port: 5000}, workers: {w: 0}}\n"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def load(node="m", text=""):
        (tmp_path / "site.yaml").write_text(NODES + text)
        return load_config(tmp_path / "site.yaml", node)

    return load


@pytest.fixture
def space(monkeypatch):
    """Let every disk have so many bytes free."""

    def have(free):
        told = SimpleNamespace(f_bavail=free, f_blocks=10**15, f_frsize=1)
        monkeypatch.setattr(os, "statvfs", lambda _: told)

    have(10**14)
    return have


# --- folders


def test_folders_are_those_that_the_services_of_the_node_write(config):
    master, worker = (set(host.written_folders(config(node)).values()) for node in ("m", "w"))
    assert {"pages", "VOEvents", "status page"} == master - worker
    assert {"results"} == worker - master
    assert {"state", "logs", "parsets", "offline results"} <= master & worker


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_it_is_made_in(tmp_path, space):
    found = host.folder(tmp_path / "a" / "b", "pages")
    assert found.grade is Grade.OK and "100.0 TB of 1000.0 TB free" in found.text


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = host.folder(tmp_path / "a", "pages")
    assert found.grade is Grade.WRONG and f"{tmp_path} cannot be written by" in found.text
    assert "install-service` makes" in found.text and "chown" in host.folder(tmp_path, "pages").text


def test_a_file_in_the_way_is_wrong(tmp_path):
    (tmp_path / "a").touch()
    assert "is no folder" in host.folder(tmp_path / "a" / "b", "pages").text


@pytest.mark.parametrize(
    ("what", "free", "grade"),
    [
        ("results", 19 << 30, Grade.WARNING),
        ("results", 21 << 30, Grade.OK),
        ("pages", 21 << 30, Grade.OK),
        ("pages", 1 << 20, Grade.WARNING),
    ],
)
def test_results_need_more_space_than_others(tmp_path, space, monkeypatch, what, free, grade):
    space(free)
    monkeypatch.setattr(host, "ROOT", Path("/proc"))
    assert host.folder(tmp_path, what).grade is grade


def test_results_on_the_disk_of_the_system_get_a_warning(tmp_path, space, monkeypatch):
    monkeypatch.setattr(host, "ROOT", tmp_path)
    assert "on the disk of the system" in host.folder(tmp_path / "results", "results").text


def test_state_in_memory_is_wrong(tmp_path, space, monkeypatch):
    monkeypatch.setattr(host, "file_system", lambda _: "tmpfs")
    assert host.folder(tmp_path, "state").grade is Grade.WRONG
    assert host.folder(tmp_path, "pages").grade is Grade.OK


def test_the_file_system_of_a_path_is_that_of_the_innermost_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\nb /running xfs rw 0 0\n")
    paths = ("/run/x", "/running/x", "/home")
    assert [host.file_system(Path(p), mounts) for p in paths] == ["tmpfs", "xfs", "ext4"]
    assert host.file_system(tmp_path, tmp_path / "none") == ""


@pytest.mark.parametrize(("free", "grade"), [(10**9, Grade.OK), (10**6, Grade.WRONG)])
def test_shared_memory_is_needed(tmp_path, space, free, grade):
    space(free)
    assert host.shared_memory(tmp_path).grade is grade
    assert host.shared_memory(tmp_path / "none").grade is Grade.WRONG


# --- ports


def found_ports(config, monkeypatch, reason, running=None):
    monkeypatch.setattr(host, "_bind", lambda *_: reason)
    return list(host.ports(config, running))


def test_free_ports_are_well(config, monkeypatch):
    found = found_ports(config(text="darc_master: {metrics_port: 9000}"), monkeypatch, None)
    assert [f.grade for f in found] == [Grade.OK] * 4
    assert found[0].text == "127.0.0.1:5000 is free" and found[1].text == "127.0.0.1:9000 is free"


@pytest.mark.parametrize(
    ("running", "grade", "text"),
    [
        (NodeDetails("m", "master"), Grade.OK, "used by the DARC of this node"),
        (NodeDetails("w", "worker"), Grade.WRONG, "used by the DARC of node w"),
        (None, Grade.WRONG, "used by another program"),
    ],
)
def test_a_port_that_is_used_is_well_if_it_is_by_us(config, monkeypatch, running, grade, text):
    found = found_ports(config(), monkeypatch, errno.EADDRINUSE, running)
    assert {f.grade for f in found} == {grade} and text in found[0].text


def test_an_address_of_another_host_is_wrong(config, monkeypatch):
    found = found_ports(config(), monkeypatch, errno.EADDRNOTAVAIL)
    assert found[0].grade is Grade.WRONG and "cannot listen on 127.0.0.1:5000" in found[0].text


# --- clock


@pytest.mark.parametrize(
    ("told", "grade"),
    [
        ((True, 0.01), Grade.OK),
        ((True, 0.5), Grade.WARNING),
        ((False, 16.0), Grade.WRONG),
        (None, Grade.WARNING),
    ],
)
def test_the_clock_is_to_be_synchronised(told, grade):
    assert host.clock(lambda: told).grade is grade


def test_the_kernel_tells_of_its_clock():
    synchronised, error_s = host.kernel_clock()
    assert synchronised in (True, False) and 0 <= error_s < 1e6
