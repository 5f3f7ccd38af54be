"""The master of a node: owns the queues, starts and watches the services, answers on the command port."""

from __future__ import annotations

import argparse
import contextlib
import logging
import queue
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darc import __version__, logs
from darc.config import SERVICES as KNOWN_SERVICES
from darc.config import load_config
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.network.command_protocol import Reply, Request, parse_request
from darc.network.command_server import CommandServer
from darc.observations import Observation, ObservationBook
from darc.supervisor import Supervisor
from darc.topology import AFTER_OBSERVATION, FOR_ENDED_OBSERVATION, SERVICES

#: Commands that need no service.
MASTER_COMMANDS = (
    "start_observation",
    "stop_observation",
    "abort_observation",
    "stop_master",
    "reload",
    "get_attr",
    "lofar_status",
    "lofar_enable",
    "lofar_disable",
    "voevent_status",
    "voevent_enable",
    "voevent_disable",
)
#: Commands to one service, or to all of them.
SERVICE_COMMANDS = ("status", "start", "stop", "restart", "get_attr")
#: Service that each pair of switches belongs to.
SWITCHES = {"lofar": "lofar_trigger", "voevent": "voevent_generator"}
#: Time in s after the end of an observation at which it is stopped if nobody did.
OVERDUE_S = 60.0

Result = tuple[str, Any]


class DARCMasterException(DARCError):  # noqa: N818 (documented name)
    """The master cannot do what it is asked."""


