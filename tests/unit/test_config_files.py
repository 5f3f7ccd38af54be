"""Where the configuration comes from: search order, merging, placeholders, nodes, and what a client reads."""

import subprocess
import sys
from pathlib import Path

import pytest

from darc import config_files
from darc.config_files import ConfigError, client_settings, find_config, load_raw, read_layers

CLUSTER = """
nodes:
  master: {name: control, address: 10.0.0.1}
  workers:
    - {name: beam00, beam: 0, port: 51001, config: {amber_listener: {interval: 0.5}}}
    - {name: beam01.site.org, beam: 1}
darc_master: {port: 52000}
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home folder on a host that is no node."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    monkeypatch.delenv("DARC_NODE", raising=False)
    monkeypatch.setattr(config_files, "host_name", lambda: "elsewhere.site.org")
    return tmp_path


@pytest.fixture
def site(tmp_path):
    """Write a site's file and return its path."""

    def write(text, name="site.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def on_host(monkeypatch, name):
    monkeypatch.setattr(config_files, "host_name", lambda: name)


# search order


def test_without_any_file_the_packaged_defaults_are_read():
    raw = load_raw()
    assert raw.path is None
    assert raw.data["darc_master"]["port"] == 51000


def test_an_explicit_path_goes_before_the_environment_and_that_before_the_home_folder(
    site, monkeypatch, home
):
    explicit, named = site("{}", "explicit.yaml"), site("{}", "named.yaml")
    default = site("{}", "darc/config.yaml")
    assert find_config() == default
    monkeypatch.setenv("DARC_CONFIG", str(named))
    assert find_config() == named
    assert find_config(explicit) == explicit


def test_a_file_that_was_named_has_to_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("DARC_CONFIG", str(tmp_path / "gone.yaml"))
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_raw()


# reading and merging


def test_mappings_are_merged_and_lists_replaced(site):
    raw = load_raw(
        site("darc_master: {port: 1, services_worker_rt: [processor]}\nprocessor: {extractor: {ndm: 8}}")
    )
    assert raw.data["darc_master"]["port"] == 1
    assert raw.data["darc_master"]["setup_time"] == 5
    assert raw.data["darc_master"]["services_worker_rt"] == ["processor"]
    assert (raw.data["processor"]["extractor"]["ndm"], raw.data["processor"]["extractor"]["ntime"]) == (8, 64)


def test_a_section_whose_keys_are_all_commented_out_changes_nothing(site):
    assert load_raw(site("amber_listener:\n  # interval: 1\n")).data == load_raw().data


def test_every_fault_of_a_file_is_told_with_file_and_line(site):
    path = site("darc_master:\n  port: 1\n  port: 2\n  mode: x\n  mode: y\n")
    with pytest.raises(ConfigError) as caught:
        load_raw(path)
    assert [(p.file, p.line, p.key) for p in caught.value.problems] == [(path, 3, "port"), (path, 5, "mode")]
    assert f"{path}, line 3: port: stands twice" in str(caught.value)


def test_a_huge_file_is_refused(site):
    with pytest.raises(ConfigError, match="larger than"):
        load_raw(site("#" * (config_files.MAX_BYTES + 1)))


def test_origin_names_file_and_key_as_written(site):
    path = site(CLUSTER)
    raw = load_raw(path, "beam00")
    assert raw.origin(("darc_master", "port")) == (path, ("darc_master", "port"))
    assert raw.origin(("darc_master", "mode")) == (config_files.PACKAGED, ("darc_master", "mode"))
    written = ("nodes", "workers", 0, "config", "amber_listener", "interval")
    assert raw.origin(("amber_listener", "interval")) == (path, written)
    assert raw.origin(("nodes", "workers", 1, "port")) is None


# placeholders


def test_placeholders_are_filled_in_everywhere_and_other_braces_stay(site, home):
    text = 'processor:\n  output_subdir: "{home}|{hostname}|{node}|{beam:02d}|{}|{other}"\n'
    text += 'offline_processing: {emailer: ["{home}", {x: "{node}"}]}\n' + CLUSTER
    data = load_raw(site(text), "control").data
    assert (
        data["processor"]["output_subdir"] == f"{home}|elsewhere.site.org|control|{{beam:02d}}|{{}}|{{other}}"
    )
    assert data["offline_processing"]["emailer"] == [str(home), {"x": "control"}]


def test_without_a_node_its_placeholder_is_the_name_of_the_host():
    assert load_raw().data["darc_master"]["log_file"].endswith("darc_master.elsewhere.site.org.log")


def test_a_node_may_be_named_after_the_host(site):
    assert load_raw(site('nodes: {workers: [{name: "{hostname}", beam: 3}]}')).node == "elsewhere.site.org"


# nodes


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("control", "control"),
        ("control.site.org", "control"),
        ("beam01", "beam01.site.org"),
        ("beam01.site.org", "beam01.site.org"),
        ("beam01.other.org", None),
        ("beam0", None),
    ],
)
def test_a_host_finds_itself_among_the_nodes_by_full_or_short_name(site, monkeypatch, host, node):
    on_host(monkeypatch, host)
    assert load_raw(site(CLUSTER)).node == node


