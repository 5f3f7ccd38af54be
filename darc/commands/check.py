"""`darc check`: everything that a night needs of this node, a line each."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator

from darc.commands.asking import print_json, settings_of, timeout_of
from darc.commands.terminal import Cell, style_of, table
from darc.installation.findings import Finding, Grade, ok, worst, wrong

_COLOURS = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.WRONG: "red"}
#: Longest wait for other nodes in s where nothing else is said.
_TIMEOUT_S = 10.0


def run(options: argparse.Namespace) -> int:
    """Print what is found; return 1 if anything is wrong."""
    found = []
    for finding in findings(options):
        found.append(finding)
        if not options.json:
            _print([finding])
    if options.json:
        print_json([{"grade": f.grade, "subject": f.subject, "text": f.text} for f in found])
    else:
        numbers = {grade: sum(finding.grade is grade for finding in found) for grade in Grade}
        print(f"{numbers[Grade.WRONG]} wrong, {numbers[Grade.WARNING]} warnings, {numbers[Grade.OK]} ok")
    return int(worst(found) is Grade.WRONG)


def findings(options: argparse.Namespace) -> Iterator[Finding]:
    """Check one thing after another."""
    from darc.config import check_config, load_config  # noqa: PLC0415 (loads pydantic)
    from darc.installation import files, host, others  # noqa: PLC0415

    problems = check_config(options.site_config)
    if problems:
        yield from (wrong("configuration", str(problem)) for problem in problems)
        return
    config = load_config(options.site_config, options.node)
    where = f"{config.path or 'the packaged one: make one with `darc init`'}"
    if config.role == "unknown":
        nodes = ", ".join(node.name for node in config.nodes.all_nodes) or "there are none"
        yield wrong("configuration", f"{where}: this host is none of its nodes ({nodes}): --node NAME")
    else:
        assert config.node is not None
        yield ok("configuration", f"{where}: {config.role} node {config.node.name}")
    timeout_s = timeout_of(options) or min(settings_of(options).timeout_s, _TIMEOUT_S)
    yield from host.folders(config)
    yield from host.ports(config, others.running_node(config, timeout_s))
    yield from others.reachable(config)
    yield host.clock()
    yield from files.keys(config)
    yield from files.tables(config)
    yield from files.models(config)
    yield from files.galaxy(config)
    yield from files.earth(config, time.time())
    yield from files.programs(config)
    yield from others.nodes(config, timeout_s)
    yield from others.mail(config)
    yield from others.broker(config)
    yield from others.lofar(config)


def _print(found: Iterable[Finding]) -> None:
    """Print lines as they come, in columns that stand one below the other."""
    rows = [(Cell(f"{f.grade:7}", _COLOURS[f.grade]), f"{f.subject:28}", f.text) for f in found]
    print(*table(("", "", ""), rows, style_of(sys.stdout)), sep="\n", flush=True)
