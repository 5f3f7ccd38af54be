"""What the status page says, of which the markup is only the form."""

import json
from dataclasses import replace

import lxml.html
import pytest

from darc.errors import DARCError
from darc.formats.node_details import Disk, LastTrigger, NodeDetails, ObservationDetails, ServiceDetails
from darc.network.sweep import NodeError
from darc.web.status import (
    Node,
    NonsenseError,
    Settings,
    Status,
    colour_sheet,
    log_name,
    log_page,
    offline_page,
    size,
    status_json,
    status_page,
)

NOW = 1_795_348_800.0  # 2026-11-22 12:00:00 UTC
SETTINGS = Settings(10.0, {"dada_trigger": "DADA trigger"}, "2.0", 10.0)
RUNNING = ServiceDetails("running", since=NOW - 3700.0, restarts=2, pid=1, queue=2500)
SCRIPT = "<script>alert(1)</script>\"'`$(reboot)"


def details(**changes):
    values = {
        "node": "n",
        "role": "worker",
        "version": "2.0",
        "time": NOW,
        "services": {"dada_trigger": RUNNING},
    }
    return NodeDetails(**(values | changes))


def observation(**changes):
    values = {
        "task_id": "261122001",
        "datetimesource": "2026-11-22-12:00:00.B0531+21",
        "source": "B0531+21",
        "state": "running",
        "start": NOW - 60.0,
        "end": NOW + 600.0,
    }
    return ObservationDetails(**(values | changes))


def status(*answers, **changes):
    nodes = [
        Node(f"arts{i:03d}", "worker", i, answer, expected=("dada_trigger",))
        for i, answer in enumerate(answers)
    ]
    return Status(**({"nodes": nodes, "asked": NOW - 1, "written": NOW, "settings": SETTINGS} | changes))


def text(page):
    return " ".join(lxml.html.fromstring(page).text_content().split())


def row(page, name):
    (found,) = lxml.html.fromstring(page).xpath(f'//tr[@id="node-{name}"]')
    return found


# --- colours and words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "level", "word"),
    [
        (details(), "good", "all running"),
        (details(services={"a": RUNNING, "b": ServiceDetails("failed")}), "bad", "1 of 2 running"),
        (details(services={}), "bad", "0 of 0 running"),
        (NodeError("nobody listens there"), "unknown", "no answer"),
        (NonsenseError("it answered nonsense"), "bad", "nonsense"),
    ],
)
def test_a_node_has_a_colour_and_says_the_same_in_words(answer, level, word):
    found = row(status_page(status(answer)), "arts000")
    cell = found.xpath('td[@data-label="State"]')[0]
    assert cell.xpath(f'.//span[@class="light {level}"]')
    assert word in cell.text_content()


@pytest.mark.parametrize(
    ("answer", "level", "word"),
    [
        (details(), "good", "running"),
        (details(services={"dada_trigger": ServiceDetails("stopped")}), "bad", "stopped"),
        (NodeError("x"), "unknown", "unknown"),
    ],
)
def test_a_service_has_a_colour_and_says_the_same_in_words(answer, level, word):
    cell = row(status_page(status(answer)), "arts000").xpath('td[@data-label="DADA trigger"]')[0]
    assert cell.xpath(f'.//span[@class="light {level}"]')
    assert cell.xpath("div/span")[0].text_content() == word


def test_a_service_says_since_when_it_runs_how_often_it_was_restarted_and_what_waits():
    cell = row(status_page(status(details())), "arts000").xpath('td[@data-label="DADA trigger"]')[0]
    told = [part.text_content() for part in cell.xpath("div/span")]
    assert told == ["running", "for 1 h 1 min", "restarted 2 times", "queue 2.5 kB"]


