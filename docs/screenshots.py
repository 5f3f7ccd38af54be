"""Make the pictures of the pages that the README shows, of a made-up observation and a made-up cluster.

    python docs/screenshots.py [FOLDER]

writes to `docs/images`, or to FOLDER. Needs Chromium and Playwright.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from darc.config import load_config
from darc.formats.node_details import Disk, LastTrigger, NodeDetails, ObservationDetails, ServiceDetails
from darc.network.sweep import NodeError
from darc.simulation.example_report import START, example_report
from darc.web.observation import publish
from darc.web.pages import write_shared
from darc.web.status import Node, Settings, Status, colour_sheet, status_page

NOW = START.timestamp() + 1920
SERVICES = ("amber_listener", "amber_clustering", "dada_trigger", "processor", "offline_processing")
MASTER_SERVICES = ("voevent_generator", "lofar_trigger", "processor_master", "status_website")


class Shot(NamedTuple):
    """A picture: its name, the page, the size of the window and the scheme of colours."""

    name: str
    page: Path
    width: int
    height: int
    scheme: Literal["light", "dark"]


def main() -> None:
    """Make all pictures."""
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        observation = publish(example_report(folder / "results"), folder / "web")
        status = publish_status(folder / "status")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for shot in (
            Shot("observation", observation, 1280, 1440, "light"),
            Shot("observation-phone", observation, 390, 844, "dark"),
            Shot("status", status, 1280, 1000, "light"),
            Shot("status-phone", status, 390, 844, "dark"),
        ):
            path = images / f"{shot.name}.png"
            take(browser, shot, path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


def take(browser: Browser, shot: Shot, path: Path) -> None:
    """Take a picture of a page."""
    viewport: ViewportSize = {"width": shot.width, "height": shot.height}
    # its script would say that the page is old
    script = shot.page.parent.name != "status"
    context = browser.new_context(viewport=viewport, color_scheme=shot.scheme, java_script_enabled=script)
    page = context.new_page()
    page.goto(shot.page.as_uri())
    with Image.open(BytesIO(page.screenshot())) as image:
        # a third of the size, and no difference to be seen
        palette = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        palette.save(path, optimize=True)
    context.close()


def publish_status(folder: Path) -> Path:
    """Write the status page of a made-up cluster."""
    website = load_config().status_website
    settings = Settings(10.0, website.service_to_name, "1.0.0", 10.0)
    nodes = [Node("arts041", "master", None, details(None), MASTER_SERVICES, NOW)]
    nodes += [worker(cb) for cb in range(40)]
    write_shared(folder)
    colours = {"good": website.colour_good, "bad": website.colour_bad, "unknown": website.colour_unknown}
    (folder / "colours.css").write_text(colour_sheet(colours), encoding="utf-8")
    path = folder / "index.html"
    path.write_text(status_page(Status(nodes, NOW, NOW, settings)), encoding="utf-8")
    return path


def worker(cb: int) -> Node:
    """Return a worker node: one does not answer, one has a service that failed."""
    silent = NodeError("no answer in time: it hangs, is busy or cannot be reached; see its log")
    answer = silent if cb == 17 else details(cb, {"dada_trigger": "failed"} if cb == 5 else {})
    return Node(f"arts{cb + 1:03d}", "worker", cb, answer, SERVICES, NOW - 900 if cb == 17 else NOW)


def details(cb: int | None, states: dict[str, str] | None = None) -> NodeDetails:
    """Return what a node tells of itself."""
    names = MASTER_SERVICES if cb is None else SERVICES
    services = {
        name: ServiceDetails((states or {}).get(name, "running"), NOW - 2e5, 0, 4711, 0) for name in names
    }
    observation = ObservationDetails(
        "261121001",
        f"{START:%Y-%m-%d-%H:%M:%S}.FRB20121102A",
        "FRB20121102A",
        "running",
        NOW - 1920,
        NOW + 1680,
    )
    return NodeDetails(
        node="arts041" if cb is None else f"arts{cb + 1:03d}",
        role="master" if cb is None else "worker",
        beam=cb,
        version="1.0.0",
        time=NOW,
        up_since=NOW - 2e5,
        services=services,
        observations=(observation,),
        delay_s=None if cb is None else 0.4 + cb % 7 / 10,
        last_triggers={} if cb != 23 else {"iquv": LastTrigger(NOW - 207, "sent")},
        sending={"lofar_trigger": "enabled", "voevent_generator": "enabled"} if cb is None else {},
        disks={"results": Disk("/data2/results", (3 + (cb or 0) % 4) * 10**12, 16 * 10**12)},
    )


if __name__ == "__main__":
    main()
