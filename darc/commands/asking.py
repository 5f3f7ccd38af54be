"""Asking a node: where it is, what the command line and the configuration say of it, its reply for people."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from darc.commands.catalogue import UsageError
from darc.commands.terminal import printable
from darc.config_files import ConfigError, client_settings
from darc.network import command_client
from darc.network.command_protocol import Reply, Request
from darc.network.sockets import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from darc.config_files import ClientSettings

#: Longest wait in s for a node whose host and port are given, and longest one that can be asked for.
DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S = 30.0, 86400.0


def asker(options: argparse.Namespace) -> Callable[[Request], Reply]:
    """Return what sends requests to the node that the command line names."""
    host, port, timeout_s = address_of(options)
    key_file = _key_file(options, host)
    return lambda request: command_client.send_command(host, port, request, timeout_s, key_file)


def _key_file(options: argparse.Namespace, host: str) -> Path | None:
    """Return the file of the key that lets us ask another host."""
    if is_loopback(host):
        return None
    try:
        return settings_of(options).key_file
    except ConfigError:  # host and port were given: the configuration need not be right
        return None


def address_of(options: argparse.Namespace) -> tuple[str, int, float]:
    """Return host, port and longest wait in s; what the command line does not say, the configuration does.

    Raises:
        UsageError: no port, or no time that can be waited
        ConfigError: what the configuration has to say, it cannot
    """
    host, port, timeout_s = options.host, options.port, timeout_of(options)
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"--port {port}: ports are 1 to 65535")
    if host and port:
        return host, port, timeout_s or DEFAULT_TIMEOUT_S
    settings = settings_of(options)
    node = settings.nodes.get(host)
    address, node_port = (node.address, node.port) if node else (host or settings.host, settings.port)
    return address, port or node_port, timeout_s or settings.timeout_s


def timeout_of(options: argparse.Namespace) -> float | None:
    """Return the longest wait in s that the command line asks for.

    Raises:
        UsageError: it is not above 0, or longer than a day
    """
    timeout_s: float | None = options.timeout
    if timeout_s is not None and not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(f"--timeout {timeout_s:g}: seconds, above 0 and at most {MAX_TIMEOUT_S}")
    return timeout_s


def settings_of(options: argparse.Namespace) -> ClientSettings:
    """Return what the configuration says for this command line."""
    return client_settings(options.site_config, options.node)


# --- replies -----------------------------------------------------------------------------------------------


def show(request: Request, reply: Reply, as_json: bool = False) -> int:
    """Print a reply and return the exit code."""
    command = request.command.partition(" ")[0]
    if is_refusal(reply):
        print(f"{command}: {printable(refusal(request, reply))}", file=sys.stderr)
    elif as_json:
        print_json(reply.message)
    elif isinstance(reply.message, dict):
        _print_table(reply.message)
    else:
        print(*map(printable, str(reply.message).split("\n")), sep="\n")
    if reply.status != "Success":
        print(f"{command}: {reply.status}", file=sys.stderr)
    return 1 if reply.status == "Error" else 0


def is_refusal(reply: Reply) -> bool:
    """Whether the node did nothing but say why."""
    return isinstance(reply.message, dict) and list(reply.message) == ["error"]


def refusal(request: Request, reply: Reply) -> str:
    """Return why a node refused a request; a service that was mistyped gets a suggestion."""
    assert isinstance(reply.message, dict)
    reason = str(reply.message["error"])
    if "Invalid service" not in reason or request.service is None:
        return reason
    from darc.commands.suggestions import did_you_mean, service_names  # noqa: PLC0415

    names = service_names()
    hint = "" if request.service in names else did_you_mean(request.service, names)
    return f"{reason}; {hint}" if hint else reason


def print_json(value: Any) -> None:
    """Print what a program can read."""
    print(json.dumps(value, indent=2))


def _print_table(message: dict[str, Any], indent: str = "") -> None:
    width = max((len(name) for name in message), default=0)
    for name, value in message.items():
        label = printable(name)
        if isinstance(value, dict):
            print(f"{indent}{label}:" if value else f"{indent}{label:{width}}  none")
            _print_table(value, indent + "  ")
        else:
            print(f"{indent}{label:{width}}  {printable(str(value))}")
