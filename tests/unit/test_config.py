"""The configuration as the services see it, and what is said about mistakes in it."""

import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from darc import config_files
from darc.config import SERVICES, ConfigError, check_config, load_config
from darc.definitions import ARTS, Instrument

ROOT = Path(config_files.__file__).parent.parent

ONE_MACHINE = """
nodes:
  master: {name: m, address: 127.0.0.1, port: 50000}
  workers:
    - {name: w0, beam: 0, address: 127.0.0.1, port: 50001, config: {dada_trigger: {port_iquv: 40000}}}
    - {name: w1, beam: 1, address: 127.0.0.1, port: 50002}
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home folder on a host that is no node."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    monkeypatch.delenv("DARC_NODE", raising=False)
    monkeypatch.setattr(config_files, "host_name", lambda: "elsewhere")
    return tmp_path


@pytest.fixture
def site(tmp_path):
    """Write a site's file and return its path."""

    def write(text):
        path = tmp_path / "site.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def refused(site):
    """Return the problems of a site's file."""

    def problems(text):
        found = check_config(site(text))
        with pytest.raises(ConfigError) as caught:
            load_config(site(text))
        assert {(p.key, p.allowed) for p in caught.value.problems} <= {(p.key, p.allowed) for p in found}
        return found

    return problems


@pytest.fixture
def only(refused):
    """Return the only problem of a site's file, as key and text."""

    def problem(text):
        (found,) = refused(text)
        return found.key, found.allowed

    return problem


# packaged defaults


def test_packaged_file_holds_every_key_of_the_models_and_no_other():
    # neither has defaults of its own: a key that one of them lacks is an error here
    config = load_config()
    assert config.path is None

    def required(model):
        return all(field.is_required() for field in model.model_fields.values())

    stack: list[BaseModel] = [config]
    while stack:
        section = stack.pop()
        assert required(type(section)), type(section).__name__
        stack.extend(value for _, value in section if isinstance(value, BaseModel))


def test_packaged_defaults_mean_what_they_say():
    config = load_config()
    said = yaml.safe_load(config_files.PACKAGED.read_text())
    assert config.amber_clustering.model_dump(mode="json", exclude={"log_file", "source_file"}) == {
        key: value
        for key, value in said["amber_clustering"].items()
        if key not in ("log_file", "source_file")
    }


def test_packaged_file_explains_every_key_of_the_instrument():
    text = config_files.PACKAGED.read_text().partition("instrument: {}")[0]
    assert [field.name for field in fields(Instrument) if field.name not in text] == []


def test_packaged_paths_lie_below_the_home_folder(home):
    assert load_config().lofar_trigger.log_file == home / "darc/log/lofar_trigger.elsewhere.log"


def test_every_service_has_a_section_of_its_name():
    config = load_config()
    assert [name for name in SERVICES if not isinstance(config.section(name), BaseModel)] == []
    assert config.section("amber_clustering").model_dump()["thresh_iquv"]["dm_frac_min"] == 1.2


def test_a_section_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="amber_clusterin: no such section"):
        load_config().section("amber_clusterin")


def test_nothing_can_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        load_config().amber_clustering.interval = 3


def test_configuration_survives_the_way_to_another_process(site):
    config = load_config(site(ONE_MACHINE), "w1")
    copy = pickle.loads(pickle.dumps(config))
    assert (copy, copy.beam, copy.path) == (config, 1, config.path)


# files of sites


def test_example_for_a_site_is_valid():
    path = ROOT / "config.yaml"
    assert check_config(path) == []
    config = load_config(path, "arts040")
    assert (config.role, config.beam, len(config.nodes.workers)) == ("worker", 39, 40)
    assert load_config(path, "arts041").role == "master"
    assert config.lofar_trigger.server_address == "arts041"


