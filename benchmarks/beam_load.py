"""How many clusters per second two cores extract and classify: two extractors and the classifier of a beam.

60 % of the clusters are like the first case of `benchmarks.candidate`, 30 % like the second, 10 % like the
third. The processes are those of an observation, and get their work as they do there: two pieces in hand at
most. They share two cores with the benchmark, which stands for the hub. The limit is two cores that only read
the same bytes and add them up.
"""

import os
import queue
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.candidate import (
    CASES,
    NODE,
    add_up,
    cluster,
    make_extractor,
    median_ms,
    needed,
    observed_beam,
    write_beam,
)
from darc.network.process_queue import ProcessQueue
from darc.processes.forks import prepare_forks
from darc.processor_tools.classifier import Classifier
from darc.processor_tools.crew import StepProcess
from darc.processor_tools.extractor import Extractor
from darc.processor_tools.filterbank_reader import TiedArrayBeams
from darc.processor_tools.hub import IN_HAND_MAX
from darc.processor_tools.messages import Classified, Classify, Extract, Extracted, message
from darc.processor_tools.step import PRELOADED, START_METHOD, Step

NCORE = NEXTRACTOR = 2
TARGET_PER_S = 20.0
#: Clusters of each case among ten.
MIXTURE = (6, 3, 1)
NCLUSTER, NWARM_UP = 400, 20
PATIENCE_S = 60.0


def measure() -> list[dict[str, object]]:
    """Return the figure."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:NCORE])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_beam(folder)
        limit = limit_per_s(folder)
        value = reached_per_s(folder)
    return [
        {
            "name": f"clusters extracted and classified on {NCORE} cores",
            "value": value,
            "unit": "per s",
            "target": TARGET_PER_S,
            "better": "more",
            "limit": limit,
        }
    ]


def limit_per_s(folder: Path) -> float:
    """Return how many clusters per second could be read and added up."""
    extractor = make_extractor(folder)
    with TiedArrayBeams(extractor.beam.filterbanks) as tabs:
        each_ms = [median_ms(partial(add_up, tabs, *needed(extractor, case))) for case in range(len(CASES))]
    return NCORE * 1e3 / float(np.average(each_ms, weights=MIXTURE))


def reached_per_s(folder: Path) -> float:
    """Return how many clusters per second are extracted and classified."""
    prepare_forks(PRELOADED)
    answers = ProcessQueue()
    extractors = [start(Extractor, f"extractor {number}", folder, answers) for number in range(NEXTRACTOR)]
    classifier = start(Classifier, "classifier", folder, answers)
    try:
        work_off(range(NWARM_UP), extractors, classifier, answers)
        begin = time.perf_counter()
        work_off(range(NWARM_UP, NWARM_UP + NCLUSTER), extractors, classifier, answers)
        return NCLUSTER / (time.perf_counter() - begin)
    finally:
        for process in (*extractors, classifier):
            process.tell_to_end()
        for process in (*extractors, classifier):
            process.wait_and_kill()


def start(kind: type[Step], name: str, folder: Path, answers: ProcessQueue) -> StepProcess:
    """Start a process as the hub does."""
    inbox = ProcessQueue()
    config = folder / "config.yaml"
    step = kind(
        name,
        observed_beam(folder),
        inbox,
        answers,
        config_file=config,
        node=NODE,
        start_method=START_METHOD,
    )
    return StepProcess(step, inbox)


def work_off(
    numbers: range, extractors: list[StepProcess], classifier: StepProcess, answers: ProcessQueue
) -> None:
    """Have clusters extracted and classified, and remove their files."""
    kinds = np.random.default_rng(numbers.start).permutation(np.repeat(range(len(CASES)), MIXTURE))
    todo = (message(Extract(cluster(kinds[number % len(kinds)], number), True)) for number in numbers)
    by_name = {process.name: process for process in extractors}
    for process in extractors:
        for piece in islice(todo, IN_HAND_MAX):
            process.send(piece)
    classified = 0
    while classified < len(numbers):
        answer, path = take(answers)
        if isinstance(answer, Extracted):
            classifier.send(message(Classify(answer.number, path)))
            for piece in islice(todo, 1):
                by_name[answer.worker].send(piece)
        else:
            path.unlink()
            classified += 1


def take(answers: ProcessQueue) -> tuple[Extracted | Classified, Path]:
    """Return the next answer and the file it is about.

    Raises:
        RuntimeError: there is none, or it says that something was not done
    """
    try:
        answer = answers.get(timeout=PATIENCE_S)["content"]
    except queue.Empty:
        raise RuntimeError(f"no answer for {PATIENCE_S:g} s") from None
    if not isinstance(answer, Extracted | Classified) or answer.path is None or answer.reason:
        raise RuntimeError(f"failed: {answer}")
    return answer, answer.path


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
