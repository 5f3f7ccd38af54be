"""The long run of the fuzz targets: `make fuzz`, or `python -m tests.fuzz.run --help`.

It goes on where an earlier run was interrupted, and prints a table at its end. What fails is kept as a file
of its own in the folder, with the input beside it; a target that failed is tried again with `--again` only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import TARGETS, TOGETHER, check

#: Longest time in s of the processor that an input may take; the usual is below a millisecond.
LIMIT_S = 2.0
#: Most memory in bytes that the process may map: an input that asks for more fails.
MEMORY_BYTES = 8 << 30
#: Inputs between two notes of how far the run is.
CHUNK = 2000


class TooLongError(Exception):
    """An input took longer than `LIMIT_S`."""


class OutsideFolderError(Exception):
    """A file was opened outside the folder of the target."""


@dataclass
class Progress:
    """What became of a target so far; `slowest_ms` is time of the processor."""

    inputs: int = 0
    chunks: int = 0
    seconds: float = 0.0
    slowest_ms: float = 0.0
    failure: str = ""


class Guard:
    """Limits what an input may do: time of the processor, and the files that are opened meanwhile."""

    def __init__(self) -> None:
        self._folder: str | None = None
        signal.signal(signal.SIGPROF, self._stop)
        sys.addaudithook(self._audit)

    @contextmanager
    def watching(self, folder: Path) -> Iterator[None]:
        """Watch what is done inside."""
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        self._folder = str(folder)
        try:
            yield
        finally:
            self._folder = None
            signal.setitimer(signal.ITIMER_PROF, 0)

    @staticmethod
    def _stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"longer than {LIMIT_S:g} s")

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._folder is None:
            return
        if event in ("os.system", "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "os.exec"):
            raise OutsideFolderError(f"{event} {arguments!r:.200}")
        if event not in ("open", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree"):
            return
        path, mode = str(arguments[0]), arguments[1] if event == "open" else "w"
        if not path.startswith(self._folder) and not is_code(path, mode):
            raise OutsideFolderError(f"{event} {path!r:.200} {mode}")


def is_code(path: str, mode: object) -> bool:
    """Return whether Python or a library reads a part of itself, at the first use of something."""
    return mode in ("r", "rb", None) and path.startswith(
        (sys.prefix, sys.base_prefix, str(Path.cwd() / "darc"))
    )


def feed(name: str, progress: Progress, number: int, last_input: Path) -> str:
    """Feed a target some inputs that it has not had; return how one fails, made small, or nothing."""
    guard = Guard()
    with tempfile.TemporaryDirectory() as folder:

        @seed(f"{name} {progress.chunks}")
        @settings(
            max_examples=max(1, number // TOGETHER),
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(TARGETS[name].inputs)
        def check_all(inputs: list[bytes]) -> None:
            for data in inputs:
                last_input.write_bytes(data)
                start = time.process_time()
                with guard.watching(Path(folder)):
                    check(name, data, Path(folder))
                progress.inputs += 1
                progress.slowest_ms = max(progress.slowest_ms, (time.process_time() - start) * 1e3)

        began = time.process_time()
        try:
            check_all()
        except Exception as error:  # noqa: BLE001 (whatever a parser raises is what is looked for)
            progress.failure = f"{type(error).__name__}: {error}".split("\n", 1)[0][:300]
            return traceback.format_exc()
        finally:
            progress.seconds += time.process_time() - began
            progress.chunks += 1
    return ""


def in_another_process(work: Callable[[], None]) -> int:
    """Do something in a fork of this process; return the signal that ended it, 0: none."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


class Run:
    """A run that can be interrupted; its folder holds how far it is, and what failed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._state, self._last_input = folder / "state.json", folder / "last.input"
        self.load()

    def load(self) -> None:
        """Take over how far the run is."""
        known = json.loads(self._state.read_text()) if self._state.exists() else {}
        self.progress = {name: Progress(**known.get(name, {})) for name in TARGETS}

    def save(self) -> None:
        """Note how far the run is."""
        aside = self._state.with_suffix(".part")
        aside.write_text(json.dumps({name: asdict(one) for name, one in self.progress.items()}, indent=1))
        aside.replace(self._state)

    def go(self, names: Sequence[str], inputs: int) -> None:
        """Feed targets until each has had so many inputs or failed; an input that kills costs a fork only."""
        for name in names:
            while (left := inputs - self.progress[name].inputs) > 0 and not self.progress[name].failure:
                died = in_another_process(partial(self._feed, name, min(CHUNK, left)))
                self.load()
                if died:
                    self.progress[name].failure = f"the process died of signal {died}"
                    self._keep(name, "")
            print(row(name, self.progress[name]), flush=True)

    def _feed(self, name: str, number: int) -> None:
        if trace := feed(name, self.progress[name], number, self._last_input):
            self._keep(name, trace)
        self.save()

    def _keep(self, name: str, trace: str) -> None:
        """Keep the input that failed, which is the last one."""
        self._last_input.replace(self.folder / f"{name}.input")
        (self.folder / f"{name}.txt").write_text(trace)
        self.save()

    def table(self, names: Sequence[str]) -> str:
        """Return what became of the targets."""
        head = f"{'parser':20} {'inputs':>8} {'slowest':>10} {'processor':>10}  outcome"
        total = sum(self.progress[name].inputs for name in names)
        return "\n".join([head, *(row(name, self.progress[name]) for name in names), f"{'all':20} {total:8}"])


def row(name: str, one: Progress) -> str:
    """Return the line of a target."""
    outcome = one.failure or "no defect"
    return f"{name:20} {one.inputs:8} {one.slowest_ms:7.1f} ms {one.seconds:8.0f} s  {outcome}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return 1 if anything failed."""
    parser = argparse.ArgumentParser(description="Feed all parsers of DARC with damaged input.")
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for each parser [100000]")
    parser.add_argument(
        "--folder", type=Path, default=Path("fuzz-output"), help="state and failures [fuzz-output]"
    )
    parser.add_argument(
        "--again", action="store_true", help="forget what earlier runs did with these parsers"
    )
    parser.add_argument(
        "names", nargs="*", metavar="PARSER", help=f"all if none is named: {', '.join(TARGETS)}"
    )
    options = parser.parse_args(arguments)
    names = options.names or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such parser: {', '.join(sorted(unknown))}")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    run = Run(options.folder)
    if options.again:
        run.progress |= {name: Progress() for name in names}
        run.save()
    run.go(names, options.inputs)
    print("\n" + run.table(names))
    return int(any(run.progress[name].failure for name in names))


if __name__ == "__main__":
    sys.exit(main())