# the first question at night: is anybody told of what is found?
def test_a_service_that_tells_others_says_whether_it_does():
    answer = details(sending={"dada_trigger": "enabled, all events are tests"})
    cell = row(status_page(status(answer)), "arts000").xpath('td[@data-label="DADA trigger"]')[0]
    assert "sending enabled, all events are tests" in cell.text_content()


def test_delay_triggers_and_disk_are_told():
    answer = details(
        delay_s=1.25,
        last_triggers={"iquv": LastTrigger(NOW - 90.0, "sent")},
        disks={"results": Disk("/data", 3_000_000_000_000, 8_000_000_000_000)},
    )
    told = row(status_page(status(answer)), "arts000").text_content()
    for part in ("1.2 s", "iquv sent, 1 min 30 s ago", "3.0 TB results"):
        assert part in told


# --- what an operator asks first ----------------------------------------------------------------------------


def test_the_running_observation_comes_first_with_its_end():
    waiting = observation(task_id="2", source="later", state="waiting", start=NOW - 90.0)
    answers = [details(observations=(waiting, observation())), details(observations=(observation(),))]
    found = status(*answers, NodeError("x"))
    assert [(each.observation.source, each.nodes) for each in found.observations] == [
        ("B0531+21", ["arts000", "arts001"]),
        ("later", ["arts000"]),
    ]
    told = text(status_page(found))
    assert "B0531+21 running" in told
    assert "2026-11-22 12:10:00 UTC, in 10 min" in told
    assert "Nodes2 of 3" in told


def test_no_observation_is_said_to_be_none():
    assert "No observation runs" in text(status_page(status(details())))


@pytest.mark.parametrize(("address", "links"), [("https://example.org/a b", 1), (None, 0)])
def test_the_results_of_observations_are_one_click_away_where_their_address_is_known(address, links):
    page = status_page(status(details(), settings=replace(SETTINGS, results_url=address)))
    found = lxml.html.fromstring(page).xpath('//a[text()="Results of observations"]/@href')
    assert found == [address] * links


@pytest.mark.parametrize(
    ("answer", "level", "title", "note"),
    [
        (NodeError("nobody listens"), "unknown", "No answer", ""),
        (NonsenseError("what?"), "bad", "Nonsense", ""),
        (details(services={}), "bad", "No services", ""),
        (
            details(services={"dada_trigger": ServiceDetails("failed")}),
            "bad",
            "DADA trigger failed",
            "",
        ),
        (details(delay_s=12.34), "bad", "Too far behind AMBER, data are lost", "12.3 s"),
        (details(disks={"state": Disk("/", 4, 100)}), "warn", "Disk nearly full", "state: 4 B free"),
        (details(version="1.9"), "warn", "Another version than 2.0", "1.9"),
        (details(version=""), "warn", "Another version than 2.0", "an old one"),
        (details(time=NOW + 61.0), "warn", "Clock differs from that of this node", "+61 s"),
        (details(time=NOW - 31.0), "warn", "Clock differs from that of this node", "-30 s"),
    ],
)
def test_what_needs_a_look_is_an_alarm(answer, level, title, note):
    (alarm,) = status(details(), answer).alarms
    assert (alarm.level, alarm.text, alarm.nodes) == (level, title, {"arts001": note})


def test_the_same_mishap_of_several_nodes_is_one_alarm_and_the_worst_come_first():
    failed = details(services={"dada_trigger": ServiceDetails("failed")}, version="1.9")
    found = [(alarm.level, list(alarm.nodes)) for alarm in status(failed, NodeError("x"), failed).alarms]
    assert found == [
        ("bad", ["arts000", "arts002"]),
        ("unknown", ["arts001"]),
        ("warn", ["arts000", "arts002"]),
    ]


def test_when_all_is_well_there_is_no_alarm():
    slow_round = status(details(time=NOW - 9.5), asked=NOW - 10.0)
    assert slow_round.alarms == []
    assert "AlarmsNone." in text(status_page(slow_round)).replace(" ", "")


# --- names --------------------------------------------------------------------------------------------------


