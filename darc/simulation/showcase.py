"""The pages that the demo makes, where a browser finds them: a small server, for want of the site's own."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from darc.errors import DARCError

#: Folder of the pages below that of the demo, and in it those about the state of the cluster.
PAGES, STATUS = "pages", "status"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Showcase:
    """Serves the pages of a demo on the loopback interface.

    Args:
        folder: folder of the demo

    Raises:
        DARCError: no demo has made pages there
    """

    def __init__(self, folder: Path) -> None:
        self.pages = folder / PAGES
        if not self.pages.is_dir():
            raise DARCError(f"{self.pages} does not exist: 'darc demo' makes it")
        handler = partial(_Quiet, directory=str(self.pages))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages")

    @property
    def address(self) -> str:
        """Address of the pages."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def page_settings(folder: Path) -> dict[str, Any]:
    """Return what the configuration has to say for the pages to be made, and soon."""
    return {
        "processor_master": {
            "webdir": str(folder / PAGES),
            "check_interval": 1.0,
            "scavenger_interval": 1.0,
            "email_settings": {"to": ["astronomer@localhost"]},
        },
        "status_website": {"web_dir": str(folder / PAGES / STATUS), "interval": 2.0, "timeout": 2.0},
    }


def keep_status(folder: Path) -> None:
    """Keep the status page as it is now: when the cluster stops, it will say no more than that."""
    shutil.copytree(folder / PAGES / STATUS, kept_status(folder).parent, dirs_exist_ok=True)


def kept_status(folder: Path) -> Path:
    """Return where the status page is kept."""
    return folder / PAGES / f"{STATUS}-while-observing" / "index.html"
