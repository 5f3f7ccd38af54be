"""How probable it is that each candidate is a burst."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from darc.config.processing import OfflineProcessing
from darc.formats import merged
from darc.formats.candidate import store_probabilities
from darc.formats.files import write_complete
from darc.offline.merge import candidate_files
from darc.offline.plan import Account, Done, OfflineError, read_json
from darc.offline.work import Work
from darc.processor_tools.networks import PACKAGED_MODELS, Network

#: Candidates that are classified together.
BATCH = 256
_CLASSIFIED_BYTES_MAX = 2**30

_logger = logging.getLogger("darc.offline")


@dataclass(frozen=True)
class Verdict:
    """What the networks say of a candidate.

    Attributes:
        freqtime: probability of a burst by the frequency-time data
        dmtime: the same by the DM-time data
        keep: both are above their thresholds
    """

    freqtime: float
    dmtime: float
    keep: bool


def classify_file(path: Path, settings: OfflineProcessing, account: Account) -> list[Verdict]:
    """Classify the candidates of a merged file; return what the networks say of each, in its order.

    Raises:
        NetworkError: a network is missing, is none, or takes larger data
        MergedError: the file cannot be read
    """
    folder, gpu = settings.model_dir or PACKAGED_MODELS, first_gpu(settings.ml_gpus)
    freqtime, dmtime = (
        Network(folder / name, None, gpu) for name in (settings.model_freqtime, settings.model_dmtime)
    )
    if gpu is not None and not freqtime.on_gpu:
        _logger.warning("no GPU build of ONNX Runtime is installed: classifying on the CPU")
    verdicts: list[Verdict] = []
    for block in merged.read_blocks(path, BATCH):
        account.check()
        by_freqtime = freqtime.probabilities(block.data_freq_time).tolist()
        by_dmtime = dmtime.probabilities(block.data_dm_time).tolist()
        verdicts += [
            Verdict(one, other, one >= settings.pthresh_freqtime and other >= settings.pthresh_dmtime)
            for one, other in zip(by_freqtime, by_dmtime, strict=True)
        ]
        account.report("classify", len(verdicts), 0)
    return verdicts


def first_gpu(gpus: int | str | Iterable[int] | None) -> int | None:
    """Return the first of the GPUs that are configured; None if there is none.

    Raises:
        OfflineError: that is no number
    """
    if gpus is None or isinstance(gpus, int):
        return gpus
    words = gpus.split(",") if isinstance(gpus, str) else list(map(str, gpus))
    first = words[0].strip() if words else ""
    if first and not (first.isdecimal() and first.isascii()):
        raise OfflineError(f"ml_gpus is {gpus!r}: has to be the number of a GPU, a list of them, or null")
    return int(first) if first else None


def classify_candidates(work: Work, account: Account, path: Path | None = None) -> Done:
    """Classify the merged candidates; store the verdicts, also in the files of those that are kept.

    Args:
        work: what is processed
        account: where is told how far it is
        path: file of the merged candidates; None: where they usually are
    """
    verdicts = classify_file(path or work.merged, work.settings, account)
    files = candidate_files(work)
    for file, verdict in zip(files, verdicts, strict=True):
        account.check()
        if verdict.keep:
            store_probabilities(file, partial(_said, verdict))
    content = [[verdict.freqtime, verdict.dmtime, verdict.keep] for verdict in verdicts]
    write_complete(work.classified, json.dumps(content) + "\n", OfflineError)
    return Done({"ncand_classifier": sum(verdict.keep for verdict in verdicts)})


def read_verdicts(work: Work) -> list[Verdict]:
    """Return what the networks say of each candidate, in the order of the merged file.

    Raises:
        OfflineError: the list is absent or damaged
    """
    content = read_json(work.classified, _CLASSIFIED_BYTES_MAX)
    try:
        return [Verdict(float(freqtime), float(dmtime), bool(keep)) for freqtime, dmtime, keep in content]
    except (TypeError, ValueError) as error:
        raise OfflineError(f"{work.classified}: damaged: remove it to repeat the step") from error


def _said(verdict: Verdict, *_data: object) -> tuple[float, float]:
    return verdict.freqtime, verdict.dmtime
