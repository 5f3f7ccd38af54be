"""What rows of AMBER lead to: dumps, triggers for LOFAR and VOEvents, or just a line in the log."""

import queue
import sys
from datetime import UTC, datetime
from itertools import count
from math import isnan

import pytest
from astropy.coordinates import Longitude, SkyCoord
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from darc import metrics
from darc.amber_clustering import AMBERClustering, AMBERClusteringException
from darc.errors import DARCError
from darc.formats.amber import format_row, header
from darc.formats.parset import load_obs_config
from darc.science.galaxy import GalaxyModelMissing
from darc.simulation.observation import Observation

TSAMP_S, BATCH_S = 81.92e-6, 1.024
DM_GAL = 100.0
START = datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC)
LABEL = "2019-05-18-23:51:13.{}"
PULSAR, FRB, UNKNOWN = "B0531+21", "R3", "somewhere"
DMS = {PULSAR: 56.77, FRB: 348.8}
#: When the first rows of a test come, in unix s: 1.5 s after the end of batch 10.
ARRIVED = START.timestamp() + 11 * BATCH_S + 1.5

CONFIG = f"""
nodes: {{workers: {{here: 0}}}}
amber_clustering:
  log_file: /nowhere/log
  sb_filter: false
  galaxy_model: none
  galactic_dm_max: {DM_GAL}
"""


class Clock:
    """Monotonic time that passes when a test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def observe(tmp_path):
    """Return a function that gives a service in the middle of an observation."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    numbers = count()

    def observe(
        source=UNKNOWN,
        change=dict,
        *,
        ninstance=2,
        frame="J2000",
        direction_deg=(83.633, 22.0145),
        **attributes,
    ):
        folder = tmp_path / str(next(numbers))
        observation = Observation(
            source,
            START,
            299.008,
            ninstance=ninstance,
            frame=frame,
            direction_deg=direction_deg,
            pulsars={PULSAR: DMS[PULSAR]},
            frbs={FRB: DMS[FRB]},
            aliases={"FRB180916": FRB, "none": 0},
        )
        files = observation.write(folder)
        service = AMBERClustering(
            queue.Queue(), target_queue=queue.Queue(), config_file=tmp_path / "config.yaml", node="here"
        )
        service.monotonic = Clock()
        service.clock = lambda: ARRIVED + service.monotonic.now - Clock.now
        service.lofar_queue, service.vo_queue = queue.Queue(), queue.Queue()
        service.source_file = files.source_list
        for name, value in attributes.items():
            setattr(service, name, value)
        service.files = files
        service.start_observation(change(load_obs_config(files.workers[0])), reload=False)
        return service

    return observe


def row(dm, snr, batch=10, sample=0, width=1, sb=35):
    time_s = (batch * 12500 + sample * width) * TSAMP_S
    return format_row(
        beam=sb, batch=batch, sample=sample, integration_step=width, time_s=time_s, dm=dm, snr=snr
    )


def feed(service, *rows, **more):
    """Have a service decide on some rows, as if nothing more came."""
    service._handle({"command": "trigger", "trigger": list(rows), **more})
    settle(service)


def settle(service):
    service.do_what_is_due()
    while (wait_s := service.due_in()) < 1.0:
        service.monotonic.now += max(wait_s, 1e-3)
        service.do_what_is_due()


def taken(source):
    items = []
    while not source.empty():
        items.append(source.get(block=False))
    return items


def dumps(service):
    """The messages to the DADA trigger, as lists of (DM, S/N)."""
    return [
        [(trigger["dm"], trigger["snr"]) for trigger in message["trigger"]]
        for message in taken(service.target_queue)
    ]


def lofar(service):
    """What went to the master node, as (DM, S/N); the same has to go to both of its queues."""
    to_lofar, to_voevents = taken(service.lofar_queue), taken(service.vo_queue)
    assert to_lofar == to_voevents
    return [(item["dm"], item["snr"]) for item in to_lofar]


# --- known sources: dumps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [PULSAR, FRB])
def test_a_known_source_dumps_with_its_own_dm(observe, source):
    service = observe(source)
    feed(service, row(DMS[source] + 3, 10.5, width=1000))
    assert dumps(service) == [[(DMS[source], 10.5)]]


