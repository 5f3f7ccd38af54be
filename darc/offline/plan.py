"""The work on an observation as a list of steps, each of which is done or not.

A step that is done leaves a mark, a small file that appears after everything it makes, and that says what it
counted and what it found wrong. So work can be interrupted anywhere and done again: steps with a mark are not
repeated. A step that fails costs what needs it, and nothing else.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from darc.errors import DARCError
from darc.formats.files import read_text, shown, write_complete

#: Largest mark that is read, in bytes.
_MARK_BYTES_MAX = 2**20

#: Most problems of a step that are told; all are in the log. The master node reads summaries of 64 KiB.
PROBLEMS_MAX = 20

#: Asked for again, this means all steps.
ALL = "all"

_logger = logging.getLogger("darc.offline")


class OfflineError(DARCError):
    """A step of the processing after an observation cannot be done; the message says why."""


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """The work was ended from outside; what is done stays done."""


@dataclass(frozen=True)
class Done:
    """What a step that was done tells.

    Attributes:
        numbers: what it counted, by the names of the summary
        problems: what it found wrong, a line each, although it could be done
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def told(self) -> Done:
        """Return the same with the first of many problems."""
        more = len(self.problems) - PROBLEMS_MAX
        if more <= 0:
            return self
        return replace(self, problems=[*self.problems[:PROBLEMS_MAX], f"and {more} more, see the log"])


class Reporter(Protocol):
    """Whoever wants to know how far the work is."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note that a part of a step is done; 0 of 0: it begins."""


@dataclass
class Account:
    """What has become of the work so far.

    Attributes:
        numbers: what steps counted
        problems: what went wrong, a line each that begins with the name of the step
        failed: names of the steps that could not be done
        cancelled: returns whether the work is to end
        report: takes note of how far it is
    """

    cancelled: Callable[[], bool] = lambda: False
    report: Reporter = lambda step, done, total: None
    numbers: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def take(self, step: str, done: Done) -> None:
        """Take in what a step that was done tells."""
        self.numbers |= done.numbers
        self.problems += [f"{step}: {problem}" for problem in done.problems]

    def check(self) -> None:
        """Raise `Interrupted` if the work is to end."""
        if self.cancelled():
            raise Interrupted


@dataclass(frozen=True)
class Step:
    """A step of the work.

    Attributes:
        name: identifies it, also on the command line and in the summary
        run: does it
        mark: file that says it is done
        makes: files and folders that it makes; it is done only if all of them are there
        needs: steps without which it cannot be done
        after: steps that come before it, and without which it can be done
    """

    name: str
    run: Callable[[Account], Done]
    mark: Path
    makes: tuple[Path, ...] = ()
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it was done, completely."""
        return self.mark.exists() and all(path.exists() for path in self.makes)


def to_do(steps: Sequence[Step], again: Collection[str] = ()) -> list[Step]:
    """Return the steps to do: those that are not done or asked for, and all that follow from them.

    Args:
        steps: all steps, each after those it needs
        again: names of steps that are to be done although they are; `ALL` for all

    Raises:
        OfflineError: there is no step of such a name
    """
    names = [step.name for step in steps]
    if unknown := sorted({*again} - {*names, ALL}):
        raise OfflineError(f"there is no step {', '.join(unknown)}; the steps are {', '.join(names)}")
    chosen: dict[str, Step] = {}
    for step in steps:
        follows = any(name in chosen for name in (*step.needs, *step.after))
        if follows or not step.done or {step.name, ALL}.intersection(again):
            chosen[step.name] = step
    return list(chosen.values())


def carry_out(steps: Sequence[Step], account: Account, again: Collection[str] = ()) -> list[str]:
    """Do the steps that are to be done; return their names.

    Marks and files of all that is repeated are removed first, the last one's first, so that nothing old
    stands beside something new. What a step that was interrupted has made stays, for it to go on with.

    Args:
        steps: all steps, each after those it needs
        account: where what steps tell is taken in
        again: names of steps that are to be done although they are

    Raises:
        Interrupted: the work was ended from outside
        OfflineError: there is no step of a name in `again`, or a file cannot be removed
    """
    chosen = to_do(steps, again)
    names = {step.name for step in chosen}
    for step in reversed(chosen):
        anew = step.mark.exists() or {step.name, ALL}.intersection(again) or names.intersection(step.needs)
        _remove((step.mark, *step.makes) if anew else (step.mark,))
    for step in steps:
        account.check()
        if step.name in names:
            _carry_out(step, account)
        else:
            account.take(step.name, _read_mark(step.mark))
    return [step.name for step in chosen]


def _carry_out(step: Step, account: Account) -> None:
    if missing := [name for name in step.needs if name in account.failed]:
        _logger.error("%s: not done, as it needs %s", step.name, ", ".join(missing))
        account.failed.append(step.name)
        return
    _logger.info("%s: begins", step.name)
    account.report(step.name, 0, 0)
    try:
        done = step.run(account)
        write_complete(step.mark, json.dumps(asdict(done.told()), indent=1) + "\n", OfflineError)
    except (DARCError, OSError) as error:
        _logger.error("%s: failed: %s", step.name, error)
        account.failed.append(step.name)
        account.problems.append(f"{step.name}: failed: {error}")
        return
    for problem in done.problems:
        _logger.error("%s: %s", step.name, problem)
    _logger.info("%s: done %s", step.name, dict(done.numbers) or "")
    account.take(step.name, done.told())


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OfflineError(f"{path}: cannot be removed: {error.strerror}") from error


def _read_mark(path: Path) -> Done:
    content = read_json(path, _MARK_BYTES_MAX)
    try:
        numbers = {str(name): int(number) for name, number in content["numbers"].items()}
        return Done(numbers, tuple(map(str, content["problems"])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OfflineError(
            f"{path}: damaged, it holds {shown(content)}: remove it to repeat the step"
        ) from error


def read_json(path: Path, max_bytes: int) -> Any:
    """Return the content of a JSON file that a step made.

    Raises:
        OfflineError: it is absent or damaged
    """
    try:
        return json.loads(read_text(path, max_bytes, OfflineError))
    except (ValueError, RecursionError) as error:
        raise OfflineError(f"{path}: damaged: {error}: remove it to repeat the step") from error