# an older system's complete file: every section and key that was documented, and nothing else
OLD_FILE = """
darc_master:
  log_file: '{home}/log/darc_master.{hostname}.log'
  parset_dir: '{home}/parsets'
  port: 51000
  socket_timeout: 30
  setup_time: 5
  stop_timeout: 5
  control_timeout: 5
  mode: mixed
  services_master_rt: [status_website, lofar_trigger, voevent_generator, processor_master]
  services_worker_rt: [amber_listener, amber_clustering, dada_trigger, processor]
  services_master_off: [offline_processing]
  services_worker_off: [offline_processing]
  services_master_mix: [status_website, lofar_trigger, voevent_generator, offline_processing]
  services_worker_mix: [amber_listener, amber_clustering, dada_trigger, processor, offline_processing]
  master_commands: [start_observation, stop_observation, abort_observation, stop_master, reload, lofar_status]
  service_commands: [start, stop, restart, status, get_attr]
  editor: vi
status_website: {log_file: /l, web_dir: /w, interval: 10, timeout: 10, colour_good: green, colour_bad: red,
  colour_unknown: grey, service_to_name: {amber_listener: AMBER listener}}
amber_listener: {log_file: /l, interval: 0.2, start_timeout: 60}
amber_clustering:
  log_file: /l
  source_file: /s
  interval: 1.0
  clustering_window: 1.0
  dm_range: 10
  dm_min_global: 5
  snr_min_global: 10
  sb_filter: True
  sb_filter_period_min: 10
  sb_filter_period_max: 15
  thresh_iquv: {dm_frac_min: 1.2, width_max: 100, snr_min: 10, interval: 60}
  thresh_lofar: {max_cands_per_cluster: 100, dm_frac_min: 2.0, width_max: 80, snr_min: 20}
  lofar_trigger_sources: []
  thresh_lofar_override: {snr_min: 10, width_max: 80, cb: 0, trigger_on_new_sources: False}
voevent_generator: {log_file: /l, voevent_dir: /v, test: True, interval: 1.0, send_events: False,
  server_port: 5200, server_auth: pass, broker_host: broker, broker_port: 8098}
lofar_trigger: {log_file: /l, test: True, interval: 1.0, send_events: False, server_port: 5201,
  server_auth: pass, lofar_host: lofar, lofar_port: 31662, lofar_freq: 200,
  lofar_tbb_buffer_size: 5.0, waterfall_sb: 35,
  email_settings: {to: a@example.org}}
dada_trigger: {log_file: /l, port_i: 30000, port_iquv: 30001, min_window_size: 2.048, delay_end: 2.048,
  polcal_dump_size: 30, polcal_interval: 60, polcal_max_dumps: 4}
sb_generator: {table_folder: /t, table: {sc3: a.txt, sc4: b.txt}, numtab: {sc3: 9, sc4: 12},
  numsb: {sc3: 114, sc4: 71}}
processor_master: {log_file: /l, scavenger_interval: 60, check_interval: 60, max_wait_time: 600,
  ntrig_email_max: 100, webdir: /w, email_settings: {to: [a@example.org, b@example.org]}}
processor:
  log_file: /l
  scavenger_interval: 60
  interval: 1.1
  num_extractor: 2
  output_subdir: triggers_realtime
  result_dir: '{home}/darc/results'
  stop_delay: 2
  clustering: {output_file: grouped, dm_min: 20, dm_max: -1, snr_min_clustering: 8, snr_min: 10,
    sb_filter: False,
    sb_filter_period_min: 10, sb_filter_period_max: 15, clustering_window: 0.5, width_max: -1}
  extractor: {dm_halfrange: 10, ndm: 64, ntime: 64, nfreq: 64, delay: 5, rfi_mask: /m/FREQ.conf,
    rfi_apply_mask: True, rfi_clean_type: perchannel, rfi_threshold_time: 3.25, rfi_n_iter_time: 3,
    rfi_threshold_freq: 2.75, rfi_n_iter_freq: 3, rfi_bin_size: 32, snr_min_local: 5}
  classifier: {gpu: 0, thresh_freqtime: 0.5, thresh_dmtime: 0.0, ndm: 64, ntime: 64, nfreq: 32, model_dir: /m,
    model_freqtime: f.hdf5, model_dmtime: d.hdf5}
  visualizer: {nplot_per_side: 5, figsize: 15, cmap_freqtime: viridis, cmap_dmtime: magma,
    colour_1dtime: black, plot_types: [freq_time, dm_time, 1d_time]}
offline_processing: {log_file: /l, delay: 10, process_sb: True, numthread: 2,
  result_dir: '{home}/observations/results', interval: 10, timeout: 100, pthresh_freqtime: 0.5,
  pthresh_dmtime: 0.05, cmap: viridis, ntime_plot: 64, nfreq_plot: 64, ndm: 64, snrmin_processing: 8,
  snrmin_processing_local: 5, dmmin: 20, dmmax: 1e5, dmgal_frac: 0.8, clean_type: perchannel,
  max_proc_time: 18000, ml_gpus: 0, test_pulsars: [B0531+21], calibrators: {3C286: 14.7},
  key_ntriggers_skipped: ntriggers_skipped, keys_data: [data_freq_time], model_dir: /m, model_1dtime: a,
  model_dmtime: b, model_freqtime: c, calibration_dir: /c, emailer: /bin/mail.py, triggering: [python, t.py],
  classifier: /bin/c, calibration_tools: /bin/cal, fetch_after_obs: True}
"""