def test_a_known_source_is_found_by_an_alias(observe):
    service = observe("FRB180916")
    assert (service.source.name, service._get_source()) == (FRB, DMS[FRB])
    feed(service, row(DMS[FRB] - 9, 10.5))
    assert dumps(service) == [[(DMS[FRB], 10.5)]]


@pytest.mark.parametrize(
    ("dm", "snr", "passes"),
    [(46.8, 10.0, True), (66.7, 10.0, True), (46.6, 99, False), (66.9, 99, False), (56.8, 9.99, False)],
)
def test_limits_of_a_known_source(observe, dm, snr, passes):
    service = observe(PULSAR, dm_min_global=5.0)
    feed(service, row(dm, snr))
    assert bool(dumps(service)) == passes


def test_no_dm_is_below_the_lowest_one_ever(observe):
    service = observe(PULSAR, dm_min_global=55.0)
    feed(service, row(54.9, 50), row(55.1, 20, batch=20))
    assert dumps(service) == [[(DMS[PULSAR], 20.0)]]


# --- new sources: dumps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dm", "snr", "width", "passes"),
    [
        (120.0, 10.0, 100, True),
        (119.9, 50.0, 1, False),
        (120.0, 9.99, 1, False),
        (120.0, 50.0, 101, False),
    ],
)
def test_limits_of_a_new_source(observe, dm, snr, width, passes):
    service = observe()
    feed(service, row(dm, snr, width=width))
    assert dumps(service) == ([[(dm, snr)]] if passes else [])


def test_a_new_source_is_looked_for_beside_a_known_one(observe):
    service = observe(PULSAR)
    feed(service, row(56.6, 12), row(500, 15, sample=5000))
    assert dumps(service) == [[(DMS[PULSAR], 12.0), (500.0, 15.0)]]


# two selections racing for the same rate limit
def test_all_clusters_of_a_batch_go_in_one_message(observe):
    service = observe(clustering_window=0.1)
    feed(service, row(500, 12, sample=100), row(500, 13, sample=6000), row(900, 14, sample=100))
    (message,) = dumps(service)
    assert sorted(snr for _, snr in message) == [12.0, 13.0, 14.0]


def test_dumps_keep_their_distance_in_the_time_of_the_data(observe):
    service = observe()
    service.thresh_iquv["interval"] = 60.0
    for batch in (10, 60, 69, 128):  # 10.2, 61.4, 70.7, 131.1 s
        feed(service, row(500, 10 + batch, batch=batch))
        service.monotonic.now += 1000.0  # which is not what counts
    assert dumps(service) == [[(500.0, 20.0)], [(500.0, 79.0)], [(500.0, 138.0)]]


def test_the_message_to_the_dada_trigger(observe):
    service = observe()
    feed(service, row(500, 15.5, batch=10, sample=100, width=10, sb=7))
    (message,) = taken(service.target_queue)
    (trigger,) = message.pop("trigger")
    assert message == {"command": "trigger", "arrived": pytest.approx(ARRIVED, abs=1e-5)}
    assert trigger.pop("utc_start").isot == "2019-05-18T23:51:12.640000"
    assert trigger == {
        "stokes": "IQUV", "dm": 500.0, "beam": 7, "width": 10.0, "snr": 15.5,
        "time": pytest.approx(10.24 + 1000 * TSAMP_S, abs=1e-9),
    }  # fmt: skip


def test_a_full_queue_to_the_dada_trigger_costs_that_message_only(observe, monkeypatch, caplog):
    monkeypatch.setattr("darc.handover.LONGEST_WAIT_S", 0.0)
    service = observe(target_queue=queue.Queue(1))
    service.thresh_iquv["interval"] = 0.0
    for batch in (10, 20):
        feed(service, row(500, 25, batch=batch))
    assert "1 IQUV triggers lost" in caplog.text
    assert len(lofar(service)) == 2


def test_without_a_dada_trigger_other_telescopes_are_still_told(observe):
    service = observe(target_queue=None)
    feed(service, row(500, 25))
    assert lofar(service) == [(500.0, 25.0)]


# --- LOFAR and VOEvents ------------------------------------------------------------------------------------


