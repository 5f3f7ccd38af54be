"""Where the trigger queues of the master node are, and the keys that open them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from darc.config import Config
from darc.errors import DARCError
from darc.network.item_spool import ItemSpool
from darc.network.key_file import read_key
from darc.network.queue_server import QueueServer
from darc.network.remote_queue import RemoteQueue
from darc.network.retry import RetryPolicy


class Settings(Protocol):
    """Where a trigger queue is served and what opens it: a section of the configuration, or its service."""

    server_address: str
    server_port: int
    server_auth: SecretStr | str | None
    server_auth_file: Path | str | None


def server_key(settings: Settings, service: str, *, make: bool = False) -> bytes:
    """Return the key of the trigger queue of a service: `server_auth`, else what `server_auth_file` holds.

    Args:
        settings: settings of that service
        service: `lofar_trigger` or `voevent_generator`
        make: whether to make the file with a new key if it is missing, as the server does

    Raises:
        DARCError: no key, or one that others can read
    """
    given, path = settings.server_auth, settings.server_auth_file
    if given is not None:
        return (given.get_secret_value() if isinstance(given, SecretStr) else given).encode()
    if path is None:
        raise DARCError(f"{service} needs server_auth or server_auth_file, the key of its trigger queue")
    return read_key(path, f"the trigger queue of {service}", make=make)


def master_queue(config: Config, service: str, logger: logging.Logger) -> RemoteQueue:
    """Return the connection to the trigger queue of a service of the master node.

    It is made in the background, again and again. What waits for it is on disk, and outlives this process.

    Args:
        config: configuration
        service: `lofar_trigger` or `voevent_generator`
        logger: logs what becomes of each trigger

    Raises:
        DARCError: this node does not have the key
    """
    section: Any = config.section(service)
    folder = config.darc_master.state_dir / "outgoing" / service
    return RemoteQueue(
        QueueServer,
        (section.server_address, section.server_port),
        server_key(section, service),
        name=service,
        spool=ItemSpool(folder, service, logger),
        kind=service.partition("_")[0],
        retry=RetryPolicy(first_s=0.2, factor=2.0, max_s=5.0),
        # a second freeze of LOFAR's buffers would be worse than none
        repeat=service != "lofar_trigger",
        max_age_s=section.max_trigger_age,
        logger=logger,
    )