class DARCMaster:
    """DARC master service that controls all other services and queues.

    Interact with it through the `darc` command. Methods that return `(status, reply)` have the status
    `Success`, `Warning` or `Error` and as reply a text or a dictionary.

    Args:
        config_file: path to the configuration; None: searched as `darc.config_files` describes
        node: name of this node; None: the configured one that has this host's name
        clock: time in unix seconds

    Raises:
        ConfigError: the configuration is missing or wrong
    """

    def __init__(
        self,
        config_file: Path | str | None = None,
        node: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config_file = config_file
        self.node_name = node
        self.clock = clock
        self.logger = logging.getLogger("darc.master")
        self._load_config()
        self.services: list[str] = [name for name in self.config.services if name in SERVICES]
        self.supervisor = Supervisor(self.config, config_file, self.services, self._join_running_observations)
        self.observations = ObservationBook(self.config.darc_master.setup_time, OVERDUE_S)
        self._ending = False
        # SimpleQueue is the one thing that a signal handler may use while the main thread waits for it
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()

    def _load_config(self) -> None:
        """Load the configuration; what the services were started with changes when they are restarted."""
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
        port = self.config.node.port if self.config.node else settings.port
        with CommandServer(
            (settings.address, port),
            self._answer,
            timeout_s=settings.socket_timeout,
            max_request_bytes=settings.max_request_size,
            max_connections=settings.max_connections,
            logger=self.logger,
        ) as server:
            where = (self.node, self.host_type, *server.address)
            self.logger.info("DARC %s, node %s, role %s, commands on %s:%d", __version__, *where)
            try:
                self._start_all()
                self._keep_observations()
            finally:
                self.supervisor.close()
        self.logger.info("stopped")

    def end(self) -> None:
        """Make `run` return, after everything has been stopped."""
        self._ending = True
        self._wake_ups.put(None)

    def stop(self) -> Result:
        """Stop all services and exit; the answer comes first."""
        self.end()
        return "Success", "stopping all services, then the master"

    def _start_all(self) -> None:
        for name in sorted(set(self.config.services) - set(SERVICES)):
            self.logger.warning("%s is not part of this version, not started", name)
        for name in self.services:
            self._one("start", name)

    def _keep_observations(self) -> None:
        """Begin observations when their time has come, and stop those that nobody stopped."""
        while not self._ending:
            for observation in self.observations.begin_due(self.clock()):
                self._begin(observation)
            for observation in self.observations.overdue(self.clock()):
                self.logger.warning("%s ended, and nobody stopped it", observation.task_id)
                self._end_observation(observation.task_id, observation.obs_config, abort=False)
            with contextlib.suppress(queue.Empty):
                self._wake_ups.get(timeout=self.observations.next_event(self.clock()))

    # --- messages ------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Reply:
        status, message = self.process_message(request.service, request.command, request.payload)
        self.logger.info("%s: %s %s", request, status, message)
        return Reply(status, message)  # type: ignore[arg-type]

    def parse_message(self, raw_message: str) -> Result:
        """Carry out a message as it comes over the command port.

        Args:
            raw_message: dictionary as text with `command`, and `service` and `payload` where needed
        """
        try:
            request = parse_request(raw_message)
            return self.process_message(request.service, request.command, request.payload)
        except DARCError as error:
            return "Error", {"error": str(error)}

    def process_message(self, service: str | None, command: str, payload: str | None) -> Result:
        """Carry out a command.

        Args:
            service: service to interact with, `all`, or None for the master
            command: command, for `get_attr` with the attribute's name
            payload: path of an observation's configuration, where the command needs one
        """
        word = command.split(maxsplit=1)[0] if command.split() else ""
        try:
            if word in SERVICE_COMMANDS and (service is not None or word not in MASTER_COMMANDS):
                return self._service_command(service or "all", word, command)
            if word in MASTER_COMMANDS:
                return self._master_command(word, command, payload)
        except DARCError as error:
            return "Error", {"error": str(error)}
        return "Error", {"error": f"Invalid command: {command}"}

    def _master_command(self, word: str, command: str, payload: str | None) -> Result:
        if word.endswith("_observation"):
            if not payload:
                raise DARCMasterException(f"{word} needs the path of a parset or of a YAML file")
            if word == "start_observation":
                return self.start_observation(payload)
            return self.stop_observation(payload, abort=word == "abort_observation")
        if word == "stop_master":
            return self.stop()
        if word == "reload":
            self._load_config()
            self.supervisor.config = self.config
            return "Success", "configuration of the master read again"
        if word == "get_attr":
            return self._own_attribute(command)
        return self._switch_cmd(word)

    def _service_command(self, service: str, word: str, command: str) -> Result:
        if service == "all":
            results = {name: self._one(word, name, command) for name in self.services}
            message: dict[str, Any] = {name: reply for name, (_, reply) in results.items()}
            if word == "status":
                message["observations"] = {o.task_id: o.summary() for o in self.observations.all()}
            statuses = {status for status, _ in results.values()}
            return next((s for s in ("Error", "Warning") if s in statuses), "Success"), message
        if service not in KNOWN_SERVICES:
            raise DARCMasterException(f"Invalid service: {service}")
        if service not in self.services:
            raise DARCMasterException(
                f"Invalid service: {service} does not run on this node ({self.host_type})"
            )
        status, reply = self._one(word, service, command)
        return status, reply if word == "get_attr" else {service: reply}

    def _one(self, word: str, service: str, command: str = "") -> Result:
        try:
            match word:
                case "status":
                    return self.check_status(service)
                case "start":
                    return self.start_service(service)
                case "stop":
                    return self.stop_service(service)
                case "restart":
                    return self.restart_service(service)
                case _:
                    return self._get_attribute(service, command)
        except DARCError as error:
            self.logger.error("%s %s: %s", word, service, error)
            return "Error", f"failed: {error}"

    # --- services ------------------------------------------------------------------------------------------

    def create_thread(self, service: str) -> None:
        """Initialise a service, which also shows whether its configuration is right.

        Args:
            service: service to create a new process for
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
        """Return the status of a service.

        Args:
            service: service to check
        """
        return "Success", self.supervisor.status(service)

    def start_service(self, service: str) -> Result:
        """Start a service.

        Args:
            service: service to start
        """
        reply = self.supervisor.start(service)
        if reply == "started":
            self._join_running_observations(service)
        return "Success", reply

    def stop_service(self, service: str) -> Result:
        """Stop a service.

        Args:
            service: service to stop
        """
        reply = self.supervisor.stop(service)
        return ("Success" if reply == "stopped" else "Error"), reply

    def restart_service(self, service: str) -> Result:
        """Restart a service.

        Args:
            service: service to restart
        """
        stopped = self.stop_service(service)
        started = self.start_service(service) if stopped[0] == "Success" else ("Error", "failed")
        return started[0], {"stop": stopped[1], "start": started[1]}

    def _get_attribute(self, service: str, command: str) -> Result:
        """Get an attribute of a service.

        Args:
            service: service to get an attribute of
            command: full command, `get_attr NAME`
        """
        return self.supervisor.ask(service, {"command": "get_attr", "attribute": _attribute(command)})

    def _own_attribute(self, command: str) -> Result:
        name = _attribute(command)
        if name.startswith("_") or not hasattr(self, name):
            raise DARCMasterException(f"DARCMaster has no attribute {name!r}")
        return "Success", {f"DARCMaster.{name}": str(getattr(self, name))}

    def _switch_cmd(self, command: str) -> Result:
        """Check the status of the LOFAR trigger system or of the VOEvent generator, or enable or disable it.

        Args:
            command: such as `lofar_status` or `voevent_enable`
        """
        system, _, word = command.partition("_")
        service = SWITCHES[system]
        if service not in self.services:
            raise DARCMasterException(
                f"{command} is for the master node, and this is a {self.host_type} node"
            )
        return self.supervisor.ask(service, {"command": word})

    # --- observations --------------------------------------------------------------------------------------

    def _load_parset(self, config_file: Path | str) -> dict[str, Any]:
        """Load a parset file and convert it to an observation configuration.

        Args:
            config_file: path to the parset
        """
        return parsets.load_obs_config(config_file)

    def _load_yaml(self, config_file: Path | str) -> dict[str, Any]:
        """Load a YAML file and convert it to an observation configuration.

        Args:
            config_file: path to the YAML file
        """
        return parsets.load_obs_config(config_file)

    def start_observation(self, config_file: Path | str) -> Result:
        """Take in an observation, which begins `setup_time` before its start time; returns at once.

        Args:
            config_file: path to the observation's configuration, `.parset` or `.yaml`

        Raises:
            DARCError: the file is not usable, or the observation is there already
        """
        obs_config = parsets.load_obs_config(config_file)
        if not obs_config.get("proctrigger", True):
            return "Success", "proctrigger is false: nothing to start for this observation"
        observation = self._observation(obs_config)
        self.observations.add(observation)
        try:
            self._keep_copy(Path(config_file), obs_config)
            ended = self.clock() > observation.end_unix
            self._make_sure_services_run(FOR_ENDED_OBSERVATION if ended else None)
        except DARCError:
            self.observations.remove(observation.task_id)
            raise
        if ended:
            self.observations.remove(observation.task_id)
            self._send_start(observation, [name for name in self.services if name in FOR_ENDED_OBSERVATION])
            return "Warning", "the end time has passed: only offline processing and processor were started"
        self._wake_ups.put(None)
        return "Success", f"observation {observation.task_id} starts at {observation.summary()['start']} UTC"

    def _observation(self, obs_config: dict[str, Any]) -> Observation:
        start_unix = parsets.start_time_unix(obs_config, self.config.instrument)
        try:
            duration_s = float(obs_config["duration"])
        except KeyError:
            raise DARCMasterException("the observation's configuration has no duration") from None
        return Observation(self._task_id(obs_config), obs_config, start_unix, start_unix + duration_s)

    def _task_id(self, obs_config: dict[str, Any]) -> str:
        """Return the task ID, from the observation's parset or the node's own."""
        try:
            return parsets.Task.from_parset(parsets.observation_parset(obs_config)).task_id
        except DARCError as error:
            if "taskid" in obs_config:
                return str(obs_config["taskid"])
            raise DARCMasterException(f"the observation has no task ID: {error}") from error

    def _keep_copy(self, config_file: Path, obs_config: dict[str, Any]) -> None:
        name = parsets.check_path_component("datetimesource", str(obs_config.get("datetimesource", "")))
        folder = Path(self.config.darc_master.parset_dir) / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(config_file, folder / config_file.name)
        except shutil.SameFileError:
            pass
        except OSError as error:
            raise DARCMasterException(
                f"cannot copy {config_file} to {folder}: {error.strerror}; see darc_master.parset_dir"
            ) from error

    def _make_sure_services_run(self, names: tuple[str, ...] | None) -> None:
        failed = []
        for name in self.services:
            if (names is None or name in names) and self.supervisor.status(name) != "running":
                status, reply = self._one("start", name)
                failed += [f"{name}: {reply}"] if status == "Error" else []
        if failed:
            raise DARCMasterException(f"not all services run: {'; '.join(failed)}")

    def _begin(self, observation: Observation) -> None:
        self.logger.info("%s begins", observation)
        if self.observations.running() == [observation]:
            for name in self.services:
                if number := self.supervisor.clear(name):
                    self.logger.warning("%s: %d stale messages removed", name, number)
        self._send_start(observation, self.services)

    def _send_start(self, observation: Observation, services: list[str]) -> None:
        for name in services:
            self._send(
                name,
                {
                    "command": "start_observation",
                    "obs_config": observation.obs_config,
                    "reload_conf": True,
                    "host_type": self.host_type,
                },
            )

    def _join_running_observations(self, service: str) -> None:
        """Tell a service that was started late what is going on."""
        for observation in self.observations.running():
            self._send_start(observation, [service])

    def stop_observation(self, config_file: Path | str, abort: bool = False) -> Result:
        """Stop an observation.

        Args:
            config_file: path to the observation's configuration
            abort: whether to drop what is queued, and to end offline processing too

        Raises:
            DARCError: the file is not usable
        """
        obs_config = parsets.load_obs_config(config_file)
        return self._end_observation(self._task_id(obs_config), obs_config, abort)

    def _end_observation(self, task_id: str, obs_config: dict[str, Any], abort: bool) -> Result:
        observation = self.observations.remove(task_id)
        self._wake_ups.put(None)
        if observation is not None and observation.state == "waiting":
            return "Success", f"observation {task_id} was waiting for its start, and is struck out"
        message = {"command": "stop_observation", "obs_config": obs_config, "abort": abort}
        for name in self.services:
            if abort or name not in AFTER_OBSERVATION or self.config.darc_master.mode != "mixed":
                self._send(name, message)
        if observation is None:
            return (
                "Warning",
                f"observation {task_id} was not known as running; the services were told all the same",
            )
        return "Success", f"observation {task_id} {'aborted' if abort else 'stopped'}"

    def _send(self, name: str, message: dict[str, Any]) -> None:
        try:
            self.supervisor.send(name, message)
        except DARCError as error:
            self.logger.error("%s for %s lost: %s", message["command"], name, error)


def _attribute(command: str) -> str:
    words = command.split()
    if len(words) != 2:
        raise DARCMasterException("get_attr needs the name of one attribute")
    return words[1]


def main(arguments: list[str] | None = None) -> int:
    """Run the DARC master of this node until it is told to stop."""
    parser = argparse.ArgumentParser(prog="darc_service", description="Run the DARC master of a node.")
    parser.add_argument("--config", metavar="FILE", help="configuration of the site")
    parser.add_argument("--node", metavar="NAME", help="name of the node to be, if not that of this host")
    parser.add_argument(
        "--foreground", action="store_true", help="log to standard error instead of the log file"
    )
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    try:
        master = DARCMaster(options.config, options.node)
        settings = master.config
        logs.set_up_logging(
            "darc_master",
            None if options.foreground else settings.darc_master.log_file,
            settings.logging.level,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: master.end())
        master.run()
    except DARCError as error:
        print(f"darc_service: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