def test_pulsars_never_leave_the_building(observe):
    service = observe(PULSAR, lofar_trigger_sources=[PULSAR])
    service.thresh_lofar_override["trigger_on_new_sources"] = True
    feed(service, row(56.8, 99), row(500, 99, sample=9000))
    assert len(dumps(service)[0]) == 2
    assert lofar(service) == []


@pytest.mark.parametrize(("snr", "width", "passes"), [(20.0, 80, True), (19.9, 1, False), (90.0, 81, False)])
def test_limits_of_other_known_sources(observe, snr, width, passes):
    service = observe(FRB)
    feed(service, row(350, snr, width=width))
    assert lofar(service) == ([(DMS[FRB], snr)] if passes else [])


def test_known_sources_may_have_any_number_of_triggers_in_a_cluster(observe):
    service = observe(FRB)
    feed(service, row(348, 30), *(row(348, 10, sample=sample) for sample in range(1, 150)))
    assert lofar(service) == [(DMS[FRB], 30.0)]


@pytest.mark.parametrize(
    ("dm", "snr", "width", "others", "passes"),
    [
        (200.0, 20.0, 80, 99, True),
        (199.0, 90.0, 1, 0, False),
        (200.0, 19.9, 1, 0, False),
        (200.0, 90.0, 81, 0, False),
        (200.0, 90.0, 1, 100, False),
    ],
)
def test_limits_of_new_sources(observe, dm, snr, width, others, passes):
    service = observe()
    feed(service, row(dm, snr, width=width), *(row(dm, 10, sample=s) for s in range(1, others + 1)))
    assert lofar(service) == ([(dm, snr)] if passes else [])


def test_of_several_the_brightest_is_sent(observe):
    service = observe(FRB, clustering_window=0.1)
    feed(service, row(349, 30), row(349, 50, sample=6000), row(800, 40, sample=3000))
    assert len(dumps(service)[0]) == 3
    assert lofar(service) == [(DMS[FRB], 50.0)]


# --- sources with limits of their own ----------------------------------------------------------------------


def overridden(observe, source=FRB, names=(FRB,), **override):
    service = observe(source, lofar_trigger_sources=list(names))
    service.thresh_lofar_override.update(override)
    return service


def test_a_source_with_limits_of_its_own(observe):
    service = overridden(observe, snr_min=11.0, width_max=5)
    feed(service, row(349, 11.5, width=5), row(349, 10.5, batch=20), row(349, 90, batch=30, width=6))
    assert lofar(service) == [(DMS[FRB], 11.5)]


@pytest.mark.parametrize("names", [(FRB,), ("FRB180916",)])
def test_it_may_be_observed_and_listed_under_an_alias(observe, names):
    service = overridden(observe, "FRB180916", names)
    feed(service, row(349, 11.5), row(900, 90, sample=9000))
    assert lofar(service) == [(DMS[FRB], 11.5)]


# an integer where a list is expected
@pytest.mark.parametrize(
    ("beams", "passes"),
    [(0, True), ([0], True), ([4, 0], True), ([], True), (None, True), (4, False), ([4], False)],
)
def test_only_the_beams_that_are_given_send_for_it(observe, beams, passes):
    service = overridden(observe, cb=beams)
    feed(service, row(349, 50))
    assert lofar(service) == ([(DMS[FRB], 50.0)] if passes else [])


@pytest.mark.parametrize("source", [FRB, UNKNOWN])
@pytest.mark.parametrize("wanted", [True, False])
def test_new_sources_are_sent_in_its_observations_only_if_wanted(observe, source, wanted):
    service = overridden(observe, source, (FRB, UNKNOWN), trigger_on_new_sources=wanted)
    feed(service, row(900, 50))
    assert lofar(service) == ([(900.0, 50.0)] if wanted else [])


# --- what is sent ------------------------------------------------------------------------------------------


