"""Pages from templates, and the files that they share.

Templates escape what is put into them; an absent value is a mistake and raises. A page loads nothing from
elsewhere and runs no script but the ones in `static/`, which its Content-Security-Policy says to the browser.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from darc import __version__
from darc.errors import DARCError
from darc.formats.files import write_complete
from darc.reporting.report import BeamReport, BeamState
from darc.web.angles import hours, sexagesimal
from darc.web.sky_map import level


class WebError(DARCError):
    """A page cannot be written."""


@cache
def environment() -> Environment:
    """Return the environment of the templates, with the filters that they use."""
    found = Environment(
        loader=PackageLoader("darc.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (url, utc, duration, thousands, hours, sexagesimal, level, state, total, known)
    found.filters |= {function.__name__: function for function in filters}
    found.globals["version"] = __version__
    return found


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: name of the template
        values: what stands in it; `root` leads from the page to the folder that `write_shared` filled: empty,
            or `../` as often as it takes
    """
    return environment().get_template(template).render(**values)


def write_shared(folder: Path) -> None:
    """Write the style sheet, the icon and the script that the pages in a folder and below it share.

    Raises:
        WebError: they cannot be written
    """
    for source in files("darc.web").joinpath("static").iterdir():
        path, content = folder / "static" / source.name, source.read_bytes()
        if not (path.is_file() and path.read_bytes() == content):
            write_complete(path, content, WebError)


def url(*names: str) -> str:
    """Return the relative address of a file from the names on its way, whatever is in them."""
    return "/".join(quote(name, safe="") for name in names)


def utc(time: datetime | float) -> str:
    """Return a time with time zone, or unix seconds, to the second."""
    time = datetime.fromtimestamp(time, UTC) if isinstance(time, float | int) else time.astimezone(UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Return a duration with the two largest units that it has."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    parts = {"d": whole.days, "h": hours, "min": rest // 60, "s": rest % 60}
    told = [f"{number} {unit}" for unit, number in parts.items() if number]
    return " ".join(told[:2]) or "0 s"


def thousands(number: int) -> str:
    """Return a whole number with thin spaces between groups of three digits."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def known(number: int | None) -> str:
    """Return a number of candidates, or a question mark for one that is not known."""
    return "?" if number is None or number < 0 else thousands(number)


def state(beam: BeamReport) -> str:
    """Return how good the state of a beam is, as the style sheet calls it."""
    return _STATES[beam.state]


_STATES = {
    BeamState.WAITING: "unknown",
    BeamState.DONE: "good",
    BeamState.NO_AMBER: "bad",
    BeamState.GIVEN_UP: "warn",
    BeamState.UNREADABLE: "bad",
    BeamState.MISSING: "bad",
}


def total(beams: Iterable[BeamReport], step: str) -> int:
    """Return the number of candidates after a step of processing, of the beams where it is known."""
    return sum(max(beam.counts.get(step) or 0, 0) for beam in beams)
