"""Takes in observations, begins them in time, stops them, and tells the services."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darc import logs
from darc.config import Config
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.files import shown, written_aside
from darc.formats.observation_name import observation_names
from darc.node.observations import WAITING, BookFile, Observation, ObservationBook
from darc.node.supervisor import Supervisor, for_all
from darc.topology import AFTER_OBSERVATION, FOR_ENDED_OBSERVATION, SERVICES

#: Time in s after the end of an observation at which it is stopped if nobody did.
OVERDUE_S = 60.0
#: Longest time in s between two looks at the clock while something is to come: it may be set.
LONGEST_WAIT_S = 1.0

#: Status and text of an answer.
Answer = tuple[str, str]


class ObservationError(DARCError):
    """An observation cannot be taken in, or stopped, as asked."""


class ObservationKeeper:
    """The observations of a node, from the scheduler's command to the services.

    Nothing here waits for a start time: `keep` is to be called whenever something may be due.

    Args:
        config: configuration of the site
        supervisor: keeps the services
        clock: time in unix seconds
        changed: called when something may be due earlier than `keep` said
    """

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._book_file = BookFile(config.darc_master.state_dir / "observations")
        self.book = ObservationBook(config.darc_master.setup_time, OVERDUE_S, self._book_file.write)
        self.supervisor = supervisor
        self.services = list(supervisor.handles)
        self.clock = clock
        self.changed = changed
        self.logger = logging.getLogger("darc.master")
        # held from a change in the book until the services know of it
        self._telling = threading.RLock()
        self.configure(config)
        supervisor.first_messages = self.first_messages

    def configure(self, config: Config) -> None:
        """Follow a configuration that was read again."""
        self.config = config
        self.book.setup_s = config.darc_master.setup_time

    def resume(self) -> None:
        """Enter the observations again that the last master left; those that had begun go on.

        To be called before services start, which then join them.
        """
        for path, state, from_master in self._book_file.read():
            try:
                observation = self._observation(from_master | parsets.load_obs_config(path), path.name)
                with _lines_of(observation.obs_config):
                    self._enter_again(replace(observation, state=state))
            except DARCError as error:
                self.logger.error("an observation of the last master is left alone: %s", error)

    def _enter_again(self, observation: Observation) -> None:
        if self.clock() >= observation.end_unix + OVERDUE_S:
            self.logger.warning("%s is over by now", observation)
            return
        self.book.add(observation)
        self.logger.warning("%s is known from before, and %s", observation, observation.state)

    # --- commands ------------------------------------------------------------------------------------------

    def start(self, config_file: Path | str) -> Answer:
        """Take in an observation, which begins `setup_time` before its start time.

        Args:
            config_file: path to its configuration, `.parset` or `.yaml`

        Raises:
            DARCError: the file is not usable, or the observation is there already
        """
        obs_config = parsets.completed(parsets.load_obs_config(config_file))
        if not obs_config.get("proctrigger", True):
            return "Success", "proctrigger is false: nothing is started for this observation"
        observation = self._observation(obs_config, Path(config_file).name)
        if not self.services:
            raise ObservationError(
                f"no services run on this {self.config.role} node, which can observe nothing"
            )
        self.book.check_new(observation.task_id)
        self._keep_copy(Path(config_file), obs_config)
        with _lines_of(obs_config):
            return self._take_in(observation)

    def _take_in(self, observation: Observation) -> Answer:
        if self.clock() > observation.end_unix:
            return self._start_ended(observation)
        self._make_sure_they_run(self.services)
        self.book.add(observation)
        self.changed()
        return "Success", f"observation {observation.task_id} starts at {observation.summary()['start']} UTC"

    def _start_ended(self, observation: Observation) -> Answer:
        """Start what processes an observation that has already ended."""
        names = [name for name in self.services if name in FOR_ENDED_OBSERVATION]
        self._make_sure_they_run(names)
        with self._telling:
            self._tell(names, self._start_message(observation, resume=False))
        started = f"only {' and '.join(names)} started" if names else "no service here works on such ones"
        return "Warning", f"observation {observation.task_id} has already ended: {started}"

    def stop(self, config_file: Path | str, abort: bool = False) -> Answer:
        """Stop an observation.

        Args:
            config_file: path to its configuration
            abort: whether to drop what is queued, and to end offline processing too

        Raises:
            DARCError: the file is not usable
        """
        obs_config = parsets.load_obs_config(config_file)
        with _lines_of(obs_config):
            return self._end(parsets.task_id(obs_config), obs_config, abort)

    def _end(self, task_id: str, obs_config: dict[str, Any], abort: bool) -> Answer:
        with self._telling:
            observation = self.book.remove(task_id)
            if observation is not None and observation.state == WAITING:
                return "Success", f"observation {task_id} was waiting for its start, and is struck out"
            # a service that works on another observation by now takes no notice
            message = {"command": "stop_observation", "obs_config": obs_config, "abort": abort}
            later = () if abort or self.config.darc_master.mode != "mixed" else AFTER_OBSERVATION
            self._tell([name for name in self.services if name not in later], message)
        if observation is None:
            return "Warning", f"observation {task_id} is not known here; the services were told all the same"
        return "Success", f"observation {task_id} {'aborted' if abort else 'stopped'}"

    # --- what is due ---------------------------------------------------------------------------------------

    def keep(self) -> float | None:
        """Begin and stop what is due; return after how many seconds to look again, None: nothing to come."""
        now = self.clock()
        with self._telling:
            for observation in self.book.begin_due(now):
                with _lines_of(observation.obs_config):
                    self._begin(observation)
        for observation in self.book.overdue(now):
            with _lines_of(observation.obs_config):
                self.logger.warning("%s ended, and nobody stopped it", observation)
                self._end(observation.task_id, observation.obs_config, abort=False)
        next_s = self.book.next_event(self.clock())
        return None if next_s is None else min(next_s, LONGEST_WAIT_S)

    def _begin(self, observation: Observation) -> None:
        self.logger.info("%s begins", observation)
        if self.book.running() == [observation]:
            for name in self.services:
                if number := self.supervisor.clear(name):
                    self.logger.warning("%s: %d stale messages removed", name, number)
        self._tell(self.services, self._start_message(observation, resume=False))

    def first_messages(self, service: str) -> Sequence[dict[str, Any]]:
        """Return what tells a service that starts now which observations it has to join."""
        with self._telling:
            running = self.book.running()
            if not SERVICES[service].overlapping:
                running = running[-1:]
            return [self._start_message(observation, resume=True) for observation in running]

    def _start_message(self, observation: Observation, resume: bool) -> dict[str, Any]:
        return {
            "command": "start_observation",
            "obs_config": observation.obs_config,
            "reload_conf": self._config_is_usable(),
            "host_type": self.config.role,
            "resume": resume,
        }

    def _config_is_usable(self) -> bool:
        """Return whether services can read the configuration again; else they go on with what they have."""
        try:
            self.supervisor.read_config()
        except DARCError as error:
            self.logger.error("the services keep the configuration that they have: %s", error)
            return False
        return True

    def _tell(self, names: Iterable[str], message: dict[str, Any]) -> None:
        """Send a message to services; one that does not run now learns by `first_messages` what goes on."""
        for name in names:
            if not self.supervisor.takes_messages(name):
                self.logger.warning("%s does not run: no %s for it", name, message["command"])
                continue
            try:
                self.supervisor.send(name, message)
            except DARCError as error:
                self.logger.error("%s for %s lost: %s", message["command"], name, error)

    # --- taking in -----------------------------------------------------------------------------------------

    def _observation(self, obs_config: dict[str, Any], name: str) -> Observation:
        start_unix = parsets.start_time_unix(obs_config, self.config.instrument)
        try:
            duration_s = float(obs_config["duration"])
            # both within what has a date
            for time_unix in (start_unix, start_unix + duration_s):
                datetime.fromtimestamp(time_unix, UTC)
        except KeyError:
            raise ObservationError("the observation's configuration has no duration") from None
        except (ValueError, OverflowError, OSError):
            raise ObservationError(
                f"startpacket = {shown(obs_config['startpacket'])} with duration = "
                f"{shown(obs_config['duration'])} is not a time"
            ) from None
        if duration_s <= 0:
            raise ObservationError(f"duration = {duration_s:g}: has to be above 0")
        task_id, end_unix = parsets.task_id(obs_config), start_unix + duration_s
        return Observation(
            task_id, obs_config, start_unix, end_unix, config_file=self._copy_of(obs_config, name)
        )

    def _copy_of(self, obs_config: dict[str, Any], name: str) -> Path:
        folder = parsets.check_path_component("datetimesource", str(obs_config.get("datetimesource", "")))
        return Path(self.config.darc_master.parset_dir) / folder / name

    def _keep_copy(self, config_file: Path, obs_config: dict[str, Any]) -> None:
        copy = self._copy_of(obs_config, config_file.name)
        try:
            with written_aside(copy, ObservationError, durable=True) as aside:
                shutil.copyfile(config_file, aside)
        except ObservationError as error:
            raise ObservationError(
                f"cannot copy {config_file}: {error}; see darc_master.parset_dir"
            ) from error

    def _make_sure_they_run(self, names: Sequence[str]) -> None:
        def start(name: str) -> str | None:
            try:
                self.supervisor.start(name)
            except DARCError as error:
                return f"{name}: {error}"
            return None

        problems = [problem for problem in for_all(start, names).values() if problem]
        if problems:
            raise ObservationError(f"not all services run: {'; '.join(problems)}")


def _lines_of(obs_config: dict[str, Any]) -> AbstractContextManager[None]:
    """Name an observation in the lines that are logged meanwhile."""
    return logs.observation_of_thread(*observation_names(obs_config))