# numbers computed by hand: k DM (1/1369.60327148^2 - 1/1519.60327148^2) = 0.207545 s, after 12.64 + 10.24 s;
# a SEFD of 99.6142 Jy over the square root of 2 x 300 MHz x 0.8192 ms
def test_what_the_master_node_is_told(observe):
    service = observe()
    feed(service, row(500, 25, batch=10, width=10, sb=7))
    (item,) = taken(service.lofar_queue)
    assert item == {
        "dm": 500.0, "dm_err": pytest.approx(0.8192), "width": pytest.approx(0.8192), "snr": 25.0,
        "flux": pytest.approx(3.552143, rel=1e-6), "ra": 83.633, "dec": 22.0145, "cb": 0, "sb": 7,
        "ymw16": DM_GAL, "semiMaj": 15.0, "semiMin": 15.0, "name": "candidate", "src_name": None,
        "datetimesource": LABEL.format(UNKNOWN), "utc": "2019-05-18T23:51:23.087545",
        "tarr": pytest.approx(10.24), "importance": 0.1, "dt": 81.92e-6, "delta_nu_MHz": 0.1953125,
        "nu_GHz": pytest.approx(1.36960327148, abs=1e-11),
        "arrived": pytest.approx(ARRIVED, abs=1e-5),
    }  # fmt: skip


def test_what_is_decided_is_counted(observe):
    service = observe()
    before = {name: counter._value.get() for name, counter in metrics.OF_CLUSTERING.items()}
    stopped = metrics.DECISIONS.labels("iquv", "snr")._value.get()
    feed(service, row(500, 25), row(900, 9.9), "rubbish")
    counted = {name: counter._value.get() - before[name] for name, counter in metrics.OF_CLUSTERING.items()}
    assert counted == {"rows": 2, "malformed": 1, "batches": 1, "clusters": service.counts["clusters"]}
    assert metrics.DECISIONS.labels("iquv", "snr")._value.get() - stopped == service.counts["clusters"] - 1
    assert metrics.BEHIND._value.get() == pytest.approx(1.5 + service.monotonic.now - Clock.now, abs=1e-5)
    service.stop_observation()
    assert isnan(metrics.BEHIND._value.get())


def test_a_known_dm_has_no_error_and_the_source_a_name(observe):
    service = observe("FRB180916")
    feed(service, row(350, 25, width=10))
    (item,) = taken(service.lofar_queue)
    assert (item["dm"], item["dm_err"]) == (DMS[FRB], 0.0)
    assert (item["name"], item["src_name"]) == (FRB, FRB)


# subtracting the delay from the top of the band to its centre where it has to be added
def test_a_pulse_arrives_at_the_centre_later_than_at_the_top(observe):
    times = {}
    for dm in (250.0, 1000.0):
        service = observe()
        feed(service, row(dm, 25))
        (item,) = taken(service.lofar_queue)
        times[dm] = Time(item["utc"])
    assert (times[1000.0] - times[250.0]).sec == pytest.approx(0.207545433 * 1.5, abs=2e-6)


# HADEC pointings converted with the inverse function
def test_a_beam_that_is_fixed_on_the_ground_looks_elsewhere_later(observe):
    service = observe(frame="HADEC", direction_deg=(30.0, 52.0))
    positions = []
    for batch in (10, 244):
        feed(service, row(500, 25, batch=batch))
        (item,) = taken(service.lofar_queue)
        positions.append((item["ra"], item["dec"]))
        sidereal = Time(item["utc"]).sidereal_time("apparent", longitude=6.6044)
        expected = Longitude(sidereal.deg - 30.0, unit="deg").deg
        assert item["ra"] == pytest.approx(expected, abs=0.5)
        assert item["dec"] == pytest.approx(52.0, abs=0.2)
    assert positions[1][0] - positions[0][0] == pytest.approx(234 * BATCH_S / 86164 * 360, rel=0.01)


def without(*keys):
    return lambda obs_config: {key: value for key, value in obs_config.items() if key not in keys}


@pytest.mark.parametrize("change", [without("master_dir"), lambda obs_config: obs_config | {"beam": 5}])
def test_without_a_pointing_nothing_is_sent_and_an_error_is_logged(observe, caplog, change):
    service = observe(UNKNOWN, change)
    assert service._get_pointing() is None
    feed(service, row(500, 25))
    assert len(dumps(service)) == 1
    assert lofar(service) == []
    assert any("pointing not known" in r.message and r.levelname == "ERROR" for r in caplog.records)


