"""Several processes write to one log, which is moved away again and again: every line is there, and whole."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

from darc.log_rotation import rotate

NLINE, NPROCESS = 1500, 3
WRITER = """
import logging, sys
from darc import logs
logs.set_up_logging("processor", sys.argv[1], "info", "json", sys.argv[2])
for number in range(int(sys.argv[3])):
    logging.info("%d %s", number, "x" * (number % 300))
"""


def test_no_line_is_lost_by_rotation(tmp_path: Path) -> None:
    log = tmp_path / "processor.log"
    command = [sys.executable, "-c", WRITER, str(log)]
    writers = [subprocess.Popen([*command, str(name), str(NLINE)]) for name in range(NPROCESS)]
    places = (tmp_path / f"processor.log.other{number}" for number in itertools.count())
    while any(writer.poll() is None for writer in writers):
        # once by the master, once as logrotate does without create
        rotate(log, 20_000, 1000)
        if log.exists():
            log.rename(next(places))
    assert [writer.wait() for writer in writers] == [0] * NPROCESS
    written = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    found = sorted((int(line["node"]), int(line["message"].split()[0])) for line in written)
    assert found == [(name, number) for name in range(NPROCESS) for number in range(NLINE)]
    assert len(list(tmp_path.iterdir())) > 2