def test_an_old_complete_file_stays_valid(site, home):
    path = site(OLD_FILE)
    assert check_config(path) == []
    config = load_config(path)
    assert config.darc_master.log_file == home / "log/darc_master.elsewhere.log"
    assert config.voevent_generator.server_auth.get_secret_value() == "pass"
    assert config.offline_processing.dmmax == 100_000  # YAML 1.1 reads 1e5 as text
    assert config.offline_processing.emailer == ["/bin/mail.py"]
    assert config.offline_processing.calibrators == {"3C286": 14.7}
    assert config.lofar_trigger.email_settings.to == ["a@example.org"]
    assert config.amber_clustering.thresh_lofar_override.cb == [0]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[]", []),
        ("a@x.org", ["a@x.org"]),
        ("'a@x.org, b@x.org'", ["a@x.org", "b@x.org"]),
        ("[root]", ["root"]),
    ],
)
def test_recipients_are_a_text_or_a_list(site, written, read):
    config = load_config(site(f"processor_master: {{email_settings: {{to: {written}}}}}"))
    assert config.processor_master.email_settings.to == read


@pytest.mark.parametrize(("written", "read"), [("3", [3]), ("[1, 2]", [1, 2]), ("null", []), ("[]", [])])
def test_beams_of_an_override_are_a_number_or_a_list(site, written, read):
    config = load_config(site(f"amber_clustering: {{thresh_lofar_override: {{cb: {written}}}}}"))
    assert config.amber_clustering.thresh_lofar_override.cb == read


def test_secrets_are_not_shown(site):
    config = load_config(site("lofar_trigger: {server_auth: hunter2}"))
    assert "hunter2" not in f"{config!r} {config} {config.lofar_trigger.model_dump()}"
    assert config.lofar_trigger.model_dump()["server_auth"] == SecretStr("hunter2")


# who may ask a node for something


@pytest.mark.parametrize(
    "name", ["10.87.0.0/24", "10.87.1.5/24", "10.87.0.5", "2001:db8::/32", "ccu-corr", "a.b.org"]
)
def test_clients_without_a_proof_are_named_with_their_commands(site, name):
    settings = load_config(
        site(f"darc_master: {{unauthenticated_clients: {{'{name}': [status, log]}}}}")
    ).darc_master
    assert settings.unauthenticated_clients == {name: ["status", "log"]}
    assert load_config().darc_master.unauthenticated_clients == {}