def test_the_pointing_of_the_beam(observe):
    pointing = observe()._get_pointing()
    assert isinstance(pointing, SkyCoord)
    assert (pointing.ra.deg, pointing.dec.deg) == pytest.approx((83.633, 22.0145))


def test_what_was_decided_is_logged_with_the_numbers(observe, caplog):
    caplog.set_level("INFO")
    feed(observe(), row(500, 15.5, width=10), row(110, 30, batch=20))
    assert "new source: S/N 15.50, DM 500.00, time 10.2400 s, width 10, SB 35, 1 triggers" in caplog.text
    assert "IQUV: send; LOFAR and VOEvent: S/N 15.50 < 20" in caplog.text


def test_a_burst_that_only_the_sb_filter_stopped_is_logged(observe, caplog):
    caplog.set_level("INFO")
    service = observe(sb_filter=True)
    feed(service, row(500, 15.5), row(2000, 25.0, sample=9))
    assert dumps(service) == []
    (line,) = (record.message for record in caplog.records if "SB filter" in record.message)
    assert line.startswith("new source: S/N 25.00, DM 2000.00") and line.endswith("; and 1 fainter")


# --- without the master node -------------------------------------------------------------------------------


def test_a_node_that_is_not_connected_says_so_and_dumps(observe, caplog):
    service = observe(lofar_queue=None, vo_queue=None, connect_vo=False, connect_lofar=False)
    service.prepare()
    feed(service, row(500, 25))
    assert len(dumps(service)) == 1
    assert caplog.text.count("not connected to the master node") == 2


@pytest.mark.parametrize("service_name", ["lofar_trigger", "voevent_generator"])
def test_a_connector_makes_the_queue_of_its_service(observe, monkeypatch, service_name):
    monkeypatch.setattr("darc.amber_clustering.master_queue", lambda config, name, logger: name)
    service = observe(lofar_queue=None, vo_queue=None, connect_vo=False, connect_lofar=False)
    {"lofar_trigger": service.lofar_connector, "voevent_generator": service.voevent_connector}[service_name]()
    assert {service.lofar_queue, service.vo_queue} == {None, service_name}
    assert (service.lofar_queue is None) == (service_name == "voevent_generator")


def test_a_missing_key_costs_the_connection_only(observe, caplog, tmp_path):
    (tmp_path / "config.yaml").write_text(
        CONFIG
        + "".join(
            f"{name}: {{server_auth_file: {tmp_path}/no_key}}\n"
            for name in ("lofar_trigger", "voevent_generator")
        )
    )
    service = observe(lofar_queue=None, vo_queue=None)
    service.prepare()
    assert caplog.text.count("no key for the trigger queue of lofar_trigger") == 2
    assert caplog.text.count("no key for the trigger queue of voevent_generator") == 2
    feed(service, row(500, 25))
    assert len(dumps(service)) == 1


# --- rows --------------------------------------------------------------------------------------------------


def test_a_line_or_a_list_of_lines_is_taken(observe):
    service = observe()
    for trigger in (row(500, 15), [header(), row(500, 16)], (row(500, 17).rstrip("\n"),)):
        service.process_command({"command": "trigger", "trigger": trigger})
    settle(service)
    assert service.counts["rows"] == 3
    assert dumps(service) == [[(500.0, 17.0)]]


# one malformed line discarding a whole batch; headers in the middle
def test_a_malformed_line_costs_itself_and_a_burst_of_them_one_line_in_the_log(observe, caplog):
    service = observe()
    bad = [
        "",
        "nonsense",
        "1 2 3",
        "# beam_id",
        "9 9 9 9 9 9 9 9 nan inf",
        row(500, 99).replace("500", "5-0"),
    ]
    feed(service, header(), *bad, row(500, 15), header(), *bad * 100)
    assert dumps(service) == [[(500.0, 15.0)]]
    assert service.counts["malformed"] == 101 * (len(bad) - 1)
    assert caplog.text.count("malformed lines") == 1
    service.stop_observation()
    assert "malformed lines in AMBER's files: 505 in this burst" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        *(
            {},
            {"trigger": None},
            {"trigger": 5},
            {"trigger": [1]},
            {"trigger": {"a": 1}},
            {"trigger": b"1 2"},
        ),
        *({"trigger": [], "step": 3}, {"trigger": [], "step": "one"}, {"trigger": "x", "step": [1]}),
        {"trigger": [], "step": 0},
    ],
    ids=repr,
)
def test_a_message_without_lines_is_refused_and_costs_only_itself(observe, caplog, message):
    service = observe()
    feed(service, row(500, 15))
    service._handle({"command": "trigger", **message})
    settle(service)
    assert "trigger refused" in caplog.text
    assert dumps(service) == [[(500.0, 15.0)]]


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def test_no_message_ends_the_service(observe):
    service = observe()

    @given(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("trigger", "step", "at_end", "observation"), _ANY))
    )
    @settings(max_examples=100, deadline=None)
    def check(message):
        service._handle({"command": "trigger", **message})
        settle(service)

    check()


