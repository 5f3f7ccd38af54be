"""Checks of what this node talks to: the other nodes, the mail server, the broker."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from darc import __version__
from darc.config import Config
from darc.config_files import reached_at
from darc.errors import DARCError
from darc.formats.node_details import NodeDetails, read_node_details
from darc.installation.findings import Finding, ok, tried, warning, wrong
from darc.network.command_protocol import Reply, Request
from darc.network.mail import check_server, mail_settings
from darc.network.sockets import CONNECTION_ERRORS, explain, is_loopback
from darc.network.sweep import NodeError, sweep

#: Difference in s between two clocks that is told, besides the time that an answer takes.
CLOCK_DIFFERENCE_S = 1.0
DETAILS = Request(command="details")


def running_node(config: Config, timeout_s: float) -> NodeDetails | None:
    """Return what answers on the command port of this node, None if nobody does, or not as DARC does."""
    host = reached_at(config.darc_master.address)
    port = config.node.port if config.node else config.darc_master.port
    key_file = config.darc_master.key_file
    reply = sweep({"here": (host, port)}, DETAILS, timeout_s, key_file=key_file)["here"]
    try:
        return _details("here", reply)
    except DARCError:
        return None


def nodes(config: Config, timeout_s: float) -> Iterator[Finding]:
    """Check that the nodes run that this one talks to, in its version; a worker talks to the master node."""
    own = config.node.name if config.node else None
    wanted = config.nodes.all_nodes
    if config.role == "worker":
        wanted = [config.nodes.master] if config.nodes.master else []
    others = {node.name: (node.address, node.port) for node in wanted if node.name != own}
    if config.role == "master" and not config.nodes.workers:
        yield warning("nodes", "no worker nodes: nodes.workers lists them, one per compound beam")
    if not others:
        return
    begun = time.time()
    replies = sweep(others, DETAILS, timeout_s, key_file=config.darc_master.key_file)
    yield from judged(replies, others, begun, time.time())


def judged(
    replies: Mapping[str, Reply | NodeError],
    addresses: Mapping[str, tuple[str, int]],
    begun: float,
    ended: float,
) -> Iterator[Finding]:
    """Judge what nodes answered.

    Args:
        replies: answers to `details`, by node
        addresses: where the nodes were asked
        begun: when they were asked, unix s
        ended: when the last of them had answered, unix s
    """
    for name, reply in replies.items():
        subject, where = f"node {name}", "{}:{}".format(*addresses[name])
        try:
            details = _details(name, reply)
        except DARCError as error:
            yield wrong(subject, f"{where}: {error}; `systemctl status darc` there says more")
            continue
        down = [f"{service} {each.state}" for service, each in details.services.items() if not each.running]
        if details.version != __version__:
            yield wrong(
                subject, f"{where}: version {details.version or 'unknown'}, here {__version__}: install one"
            )
        elif details.time is not None and not (
            begun - CLOCK_DIFFERENCE_S <= details.time <= ended + CLOCK_DIFFERENCE_S
        ):
            difference_s = details.time - (begun + ended) / 2
            yield wrong(subject, f"{where}: its clock differs by {difference_s:+.1f} s: synchronise both")
        elif down:
            yield warning(subject, f"{where}: {', '.join(down)}; see `darc log` there")
        else:
            yield ok(subject, f"{where}: version {details.version}, {len(details.services)} services run")


def _details(name: str, reply: Reply | NodeError) -> NodeDetails:
    if isinstance(reply, NodeError):
        raise DARCError(reply.reason)
    message: Any = reply.message
    if reply.status == "Error":
        raise DARCError(str(message.get("error", message) if isinstance(message, dict) else message))
    return read_node_details(name, message)


def mail(config: Config) -> Iterator[Finding]:
    """Check that the mail server answers and takes us in; no mail is sent."""
    receivers = {
        "processor_master": config.processor_master.email_settings.to,
        "lofar_trigger": config.lofar_trigger.email_settings.to,
    }
    used = {name: to for name, to in receivers.items() if name in config.services}
    if not used:
        return
    nobody = [name for name, to in used.items() if not to]
    if nobody:
        yield warning("mail", f"nobody is told by {', '.join(nobody)}: see email_settings")
    if len(nobody) < len(used):
        yield tried("mail", lambda: check_server(mail_settings(config.mail)))


def broker(config: Config) -> Iterator[Finding]:
    """Check that the VOEvent broker listens; nothing is sent."""
    settings = config.voevent_generator
    if "voevent_generator" not in config.services or settings.broker_host is None:
        return
    where = f"{settings.broker_host}:{settings.broker_port}"
    try:
        socket.create_connection(
            (settings.broker_host, settings.broker_port), settings.broker_timeout
        ).close()
    except CONNECTION_ERRORS as error:
        yield wrong("VOEvent broker", f"{where}: {explain(error)}; see voevent_generator.broker_host")
    else:
        sent = _sent("events", settings.send_events, "voevent", settings.test)
        yield ok("VOEvent broker", f"{where} listens; {sent}")


def lofar(config: Config) -> Iterator[Finding]:
    """Check that the host that triggers go to has an address; nothing is sent, and LOFAR does not answer."""
    settings = config.lofar_trigger
    if "lofar_trigger" not in config.services or settings.lofar_host is None:
        return
    where = f"{settings.lofar_host}:{settings.lofar_port} (UDP)"
    try:
        socket.getaddrinfo(settings.lofar_host, settings.lofar_port, type=socket.SOCK_DGRAM)
    except CONNECTION_ERRORS as error:
        yield wrong("LOFAR", f"{where}: {explain(error)}; see lofar_trigger.lofar_host")
    else:
        yield ok("LOFAR", f"{where}; {_sent('triggers', settings.send_events, 'lofar', settings.test)}")


def _sent(what: str, send: bool, system: str, test: bool) -> str:
    """Say whether events are sent."""
    sent = "are sent after the start" if send else f"are not sent until `darc {system}_enable`"
    return f"{what} {sent}{' (events are tests)' if test else ''}"


def reachable(config: Config) -> Iterator[Finding]:
    """Check that other nodes can reach this one at all, and that it takes what the scheduler names."""
    if len(config.nodes.all_nodes) < 2 or config.node is None:
        return
    elsewhere = [node for node in config.nodes.all_nodes if not is_loopback(node.address)]
    if elsewhere and is_loopback(config.darc_master.address):
        yield wrong(
            "command port",
            f"listens on {config.darc_master.address} only, and other nodes are on other hosts: set "
            "darc_master.address to 0.0.0.0",
        )
    elif elsewhere and config.darc_master.payload_dirs is None:
        yield warning(
            "command port",
            "takes no parsets that other hosts name: is the scheduler on one, set darc_master.payload_dirs",
        )
