"""How far the processing after an observation is, for whoever waits at a terminal."""

from __future__ import annotations

from typing import TextIO

from darc.offline.plan import Account


class Progress:
    """Shows how far the work on an observation is: one line per step, which counts on a terminal.

    Args:
        title: name of the observation
        stream: where to
    """

    def __init__(self, title: str, stream: TextIO) -> None:
        self.title, self._stream = title, stream
        self._counting = stream.isatty()
        self._line = self._step = ""

    def report(self, step: str, done: int, total: int) -> None:
        """Take note that a part of a step is done; 0 of 0: it begins."""
        count = f" {done}{f' of {total}' if total else ''}" if done else ""
        if self._counting:
            if self._line and step != self._step:
                self._stream.write("\n")
            line = f"{self.title}: {step}{count}"
            self._stream.write(f"\r{line:{len(self._line)}}")
            self._line = line
        elif step != self._step:
            self._stream.write(f"{self.title}: {step}\n")
        self._step = step
        self._stream.flush()

    def end(self, how: str, account: Account) -> None:
        """Say what became of it."""
        numbers = ", ".join(f"{name} {number}" for name, number in account.numbers.items())
        self._stream.write("\n" * bool(self._line) + f"{self.title}: {how}: {numbers or 'nothing counted'}\n")
        for problem in account.problems:
            self._stream.write(f"{self.title}: {problem}\n")
        self._stream.flush()
        self._line = self._step = ""
