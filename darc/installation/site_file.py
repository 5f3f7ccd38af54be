"""The first configuration of a site: a commented file that says what the site told, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from darc import __version__
from darc.errors import DARCError

_RANGE = re.compile(r"(?P<stem>.*?)(?P<first>\d+)-(?P<same>.*?)(?P<last>\d+)")
#: Most nodes that a range may stand for.
_NODES_MAX = 1000


class SiteFileError(DARCError):
    """A site cannot be as it was told."""


@dataclass(frozen=True)
class Site:
    """What a site tells.

    Attributes:
        master: name of the master node; empty: there is none
        workers: name and compound beam of each worker node
        addresses: where nodes are reached whose name is not enough, by name
        mode: real-time, offline or mixed
        parset_dirs: folders of the parsets that other hosts name
        data_dir: folder of what is large; empty: below the home folder of the service's user
        web_dir: folder of the pages; empty: below the home folder
        web_url: its address on the web; empty: none
        mail_server: `HOST` or `HOST:PORT`
        mail_to: who is told of results
    """

    master: str = ""
    workers: tuple[tuple[str, int], ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()
    mode: str = "mixed"
    parset_dirs: tuple[str, ...] = ()
    data_dir: str = ""
    web_dir: str = ""
    web_url: str = ""
    mail_server: str = ""
    mail_to: tuple[str, ...] = ()


def parse_workers(text: str) -> tuple[tuple[str, int], ...]:
    """Read a list of worker nodes: names, ranges of names and `NAME:BEAM`, with commas between them.

    Beams count from 0 in the order of the nodes, and go on after one that is given.

    Raises:
        SiteFileError: it is no such list
    """
    found: list[tuple[str, int]] = []
    beam = 0
    for item in filter(None, (part.strip() for part in text.split(","))):
        names, _, given = item.partition(":")
        if given and not given.isdecimal():
            raise SiteFileError(f"{item!r}: what follows the colon is the number of a compound beam")
        beam = int(given) if given else beam
        for name in _names(names):
            found.append((name, beam))
            beam += 1
    return tuple(found)


def _names(text: str) -> Iterator[str]:
    """Yield a name, or those of a range such as `arts001-arts040` or `arts001-040`."""
    match = _RANGE.fullmatch(text)
    if match is None or match["same"] not in ("", match["stem"]):
        yield text
        return
    first, last, width = int(match["first"]), int(match["last"]), len(match["first"])
    if not first <= last < first + _NODES_MAX:
        raise SiteFileError(
            f"{text!r}: the last number of a range is above the first, by {_NODES_MAX} at most"
        )
    yield from (f"{match['stem']}{number:0{width}d}" for number in range(first, last + 1))


def parse_addresses(text: str) -> tuple[tuple[str, str], ...]:
    """Read a list of `NAME=ADDRESS` with commas between them.

    Raises:
        SiteFileError: it is no such list
    """
    pairs = [item.strip().partition("=") for item in text.split(",") if item.strip()]
    for name, equals, address in pairs:
        if not (name and equals and address):
            raise SiteFileError(f"{name!r}: addresses are NAME=ADDRESS, with commas between them")
    return tuple((name, address) for name, _, address in pairs)


def site_file(site: Site) -> str:
    """Return the content of the site's file.

    Raises:
        SiteFileError: addresses are told of nodes that there are not
    """
    addresses = dict(site.addresses)
    unknown = set(addresses) - {site.master, *(name for name, _ in site.workers)}
    if unknown:
        raise SiteFileError(f"{', '.join(sorted(unknown))}: no such node, but an address of it")
    parts = [_HEAD, *_nodes(site, addresses), *_network(site), *_folders(site), *_mail(site), _TAIL]
    return "\n".join(parts) + "\n"


_HEAD = f"""\
# Configuration of this site, begun by `darc init` of DARC {__version__}; the same file on all nodes.
# It holds what differs from the packaged defaults, which explain every key: {{home}} is the home folder of
# the user of the service, {{node}} the name of the node. `darc check-config` lists mistakes, `darc check`
# looks at all that a night needs, `darc push-config FILE` gives a changed file to all nodes."""

_TAIL = """
# What AMBER's triggers lead to is decided in the section amber_clustering: thresholds, known sources, the
# model of the Galaxy. To LOFAR and as VOEvents, tests only are sent, and only after `darc lofar_enable` or
# `darc voevent_enable`, until the sections lofar_trigger and voevent_generator say `test: false` and
# `send_events: true`."""


def _nodes(site: Site, addresses: dict[str, str]) -> Iterator[str]:
    def entry(name: str, **more: Any) -> str:
        address = {"address": addresses[name]} if name in addresses else {}
        return _flow({"name": name, **more, **address})

    yield "\nnodes:\n  # combines the results of all beams and tells others"
    yield f"  master: {entry(site.master)}" if site.master else "  master: null"
    yield "  # a node per compound beam"
    yield "  workers:" if site.workers else "  workers: []"
    yield from (f"    - {entry(name, beam=beam)}" for name, beam in site.workers)


def _network(site: Site) -> Iterator[str]:
    nnode = len(site.workers) + bool(site.master)
    yield "\ndarc_master:\n  # real-time, offline (processing after the observation) or mixed (both)"
    yield f"  mode: {site.mode}"
    if nnode > 1:
        yield "  # the command port listens on all addresses of a host; requests of other hosts need the key"
        yield "  address: 0.0.0.0"
    if nnode > 1 or site.parset_dirs:
        yield "  # files that requests name lie below these folders; without them, other hosts can name none"
        yield f"  payload_dirs: {_flow(list(site.parset_dirs) or None)}"


def _folders(site: Site) -> Iterator[str]:
    if site.data_dir:
        folder = site.data_dir.rstrip("/")
        yield "\n# what is large stands on the disks of the data"
        yield f"processor:\n  result_dir: {_flow(f'{folder}/realtime')}"
        yield f"offline_processing:\n  result_dir: {_flow(f'{folder}/offline')}"
        yield f"  calibration_dir: {_flow(f'{folder}/calibration')}"
    if site.web_dir:
        folder = site.web_dir.rstrip("/")
        yield "\n# the status page stands in a folder below the pages"
        yield f"status_website:\n  web_dir: {_flow(f'{folder}/status')}"


def _mail(site: Site) -> Iterator[str]:
    host, _, port = site.mail_server.partition(":")
    if host:
        yield "\n# a server elsewhere usually wants tls: starttls, and a login_file"
        yield f"mail:\n  host: {_flow(host)}"
        if port:
            yield f"  port: {_flow(int(port) if port.isdecimal() else port)}"
    yield "\nprocessor_master:"
    if site.web_dir:
        yield f"  webdir: {_flow(site.web_dir)}"
    if site.web_url:
        yield f"  web_url: {_flow(site.web_url)}"
    yield "  # who receives the results of each observation"
    yield f"  email_settings: {_flow({'to': list(site.mail_to)})}"
    yield "\nlofar_trigger:\n  # who is told of each trigger to LOFAR"
    yield f"  email_settings: {_flow({'to': list(site.mail_to)})}"


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
