"""Commands that a node carries out: the request made of a command line, and the nodes that it goes to."""

from __future__ import annotations

import argparse
import os

from darc.commands.asking import asker, show
from darc.commands.catalogue import UsageError
from darc.network.command_protocol import Request


def run(options: argparse.Namespace) -> int:
    """Have a node, or all of them, carry out a command."""
    request = request_of(options)
    if options.all_nodes:
        from darc.commands import all_nodes  # noqa: PLC0415 (threads are needed by few commands)

        return all_nodes.run(options, request)
    return show(request, asker(options)(request), options.json)


def request_of(options: argparse.Namespace) -> Request:
    """Return what a command line asks of a node.

    Raises:
        UsageError: something is missing, or too much
    """
    command, service, payload = options.command, options.service, options.parset or options.config
    if command == "get_attr":
        command = f"get_attr {options.attribute}"
    if command in ("start", "stop", "restart") and service is None:
        raise UsageError(f"{command} needs a service: --service SERVICE, or --service all")
    if command.endswith("_observation"):
        if payload and options.file:
            raise UsageError(f"cannot understand {options.file}: the observation's file was given already")
        payload = payload or options.file
        if not payload:
            raise UsageError(f"{command} needs the observation: --parset FILE, or --config FILE")
        payload = os.path.abspath(payload)  # noqa: PTH100 (the node resolves links, we only know our folder)
    return Request(command=command, service=service, payload=payload)