def test_names_appear_exactly_as_given_and_run_nothing():
    answer = details(
        node=SCRIPT,
        services={SCRIPT: ServiceDetails(SCRIPT)},
        observations=(observation(source=SCRIPT, task_id=SCRIPT),),
        disks={SCRIPT: Disk(SCRIPT, 1, 100)},
        last_triggers={SCRIPT: LastTrigger(NOW, SCRIPT)},
        version=SCRIPT,
    )
    node = Node(SCRIPT, "worker", 0, answer, logs=frozenset([SCRIPT]))
    for page in (
        status_page(status(nodes=[node, Node("x", "worker", 1, NodeError(SCRIPT))])),
        log_page(SCRIPT, SCRIPT, [SCRIPT], NOW),
    ):
        parsed = lxml.html.fromstring(page)
        assert SCRIPT in parsed.text_content()
        assert [s.get("src") for s in parsed.xpath("//script")] in (["static/status.js"], [])
        assert "<script>alert" not in page


def test_pages_of_logs_stay_in_their_folder():
    folder, name = log_name("../../etc", "x%2F/y")
    assert folder == "logs"
    assert "/" not in name
    assert log_name("a/b", "c") != log_name("a%2Fb", "c")


def test_a_log_is_shown_line_by_line():
    page = lxml.html.fromstring(log_page("x", "/x.log", ["  first", "", "second"], NOW))
    assert page.xpath("//pre")[0].text_content() == "\n  first\n\nsecond\n"


def test_links_lead_to_what_is_there():
    node = Node("a b", "worker", 0, details(), logs=frozenset(["dada_trigger"]))
    page = lxml.html.fromstring(status_page(status(NodeError("x"), nodes=[node])))
    links = set(page.xpath("//main//a/@href"))
    assert links == {"logs/a%20b-dada_trigger.html"}


# --- forms --------------------------------------------------------------------------------------------------


def test_json_says_what_the_page_says():
    found = status(details(observations=(observation(),)), NodeError("nobody listens"))
    content = json.loads(status_json(found))
    assert content["written"] == NOW
    assert content["observations"][0]["nodes"] == ["arts000"]
    assert content["alarms"] == [{"level": "unknown", "text": "No answer", "nodes": {"arts001": ""}}]
    good, silent = content["nodes"].values()
    assert (good["state"], good["services"], good["details"]["version"]) == (
        "good",
        {"dada_trigger": "good"},
        "2.0",
    )
    assert (silent["state"], silent["services"], silent["details"]) == (
        "unknown",
        {"dada_trigger": "unknown"},
        None,
    )


def test_without_a_script_the_page_is_loaded_anew():
    (refresh,) = lxml.html.fromstring(status_page(status(details()))).xpath("//noscript/meta")
    assert (refresh.get("http-equiv"), refresh.get("content")) == ("refresh", "10")


def test_the_page_of_a_stopped_website_says_so_and_is_never_old():
    page = lxml.html.fromstring(offline_page(10.0, NOW))
    assert "offline" in page.xpath("//h1")[0].text_content()
    assert page.get_element_by_id("status").get("data-written") is None


@pytest.mark.parametrize("colour", ["green", "#0a0", "#00aa00", "rgb(0, 160, 0)", "hsl(120 100% 30%)"])
def test_colours_are_those_of_the_configuration(colour):
    assert f"--light-good: {colour};" in colour_sheet({"good": colour})


@pytest.mark.parametrize("colour", ["green; } body { display: none", "url(http://x)", "", "}"])
def test_what_is_no_colour_is_refused(colour):
    with pytest.raises(DARCError, match=r"status_website\.colour_good"):
        colour_sheet({"good": colour})


@pytest.mark.parametrize(
    ("nbytes", "told"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (5e15, "5000 TB")]
)
def test_sizes_are_told_briefly(nbytes, told):
    assert size(nbytes) == told
