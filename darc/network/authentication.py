"""Who may ask a node for something from another host: holders of the key, and those whom the site names.

A client asks for a challenge and answers it: its request then carries the challenge's nonce, the time, and
the HMAC-SHA256 of these and of the whole request, made with the key that the nodes share. A nonce is of one
connection and counts once, so that what was overheard is of no use, to this node or another, now or after a
restart, and nothing need be remembered. The time shows clocks that differ, and bounds how long a request can
be held back. Nothing is encrypted, and replies are not signed.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from darc.errors import DARCError
from darc.network.command_protocol import PROVEN_COMMANDS, Proof, Request
from darc.network.key_file import KeyFileError, read_key
from darc.network.sockets import is_loopback

if TYPE_CHECKING:
    from darc.config import Config

#: Largest difference in s between the clocks of client and node, the way of the request included.
MAX_CLOCK_DIFFERENCE_S = 60
#: Shortest key, in bytes.
MIN_KEY_BYTES = 16
#: Stands for every command in the list of what a client may ask without a proof.
ALL = "all"
#: Time in s between two lines in the log about one host that is refused, and number of hosts remembered.
_LOG_PAUSE_S = 60.0
_LOG_HOSTS = 1000

_PURPOSE = "the command port"


class RefusedError(DARCError):
    """A request is refused for who sent it or for the file that it names; says what to do."""


def answer(request: Request, challenge: object, key_file: Path, now: float) -> Request:
    """Return a request with the proof that its sender holds the key.

    Args:
        request: what is asked
        challenge: message of the node's reply to `challenge`
        key_file: file of the key
        now: unix time in s

    Raises:
        DARCError: no usable key, or that was no challenge
    """
    nonce = challenge.get("nonce") if isinstance(challenge, dict) else None
    if not isinstance(nonce, str):
        raise RefusedError("the node sent no challenge that can be answered: check host and port")
    return replace(request, proof=Proof(nonce, int(now), _code(request, nonce, int(now), _key(key_file))))


def has_key(key_file: Path) -> bool:
    """Whether there is a file for the key; it may still be unusable."""
    return os.path.lexists(key_file)


def _code(request: Request, nonce: str, time_s: int, key: bytes) -> str:
    signed = json.dumps([nonce, time_s, request.service, request.command, request.payload])
    return hmac.new(key, signed.encode(), "sha256").hexdigest()


def _key(key_file: Path, *, make: bool = False) -> bytes:
    key = read_key(key_file, _PURPOSE, make=make)
    if len(key) < MIN_KEY_BYTES:
        raise KeyFileError(
            f"{key_file} (the key for {_PURPOSE}) has {len(key)} bytes: at least {MIN_KEY_BYTES} random ones "
            "are needed; remove it and have the master node make one"
        )
    return key


@dataclass(frozen=True)
class Gate:
    """Lets requests in or refuses them. Clients of this host may ask anything.

    Attributes:
        key_file: File of the key, read when it is needed, so that it may come after the start; None: no proof
            is accepted.
        unauthenticated: Commands that need no proof, by the network or name of the hosts that may ask them.
        payload_dirs: Folders below which the files have to be that requests name; None: anywhere for clients
            of this host, nowhere for others.
        clock: Unix time in s.
        logger: Where refusals are logged.
    """

    key_file: Path | None = None
    unauthenticated: Mapping[str, Sequence[str]] = field(default_factory=dict)
    payload_dirs: Sequence[Path] | None = None
    clock: Callable[[], float] = time.time
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    _logged: dict[str, float] = field(default_factory=dict)

    def admit(self, request: Request, host: str, nonce: str) -> None:
        """Return if a request may be carried out.

        Args:
            request: what is asked
            host: address of the client
            nonce: the challenge that it was given and has not answered yet; empty if there is none

        Raises:
            RefusedError: it may not
        """
        try:
            if request.command in PROVEN_COMMANDS:
                self._check_is_proven(request, nonce)
            else:
                if not is_loopback(host):
                    self._check_sender(request, host, nonce)
                self._check_payload(request, host)
        except DARCError as refusal:
            self._log(host, request.command, refusal)
            raise RefusedError(str(refusal)) from refusal

    def _check_is_proven(self, request: Request, nonce: str) -> None:
        """Return if the sender holds the key: what is asked decides which programs run here."""
        if request.proof is None:
            raise RefusedError(
                f"{request.command} needs a proof that its sender holds the key of this node, on this host "
                f"too: use `darc` as a user who can read {self.key_file} (darc_master.key_file)"
            )
        self._check_proof(request, request.proof, nonce)

    def _check_sender(self, request: Request, host: str, nonce: str) -> None:
        if request.proof is not None:
            self._check_proof(request, request.proof, nonce)
            return
        allowed = set(self._allowed(host))
        if allowed.isdisjoint((ALL, request.command.partition(" ")[0])):
            may = (
                f"it may only ask for {', '.join(sorted(allowed))} without one"
                if allowed
                else ("a host that cannot do that has to be named in darc_master.unauthenticated_clients")
            )
            raise RefusedError(
                f"a request of another host, as {host} is, needs a proof that its sender holds the key of "
                f"this node: use `darc` with a copy of {self.key_file} (darc_master.key_file); {may}"
            )

    def _check_proof(self, request: Request, proof: Proof, nonce: str) -> None:
        if self.key_file is None:
            raise RefusedError("this node has no key: set darc_master.key_file")
        expected = _code(request, proof.nonce, proof.time_s, _key(self.key_file))
        if not hmac.compare_digest(expected.encode(), proof.code.encode()):
            raise RefusedError(
                f"the proof of the request is wrong: its sender holds another key than {self.key_file} of "
                "this node; copy that file from the master node to both"
            )
        if not nonce or proof.nonce != nonce:
            raise RefusedError(
                "the request was sent before, or its challenge is not of this connection: refused"
            )
        difference_s = proof.time_s - self.clock()
        if abs(difference_s) > MAX_CLOCK_DIFFERENCE_S:
            where = "ahead of" if difference_s > 0 else "behind"
            raise RefusedError(
                f"the clock of the client is {abs(difference_s):.0f} s {where} that of this node, more than "
                f"{MAX_CLOCK_DIFFERENCE_S} s: set both by NTP"
            )

    def _allowed(self, host: str) -> Iterable[str]:
        """Yield the commands that a client may ask without a proof."""
        for name, commands in self.unauthenticated.items():
            if _is_in(host, name):
                yield from commands

    def _check_payload(self, request: Request, host: str) -> None:
        if request.payload is None or (self.payload_dirs is None and is_loopback(host)):
            return
        if self.payload_dirs is None:
            raise RefusedError(
                "files that other hosts name are not taken: darc_master.payload_dirs does not say where they "
                "may be"
            )
        try:
            path = Path(os.path.realpath(request.payload))
        except ValueError as error:  # a NUL
            raise RefusedError(f"{request.payload!r:.200} is no path") from error
        if not any(path.is_relative_to(os.path.realpath(folder)) for folder in self.payload_dirs):
            leads = "" if str(path) == request.payload else f", which leads to {str(path)!r:.200},"
            folders = " or ".join(map(str, self.payload_dirs)) or "any folder"
            raise RefusedError(
                f"{request.payload!r:.200}{leads} is not below {folders}: put it there, or add its folder to "
                "darc_master.payload_dirs"
            )

    def _log(self, host: str, command: str, refusal: DARCError) -> None:
        """Log a refusal, but not so many of a host that they fill the disk."""
        now = self.clock()
        if abs(now - self._logged.get(host, -math.inf)) < _LOG_PAUSE_S:
            return
        if len(self._logged) >= _LOG_HOSTS:
            self._logged.clear()
        self._logged[host] = now
        self.logger.warning("command port: %.100r of %s refused: %s", command, host, refusal)


def gate_of(config: Config, logger: logging.Logger) -> Gate:
    """Return the gate of this node's command port; the master node makes the key if there is none.

    A node that should have a key but has none is told in its log, and can still be reached from itself.
    """
    settings = config.darc_master
    gate = Gate(
        key_file=settings.key_file,
        unauthenticated=settings.unauthenticated_clients,
        payload_dirs=settings.payload_dirs,
        logger=logger,
    )
    makes = config.role == "master" or (config.role == "worker" and config.nodes.master is None)
    local = is_loopback(settings.address)
    try:
        if makes or not local:
            _key(settings.key_file, make=makes)
    except KeyFileError as error:
        logger.error("command port: requests that need a proof will be refused: %s", error)
    if not local:
        for name, commands in settings.unauthenticated_clients.items():
            logger.warning("command port: %s may ask for %s without a proof", name, ", ".join(commands))
    return gate


def _is_in(host: str, name: str) -> bool:
    """Whether an address belongs to a network, is an address, or belongs to the host of that name."""
    address = ipaddress.ip_address(host)
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return False
    return any(str(entry[4][0]) == host for entry in found)
