"""Pages from templates: what is put into them stands there as it is, and runs nothing."""

from datetime import UTC, datetime

import pytest
from jinja2 import UndefinedError

from darc.web.pages import WebError, duration, environment, render, thousands, url, utc, write_shared


def test_text_is_escaped():
    template = environment().from_string("<p title='{{ name }}'>{{ name }}</p>")
    page = template.render(name="<script>alert('1')</script>")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;") == 2


def test_an_absent_value_is_a_mistake():
    with pytest.raises(UndefinedError):
        render("base.html")


def test_a_page_loads_nothing_from_elsewhere_and_runs_no_script_of_its_own():
    page = render("base.html", root="")
    assert "Content-Security-Policy" in page
    assert "default-src 'self'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_names_in_addresses_are_quoted():
    assert url("20190518", "a b+c%/é:1") == "20190518/a%20b%2Bc%25%2F%C3%A9%3A1"


def test_shared_files_are_written_once_and_renewed_when_they_differ(tmp_path):
    write_shared(tmp_path)
    sheet = tmp_path / "static" / "style.css"
    before = sheet.stat().st_mtime_ns, sheet.stat().st_ino
    write_shared(tmp_path)
    assert (sheet.stat().st_mtime_ns, sheet.stat().st_ino) == before
    sheet.write_text("old")
    write_shared(tmp_path)
    assert ":root" in sheet.read_text(encoding="utf-8")
    assert {"sort.js", "icon.svg", "style.css"} <= {path.name for path in sheet.parent.iterdir()}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "static").write_text("a file in the way")
    with pytest.raises(WebError, match=r"static/.*cannot be written"):
        write_shared(tmp_path)


def test_times_are_told_in_utc():
    assert utc(datetime(2019, 5, 18, 23, 51, 13, 600, tzinfo=UTC)) == "2019-05-18 23:51:13"
    assert utc(0.0) == "1970-01-01 00:00:00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.7, "1 min"), (600, "10 min"), (3725, "1 h 2 min"), (200000, "2 d 7 h")],
)
def test_durations_are_told_in_their_largest_units(seconds, text):
    assert duration(seconds) == text


def test_thousands_are_grouped():
    assert thousands(1234567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
