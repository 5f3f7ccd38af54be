"""The `darc` command: what operators and the scheduler say to a node.

It starts in a fraction of the time that the libraries of the services take to load: nothing here may import
numpy, astropy or pydantic before a command needs them, and what not all commands need is imported by those
that do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from darc import __version__
from darc.errors import DARCError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    from darc.config_files import ClientSettings
    from darc.network.command_protocol import Reply, Request

EXAMPLES = """\
examples:
  darc status                                     state of all services of this node
  darc --service amber_listener restart           restart one service
  darc --parset obs.parset start_observation      as the scheduler does
  darc --host arts041 lofar_disable               no triggers to LOFAR any more
  darc --service amber_clustering get_attr dm_gal value inside a service
  darc get_attr processes                         process IDs of the services
  darc check-config site.yaml                     every mistake in a configuration
"""

#: Longest wait in s for a node whose host and port are given, and longest one that can be asked for.
DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S = 30.0, 86400.0

#: Commands that a node carries out, with what they do.
NODE_COMMANDS = {
    "status": "state of the services and of the observations",
    "start": "start a service",
    "stop": "stop a service",
    "restart": "stop and start a service",
    "get_attr": "value of an attribute of a service, or of the master",
    "start_observation": "take in an observation",
    "stop_observation": "stop an observation and finish what is queued",
    "abort_observation": "stop an observation and drop what is queued",
    "stop_master": "stop all services and the master",
    "reload": "have the master read its configuration again",
    "lofar_status": "whether LOFAR is triggered",
    "lofar_enable": "trigger LOFAR",
    "lofar_disable": "do not trigger LOFAR",
    "voevent_status": "whether VOEvents are sent",
    "voevent_enable": "send VOEvents",
    "voevent_disable": "do not send VOEvents",
}


class UsageError(DARCError):
    """The command line asks for something that cannot be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `darc` command and return its exit code: 0, 1 for an error, 2 for a wrong command line."""
    options = _parser(argparse.REMAINDER).parse_args(arguments)
    if options.command in NODE_COMMANDS or options.command in LOCAL_COMMANDS:
        options = _parser("*").parse_intermixed_args(arguments)
    try:
        return _run(options)
    except DARCError as error:
        print(f"darc: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130


def _parser(nargs: str) -> argparse.ArgumentParser:
    width = max(map(len, NODE_COMMANDS))
    commands = "\n".join(
        f"  {name:{width}}  {text}" for name, text in {**NODE_COMMANDS, **_local_help()}.items()
    )
    parser = argparse.ArgumentParser(
        prog="darc",
        description="Control the DARC services of a node.",
        epilog=f"commands:\n{commands}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--service", metavar="NAME", help="service the command is for, or 'all'")
    parser.add_argument("--host", help="host of the node (default: that of --node, else this one)")
    parser.add_argument("--port", type=int, help="command port of the node (default: from the configuration)")
    parser.add_argument(
        "--timeout", type=float, metavar="S", help="longest wait in s (default: from the configuration)"
    )
    parser.add_argument("--parset", metavar="FILE", help="parset of the observation")
    parser.add_argument("--config", metavar="FILE", help="YAML file of the observation, in place of a parset")
    parser.add_argument("--site-config", metavar="FILE", help="configuration of the site")
    parser.add_argument("--node", metavar="NAME", help="name of the node, as the configuration has it")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", metavar="COMMAND", help="see below")
    parser.add_argument("arguments", nargs=nargs, metavar="ARGUMENT", help="what the command needs")
    return parser


def _run(options: argparse.Namespace) -> int:
    command = options.command
    if command in NODE_COMMANDS:
        return _show(command, _ask_node(options))
    if command in LOCAL_COMMANDS:
        return LOCAL_COMMANDS[command][0](options)
    added = _added_commands()
    if command in added.names:
        run: Callable[[list[str]], int] = added[command].load()
        return run(options.arguments)
    import difflib  # noqa: PLC0415

    known = [*NODE_COMMANDS, *LOCAL_COMMANDS, *added.names]
    similar = difflib.get_close_matches(command, known, n=1)
    hint = f"did you mean {similar[0]!r}?" if similar else "'darc --help' lists the commands"
    raise UsageError(f"no command {command!r}; {hint}")


def _no_more(rest: list[str]) -> None:
    if rest:
        raise UsageError(f"cannot understand {' '.join(rest)}; see 'darc --help'")


# --- commands to a node ------------------------------------------------------------------------------------


def _ask_node(options: argparse.Namespace) -> Reply:
    from darc.network.command_client import send_command  # noqa: PLC0415

    request = _request(options)
    host, port, timeout_s = _address(options)
    return send_command(host, port, request, timeout_s)


def _request(options: argparse.Namespace) -> Request:
    from darc.network.command_protocol import Request  # noqa: PLC0415

    command, service, arguments = options.command, options.service, list(options.arguments)
    if command == "get_attr" and len(arguments) == 1:
        command = f"get_attr {arguments.pop()}"
    elif command == "get_attr":
        raise UsageError("get_attr needs the name of one attribute")
    if command in ("start", "stop", "restart") and service is None:
        raise UsageError(f"{command} needs a service: --service NAME, or --service all")
    if command == "status" and service is None:
        service = "all"
    payload = options.parset or options.config
    if command.endswith("_observation"):
        if not payload and len(arguments) == 1:
            payload = arguments.pop()
        if not payload:
            raise UsageError(f"{command} needs the observation: --parset FILE, or --config FILE")
        payload = os.path.abspath(payload)  # noqa: PTH100 (the node resolves links, we only know our folder)
    _no_more(arguments)
    return Request(command=command, service=service, payload=payload)


def _client_settings(options: argparse.Namespace) -> ClientSettings:
    from darc.config_files import client_settings  # noqa: PLC0415

    return client_settings(options.site_config, options.node)


def _address(options: argparse.Namespace) -> tuple[str, int, float]:
    """Return host, port and longest wait in s; what the command line does not say, the configuration does."""
    host, port, timeout_s = options.host, options.port, options.timeout
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"--port {port}: ports are 1 to 65535")
    if timeout_s is not None and not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(f"--timeout {timeout_s:g}: seconds, above 0 and at most {MAX_TIMEOUT_S}")
    if host and port:
        return host, port, timeout_s or DEFAULT_TIMEOUT_S
    settings = _client_settings(options)
    node = settings.nodes.get(host)
    address, node_port = (node.address, node.port) if node else (host or settings.host, settings.port)
    return address, port or node_port, timeout_s or settings.timeout_s


def _show(command: str, reply: Reply) -> int:
    """Print a reply for people and return the exit code."""
    match reply.message:
        case {"error": reason, **rest} if not rest:
            print(f"{command}: {reason}", file=sys.stderr)
        case dict() as table:
            _print_table(table)
        case text:
            print(text)
    if reply.status != "Success":
        print(f"{command}: {reply.status}", file=sys.stderr)
    return 1 if reply.status == "Error" else 0


def _print_table(message: dict[str, object], indent: str = "") -> None:
    width = max((len(name) for name in message), default=0)
    for name, value in message.items():
        if isinstance(value, dict):
            print(f"{indent}{name}:" if value else f"{indent}{name:{width}}  none")
            _print_table(value, indent + "  ")
        else:
            print(f"{indent}{name:{width}}  {value}")


# --- commands on this machine ------------------------------------------------------------------------------


def _check_config(options: argparse.Namespace) -> int:
    """Print every mistake in a configuration."""
    from darc.config import check_config  # noqa: PLC0415 (loads pydantic)
    from darc.config_files import find_config  # noqa: PLC0415

    name, *rest = options.arguments or [options.site_config]
    _no_more(rest)
    problems = check_config(name)
    for problem in problems:
        print(problem)
    where = find_config(name) or "the packaged configuration"
    number = {0: "no mistakes", 1: "1 mistake"}.get(len(problems), f"{len(problems)} mistakes")
    print(f"{where}: {number}")
    return 1 if problems else 0


def _edit(options: argparse.Namespace) -> int:
    """Open the site's configuration in an editor."""
    import subprocess  # noqa: PLC0415

    from darc.config_files import default_path, find_config  # noqa: PLC0415

    _no_more(options.arguments)
    path = find_config(options.site_config) or default_path()
    try:
        configured = _client_settings(options).editor
    except DARCError as error:
        # a broken file is what one wants to edit
        print(f"darc: {error}", file=sys.stderr)
        configured = ""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or configured or "vi"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return subprocess.run([*editor.split(), str(path)], check=False).returncode
    except OSError as error:
        raise DARCError(f"cannot edit {path} with {editor!r}: {error}; $EDITOR names an editor") from error


LOCAL_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "check-config": (_check_config, "print every mistake in a configuration"),
    "edit": (_edit, "open the configuration of the site in an editor"),
}


def _local_help() -> dict[str, str]:
    return {
        **{name: text for name, (_, text) in LOCAL_COMMANDS.items()},
        "demo": "a cluster on this machine, at work",
    }


def _added_commands() -> EntryPoints:
    """Commands that packages add as entry points of the group `darc.commands`."""
    from importlib.metadata import entry_points  # noqa: PLC0415 (slow, and needed by few commands)

    return entry_points(group="darc.commands")


def _main() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _main()
