"""The master of a node: owns the queues, starts and watches the services, answers on the command port."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import queue
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from darc import __version__, logs, pushed_config
from darc.config import SERVICES as KNOWN_SERVICES
from darc.config import load_config
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.log_rotation import LogRotation
from darc.master_commands import (
    RELOADED,
    WATCHING,
    DARCMasterException,
    attribute_named,
    attribute_of,
    invalid,
)
from darc.master_commands import switched_service as switched
from darc.network.authentication import gate_of
from darc.network.command_protocol import PROVEN_COMMANDS, Reply, Request, parse_request
from darc.network.command_server import CommandServer
from darc.node.metrics import node_metrics
from darc.node.observing import ObservationKeeper
from darc.node.report import log_tail, node_details
from darc.node.supervisor import Supervisor, for_all
from darc.node.wellbeing import Wellbeing
from darc.operator_mail import OperatorMail
from darc.systemd_notify import Notifier
from darc.topology import SERVICES

Result = tuple[str, Any]


class DARCMaster:
    """DARC master service that controls all other services and queues.

    Interact with it through the `darc` command. Methods that return `(status, reply)` have the status
    `Success`, `Warning` or `Error` and as reply a text or a dictionary.

    Args:
        config_file: path to the configuration; None: searched as `darc.config_files` describes
        node: name of this node; None: the configured one that has this host's name
        clock: time in unix seconds
        notifier: tells systemd how this node fares

    Raises:
        ConfigError: the configuration is missing or wrong
    """

    def __init__(
        self,
        config_file: Path | str | None = None,
        node: str | None = None,
        clock: Callable[[], float] = time.time,
        notifier: Notifier | None = None,
    ) -> None:
        self.config_file = config_file
        self.node_name = node
        self.logger = logging.getLogger("darc.master")
        self._load_config()
        self.services: list[str] = [name for name in self.config.services if name in SERVICES]
        self.supervisor = Supervisor(self.config, config_file, self.services)
        self._observing = ObservationKeeper(self.config, self.supervisor, clock, self._wake_up)
        self._clock, self._up_since = clock, clock()
        self._notifier = notifier or Notifier({})
        self._ending = False
        # SimpleQueue is the one thing that a signal handler may use while the main thread waits for it
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()

    def _load_config(self) -> None:
        """Load the configuration; services read it when they are started and when an observation is."""
        self.config = load_config(self.config_file, self.node_name)
        self.host_type = self.config.role
        self.node = self.config.node.name if self.config.node else None

    # --- life ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Listen on the command port and carry out commands until told to stop.

        Raises:
            DARCError: the command port cannot be opened
        """
        settings = self.config.darc_master
        with (
            CommandServer(
                (settings.address, settings.port),
                self._answer,
                gate=gate_of(self.config, self.logger),
                timeout_s=settings.socket_timeout,
                max_request_bytes=settings.max_request_size,
                max_connections=settings.max_connections,
                logger=self.logger,
            ) as server,
            node_metrics(self.config, self.supervisor, self._observing.book),
        ):
            where = (self.node, self.host_type, *server.address)
            self.logger.info("DARC %s, node %s, role %s, commands on %s:%d", __version__, *where)
            if self.host_type == "unknown":
                self.logger.warning("no services: this host is none of the nodes; see nodes, or --node NAME")
            threads = {"the command port": lambda: server.alive, "the watcher": lambda: self.supervisor.alive}
            who, book = f"{self.host_type} node {self.node}", self._observing.book
            wellbeing = Wellbeing(self._notifier, who, self.supervisor, book, threads)
            operators = OperatorMail(self.config)
            try:
                self._observing.resume()
                self.supervisor.given_up = operators.given_up
                self.supervisor.open()
                self._start_all()
                self._keep_observations(wellbeing)
            finally:
                wellbeing.stopping()
                self.supervisor.close()
                operators.close()
        self.logger.info("stopped")

    def end(self) -> None:
        """Make `run` return, after everything has been stopped."""
        self._ending = True
        self._wake_up()

    def stop(self) -> Result:
        """Stop all services and exit; the answer comes first."""
        self.end()
        return "Success", "stopping all services, then the master"

    def _wake_up(self) -> None:
        self._wake_ups.put(None)

    def _start_all(self) -> None:
        for name in sorted(set(self.config.services) - set(SERVICES)):
            self.logger.warning("%s is not part of this version, not started", name)
        for_all(partial(self._one, "start"), self.services)

    def _keep_observations(self, wellbeing: Wellbeing) -> None:
        rotation = LogRotation()
        while not self._ending:
            waits_s = self._observing.keep(), rotation.keep(self.config), wellbeing.interval_s
            wellbeing.tell()
            with contextlib.suppress(queue.Empty):
                self._wake_ups.get(timeout=min((s for s in waits_s if s is not None), default=None))

    # --- messages ------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Reply:
        status, message = self.process_message(request.service, request.command, request.payload)
        if request.command not in WATCHING:
            # a configuration may hold keys
            what = request.command if request.command in PROVEN_COMMANDS else request
            self.logger.info("%s: %s %s", what, status, message)
        return Reply(status, message)  # type: ignore[arg-type]

    def parse_message(self, raw_message: str) -> Result:
        """Carry out a message as it comes over the command port.

        Args:
            raw_message: dictionary as text with `command`, and `service` and `payload` where needed
        """
        try:
            request = parse_request(raw_message)
        except DARCError as error:
            return "Error", {"error": str(error)}
        return self.process_message(request.service, request.command, request.payload)

    def process_message(self, service: str | None, command: str, payload: str | None) -> Result:
        """Carry out a command.

        Args:
            service: service to interact with, `all`, or None for the master
            command: command, for `get_attr` with the attribute's name
            payload: path of an observation's configuration, where the command needs one
        """
        word, *rest = command.split() or [""]
        served = self.config.darc_master
        try:
            if rest and word != "get_attr":
                raise invalid(command)
            if word in WATCHING:
                return "Success", log_tail(self.config, service) if word == "log" else self._details()
            if self._ending and word not in ("status", "get_attr", "stop_master"):
                raise DARCMasterException(f"{word} is refused: the master is stopping")
            if word in served.service_commands and (service is not None or word != "get_attr"):
                return self._service_command(service, word, command)
            if word in served.master_commands:
                return self._master_command(command, payload)
            raise invalid(command)
        except DARCError as error:
            return "Error", {"error": str(error)}

    def _master_command(self, command: str, payload: str | None) -> Result:
        match command.split(maxsplit=1)[0], payload:
            case "start_observation", str(path):
                return self.start_observation(path)
            case ("stop_observation" | "abort_observation") as word, str(path):
                return self.stop_observation(path, abort=word == "abort_observation")
            case ("start_observation" | "stop_observation" | "abort_observation") as word, _:
                raise DARCMasterException(f"{word} needs the path of a parset or of a YAML file")
            case ("stop_master" | "reload") as word, _:
                return self.stop() if word == "stop_master" else self._reload()
            case ("check_config" | "apply_config") as word, str(content):
                return self._pushed(word, content)
            case "get_attr", _:
                return "Success", attribute_of(self, command)
            case word, _:
                return self._switch_cmd(word)

    def _service_command(self, service: str | None, word: str, command: str) -> Result:
        if service is None and word != "status":
            raise DARCMasterException(f"{word} needs a service, or 'all'")
        if service is None or service == "all":
            results = for_all(partial(self._one, word, command=command), self.services)
            message: dict[str, Any] = {name: reply for name, (_, reply) in results.items()}
            if word == "status":
                message["observations"] = {o.task_id: o.summary() for o in self._observing.book.all()}
            return "Error" if any(s == "Error" for s, _ in results.values()) else "Success", message
        if service not in self.services:
            here = f" does not run on this {self.host_type} node" if service in KNOWN_SERVICES else ""
            raise DARCMasterException(f"Invalid service: {service}{here}")
        status, reply = self._one(word, service, command)
        return status, reply if word == "get_attr" else {service: reply}

    def _one(self, word: str, service: str, command: str = "") -> Result:
        methods: dict[str, Callable[[str], Result]] = {
            "status": self.check_status,
            "start": self.start_service,
            "stop": self.stop_service,
            "restart": self.restart_service,
            "get_attr": partial(self._get_attribute, command=command),
        }
        try:
            if word not in methods:
                raise invalid(word)
            return methods[word](service)
        except DARCError as error:
            self.logger.error("%s %s: %s", word, service, error)
            return "Error", f"failed: {error}"

    def _details(self) -> dict[str, Any]:
        observations, now = self._observing.book.all(), self._clock()
        return node_details(self.config, self.supervisor, observations, self._up_since, now).as_message()

    def _reload(self) -> Result:
        self._load_config()
        self.supervisor.config = self.config
        self._observing.configure(self.config)
        return "Success", RELOADED

    def _pushed(self, word: str, content: str) -> Result:
        """Check a configuration that was pushed, or make it that of this node."""
        if word == "check_config":
            return "Success", pushed_config.check(content, self.config.path, self.node)
        applied = pushed_config.apply(content, self.config.path, self.node)
        return self._reload()[0], applied

    # --- services ------------------------------------------------------------------------------------------

    def create_thread(self, service: str) -> None:
        """Initialise a service, which shows whether its configuration is right.

        Args:
            service: service to create a new process for

        Raises:
            ConfigError: it is not
        """
        self.supervisor.create(service)

    def get_queue(self, service: str) -> Any:
        """Return the queue that a service takes its messages from.

        Args:
            service: service to get the queue for

        Raises:
            DARCMasterException: no such service on this node
        """
        try:
            return self.supervisor.queues[service]
        except KeyError:
            raise DARCMasterException(f"Invalid service: {service}") from None

    def check_status(self, service: str) -> Result:
        """Return the status of a service."""
        return "Success", self.supervisor.status(service)

    def start_service(self, service: str) -> Result:
        """Start a service; it joins the observations that are going on.

        Raises:
            DARCError: it cannot be started
        """
        return "Success", self.supervisor.start(service)

    def stop_service(self, service: str) -> Result:
        """Stop a service."""
        reply = self.supervisor.stop(service)
        return ("Success" if reply == "stopped" else "Error"), reply

    def restart_service(self, service: str) -> Result:
        """Restart a service."""
        stopped = self.stop_service(service)
        started = self._one("start", service) if stopped[0] == "Success" else ("Error", "failed")
        return started[0], {"stop": stopped[1], "start": started[1]}

    @property
    def processes(self) -> dict[str, int | None]:
        """Process IDs of the services that have a process."""
        return self.supervisor.processes()

    def _get_attribute(self, service: str, command: str) -> Result:
        """Get an attribute of a service.

        Args:
            service: service to get an attribute of
            command: full command, `get_attr NAME`
        """
        return self.supervisor.ask(service, {"command": "get_attr", "attribute": attribute_named(command)})

    def _switch_cmd(self, command: str) -> Result:
        """Check the status of the LOFAR trigger system or of the VOEvent generator, or enable or disable it.

        Args:
            command: such as `lofar_status` or `voevent_enable`

        Raises:
            DARCError: that service does not run on this node, or does not answer
        """
        return self.supervisor.ask(*switched(command, self.services, self.host_type))

    # --- observations --------------------------------------------------------------------------------------

    def _load_parset(self, config_file: Path | str) -> dict[str, Any]:
        """Load a file and convert it to an observation configuration.

        Args:
            config_file: path to the file, `.parset` or `.yaml`
        """
        return parsets.load_obs_config(config_file)

    _load_yaml = _load_parset

    def start_observation(self, config_file: Path | str) -> Result:
        """Take in an observation, which begins `setup_time` before its start time; returns at once.

        Args:
            config_file: path to the observation's configuration, `.parset` or `.yaml`

        Raises:
            DARCError: the file is not usable, or the observation is there already
        """
        return self._observing.start(config_file)

    def stop_observation(self, config_file: Path | str, abort: bool = False) -> Result:
        """Stop an observation.

        Args:
            config_file: path to the observation's configuration
            abort: whether to drop what is queued, and to end offline processing too

        Raises:
            DARCError: the file is not usable
        """
        return self._observing.stop(config_file, abort)


def main(arguments: list[str] | None = None) -> int:
    """Run the DARC master of this node until it is told to stop."""
    parser = argparse.ArgumentParser(prog="darc_service", description="Run the DARC master of a node.")
    parser.add_argument("--config", metavar="FILE", help="configuration of the site")
    parser.add_argument("--node", metavar="NAME", help="name of the node to be, if not that of this host")
    parser.add_argument("--foreground", action="store_true", help="log to standard error")
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    try:
        notifier = Notifier()
        if notifier.interval_s is not None:
            faulthandler.enable()  # when the watchdog ends this process, it says first where its threads are
        master = DARCMaster(options.config, options.node, notifier=notifier)
        log_file = None if options.foreground else master.config.darc_master.log_file
        logs.set_up_logging("darc_master", log_file, *master.config.log_settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: master.end())
        master.run()
    except DARCError as error:
        print(f"darc_service: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
