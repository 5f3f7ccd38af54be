"""Fixtures of tests that look at pages as a person does: with a browser, from a web server."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as playwright's object; a test that cannot have it is skipped.

    Not of the session: there can be one playwright at a time, and a module may have its own.
    """
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        # the sandbox needs rights that a container does not have; the pages are our own
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Source of axe-core, which checks contrast, headings and names; `$DARC_AXE` names its `axe.min.js`."""
    default = Path(__file__).parents[2] / ".axe/node_modules/axe-core/axe.min.js"
    path = Path(os.environ.get("DARC_AXE", default))
    if not path.is_file():
        pytest.skip(f"no axe-core in {path}: npm install --no-save --prefix .axe axe-core")
    return path.read_text(encoding="utf-8")


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves folders on the loopback interface; returns the address of each, without a slash at its end."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    def start(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
