"""`darc convert-model`: a network that Keras 2 has written becomes an ONNX file that DARC runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from darc.errors import DARCError
from darc.formats.files import write_complete
from darc.processor_tools.networks import Network
from darc.training.keras_file import convert


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a model; return 0 if DARC can run what came out."""
    parser = argparse.ArgumentParser(
        prog="darc convert-model",
        description="Convert a network that Keras 2 has saved (.hdf5) to ONNX, for classifier.model_dir. Its "
        "input has to be (n, frequency or DM, time, 1), its output two probabilities of which the second is "
        "'burst', or one. Keras is not needed.",
    )
    parser.add_argument("model", type=Path, metavar="FILE", help="what Keras wrote")
    parser.add_argument("--output", type=Path, metavar="FILE", help="ONNX file [beside it, ending in .onnx]")
    options = parser.parse_args(arguments)
    output = options.output or options.model.with_suffix(".onnx")
    try:
        write_complete(output, convert(options.model), DARCError)
        rows, times = Network(output).shape
    except DARCError as error:
        print(f"darc convert-model: {error}", file=sys.stderr)
        return 1
    print(f"{output}: takes {rows} rows of {times} times; compare it with darc evaluate-model")
    return 0
