"""Reads what AMBER finds, as it finds it, and passes it to the triggering and to the processing."""

from __future__ import annotations

import queue
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darc import metrics
from darc.base import LONGEST_WAIT_S, DARCBase, MessageQueue
from darc.errors import DARCError
from darc.formats.amber_config import count_instances, trigger_file
from darc.formats.observation_name import observation_label
from darc.growing_file import LineReader, wake_ups

#: Time in s after which a full queue is tried again.
FULL_QUEUE_WAIT_S = 0.01
#: Time in s after the end of an observation for which a full queue is tried again.
PATIENCE_AT_END_S = 10.0


class AMBERListenerException(DARCError):  # noqa: N818 (documented name)
    """The listener cannot follow AMBER's files as asked."""


class AMBERListener(DARCBase):
    """Continuously read AMBER candidate files from disk and put candidates on the output queues.

    Every complete line of every AMBER instance goes to the target queue and, where there is one, to the
    second target queue: `{'command': 'trigger', 'trigger': [line, ...]}` with the instance (`step`), whether
    the file held no more (`at_end`), the `observation` the lines belong to, and their `place` in the file,
    by which a consumer knows what it has already and what it lacks (`darc.growing_file.Place`). A queue that
    is full gets its lines later; the other one does not wait for it.
    """

    interval: float
    start_timeout: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._event: threading.Event | None = None
        self._threads: list[threading.Thread] = []
        super().__init__(*args, **kwargs)

    def start_observation(self, obs_config: dict[str, Any], reload: bool = True) -> None:
        """Start to follow the files of an observation; the previous one is left.

        Args:
            obs_config: observation configuration with `amber_config`, `amber_dir` and `beam`
            reload: whether to read the configuration again

        Raises:
            AMBERListenerException: the observation does not say where AMBER writes
        """
        self.stop_observation()
        super().start_observation(obs_config, reload)
        self._event = threading.Event()
        for path in self._trigger_files(obs_config):
            thread = threading.Thread(
                target=self._follow_file, args=(path, self._event), name=path.name, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop_observation(self, *args: Any, **kwargs: Any) -> None:
        """Stop to follow; lines that are already in the files are still passed on."""
        if self._event is not None:
            self._event.set()
        for thread in self._threads:
            thread.join(self.interval + LONGEST_WAIT_S)
        # one whose lines a consumer does not take yet goes on by itself for a while
        self._threads = [thread for thread in self._threads if thread.is_alive()]

    def cleanup(self) -> None:
        """Stop to follow."""
        self.stop_observation()

    def _trigger_files(self, obs_config: dict[str, Any]) -> list[Path]:
        beam: Any = obs_config.get("beam", self.config.beam)
        try:
            instances = count_instances(obs_config["amber_config"])
            return [trigger_file(obs_config["amber_dir"], beam, step) for step in range(1, instances + 1)]
        except KeyError as error:
            raise AMBERListenerException(f"the observation's configuration has no key {error}") from error
        except (TypeError, ValueError) as error:
            raise AMBERListenerException(f"beam of the observation is {beam!r}, not a number") from error

    def _follow_file(self, fname: Path | str, event: threading.Event) -> None:
        """Tail a file and put its lines on the queues.

        Args:
            fname: file to follow; may appear later
            event: ends the following
        """
        path, label = Path(fname), observation_label(self.obs_config)
        targets = [q for q in (self.target_queue, self.second_target_queue) if q is not None]
        channels = [Channel(LineReader(path), target) for target in targets]
        begin, missed, told = self.monotonic(), False, ""
        try:
            for _ in wake_ups(path, event, self.interval):
                try:
                    if not missed and self.monotonic() - begin > self.start_timeout and not path.exists():
                        missed = True
                        self.logger.error(
                            "no file %s after %g s; still waiting for it", path, self.start_timeout
                        )
                    while not _deliver(channels, label) and not event.wait(FULL_QUEUE_WAIT_S):
                        pass
                except OSError as error:
                    if told != str(error):
                        self.logger.error("cannot read %s, tried again: %s", path, error.strerror)
                    told = str(error)
            self._deliver_rest(channels, label)
        except OSError as error:
            self.logger.error("cannot read the end of %s: %s", path, error.strerror)
        finally:
            for channel in channels:
                channel.reader.close()

    def _deliver_rest(self, channels: list[Channel], label: str) -> None:
        """Pass on what is left at the end of an observation, within reason."""
        end = self.monotonic() + PATIENCE_AT_END_S
        while not _deliver(channels, label):
            if self.monotonic() > end or self._is_stopping():
                path = channels[0].reader.path
                self.logger.error("%s: lines not passed on, since a service does not take them", path)
                return
            time.sleep(FULL_QUEUE_WAIT_S)


@dataclass(frozen=True)
class Channel:
    """How far a consumer has been given a file, and where it takes it."""

    reader: LineReader
    target: MessageQueue


def _deliver(channels: list[Channel], label: str) -> bool:
    """Pass on what there is to read now; return False if a full queue has to be tried again."""
    delivered = True
    for channel in channels:
        step, first = _step(channel.reader.path), channel is channels[0]
        try:
            while (block := channel.reader.peek()) is not None:
                message = {
                    "command": "trigger",
                    "trigger": block.lines,
                    "at_end": block.at_end,
                    "step": step,
                    "observation": label,
                    "place": tuple(block.place),
                }
                channel.target.put(message, block=False)
                channel.reader.advance()
                if first:  # both are given the same lines
                    metrics.LINES.labels(step).inc(len(block.lines))
                if block.at_end:
                    break  # what AMBER is writing just now comes together with the next look
        except queue.Full:
            delivered = False
    return delivered


def _step(path: Path) -> int | None:
    """Return the number of the AMBER instance that writes a file, from its name."""
    found = re.search(r"_step(\d+)\.trigger$", path.name)
    return int(found[1]) if found else None
