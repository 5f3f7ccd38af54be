"""Fixtures of all tests."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on what else this machine does. The suite tries the same examples each
# time, so that what passed here passes elsewhere; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Keep variables that a test, or what it calls, sets in the environment from the tests after it."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder with real telescope data and reference results, which is not part of the project.

    `$DARC_REFERENCE_DATA` names it; without it, `../shared/data` beside the checkout is tried.
    """
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("DARC_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}: set DARC_REFERENCE_DATA to the folder that holds it")
    return folder


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Take a skipped test for a failed one where `$DARC_TEST_NO_SKIP` names its reason."""
    pattern = os.environ.get("DARC_TEST_NO_SKIP")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not pattern or reporter is None or exitstatus:
        return
    reasons = {str(report.longrepr) for report in reporter.stats.get("skipped", [])}
    for reason in filter(re.compile(pattern).search, sorted(reasons)):
        reporter.write_line(f"may not be skipped here: {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
