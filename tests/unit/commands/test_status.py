"""What `darc status` makes of a reply."""

from dataclasses import replace

import pytest

from darc.commands.status import cluster_text, date, duration, node_text, size, with_null
from darc.commands.terminal import Style
from darc.formats.node_details import (
    Disk,
    LastTrigger,
    NodeDetails,
    ObservationDetails,
    ServiceDetails,
)

NOON = 1795348800.0  # 2026-11-22 12:00:00 UTC
WORKER = NodeDetails(
    node="arts001",
    role="worker",
    beam=0,
    version="1.0",
    time=NOON,
    up_since=NOON - 11530,
    services={
        "amber_listener": ServiceDetails("running", NOON - 11500, 0, 4711, 0),
        "processor": ServiceDetails("restarting", NOON - 2, 3, None, 12345),
    },
    observations=(
        ObservationDetails("261122001", "20261122.B0531", "B0531+21", "running", NOON - 600, NOON + 3000),
        ObservationDetails("261122002", "20261122.X", "X", "waiting", NOON + 3600, NOON + 7200),
    ),
    delay_s=0.123,
    last_triggers={"iquv": LastTrigger(NOON - 60, "sent")},
    sending={"lofar_trigger": "enabled, all events are tests"},
    disks={"results": Disk("/data/results", 5 * 10**9, 10**12)},
    figures={"lines": 5.0},
)


def test_a_node_tells_what_an_operator_asks_at_night():
    assert node_text(WORKER, version="1.0") == (
        "arts001: worker, beam 00, DARC 1.0, since 2026-11-22 08:47:50 UTC (3 h 12 min)\n"
        "\n"
        "SERVICE         STATE       SINCE (UTC)          RESTARTS  QUEUE     PID\n"
        "amber_listener  running     2026-11-22 08:48:20         0  0 B      4711\n"
        "processor       restarting  2026-11-22 11:59:58         3  12.3 kB\n"
        "\n"
        "OBSERVATION  STATE    START (UTC)          END (UTC)            SOURCE\n"
        "  261122001  running  2026-11-22 11:50:00  2026-11-22 12:50:00  B0531+21\n"
        "  261122002  waiting  2026-11-22 13:00:00  2026-11-22 14:00:00  X\n"
        "\n"
        "delay         0.12 s behind AMBER\n"
        "lofar         sending is enabled, all events are tests\n"
        "last iquv     2026-11-22 11:59:00  sent\n"
        "disk results  5 GB of 1 TB free  /data/results"
    )


def test_a_table_of_the_longest_names_fits_80_columns():
    service = ServiceDetails("restarting", NOON, 3, 4194304, 12345)
    details = replace(WORKER, services={"offline_processing": service}, disks={})
    assert max(map(len, node_text(details, version="1.0").splitlines())) <= 80


def test_states_have_colours_and_trouble_stands_out():
    shown = node_text(WORKER, Style(colour=True))
    for colour, text in (("32", "running   "), ("33", "restarting"), ("33", "       3"), ("31", "5 GB of")):
        assert f"\x1b[{colour}m{text}" in shown
    assert "\x1b" not in node_text(WORKER)


def test_a_node_of_another_version_says_so():
    assert "DARC 1.0 (this command: 1.1), since" in node_text(WORKER, version="1.1")


def test_of_an_older_node_there_are_the_states_only():
    old = NodeDetails(
        "arts002", "unknown", services={n: ServiceDetails("running") for n in ("processor", "x")}
    )
    assert node_text(old) == (
        "arts002: an older version of DARC, which tells the states only\n"
        "\nSERVICE    STATE\nprocessor  running\nx          running\n\nobservations  none"
    )


def test_a_host_without_services_says_so():
    shown = node_text(NodeDetails("laptop", "unknown", version="1.0"), version="1.0")
    assert shown == "laptop: unknown, DARC 1.0\n\nservices  none\n\nobservations  none"


def test_names_of_observers_run_nothing_in_a_terminal():
    observation = replace(WORKER.observations[0], source="\x1b]0;title\x07\n")
    shown = node_text(replace(WORKER, observations=(observation,)))
    assert r"\x1b]0;title\x07\n" in shown
    assert "\x1b" not in shown


def test_the_cluster_has_a_line_per_node():
    fine = replace(WORKER, node="arts002", beam=1, services={}, observations=WORKER.observations[1:])
    assert cluster_text({"arts001": WORKER, "arts002": fine, "arts003": "nobody listens there"}) == (
        "NODE     BEAM  VERSION  SERVICES     OBSERVATION               DELAY   NOTES\n"
        "arts001    00  1.0      1/2 running  261122001 until 12:50:00  0.12 s  processor restarting, "
        "processor restarted 3 times\n"
        "arts002    01  1.0      0/0 running  261122002 from 13:00:00   0.12 s\n"
        "arts003                 no answer                                      nobody listens there"
    )


def test_versions_that_differ_are_shown():
    answers = {str(n): replace(WORKER, version=v) for n, v in enumerate(("1.0", "1.0", "0.9"))}
    shown = cluster_text(answers, Style(colour=True)).splitlines()
    assert [("\x1b[33m0.9" in line) for line in shown[1:4]] == [False, False, True]
    assert shown[-1] == "\x1b[33mversions differ: 1.0 on 2, 0.9 on 1\x1b[0m"


def test_none_becomes_null_again_wherever_it_stands():
    assert with_null({"a": "None", "b": [{"c": "None"}, "none"], "d": 0}) == {
        "a": None,
        "b": [{"c": None}, "none"],
        "d": 0,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90061, "1 d 1 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (271_200_000_000, "271 GB"), (1e16, "10000 TB")],
)
def test_sizes(number, text):
    assert size(number) == text


def test_a_time_that_has_no_date_is_no_crash():
    assert (date(None), date(1e30), date(NOON)) == ("", "?", "2026-11-22 12:00:00")
