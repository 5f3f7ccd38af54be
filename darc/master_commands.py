"""What the words of commands to a master mean."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from darc.errors import DARCError

#: Service that each pair of switches belongs to.
SWITCHES = {"lofar": "lofar_trigger", "voevent": "voevent_generator"}
#: Commands by which a node is watched: always served, and too frequent and long for the log.
WATCHING = ("details", "log")
#: Answer to `reload`, which operators of a night take at its word.
RELOADED = (
    "configuration read again by the master; services read it when an observation starts or they are "
    "restarted, the command port and the list of services change when the master starts"
)


class DARCMasterException(DARCError):  # noqa: N818 (documented name)
    """The master cannot do what it is asked."""


def invalid(command: str) -> DARCMasterException:
    """Return the error that says that there is no such command."""
    return DARCMasterException(f"Invalid command: {command}")


def attribute_named(command: str) -> str:
    """Return the name of the attribute that `get_attr NAME` asks for.

    Raises:
        DARCMasterException: it names none, or one that is not told
    """
    words = command.split()
    if len(words) != 2:
        raise DARCMasterException("get_attr needs the name of one attribute")
    if words[1] == "config":  # holds what nodes set differently as it is written, keys too
        raise DARCMasterException("the configuration is not told: it holds keys")
    return words[1]


def attribute_of(master: object, command: str) -> dict[str, str]:
    """Return what the master itself answers to `get_attr NAME`.

    Raises:
        DARCMasterException: there is no such attribute, or it is not told
    """
    name, owner = attribute_named(command), type(master).__name__
    if name.startswith("_") or not hasattr(master, name):
        raise DARCMasterException(f"{owner} has no attribute {name!r}")
    return {f"{owner}.{name}": str(getattr(master, name))}


def switched_service(command: str, services: Collection[str], host_type: str) -> tuple[str, dict[str, Any]]:
    """Return which service a switch is of, and what it is told.

    Args:
        command: such as `lofar_status` or `voevent_enable`
        services: services of this node
        host_type: what this node is

    Raises:
        DARCMasterException: there is no such switch, or its service does not run on this node
    """
    system, _, word = command.partition("_")
    service = SWITCHES.get(system)
    if service is None or word not in ("status", "enable", "disable"):
        raise invalid(command)
    if service not in services:
        raise DARCMasterException(
            f"{command} is for a node that runs {service}, and this {host_type} node does not"
        )
    return service, {"command": word}