def test_an_unknown_command_is_refused(observe, caplog):
    observe()._handle({"command": "dance"})
    assert "unknown command refused" in caplog.text


def test_lines_before_an_observation_are_ignored(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    service = AMBERClustering(queue.Queue(), target_queue=queue.Queue(), config_file=tmp_path / "config.yaml")
    service._handle({"command": "trigger", "trigger": [row(500, 90)]})
    service.do_what_is_due()
    assert dumps(service) == []


def test_lines_of_another_observation_are_ignored(observe):
    service = observe()
    feed(service, row(500, 90), observation=LABEL.format("previous"))
    feed(service, row(500, 15), observation=LABEL.format(UNKNOWN))
    assert dumps(service) == [[(500.0, 15.0)]]


# --- batches -----------------------------------------------------------------------------------------------


def test_a_batch_is_decided_on_when_all_instances_are_beyond_it(observe):
    service = observe()
    for step, snr in ((1, 15), (2, 16)):
        lines = [row(500, snr), row(30, 8, batch=11)]
        service.process_command({"command": "trigger", "trigger": lines, "step": step, "at_end": False})
        service.do_what_is_due()
    assert dumps(service) == [[(500.0, 16.0)]]


def test_a_batch_is_not_decided_on_while_its_file_holds_more(observe):
    service = observe()
    for snr, at_end in ((15, False), (16, True)):
        message = {"command": "trigger", "trigger": row(500, snr), "step": 1, "at_end": at_end}
        service.process_command(message)
        service.do_what_is_due()
        service.monotonic.now += 0.5  # longer than the settling time
        service.do_what_is_due()
    assert dumps(service) == [[(500.0, 16.0)]]


def test_rows_that_come_late_are_grouped_among_themselves_and_counted(observe, caplog):
    service = observe()
    service.thresh_iquv["interval"] = 0.0
    for snr in (15, 25, 12):
        feed(service, row(500, snr))
    assert dumps(service) == [[(500.0, 15.0)], [(500.0, 25.0)], [(500.0, 12.0)]]
    service.stop_observation()
    assert "2 rows came after their batch was processed" in caplog.text


def test_everything_is_counted(observe):
    service = observe()
    feed(service, header(), row(500, 25), row(30, 9), "nonsense")
    feed(service, row(130, 12, batch=20))
    assert service.counts == {
        "rows": 3, "malformed": 1, "batches": 2, "clusters": 2, "iquv_triggers": 1, "lofar_triggers": 1
    }  # fmt: skip


# --- start and stop ----------------------------------------------------------------------------------------


def test_stopping_decides_on_what_has_arrived(observe):
    service = observe()
    service.process_command({"command": "trigger", "trigger": row(500, 15)})
    service.stop_observation()
    assert dumps(service) == [[(500.0, 15.0)]]


def test_aborting_drops_what_has_arrived(observe):
    service = observe()
    service.process_command({"command": "trigger", "trigger": row(500, 15)})
    service._handle({"command": "stop_observation", "obs_config": service.obs_config, "abort": True})
    settle(service)
    assert dumps(service) == []


def test_the_end_of_the_service_decides_on_what_has_arrived(observe):
    service = observe()
    service.process_command({"command": "trigger", "trigger": row(500, 15)})
    service.cleanup()
    assert dumps(service) == [[(500.0, 15.0)]]


def test_lines_that_the_listener_had_under_way_at_the_end_are_taken(observe):
    service = observe()
    service.stop_observation()
    feed(service, row(500, 15), observation=LABEL.format(UNKNOWN))
    feed(service, row(500, 90, batch=100))  # says not where it belongs
    assert dumps(service) == [[(500.0, 15.0)]]


def test_the_previous_observation_is_decided_on_before_the_next_begins(observe):
    service = observe()
    service.process_command({"command": "trigger", "trigger": row(500, 15)})
    service.start_observation(service.obs_config | {"datetimesource": "next"}, reload=False)
    feed(service, row(500, 16))  # the next observation may dump at once
    assert dumps(service) == [[(500.0, 15.0)], [(500.0, 16.0)]]
    assert service.counts["rows"] == 1


@pytest.mark.parametrize(
    "change",
    [
        *({"beam": "first"}, {"min_freq": "low"}, {"startpacket": None}, {"startpacket": "soon"}),
        *({"amber_config": "/no/such/file"}, {"amber_config": 5}),
    ],
    ids=repr,
)
def test_an_observation_that_cannot_be_worked_on_is_refused_as_a_whole(observe, caplog, change):
    service = observe()
    obs_config = service.obs_config | {"datetimesource": "next"} | change
    service._handle({"command": "start_observation", "obs_config": obs_config, "reload_conf": False})
    assert "start_observation refused" in caplog.text
    feed(service, row(500, 90))
    assert dumps(service) == []


def test_a_list_of_sources_that_cannot_be_read_refuses_the_observation(observe):
    with pytest.raises(DARCError, match="no_such_list"):
        observe(source_file="/no_such_list.yaml")


def test_an_exception_of_the_clustering_is_one_that_is_refused():
    assert issubclass(AMBERClusteringException, DARCError)


# --- what is known about the observation -------------------------------------------------------------------


def test_the_list_of_known_sources(observe):
    assert observe()._load_source_list() == {
        "pulsars": {PULSAR: DMS[PULSAR]}, "frbs": {FRB: DMS[FRB]}, "aliases": {"FRB180916": FRB},
    }  # fmt: skip


def test_the_observation_parset(observe):
    service = observe(FRB)
    assert service._load_parset(service.obs_config)["task.source.name"] == FRB
    assert service._load_parset({}) is None


def test_an_unknown_source_has_no_dm(observe):
    assert observe()._get_source() is None


# a silent 0 would trigger on every pulsar in the plane
def test_without_its_model_of_the_galaxy_the_service_does_not_start(observe, monkeypatch):
    service = observe()
    service.galaxy_model = "ymw16"
    monkeypatch.setitem(sys.modules, "pyymw16", None)
    with pytest.raises(GalaxyModelMissing, match=r"pip install.*galaxy_model: none"):
        service.prepare()


def test_new_sources_lie_beyond_the_galaxy_in_the_direction_of_the_beam(observe):
    pytest.importorskip("pyymw16")
    service = observe(galaxy_model="ymw16", galactic_dm_max=None)  # towards the Crab: 243 pc/cm3
    feed(service, row(288, 15), row(295, 15, batch=20))
    assert dumps(service) == [[(295.0, 15.0)]]


def test_without_a_pointing_there_is_no_galactic_dm_and_no_new_source(observe, caplog):
    service = observe(UNKNOWN, without("master_dir"), galaxy_model="ymw16")
    feed(service, row(3000, 90))
    assert dumps(service) == []
    assert "no Galactic DM: no triggers on new sources" in caplog.text


# --- one selection of triggers, as other programs ask for it -----------------------------------------------

SYS_PARAMS = {"dt": TSAMP_S, "delta_nu_MHz": 0.1953125, "nu_GHz": 1.3696}


def check(service, *triggers, **limits):
    """Columns of triggers: DM, S/N, time, width, SB."""
    return service._check_triggers(list(triggers), SYS_PARAMS, "2019-05-18T23:51:13", "label", **limits)


def test_triggers_are_checked_for_a_known_source(observe):
    service = observe()
    pointing = SkyCoord(10.0, 20.0, unit="deg")
    check(
        service,
        (349.0, 30.0, 5.0, 10, 3),
        (340.0, 90.0, 5.0, 10, 3),
        dm_min=345.0, dm_max=355.0, dm_src=348.8, src_type="frb", src_name="R9", pointing=pointing,
    )  # fmt: skip
    (message,) = taken(service.target_queue)
    assert [(t["dm"], t["snr"]) for t in message["trigger"]] == [(348.8, 30.0)]
    (item,) = taken(service.lofar_queue)
    assert (item["name"], item["ra"], item["dec"], item["datetimesource"]) == ("R9", 10.0, 20.0, "label")


def test_triggers_are_checked_for_new_sources(observe):
    service = observe()
    check(
        service, (500.0, 30.0, 5.0, 10, 3), (500.0, 30.0, 9.0, 60, 3), dm_min=100.0, width_max=50, dmgal=200.0
    )
    assert dumps(service) == [[(500.0, 30.0)]]
    assert [item["ymw16"] for item in taken(service.lofar_queue)] == [200.0]


def test_a_check_may_leave_out_lofar(observe):
    service = observe()
    check(service, (500.0, 90.0, 5.0, 10, 3), skip_lofar=True)
    assert dumps(service) == [[(500.0, 90.0)]]
    assert lofar(service) == []


def test_a_check_of_nothing_does_nothing(observe):
    service = observe()
    check(service)
    assert dumps(service) == [] and lofar(service) == []


# --- decisions do not depend on when rows are read ---------------------------------------------------------


@st.composite
def deliveries(draw, files):
    """Cut the lines of AMBER's instances into messages, in an order and at times as they may come.

    The rows of a batch come in any order of the instances, with pauses shorter than the settling time. Before
    the next batch any time may pass.

    Args:
        files: (batch, line) of every line, by instance

    Returns:
        pause before it in s, instance, lines and `at_end` of each message
    """
    messages = []
    for batch in sorted({batch for lines in files.values() for batch, _ in lines}):
        pause_s, pieces = draw(st.sampled_from([0.0, 0.01, 0.15, 3.0])), {}
        for step, lines in files.items():
            own = [line for number, line in lines if number == batch]
            cut = draw(st.integers(0, len(own)))
            pieces[step] = [piece for piece in (own[:cut], own[cut:]) if piece]
        while steps := [step for step in pieces if pieces[step]]:
            step = draw(st.sampled_from(steps))
            messages.append((pause_s, step, pieces[step].pop(0), draw(st.booleans())))
            pause_s = draw(st.sampled_from([0.0, 0.005, 0.02]))
    return messages


def decide(service, messages):
    """Deliver messages as the service loop does, and return the decisions."""
    clock = service.monotonic
    for pause_s, step, lines, at_end in messages:
        end = clock.now + pause_s
        while clock.now + (due_s := service.due_in()) < end:
            clock.now += max(due_s, 1e-6)
            service.do_what_is_due()
        clock.now = end
        service.process_command({"command": "trigger", "trigger": lines, "step": step, "at_end": at_end})
    service.stop_observation()
    return dumps(service), lofar(service)


@pytest.fixture(scope="module")
def crab(reference_data):
    """Lines of a real observation of the Crab pulsar, each with its batch, by instance of AMBER."""
    files = {}
    for step in (1, 2, 3):
        lines = (reference_data / "amber" / f"CB00_step{step}.trigger").read_text().splitlines()
        files[step] = [(int(line.split()[1]), line) for line in lines if not line.startswith("#")]
    return files


@pytest.mark.parametrize("source", [PULSAR, UNKNOWN])
def test_speed_chunks_and_interleaving_change_nothing(observe, crab, source):
    def decisions(messages):
        service = observe(source, ninstance=3, galactic_dm_max=20.0)
        service.thresh_iquv["interval"] = 5.0
        return decide(service, messages)

    @given(st.data())
    @settings(max_examples=10, deadline=None)
    def check(data):
        first = data.draw(st.integers(0, 250))
        files = {
            step: [(batch, line) for batch, line in lines if first <= batch < first + 40]
            for step, lines in crab.items()
        }
        at_once = [(0.0, step, [line for _, line in lines], True) for step, lines in files.items() if lines]
        iquv, other = expected = decisions(at_once)
        assert iquv and bool(other) == (source == UNKNOWN)
        assert decisions(data.draw(deliveries(files))) == expected

    check()
