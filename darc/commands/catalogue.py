"""Every command of `darc`: what it does, what it takes, and examples; and the parsers made of that."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from darc import __version__
from darc.errors import DARCError


class UsageError(DARCError):
    """The command line asks for something that cannot be."""


class Command(NamedTuple):
    """A command.

    Attributes:
        text: what it does, in a line
        module: module of `darc.commands` that carries it out
        options: the options that mean something to it
        arguments: what follows it, as `(name, metavar, help, needed)`
        examples: command lines, each with what it is for
    """

    text: str
    module: str
    options: tuple[str, ...]
    arguments: tuple[tuple[str, str, str, bool], ...] = ()
    examples: tuple[tuple[str, str], ...] = ()


#: Options that may stand before and after every command, as argparse has them. What completes a value
#: follows from its metavar.
GENERAL_OPTIONS: dict[str, dict[str, Any]] = {
    "--service": {"metavar": "SERVICE", "help": "service the command is for, or 'all'"},
    "--host": {"metavar": "HOST", "help": "node, or its host (default: that of --node, else this one)"},
    "--port": {
        "type": int,
        "metavar": "PORT",
        "help": "command port of the node (default: from the configuration)",
    },
    "--timeout": {
        "type": float,
        "metavar": "S",
        "help": "longest wait in s (default: from the configuration)",
    },
    "--parset": {"metavar": "FILE", "help": "parset of the observation"},
    "--config": {"metavar": "FILE", "help": "YAML file of the observation, in place of a parset"},
    "--site-config": {"metavar": "FILE", "help": "configuration of the site"},
    "--node": {"metavar": "NAME", "help": "name of the node, as the configuration has it"},
    "--all-nodes": {"action": "store_true", "help": "ask every node of the configuration at once"},
    "--json": {"action": "store_true", "help": "print the answer as JSON, for programs"},
}
#: Options of single commands.
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "--follow": {"action": "store_true", "default": False, "help": "go on printing what is added"},
    "--lines": {
        "type": int,
        "metavar": "N",
        "default": None,
        "help": "how many lines, counted from the end (default: all that the node tells)",
    },
    "--dry-run": {
        "action": "store_true",
        "default": False,
        "help": "show what would be done, and do nothing",
    },
    "--force": {"action": "store_true", "default": False, "help": "replace what is there"},
    "--master": {"metavar": "NAME", "default": None, "help": "name of the master node"},
    "--workers": {
        "metavar": "NODES",
        "default": None,
        "help": "worker nodes, such as arts001-arts040 (beams 0 to 39) or arts001:7,arts002:9",
    },
    "--addresses": {
        "metavar": "LIST",
        "default": None,
        "help": "addresses of nodes that are not reached by their name: NAME=ADDRESS,...",
    },
    "--mode": {"metavar": "MODE", "default": None, "help": "mixed, real-time or offline (default: mixed)"},
    "--parset-dirs": {
        "metavar": "FOLDERS",
        "default": None,
        "help": "folders of the parsets that the scheduler names from another host",
    },
    "--data-dir": {"metavar": "FOLDER", "default": None, "help": "folder for results, on a large disk"},
    "--web-dir": {"metavar": "FOLDER", "default": None, "help": "folder for the pages, below the web root"},
    "--web-url": {"metavar": "URL", "default": None, "help": "address of that folder on the web"},
    "--mail-server": {"metavar": "HOST", "default": None, "help": "mail server, HOST or HOST:PORT"},
    "--mail-to": {
        "metavar": "LIST",
        "default": None,
        "help": "mail addresses for results and triggers, with commas between them",
    },
    "--root": {"metavar": "FOLDER", "default": None, "help": "install below this folder, as for an image"},
    "--user": {"metavar": "USER", "default": None, "help": "unprivileged user of the service (darc)"},
    "--undo": {"action": "store_true", "default": False, "help": "remove what was made, and nothing else"},
    "--without": {
        "metavar": "NODES",
        "default": None,
        "help": "nodes that are left out, with commas between them",
    },
}

_NODE = ("--host", "--port", "--timeout", "--site-config", "--node", "--json")
_CLUSTER = (*_NODE, "--all-nodes")
_OBSERVATION = (*_NODE, "--parset", "--config")
_FILE = (("file", "FILE", "parset, or YAML file, of the observation", False),)


def _switch(text: str, name: str) -> Command:
    return Command(text, "node", _NODE, examples=((f"--host arts041 {name}", "on the master node"),))


NODE_COMMANDS = {
    "status": Command(
        "state of the services and of the observations",
        "status",
        (*_CLUSTER, "--service"),
        examples=(
            ("status", "everything about this node"),
            ("--host arts001 status", "about another node"),
            ("status --all-nodes", "the cluster, a line per node"),
            ("status --json", "for programs"),
            ("--service dada_trigger status", "state of one service"),
        ),
    ),
    "start": Command(
        "start a service",
        "node",
        (*_CLUSTER, "--service"),
        examples=(("--service dada_trigger start", ""), ("--service all start", "what is not running yet")),
    ),
    "stop": Command(
        "stop a service", "node", (*_CLUSTER, "--service"), examples=(("--service processor stop", ""),)
    ),
    "restart": Command(
        "stop and start a service",
        "node",
        (*_CLUSTER, "--service"),
        examples=(
            ("--service amber_listener restart", "on this node"),
            ("--all-nodes --service processor restart", "on all nodes; an error where it does not run"),
        ),
    ),
    "log": Command(
        "last lines of the log of a service, or of the master",
        "log",
        (*_NODE[:-1], "--service", "--follow", "--lines"),
        (("name", "SERVICE", "service whose log is meant (default: the master of the node)", False),),
        examples=(
            ("log amber_listener", "the last lines"),
            ("--host arts001 log processor --follow", "of another node, and what is added"),
            ("log --lines 5", "the last five lines of the master"),
        ),
    ),
    "get_attr": Command(
        "value of an attribute of a service, or of the master",
        "node",
        (*_CLUSTER, "--service"),
        (("attribute", "ATTRIBUTE", "name of the attribute", True),),
        examples=(
            ("get_attr processes", "process IDs of the services"),
            ("--service amber_clustering get_attr dm_gal", "value inside a service"),
        ),
    ),
    "start_observation": Command(
        "take in an observation",
        "node",
        _OBSERVATION,
        _FILE,
        examples=(("--parset obs.parset start_observation", "as the scheduler does"),),
    ),
    "stop_observation": Command(
        "stop an observation and finish what is queued",
        "node",
        _OBSERVATION,
        _FILE,
        examples=(("stop_observation obs.parset", ""),),
    ),
    "abort_observation": Command(
        "stop an observation and drop what is queued",
        "node",
        _OBSERVATION,
        _FILE,
        examples=(("abort_observation obs.parset", ""),),
    ),
    "stop_master": Command(
        "stop all services and the master", "node", _CLUSTER, examples=(("--host arts001 stop_master", ""),)
    ),
    "reload": Command(
        "have the master read its configuration again",
        "node",
        _CLUSTER,
        examples=(("--all-nodes reload", "on every node"),),
    ),
    "lofar_status": _switch("whether LOFAR is triggered", "lofar_status"),
    "lofar_enable": _switch("trigger LOFAR", "lofar_enable"),
    "lofar_disable": _switch("do not trigger LOFAR", "lofar_disable"),
    "voevent_status": _switch("whether VOEvents are sent", "voevent_status"),
    "voevent_enable": _switch("send VOEvents", "voevent_enable"),
    "voevent_disable": _switch("do not send VOEvents", "voevent_disable"),
}
LOCAL_COMMANDS = {
    "check-config": Command(
        "print every mistake in a configuration",
        "site_file",
        ("--site-config",),
        (("file", "FILE", "configuration (default: the one in use)", False),),
        examples=(("check-config", "the one in use"), ("check-config site.yaml", "another one")),
    ),
    "edit": Command(
        "open the configuration of the site in an editor",
        "site_file",
        ("--site-config",),
        examples=(("edit", "with $VISUAL, $EDITOR, or the configured one"),),
    ),
    "init": Command(
        "write the first configuration of a site, and its keys",
        "init",
        (
            *("--site-config", "--force", "--master", "--workers", "--addresses", "--mode"),
            *("--parset-dirs", "--data-dir", "--web-dir", "--web-url", "--mail-server", "--mail-to"),
        ),
        (("file", "FILE", "where it is written (default: ~/darc/config.yaml)", False),),
        examples=(
            ("init", "asks for what it needs"),
            ("init --master arts041 --workers arts001-arts040 --mail-to frb@example.org", "a cluster"),
            ("init site.yaml --workers $(hostname):0 --mode offline", "one host"),
        ),
    ),
    "check": Command(
        "check everything that a night needs of this node, and say what to do",
        "check",
        ("--site-config", "--node", "--timeout", "--json"),
        examples=(("check", "before the first observation, and when something is odd"),),
    ),
    "install-service": Command(
        "install the systemd service of this host, or undo that",
        "install_service",
        ("--site-config", "--node", "--root", "--user", "--dry-run", "--undo"),
        examples=(
            ("install-service --dry-run", "what it would do"),
            ("install-service --user arts", "with another user"),
            ("install-service --undo", "remove what it made and nobody changed"),
        ),
    ),
    "push-config": Command(
        "give all nodes a configuration, once each of them has found no mistake in it",
        "push_config",
        ("--timeout", "--site-config", "--node", "--dry-run", "--without"),
        (("file", "FILE", "configuration", True),),
        examples=(
            ("push-config config.yaml", "applied by all nodes, or by none"),
            ("push-config config.yaml --dry-run", "checked by all nodes"),
            ("push-config config.yaml --without arts007", "although that node is away"),
        ),
    ),
    "show-trigger": Command(
        "show what the master node would send for a trigger, without sending it",
        "show_trigger",
        ("--site-config", "--node"),
        (
            ("receiver", "RECEIVER", "lofar or voevent", True),
            ("file", "FILE", "the trigger as YAML or JSON (-: standard input)", True),
        ),
        examples=(
            ("show-trigger lofar trigger.yaml", "the packet, in hexadecimal and decoded"),
            ("show-trigger voevent trigger.yaml", "the document, validated"),
        ),
    ),
    "completion": Command(
        "print the script that lets a shell complete command lines",
        "completion",
        (),
        (("shell", "SHELL", "bash, zsh or tcsh", True),),
        examples=(('eval "$(darc completion bash)"', "for this shell"),),
    ),
    "help": Command(
        "how to use a command",
        "",
        (),
        (("about", "COMMAND", "command (default: all of them)", False),),
        examples=(("help log", ""),),
    ),
}
COMMANDS = NODE_COMMANDS | LOCAL_COMMANDS
#: Commands that stand in the help although they are found as entry points.
ADDED = {
    "process-offline": "process an observation that has ended",
    "demo": "a cluster on this machine, at work",
    "train": "train the networks that classify candidates",
    "evaluate-model": "measure a network with labelled candidates",
    "convert-model": "turn a network of Keras 2 into one that DARC runs",
}

EXAMPLES = (
    ("status", "services and observations of this node"),
    ("status --all-nodes", "the cluster, a line per node"),
    ("--service amber_listener restart", "restart one service"),
    ("--host arts001 log processor --follow", "what a service of another node writes"),
    ("--parset obs.parset start_observation", "as the scheduler does"),
    ("--host arts041 lofar_disable", "no triggers to LOFAR any more"),
    ("--service amber_clustering get_attr dm_gal", "value inside a service"),
    ("check-config site.yaml", "every mistake in a configuration"),
    ("help log", "more about a command"),
)


class Parser(argparse.ArgumentParser):
    """Tells about a wrong command line as about any other error."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: always
        """
        raise UsageError(f"{message}; see '{self.prog} --help'")


def general_parser() -> Parser:
    """Return a parser of what stands before a command, without one of the command itself."""
    texts = {**{name: command.text for name, command in COMMANDS.items()}, **ADDED}
    width = max(map(len, texts))
    commands = "\n".join(f"  {name:{width}}  {text}" for name, text in texts.items())
    parser = Parser(
        prog="darc",
        usage="darc [options] COMMAND [options and arguments of the command]",
        description="Control the DARC services of a node, or of all nodes.",
        epilog=f"commands:\n{commands}\n\n{_examples(EXAMPLES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for flag, settings in GENERAL_OPTIONS.items():
        parser.add_argument(flag, **settings)
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def command_parser(name: str) -> Parser:
    """Return the parser of what follows a command."""
    return fill(Parser(**parser_settings(name)), name)


def parser_settings(name: str) -> dict[str, Any]:
    """Return the arguments of the constructor of a command's parser."""
    command = COMMANDS[name]
    arguments = " ".join(metavar if needed else f"[{metavar}]" for _, metavar, _, needed in command.arguments)
    return {
        "prog": f"darc {name}",
        "usage": f"darc {name} [options] {arguments}".rstrip(),
        "description": f"{command.text[0].upper()}{command.text[1:]}.",
        "epilog": _examples(command.examples),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        # what stands before the command has been parsed already
        "argument_default": argparse.SUPPRESS,
    }


def fill(parser: Parser, name: str) -> Parser:
    """Add what a command takes to its parser; options that mean nothing to it are taken, but not shown."""
    command = COMMANDS[name]
    for flag, settings in GENERAL_OPTIONS.items():
        shown = settings if flag in command.options else {**settings, "help": argparse.SUPPRESS}
        parser.add_argument(flag, **shown)
    for flag, settings in OWN_OPTIONS.items():
        if flag in command.options:
            parser.add_argument(flag, **settings)
    for dest, metavar, text, needed in command.arguments:
        parser.add_argument(dest, metavar=metavar, help=text, nargs=None if needed else "?", default=None)
    return parser


def _examples(examples: Sequence[tuple[str, str]]) -> str:
    lines = [(line if "darc" in line else f"darc {line}", text) for line, text in examples]
    width = max(len(line) for line, _ in lines)
    return "\n".join(["examples:", *(f"  {line:{width}}  {text}".rstrip() for line, text in lines)])
