"""The status page as an operator sees it, at a desk and on a phone."""

import contextlib
import time

import pytest

from darc.formats.node_details import Disk, LastTrigger, NodeDetails, ObservationDetails, ServiceDetails
from darc.network.sweep import NodeError
from darc.web.pages import write_shared
from darc.web.status import (
    Node,
    Settings,
    Status,
    colour_sheet,
    log_name,
    log_page,
    offline_page,
    status_page,
)

SERVICES = ("amber_listener", "amber_clustering", "dada_trigger", "processor", "offline_processing")
SOURCE = "<script>document.title = 'run'</script>"
SIZES = [(1280, 900), (390, 844)]
#: So short that changes show at once; what is not to be old is thus written in the future.
INTERVAL_S = 0.2


def answer(name, state="running"):
    now = time.time()
    services = {service: ServiceDetails("running", now - 9e4, 0, 7, 0) for service in SERVICES}
    return NodeDetails(
        name,
        "worker",
        0,
        "1",
        None,
        now - 9e4,
        services | {"processor": ServiceDetails(state, now - 60.0, 3, 7, 4096)},
        (ObservationDetails("261122001", "2026-11-22-12:00:00.X", SOURCE, "running", now, now + 600.0),),
        1.25,
        {"iquv": LastTrigger(now - 700.0, "sent")},
        {"results": Disk("/data/results", 10**12, 8 * 10**12)},
    )


class Website:
    """A folder as the service leaves it, with the node arts001 in some state."""

    def __init__(self, folder):
        self.folder = folder
        write_shared(folder)
        self.write("colours.css", colour_sheet({"good": "green", "bad": "red", "unknown": "grey"}))
        log = log_page("Processor of arts001", "/x.log", ["a long line " * 30] * 50, time.time())
        (folder / "logs").mkdir()
        self.write("/".join(log_name("arts001", "processor")), log)

    def write(self, name, content):
        (self.folder / f"{name}.part").write_text(content)
        (self.folder / f"{name}.part").replace(self.folder / name)

    def publish(self, state="running", age_s=-60.0):
        written = time.time() - age_s
        settings = Settings(INTERVAL_S, {"amber_clustering": "AMBER clustering"}, "1", 10.0)
        silent = NodeError("no answer in time: it hangs, is busy or cannot be reached; see its log")
        logs = frozenset(["processor"])
        nodes = [
            Node("arts001", "worker", 0, answer("arts001", state), SERVICES, written, logs),
            *(Node(f"arts{i:03d}", "worker", i - 1, answer("n"), SERVICES, written) for i in range(2, 40)),
            Node("arts040", "worker", 39, silent, SERVICES, None),
        ]
        self.write("index.html", status_page(Status(nodes, written, written, settings)))


@pytest.fixture
def website(tmp_path):
    website = Website(tmp_path)
    website.publish()
    return website


@pytest.fixture
def look(browser, serve, website):
    """Opens the page in a window of some size; nothing may have been said on its console."""
    address = serve(website.folder)
    said = []
    with contextlib.ExitStack() as stack:

        def look(size=SIZES[0], script=True, name="index.html", scheme="light"):
            width, height = size
            viewport = {"width": width, "height": height}
            context = browser.new_context(viewport=viewport, java_script_enabled=script, color_scheme=scheme)
            stack.callback(context.close)
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"{address}/{name}")
            return page

        yield look
    assert said == []


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_the_window_and_shows_names_as_they_are(look, size):
    page = look(size)
    assert overflow(page) == 0
    assert page.get_by_text(SOURCE, exact=True).is_visible()
    assert page.title() == "1 alarm, status · DARC"
    assert page.locator("#node-arts001").get_by_text("all running").is_visible()
    assert page.locator("#old").is_hidden()


def test_a_master_node_that_tells_others_is_seen_as_a_whole(look, website):
    now = time.time()
    services = ("status_website", "lofar_trigger", "voevent_generator", "processor_master")
    details = NodeDetails(
        "arts041",
        "master",
        up_since=now - 9e4,
        services={name: ServiceDetails("running", now - 9e4, 0, 7, 0) for name in services},
        last_triggers={kind: LastTrigger(now - 700.0, "sent") for kind in ("lofar", "voevent", "mail")},
        disks={"results": Disk("/data/results", 10**12, 8 * 10**12)},
        sending=dict.fromkeys(("lofar_trigger", "voevent_generator"), "enabled, all events are tests"),
    )
    node = Node("arts041", "master", None, details, services, now, frozenset(services))
    website.write("index.html", status_page(Status([node], now, now, Settings(60.0, {}, "1", 10.0))))
    page = look()
    assert page.get_by_text("sending enabled, all events are tests").count() == 2
    assert page.locator(".scroll").evaluate("e => e.scrollWidth <= e.clientWidth")


@pytest.mark.parametrize("size", SIZES)
def test_from_an_alarm_to_the_node_and_from_a_service_to_its_log_and_back(look, size):
    page = look(size)
    page.get_by_role("link", name="arts040").click()
    assert page.locator("#node-arts040").evaluate("e => e.getBoundingClientRect().top < innerHeight")
    page.get_by_role("link", name="Log of processor of arts001").click()
    assert page.get_by_role("heading", name="Log of Processor of arts001").is_visible()
    assert overflow(page) == 0
    # what was decided stands at the end of a line
    assert page.locator("pre").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert page.locator("pre").inner_text().split("\n")[:50] == ["a long line " * 30] * 50
    page.get_by_role("link", name="Status").click()
    assert page.get_by_role("heading", name="Status", exact=True).is_visible()


def test_what_is_written_anew_appears_without_loading_the_page_again(look, website):
    page = look()
    page.evaluate("window.sameWindow = true")
    page.locator("#node-arts020").scroll_into_view_if_needed()
    position = page.evaluate("scrollY")
    website.publish("failed")
    page.locator("#node-arts001").get_by_text("failed").wait_for()
    assert page.evaluate("window.sameWindow")
    assert abs(page.evaluate("scrollY") - position) < 200
    assert page.title() == "2 alarms, status · DARC"


def test_a_page_that_nobody_writes_any_more_says_that_it_is_old(look, website):
    page = look()
    website.publish(age_s=600.0)
    page.locator("#old").get_by_text("This page is old: nothing new for 10 min.").wait_for()
    website.publish()
    page.locator("#old").wait_for(state="hidden")


def test_a_website_that_is_offline_says_so_and_comes_back(look, website):
    page = look()
    website.write("index.html", offline_page(INTERVAL_S, time.time()))
    page.get_by_role("heading", name="The status website is offline").wait_for()
    assert page.locator("#old").is_hidden()
    website.publish()
    page.get_by_role("heading", name="Status", exact=True).wait_for()


@pytest.mark.parametrize("size", SIZES)
def test_without_a_script_everything_is_there(look, size):
    page = look(size, script=False)
    assert overflow(page) == 0
    assert page.locator("#node-arts001").get_by_text("all running").is_visible()
    assert page.get_by_text("asked every").is_visible()


@pytest.mark.parametrize(
    ("size", "scheme", "name"),
    [
        (SIZES[0], "dark", "index.html"),
        (SIZES[1], "light", "index.html"),
        (SIZES[1], "dark", "/".join(log_name("arts001", "processor"))),
    ],
)
def test_contrast_headings_and_names_pass_a_check_of_accessibility(look, website, axe, size, scheme, name):
    website.publish("failed")
    page = look(size, name=name, scheme=scheme)
    page.evaluate(axe)
    result = page.evaluate("axe.run()")
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in result["violations"]] == []
    assert result["passes"]
