"""Time of the whole step that classifies a candidate, from the hub's message to the answer.

The classifier of the processor does it, with its default settings: its file is read, its data reduced and
scaled, both networks run, and the file written with what they say, complete or not at all. The limit is what
cannot be saved: both networks on data of the right shape, and the same bytes read once and written once, as
well. Files are in the folder for temporary files: `TMPDIR` chooses the disk.
"""

import queue
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import yaml

from benchmarks.candidate import NODE, answer, observed_beam
from benchmarks.pages import candidate, median_s
from darc.config import load_config
from darc.errors import DARCError
from darc.formats.candidate import write
from darc.formats.files import read_bytes, write_complete
from darc.processor_tools.classifier import Classifier
from darc.processor_tools.messages import Classify
from darc.processor_tools.networks import PACKAGED_MODELS

ROUNDS = 200


def measure() -> list[dict[str, object]]:
    """Return the figure, the median of many runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.yaml"
        config.write_text(
            yaml.safe_dump({"nodes": {"workers": {NODE: 0}}, "processor": {"log_file": str(folder / "log")}})
        )
        classifier = Classifier(
            "classifier", observed_beam(folder), queue.Queue(), queue.Queue(), config_file=config, node=NODE
        )
        classifier.set_up()
        path = write(folder, candidate(0))
        figure = {
            "name": "classification of a candidate, file read and written",
            "value": median_s(partial(classify, classifier, path), ROUNDS) * 1e3,
            "unit": "ms",
            "target": 2.0,
            "better": "less",
            "limit": median_s(Least(path), ROUNDS) * 1e3,
        }
    return [figure]


def classify(classifier: Classifier, path: Path) -> None:
    """Classify a candidate."""
    classifier.work(Classify(0, path))
    if answer(classifier).reason:
        raise RuntimeError(f"not classified: {path}")


class Least:
    """What is left of it if nothing is checked or converted."""

    def __init__(self, path: Path) -> None:
        settings = load_config().processor.classifier
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._path = path
        self._networks = []
        for name in (settings.model_freqtime, settings.model_dmtime):
            content = (PACKAGED_MODELS / name).read_bytes()
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            (taken,) = session.get_inputs()
            shape = [axis if isinstance(axis, int) else 1 for axis in taken.shape]
            self._networks.append((session, {taken.name: np.zeros(shape, np.float32)}))

    def __call__(self) -> None:
        """Read, run, write."""
        content = read_bytes(self._path, 2**28, DARCError)
        for session, inputs in self._networks:
            session.run(None, inputs)
        write_complete(self._path, content, DARCError)


if __name__ == "__main__":
    for row in measure():
        print("{name}: {value:.3g} {unit} (target {target:g}, limit {limit:.3g})".format_map(row))