@pytest.mark.parametrize(
    "name", ["10.87.0.0/33", "10.87.0", "10.87.0.256", "a b", "*", "2001:db8:::1", "", "10.87.0.5:80"]
)
def test_clients_that_are_no_network_and_no_host_are_refused(refused, name):
    (problem,) = refused(f"darc_master: {{unauthenticated_clients: {{'{name}': [status]}}}}")
    assert problem.allowed == "has to be a network such as 10.87.0.0/24, an address, or the name of a host"


def test_commands_that_are_not_served_are_refused_with_those_that_are(refused):
    (problem,) = refused("darc_master: {unauthenticated_clients: {a: [status, start_observations]}}")
    assert "start_observations: not served; there are abort_observation, all, " in problem.allowed


def test_nobody_can_reach_a_node_from_elsewhere_unless_a_site_says_so(home):
    settings = load_config().darc_master
    assert (settings.address, settings.payload_dirs) == ("127.0.0.1", None)
    assert settings.key_file == home / "darc/keys/command_port.key"


def test_a_node_has_no_more_services_than_there_are(refused):
    services = ", ".join([*SERVICES, "status_website"])
    assert "twice" in refused(f"darc_master: {{services_worker_mix: [{services}]}}")[0].allowed
    assert refused("darc_master: {services_worker_mix: [another]}")


# instrument and nodes


def test_instrument_is_that_of_the_constants_unless_a_site_says_otherwise(site):
    assert load_config().instrument == ARTS
    assert load_config(site("instrument: {ntab: 3, tsamp_s: 1e-3}")).instrument == Instrument(
        ntab=3, tsamp_s=1e-3
    )


@pytest.mark.parametrize(
    ("node", "role", "beam", "ports"),
    [
        ("m", "master", None, (50000, 30001)),
        ("w0", "worker", 0, (50001, 40000)),
        ("w1", "worker", 1, (50002, 30001)),
    ],
)
def test_a_cluster_runs_on_one_machine_node_by_node(site, node, role, beam, ports):
    config = load_config(site(ONE_MACHINE), node)
    assert (config.node.name, config.role, config.beam) == (node, role, beam)
    assert (config.darc_master.port, config.dada_trigger.port_iquv) == ports
    assert config.darc_master.log_file.name == f"darc_master.{node}.log"
    assert config.voevent_generator.server_address == "127.0.0.1"


def test_a_host_that_is_no_node_has_no_role_and_no_services(site):
    config = load_config(site(ONE_MACHINE))
    assert (config.role, config.node, config.beam, config.services) == ("unknown", None, None, [])


@pytest.mark.parametrize(
    ("mode", "node", "services"),
    [
        ("real-time", "w0", ["amber_listener", "amber_clustering", "dada_trigger", "processor"]),
        ("offline", "w0", ["offline_processing"]),
        ("real-time", "m", ["status_website", "lofar_trigger", "voevent_generator", "processor_master"]),
    ],
)
def test_services_follow_from_role_and_mode(site, mode, node, services):
    assert load_config(site(f"{ONE_MACHINE}darc_master: {{mode: {mode}}}"), node).services == services


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("{master: {name: a}, workers: [{name: a, beam: 0, port: 1}]}", "its own name, but a"),
        ("{workers: {a: 3, b: 3}}", "its own beam, but 3"),
        ("{workers: [{name: a, beam: 0, address: h}, {name: b, beam: 1, address: h}]}", "but h:51000"),
        ("{workers: {a: 39, b: 40}}", "b has beam 40: beams are 0 to 39"),
        ("{master: {name: ../a}}", "letters, digits and . _ - only"),
        ("{workers: {a b: 3}}", "letters, digits and . _ - only"),
    ],
)
def test_nodes_that_cannot_be_told_apart_or_do_not_exist_are_refused(refused, nodes, reason):
    assert any(reason in problem.allowed for problem in refused(f"nodes: {nodes}"))


