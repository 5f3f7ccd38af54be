"""Text to array: how fast AMBER's rows are parsed, as a file holds them and as a queue delivers them.

The limit is cutting the same bytes into lines, which a parser in plain Python would have to do first.
"""

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from darc.definitions import ARTS
from darc.formats.amber import AmberParser, format_row, header

TARGET = 800_000.0
NLINE = 200_000
#: Lines in one message of the listener: when it has a backlog, and in a storm of interference.
BACKLOG, STORM = 10_000, 1000
ROUNDS = 7


def measure() -> list[dict[str, object]]:
    """Return the figures, medians of several runs, in lines per second."""
    lines = generate_lines(NLINE)
    data = "".join(lines).encode()
    damaged = damage(lines)
    limit = lines_per_s(partial(data.split, b"\n"))
    return [
        figure("text to array, one block of bytes", [data], limit),
        figure(f"text to array, lists of {BACKLOG} lines", chunks(lines, BACKLOG), limit),
        figure(f"text to array, lists of {STORM} lines", chunks(lines, STORM), limit),
        figure("text to array, one line in a hundred damaged", ["".join(damaged).encode()], limit),
    ]


def figure(name: str, messages: list[bytes] | list[list[str]], limit: float) -> dict[str, object]:
    """Measure the parsing of messages that hold all the lines."""
    value = lines_per_s(partial(parse, messages))
    return {
        "name": name,
        "value": value,
        "unit": "lines/s",
        "target": TARGET,
        "better": "more",
        "limit": limit,
    }


def parse(messages: list[bytes] | list[list[str]]) -> int:
    """Parse as a service does; return the number of rows."""
    parser = AmberParser()
    parser.feed(header())
    return sum(len(parser.feed(message)) for message in messages)


def generate_lines(nline: int) -> list[str]:
    """Return rows as AMBER writes them for an observation of many hours."""
    source = random.Random(1)
    lines = []
    for number in range(nline):
        batch, step = number // 20, source.choice((1, 5, 10, 25, 50, 100, 250, 500, 1000))
        sample = source.randrange(ARTS.samples_per_batch // step)
        line = format_row(
            beam=source.randrange(ARTS.nsynthesised_beam),
            batch=batch,
            sample=sample,
            integration_step=step,
            time_s=(batch * ARTS.samples_per_batch + sample * step) * ARTS.tsamp_s,
            dm=source.randrange(20_000) / 5,
            snr=8 + source.expovariate(0.5),
            dm_id=source.randrange(800),
        )
        lines.append(line)
    return lines


def damage(lines: list[str]) -> list[str]:
    """Return the lines, every hundredth of them cut off."""
    return [line if number % 100 else line[:20] + "\n" for number, line in enumerate(lines)]


def chunks(lines: list[str], size: int) -> list[list[str]]:
    """Divide lines into lists of the same size."""
    return [lines[start : start + size] for start in range(0, len(lines), size)]


def lines_per_s(function: Callable[[], object]) -> float:
    """Run a function that works on all lines several times, and once before that to warm up."""
    function()
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return NLINE / statistics.median(durations)


def main() -> None:
    """Print the figures."""
    for result in measure():
        print(f"{result['name']}: {result['value']:,.0f} lines/s (limit {result['limit']:,.0f})")


if __name__ == "__main__":
    main()
