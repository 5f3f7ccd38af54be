"""Shows the state of all services of all nodes on a web page (master node)."""

from __future__ import annotations

import itertools
import queue
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from darc import __version__
from darc.base import DARCBase
from darc.config import Role
from darc.config.sections import Node, Worker
from darc.errors import DARCError
from darc.formats.files import write_complete
from darc.formats.node_details import NodeDetails, NodeDetailsError, read_log, read_node_details
from darc.network.command_protocol import Reply, Request
from darc.network.sweep import NodeError, sweep
from darc.web import status as web
from darc.web.pages import render, write_shared

#: What a node is asked, and what one of an older version is asked instead.
DETAILS = Request(command="details")
STATUS = Request(command="status", service="all")
#: What the pages of logs are named after that are of the master process of a node.
MASTER = web.MASTER
#: Time in s after which a browser looks again at a page that does not say it.
FALLBACK_INTERVAL_S = 60.0

Statuses = dict[str, NodeDetails | NodeError]


class StatusWebsiteException(DARCError):  # noqa: N818 (documented name)
    """The status page cannot be made or written."""


class StatusWebsite(DARCBase):
    """Generate a HTML page with the status of each service across the ARTS cluster at regular intervals.

    The nodes are asked in a thread, so that this service answers while it waits for them. In each round the
    log of one service of each node is fetched too, so that it stays cheap, however many logs there are.
    """

    web_dir: Path
    interval: float
    timeout: float
    log_lines: int
    colour_good: str
    colour_bad: str
    colour_unknown: str
    service_to_name: dict[str, str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked = self.clock()
        self._last_answers: dict[str, float] = {}
        self._logs: dict[str, set[str]] = {}
        self._trouble = ""
        self._publishing: AbstractContextManager[Any] = nullcontext()

    def prepare(self) -> None:
        """Begin to ask the nodes."""
        self._publishing = threading.Lock()
        threading.Thread(target=self._keep_asking, name="rounds", daemon=True).start()

    def cleanup(self) -> None:
        """Leave a page that says that nobody asks any more."""
        with self._publishing:
            self.make_offline_page()

    def check_command(self) -> None:
        """Do what the next message asks, if there is one."""
        with suppress(queue.Empty):
            self._handle(self.source_queue.get(block=False))

    # --- rounds --------------------------------------------------------------------------------------------

    def _keep_asking(self) -> None:
        for number in itertools.count():
            began = self.monotonic()
            try:
                self._round(number)
                self._trouble = ""
            except DARCError as error:
                if str(error) != self._trouble:  # once, not in every round
                    self.logger.error("no new status page: %s", error)
                self._trouble = str(error)
            self._pause(max(0.0, began + self.interval - self.monotonic()))
            if self._is_stopping():
                return

    def _round(self, number: int) -> None:
        statuses = self.get_status()
        with self._publishing:
            if self._is_stopping():  # the page says that this service is offline
                return
            self.publish_status(statuses)
        self._fetch_logs(
            number, {name: told for name, told in statuses.items() if isinstance(told, NodeDetails)}
        )

    def get_status(self) -> Statuses:
        """Ask all nodes at once; return what each tells of itself, or why it does not."""
        self._asked = self.clock()
        replies = sweep(self._addresses(), DETAILS, self.timeout, STATUS, self._key_file)
        statuses = {name: _understood(name, reply) for name, reply in replies.items()}
        now = self.clock()
        self._last_answers |= {name: now for name, told in statuses.items() if isinstance(told, NodeDetails)}
        return statuses

    @property
    def _key_file(self) -> Path:
        return self.config.darc_master.key_file

    def _addresses(self) -> dict[str, tuple[str, int]]:
        return {node.name: (node.address, node.port) for node in self.config.nodes.all_nodes}

    # --- pages ---------------------------------------------------------------------------------------------

    @staticmethod
    def get_template() -> tuple[str, str]:
        """Return HTML template.

        Split into header and footer

        Returns:
            header, footer: what stands before and after the status
        """
        page = render("status_base.html", root="", interval_s=FALLBACK_INTERVAL_S)
        header, _, footer = page.partition("<!-- status -->")
        return header, footer

    def publish_status(self, statuses: Statuses) -> None:
        """Publish status as web page, and for programs as JSON.

        Args:
            statuses: what each node tells of itself, or why it does not, by the name of the node

        Raises:
            DARCError: the pages cannot be written
        """
        status = web.Status(
            nodes=[self._node(node, statuses) for node in self.config.nodes.all_nodes],
            asked=self._asked,
            written=self.clock(),
            settings=web.Settings(
                interval_s=self.interval,
                names=self.service_to_name,
                version=__version__,
                delay_max_s=self.instrument.ring_buffer_s,
                results_url=self.config.processor_master.web_url,
            ),
        )
        self._write("index.html", web.status_page(status))
        self._write("status.json", web.status_json(status))

    def _node(self, node: Node, statuses: Statuses) -> web.Node:
        role: Role = "worker" if isinstance(node, Worker) else "master"
        return web.Node(
            name=node.name,
            role=role,
            beam=node.beam if isinstance(node, Worker) else None,
            answer=statuses.get(node.name, NodeError("not asked yet")),
            expected=tuple(self.config.services_of(role)),
            last_answer=self._last_answers.get(node.name),
            logs=frozenset(self._logs.get(node.name, ())),
        )

    def make_offline_page(self) -> None:
        """Create page for when status website is offline.

        Raises:
            DARCError: it cannot be written
        """
        now = self.clock()
        self._write("index.html", web.offline_page(self.interval, now))
        self._write("status.json", web.offline_json(now))

    def _write(self, name: str, content: str) -> None:
        """Write a page; what all of them share comes first, if it is not there as it should be."""
        write_shared(self.web_dir)
        colours = {"good": self.colour_good, "bad": self.colour_bad, "unknown": self.colour_unknown}
        sheet = web.colour_sheet(colours)
        for path, text in ((self.web_dir / "colours.css", sheet), (self.web_dir / name, content)):
            write_complete(path, text, StatusWebsiteException)

    # --- logs ----------------------------------------------------------------------------------------------

    def _fetch_logs(self, number: int, told: dict[str, NodeDetails]) -> None:
        """Write the page of one log of each node that answered, another one in each round."""
        services = {}
        for name, details in told.items():
            here = (MASTER, *details.services)
            services[name] = here[number % len(here)]
        requests = {
            name: Request(command="log", service=None if service == MASTER else service)
            for name, service in services.items()
        }
        addresses = {name: address for name, address in self._addresses().items() if name in requests}
        for name, reply in sweep(addresses, requests, self.timeout, key_file=self._key_file).items():
            self._write_log(name, services[name], reply)

    def _write_log(self, node: str, service: str, reply: Reply | NodeError) -> None:
        if not isinstance(reply, Reply) or reply.status != "Success":
            return
        try:
            path, lines = read_log(reply.message)
        except NodeDetailsError as error:
            self.logger.warning("log of %s of %s: %s", service, node, error)
            return
        title = f"{self.service_to_name.get(service, service)} of {node}"
        page = web.log_page(title, path, lines[-self.log_lines :], self.clock())
        self._write("/".join(web.log_name(node, service)), page)
        self._logs.setdefault(node, set()).add(service)


def _understood(node: str, reply: Reply | NodeError) -> NodeDetails | NodeError:
    """Return what a node tells of itself, or why that cannot be known."""
    if isinstance(reply, NodeError):
        return reply
    try:
        return read_node_details(node, reply.message)
    except NodeDetailsError as error:
        return web.NonsenseError(f"it answered nonsense: {error}")