def test_the_environment_names_the_node_and_an_argument_goes_before_it(site, monkeypatch):
    on_host(monkeypatch, "control")
    monkeypatch.setenv("DARC_NODE", "beam00")
    assert load_raw(site(CLUSTER)).node == "beam00"
    assert load_raw(site(CLUSTER), "beam01.site.org").node == "beam01.site.org"


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_named_node_that_is_not_configured_is_an_error_that_lists_those_that_are(
    site, monkeypatch, by_environment
):
    if by_environment:
        monkeypatch.setenv("DARC_NODE", "beam99")
    with pytest.raises(ConfigError, match=r"no node 'beam99'.*control, beam00, beam01\.site\.org"):
        load_raw(site(CLUSTER), None if by_environment else "beam99")


def test_overrides_and_port_of_a_node_hold_for_that_node_only(site):
    path = site(CLUSTER)
    assert load_raw(path, "beam00").data["amber_listener"]["interval"] == 0.5
    assert load_raw(path, "beam00").data["darc_master"]["port"] == 51001
    assert load_raw(path, "control").data["amber_listener"]["interval"] == 0.2
    assert load_raw(path, "control").data["darc_master"]["port"] == 52000


def test_address_and_port_of_a_node_default_to_its_name_and_the_common_port(site):
    entry = load_raw(site(CLUSTER), "beam00").data["nodes"]["workers"][1]
    assert (entry["address"], entry["port"]) == ("beam01.site.org", 52000)


def test_workers_may_be_given_in_short(site):
    raw = load_raw(site("nodes: {workers: {arts001: 0, arts002: 1}}"), "arts002")
    assert raw.data["nodes"]["workers"][1]["beam"] == 1


def test_queue_servers_are_at_the_master_node_or_on_the_loopback_interface_without_one(site):
    addresses = {name: load_raw(site(text)).data[name]["server_address"]
                 for name, text in (("lofar_trigger", CLUSTER), ("voevent_generator", "{}"))}  # fmt: skip
    assert addresses == {"lofar_trigger": "10.0.0.1", "voevent_generator": "127.0.0.1"}
    raw = load_raw(site(CLUSTER + "lofar_trigger: {server_address: 10.0.0.9}"))
    assert raw.data["lofar_trigger"]["server_address"] == "10.0.0.9"


# client


def test_client_connects_to_the_command_port_of_its_own_host():
    settings = client_settings()
    assert (settings.host, settings.port, settings.nodes) == ("127.0.0.1", 51000, {})


@pytest.mark.parametrize(
    ("listening", "host"), [("0.0.0.0", "127.0.0.1"), ("'::'", "::1"), ("10.0.0.5", "10.0.0.5")]
)
def test_client_connects_to_where_the_command_port_listens(site, listening, host):
    assert client_settings(site(f"darc_master: {{address: {listening}}}")).host == host


def test_client_reaches_a_named_node_at_its_address_and_its_own_host_directly(site, monkeypatch):
    path = site(CLUSTER)
    assert client_settings(path, "control").host == "10.0.0.1"
    assert (client_settings(path, "beam00").host, client_settings(path, "beam00").port) == ("beam00", 51001)
    on_host(monkeypatch, "control")
    assert client_settings(path, "control").host == "127.0.0.1"


def test_client_knows_where_every_node_is(site):
    nodes = client_settings(site(CLUSTER), "beam00").nodes
    assert [(name, n.address, n.port, n.role) for name, n in nodes.items()] == [
        ("control", "10.0.0.1", 52000, "master"),
        ("beam00", "beam00", 51001, "worker"),
        ("beam01.site.org", "beam01.site.org", 52000, "worker"),
    ]


@pytest.mark.parametrize(
    "text", ["darc_master: {port: x}", "darc_master: {socket_timeout: 0}", "darc_master: 5"]
)
def test_client_refuses_settings_it_cannot_use_and_names_them(site, text):
    with pytest.raises(ConfigError, match=r"site\.yaml, line 1: darc_master"):
        client_settings(site(text))


def test_client_does_not_mind_mistakes_in_other_sections(site):
    assert client_settings(site("processor: 5\nnodes: {workers: [x, {}, {name: [a]}]}")).port == 51000


def test_client_imports_neither_numpy_nor_astropy_nor_pydantic():
    code = "import sys, darc.config_files; print(*{'numpy', 'astropy', 'pydantic'} & set(sys.modules))"
    root = Path(config_files.__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_reading_without_a_node_leaves_the_placeholder_of_the_node():
    assert "{node}" in read_layers().data["darc_master"]["log_file"]
