"""A short run of the fuzz targets; `make fuzz` is the long one."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from darc.errors import DARCError
from tests.fuzz import run
from tests.fuzz.run import Guard, OutsideFolderError, TooLongError
from tests.fuzz.targets import TARGETS, Target, check


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    before = signal.getsignal(signal.SIGPROF)
    yield Guard()
    signal.signal(signal.SIGPROF, before)


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_takes_any_input_or_refuses_it(name: str, guard: Guard, tmp_path: Path) -> None:
    @settings(
        max_examples=25,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(TARGETS[name].inputs)
    def check_all(inputs: list[bytes]) -> None:
        for data in inputs:
            with guard.watching(tmp_path):
                check(name, data, tmp_path)

    check_all()


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_parser_starts_from_is_valid(name: str, tmp_path: Path) -> None:
    """Damage to something that is refused anyway would test nothing."""
    accepted = 0
    for data in TARGETS[name].seeds:
        try:
            TARGETS[name].parse(data, tmp_path)
            accepted += 1
        except DARCError:
            continue
    assert accepted or name in ("command_requests", "queue_items")  # these read two things from an input


# --- what the run notices


def broken(data: bytes, folder: Path) -> None:
    """Parse as no parser should."""
    match data:
        case b"crash":
            raise KeyError("crash")
        case b"hang":
            while True:
                pass
        case b"file":
            (folder.parent / "outside").write_bytes(b"")
        case b"passwd":
            Path("/etc/passwd").read_text(encoding="utf-8")
        case b"long":
            raise DARCError("x" * 100_000)
        case b"refused":
            raise DARCError("no")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"crash", KeyError),
        (b"hang", TooLongError),
        (b"file", OutsideFolderError),
        (b"passwd", OutsideFolderError),
        (b"long", AssertionError),
        (b"refused", None),
    ],
)
def test_the_run_notices_what_a_parser_should_not_do(monkeypatch, guard, tmp_path, data, error) -> None:
    monkeypatch.setitem(TARGETS, "broken", Target(broken, (data,)))
    monkeypatch.setattr(run, "LIMIT_S", 0.1)
    with guard.watching(tmp_path):
        if error is None:
            check("broken", data, tmp_path)
        else:
            with pytest.raises(error):
                check("broken", data, tmp_path)
    assert not (tmp_path.parent / "outside").exists()


def test_a_run_goes_on_where_it_was_interrupted(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(TARGETS, "broken", Target(broken, (b"fine",)))
    first = run.Run(tmp_path)
    first._feed("broken", 40)
    second = run.Run(tmp_path)
    assert second.progress["broken"].inputs >= 40
    assert f"{second.progress['broken'].inputs} " in second.table(["broken"])
    second._feed("broken", 40)
    assert run.Run(tmp_path).progress["broken"].chunks == 2


def test_a_failure_is_kept_with_its_input(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(TARGETS, "broken", Target(broken, (b"crash",)))
    run.Run(tmp_path)._feed("broken", 40)
    assert (tmp_path / "broken.input").read_bytes() == b"crash"
    assert "KeyError" in (tmp_path / "broken.txt").read_text()
    assert "KeyError" in run.Run(tmp_path).progress["broken"].failure