def test_beams_are_limited_by_the_instrument_of_the_site(site):
    assert check_config(site("instrument: {ncompound_beam: 41}\nnodes: {workers: {b: 40}}")) == []


@pytest.mark.parametrize(
    ("override", "key"),
    [("nodes: {}", "nodes.workers[0].config.nodes"), ("darc_master: {port: 1}", "darc_master.port")],
)
def test_a_node_cannot_override_what_stands_elsewhere(refused, override, key):
    # the same setting under two names
    problems = refused(f"nodes: {{workers: [{{name: a, beam: 0, config: {{{override}}}}}]}}")
    assert any(problem.key.endswith(key) for problem in problems)


# mistakes


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("darc_master: {port: 0}", "darc_master.port", "a port number, 1 to 65535"),
        ("darc_master: {port: 70000}", "darc_master.port", "a port number, 1 to 65535"),
        ("darc_master: {mode: realtime}", "darc_master.mode", "one of 'real-time', 'offline', 'mixed'"),
        (
            "darc_master: {log_file: log/x}",
            "darc_master.log_file",
            "a path that begins with / or with {home}/",
        ),
        ("amber_listener: {interval: 0}", "amber_listener.interval", "a number above 0"),
        ("amber_listener: {interval: true}", "amber_listener.interval", "a number above 0"),
        ("amber_listener: {interval: .inf}", "amber_listener.interval", "a number above 0"),
        ("amber_listener: {interval: [1]}", "amber_listener.interval", "a number above 0"),
        ("processor: {num_extractor: 1.5}", "processor.num_extractor", "a whole number, 1 or more"),
        (
            "processor: {clustering: {dm_max: -2}}",
            "processor.clustering.dm_max",
            "0 or more, or -1 for no limit",
        ),
        ("processor: {classifier: {thresh_dmtime: 2}}", "processor.classifier.thresh_dmtime", "from 0 to 1"),
        ("lofar_trigger: {test: maybe}", "lofar_trigger.test", "true or false"),
        ("lofar_trigger: {server_auth: ''}", "lofar_trigger.server_auth", "text"),
        ("mail: {sender: 'a b'}", "mail.sender", "a mail address"),
        ("voevent_generator: {institute: 'a/b'}", "voevent_generator.institute", "letters, digits"),
        ("amber_listener: 5", "amber_listener", "a mapping"),
        ("instrument: {aperture_efficiency: 1.2}", "instrument.aperture_efficiency", "from 0 to 1"),
        ("instrument: {nchan: 0}", "instrument.nchan", "a whole number, 1 or more"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_in_plain_words(only, text, key, allowed):
    found, said = only(text)
    assert found == key
    assert said.startswith("has to be ")
    assert allowed in said


@pytest.mark.parametrize(
    "key",
    [
        "amber_clustering.lofar_trigger_sources",
        "darc_master.services_worker_rt",
        "processor.visualizer.plot_types",
    ],
)
def test_a_single_value_where_a_list_is_expected_is_refused(only, key):
    # an integer where a list is expected
    text = "5"
    for part in reversed(key.split(".")):
        text = f"{{{part}: {text}}}"
    assert only(text) == (key, "has to be a list, such as [a, b]")


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("amber_listner: {}", "amber_listner", "did you mean amber_listener?"),
        ("amber_clustering: {intervall: 1}", "amber_clustering.intervall", "did you mean interval?"),
        (
            "processor: {extractor: {rfi_n_iter: 3}}",
            "processor.extractor.rfi_n_iter",
            "did you mean rfi_n_iter_",
        ),
        ("instrument: {n_tab: 3}", "instrument.n_tab", "did you mean ntab?"),
        ("nodes: {master: {name: a, adress: b}}", "nodes.master.adress", "did you mean address?"),
        (
            "mail: {zzz: 1}",
            "mail.zzz",
            "known are host, login_file, max_age, port, retry_interval, sender, timeout, tls",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(only, text, key, hint):
    # the same key read under two names
    found, said = only(text)
    assert found == key
    assert said.startswith("no such key; ")
    assert hint in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("processor: {clustering: {sb_filter_period_max: 5}}", "processor.clustering.sb_filter_period_max"),
        ("darc_master: {restart_backoff_max: 0.1}", "darc_master.restart_backoff_max"),
        ("amber_clustering: {galaxy_model: none}", "amber_clustering.galactic_dm_max"),
        ("voevent_generator: {send_events: true}", "voevent_generator.broker_host"),
        ("lofar_trigger: {send_events: true}", "lofar_trigger.lofar_host"),
        ("mail: {login_file: /x}", "mail.tls"),
        ("offline_processing: {dmmax: 10}", "offline_processing.dmmax"),
        ("offline_processing: {key_ntriggers_skipped: params}", "offline_processing.keys_data"),
        (
            "offline_processing: {test_pulsars: {X: {period_s: 1, dm: 1, position_deg: [16.3, 293.9]}}}",
            "offline_processing.test_pulsars",
        ),
        ("darc_master: {services_master_rt: [processor, processor]}", "darc_master.services_master_rt"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(only, text, key):
    assert only(text)[0] == key


def test_a_site_without_a_model_of_the_galaxy_gives_the_highest_dm(site):
    config = load_config(site("amber_clustering: {galaxy_model: none, galactic_dm_max: 800}"))
    assert config.amber_clustering.galactic_dm_max == 800


def test_all_mistakes_are_told_at_once_with_file_line_key_and_value(site):
    path = site(
        "darc_master:\n  port: 70000\n  mod: mixed\n"
        "amber_clustering:\n  interval: fast\n  sb_filter_period_max: 3\n"
        "nodes:\n  workers:\n    - {name: a, beam: x}\n    - {beam: 1}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).splitlines() == [
        "6 mistakes in the configuration:",
        f"  {path}, line 2: darc_master.port = 70000: has to be a port number, 1 to 65535",
        f"  {path}, line 3: darc_master.mod = 'mixed': no such key; did you mean mode?",
        f"  {path}, line 5: amber_clustering.interval = 'fast': has to be a number above 0",
        f"  {path}, line 6: amber_clustering.sb_filter_period_max = 3: has to be above sb_filter_period_min",
        f"  {path}, line 9: nodes.workers[0].beam = 'x': has to be a whole number, 0 or more",
        f"  {path}, line 10: nodes.workers[1].name: is missing",
    ]


def test_a_secret_is_not_shown_in_a_mistake_either(refused):
    problems = refused("lofar_trigger: {server_auth: 1234, server_aut: hunter2}")
    assert [problem.value for problem in problems] == ["(hidden)", "(hidden)"]


def test_overrides_of_every_node_are_checked_where_they_are_written(site):
    path = site("nodes:\n  workers:\n    - {name: a, beam: 0}\n    - name: b\n      beam: 1\n"
                "      config:\n        dada_trigger: {port_i: x}\n")  # fmt: skip
    (problem,) = check_config(path)
    assert (problem.key, problem.line) == ("nodes.workers[1].config.dada_trigger.port_i", 7)
    assert load_config(path, "a").beam == 0
    with pytest.raises(ConfigError, match="dada_trigger"):
        load_config(path, "b")


def test_a_mistake_in_the_short_form_of_the_workers_is_found_in_its_line(site):
    (problem,) = check_config(site("nodes:\n  workers:\n    a: 0\n    b: -1\n"))
    assert (problem.line, problem.value) == (4, "-1")


def test_a_file_that_cannot_be_read_is_a_problem_of_its_own(site, tmp_path):
    assert "no valid YAML" in check_config(site("a: [1"))[0].allowed
    assert "gone.yaml" in str(check_config(tmp_path / "gone.yaml")[0])


def test_importing_the_configuration_imports_neither_numpy_nor_astropy():
    code = (
        "import sys, darc.config; darc.config.load_config(); print(*{'numpy', 'astropy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
