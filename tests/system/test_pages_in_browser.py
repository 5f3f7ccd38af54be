"""The pages in a browser, as an observer uses them: on a desk and on a phone, by day and by night."""

from dataclasses import replace
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from darc.simulation.example_report import example_report
from darc.web.observation import publish

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HOSTILE = "<script>alert(1)</script>\"'&/ <img src=x onerror=alert(2)> µ"
SMALL_OBSERVATION = "20261121/hostile%20B1933%2B16/index.html"
OBSERVATION = "20261121/2026-11-21-22%3A14%3A36.FRB20121102A/index.html"


@pytest.fixture(scope="module")
def webdir(tmp_path_factory):
    """The pages of two observations."""
    folder = tmp_path_factory.mktemp("site")
    report = example_report(folder / "results")
    publish(report, folder / "web")
    hostile = replace(report.info, source=HOSTILE, datetimesource="hostile B1933+16")
    # beams of every state, with and without candidates
    beams = tuple(report.beams[cb] for cb in (0, 5, 8, 12, 20))
    publish(replace(report, info=hostile, beams=beams), folder / "web")
    return folder / "web"


@pytest.fixture
def site(serve, webdir):
    """Address of a web server with these pages."""
    return f"{serve(webdir)}/"


@pytest.fixture
def open_page(browser, serve):
    """Return a function that opens a page; at the end of the test nothing may have gone wrong in it.

    It needs what serves the pages, since that has to go on until they are whole.
    """
    contexts, problems = [], []

    def note(address, problem):
        if not address.endswith(
            "/favicon.ico"
        ):  # which the browser asks the site for where it shows a picture
            problems.append(f"{address}: {problem}")

    def open_page(address, viewport=DESKTOP, **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: note(message.location["url"], message.text))
        page.on("pageerror", lambda error: note(page.url, error))
        page.on("requestfailed", lambda request: note(request.url, request.failure))
        page.on(
            "response", lambda answer: answer.ok or answer.status < 400 or note(answer.url, answer.status)
        )
        page.on("dialog", lambda dialog: (note(page.url, dialog.message), dialog.dismiss()))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            page.wait_for_load_state("load")
        context.close()
    assert problems == []


def column(page, table, number):
    return page.locator(table).evaluate(
        "(table, number) => Array.from(table.tBodies[0].rows, row => row.cells[number].textContent.trim())",
        number,
    )


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_observer_finds_an_observation_sorts_it_and_opens_a_plot(open_page, site, viewport):
    page = open_page(site, viewport)
    fits(page)
    page.get_by_role("link", name="FRB20121102A").click()
    page.get_by_role("heading", name="FRB20121102A", level=1).wait_for()
    fits(page)
    candidates = "#candidates ~ .scroll table"
    by_probability = column(page, candidates, 0)
    head = page.locator(candidates).get_by_role("columnheader", name="S/N")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    snrs = [float(text) for text in column(page, candidates, 5)]
    assert snrs == sorted(snrs, reverse=True)
    assert column(page, candidates, 0) != by_probability
    fits(page)
    page.get_by_role("link", name="Plot of candidate 3", exact=True).click()
    page.wait_for_url("**/pictures/CB17_000.png")
    assert page.locator("img").evaluate("image => image.naturalWidth") == 1200
    page.go_back()
    page.get_by_role("heading", name="FRB20121102A", level=1).wait_for()
    page.get_by_role("link", name="Observations").click()
    page.get_by_role("heading", name="Observations", level=1).wait_for()


def fits(page):
    """No part of the page is beside the window; tables scroll on their own."""
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1]


def test_every_column_but_the_plots_sorts_both_ways(open_page, site):
    page = open_page(site + OBSERVATION)
    orders = page.evaluate(
        """() => Array.from(document.querySelectorAll(".sortable thead button"), (button) => {
            const order = () => { button.click(); return button.parentElement.getAttribute("aria-sort"); };
            return [order(), order()].sort().join(" ");
        })"""
    )
    assert len(orders) == 10 + 9 + 7
    assert set(orders) == {"ascending descending"}


def test_the_keyboard_sorts_and_unknown_values_stay_last(open_page, site):
    page = open_page(site + OBSERVATION)
    counts = "#beams ~ .scroll table"
    for sign in (-1, 1):
        page.locator(counts).get_by_role("button", name="AMBER").press("Enter")
        raw = [text.replace("\N{NARROW NO-BREAK SPACE}", "") for text in column(page, counts, 2)]
        assert raw[-4:] == ["?"] * 4
        numbers = [int(text) for text in raw[:-4]]
        assert numbers == sorted(numbers, key=lambda number: sign * number)


def test_no_link_has_a_dead_end(open_page, site, webdir):
    for address in (site, site + OBSERVATION):
        page = open_page(address)
        links = page.evaluate(
            """Array.from(
                document.querySelectorAll("[href],[src]"),
                (it) => it.getAttribute("href") ?? it.getAttribute("src")
            )"""
        )
        assert len(links) > 5
        anchors = page.evaluate("Array.from(document.querySelectorAll('[id]'), (it) => it.id)")
        assert len(set(anchors)) == len(anchors)
        for link in set(links):
            target, anchor = urldefrag(urljoin(page.url, link))
            if target != urldefrag(page.url).url:
                assert (webdir / unquote(urlsplit(target).path).lstrip("/")).is_file(), target
            assert not anchor or anchor in anchors


def test_names_from_the_observation_are_read_as_given_and_run_nothing(open_page, site):
    page = open_page(site)
    page.get_by_role("link", name=HOSTILE).click()
    assert page.locator("h1").text_content() == HOSTILE


def test_pages_can_be_read_without_scripts(open_page, site):
    page = open_page(site + OBSERVATION, java_script_enabled=False)
    assert page.locator("#candidate1 img").get_attribute("alt") == "Plot of candidate 1"
    assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize(("scheme", "rules"), [("light", "{}"), ("dark", "{runOnly: ['color-contrast']}")])
@pytest.mark.parametrize("address", ["", SMALL_OBSERVATION], ids=["list", "observation"])
def test_contrast_headings_and_names_pass_a_check_of_accessibility(
    open_page, site, axe, address, scheme, rules
):
    page = open_page(site + address, color_scheme=scheme)
    page.evaluate(axe)
    result = page.evaluate(f"axe.run({rules})")
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in result["violations"]] == []
    assert result["passes"]
