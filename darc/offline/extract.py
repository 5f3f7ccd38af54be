"""Clusters cut out of the filterbank files, brightest first, by any number of workers."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from darc import logs
from darc.config.processing import Extractor, SBGenerator
from darc.errors import DARCError
from darc.formats import candidate as candidates
from darc.formats.files import shown, write_complete
from darc.formats.observation_name import observation_names
from darc.offline.clusters import read_clusters
from darc.offline.plan import Account, Done, OfflineError, read_json
from darc.offline.work import Part, Work
from darc.offline.workers import Workers
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.beam_extractor import BeamExtractor, reason_for
from darc.processor_tools.ledger import Cluster
from darc.science.extraction import TooFaintError, warm_up

#: Clusters that a worker is given at once: what it costs if it dies.
CHUNK = 16
#: Why clusters are left, beside the reasons of the extraction.
NO_TIME, DEADLY = "no time left (max_proc_time)", "two workers died of it"
#: Reason under which a cluster was looked at, and found to be none.
TOO_FAINT = reason_for(TooFaintError())
#: Largest list of outcomes that is read, in bytes.
_OUTCOMES_BYTES_MAX = 2**30

_logger = logging.getLogger("darc.offline")


@dataclass(frozen=True)
class Job:
    """What workers have to know to extract clusters of one beam of one observation.

    Attributes:
        beam: what was observed
        settings: how to extract
        beam_settings: how synthesised beams are made
        tied_array: beams of clusters are tied-array beams
        folder: for the candidates
    """

    beam: ObservedBeam
    settings: Extractor
    beam_settings: SBGenerator
    tied_array: bool
    folder: Path


@dataclass(frozen=True)
class Chunk:
    """Clusters that are extracted together."""

    job: Job
    clusters: tuple[Cluster, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a cluster.

    Attributes:
        number: of the cluster
        reason: why there is no candidate, in a few words; empty if there is one
        message: the same, with all that is known
    """

    number: int
    reason: str = ""
    message: str = ""


def candidate_file(folder: Path, number: int) -> Path:
    """Return the path of the candidate of a cluster."""
    return folder / f"{number:06d}{candidates.SUFFIX}"


# --- in the processes of the workers -----------------------------------------------------------------------


@dataclass
class _Prepared:
    """What a worker keeps from one chunk to the next: settings and memory, but no open file."""

    job: Job | None = None
    extractor: BeamExtractor | None = None

    def extractor_for(self, job: Job) -> BeamExtractor:
        if self.extractor is None or job != self.job:
            warm_up()
            self.job, self.extractor = None, None
            self.extractor = BeamExtractor(
                job.beam, job.settings, job.beam_settings, _logger, tied_array=job.tied_array
            )
            self.job = job
        return self.extractor


_prepared = _Prepared()


def extract_chunk(chunk: Chunk) -> list[Outcome]:
    """Write the candidates of a chunk; return what became of each cluster.

    A cluster whose candidate is there already is not extracted again.
    """
    with logs.observation_of_thread(*observation_names(chunk.job.beam.obs_config)):
        try:
            extractor = _prepared.extractor_for(chunk.job)
        except DARCError as error:
            return [Outcome(cluster.number, reason_for(error), str(error)) for cluster in chunk.clusters]
        try:
            return [_extract(extractor, chunk.job.folder, cluster) for cluster in chunk.clusters]
        finally:
            extractor.close()


def _extract(extractor: BeamExtractor, folder: Path, cluster: Cluster) -> Outcome:
    path = candidate_file(folder, cluster.number)
    if path.exists():
        return Outcome(cluster.number)
    try:
        found = extractor.extract(cluster)
        candidates.write(path, found)
    except DARCError as error:
        _logger.info("%s: skipped: %s", cluster, error)
        return Outcome(cluster.number, reason_for(error), str(error))
    _logger.info("%s: extracted with S/N %.1f", cluster, found.snr)
    return Outcome(cluster.number)


# --- where the work is handed out --------------------------------------------------------------------------


def extract_clusters(
    work: Work,
    part: Part,
    workers: Workers,
    account: Account,
    clock: Callable[[], float] = time.monotonic,
) -> Done:
    """Extract the clusters of a part, the brightest first, until all are done or the time is over.

    What became of a chunk is stored when it is done, so that work that was interrupted goes on after it.

    Raises:
        OfflineError: the list of clusters cannot be read, or outcomes cannot be written
    """
    clusters = read_clusters(part)
    job = Job(work.beam, work.extractor, work.config.sb_generator, work.tied_array, part.candidates)
    part.candidates.mkdir(parents=True, exist_ok=True)
    outcomes = _known(part)
    chunks = (Chunk(job, tuple(chunk)) for chunk in _chunks(c for c in clusters if c.number not in outcomes))
    deadline = clock() + work.settings.max_proc_time

    def in_time() -> Iterator[Chunk]:
        for chunk in chunks:
            if clock() >= deadline:
                return
            yield chunk

    def take(chunk: Chunk, found: list[Outcome]) -> None:
        outcomes.update({outcome.number: outcome for outcome in found})
        content = json.dumps([asdict(outcome) for outcome in found])
        write_complete(part.candidates / f"{chunk.clusters[0].number:06d}.json", content, OfflineError)
        account.report("extract", len(outcomes), len(clusters))

    deadly: list[Chunk] = []
    for chunk, found in workers.results(extract_chunk, in_time(), account.check):
        if found is None:
            deadly += [Chunk(job, (cluster,)) for cluster in chunk.clusters]
        else:
            take(chunk, found)
    for chunk, found in workers.results(extract_chunk, deadly, account.check):
        take(chunk, found or [Outcome(chunk.clusters[0].number, DEADLY)])
    for cluster in clusters:
        outcomes.setdefault(cluster.number, Outcome(cluster.number, NO_TIME))
    return _finish(part, [outcomes[cluster.number] for cluster in clusters])


def _chunks(clusters: Iterator[Cluster]) -> Iterator[list[Cluster]]:
    while chunk := list(islice(clusters, CHUNK)):
        yield chunk


def _known(part: Part) -> dict[int, Outcome]:
    """Return what became of clusters before the work was interrupted."""
    known: dict[int, Outcome] = {}
    for path in sorted(part.candidates.glob("*.json")):
        known |= {outcome.number: outcome for outcome in _outcomes(path)}
    return known


def _finish(part: Part, outcomes: list[Outcome]) -> Done:
    write_complete(part.extracted, json.dumps([asdict(outcome) for outcome in outcomes]) + "\n", OfflineError)
    for path in part.candidates.glob("*.json"):
        path.unlink()
    reasons = Counter(outcome.reason for outcome in outcomes)
    extracted, faint = reasons.pop("", 0), reasons.pop(TOO_FAINT, 0)
    _logger.info("%d clusters extracted, %d too faint in the data", extracted, faint)
    problems = []
    for reason, number in sorted(reasons.items()):
        example = next(outcome.message for outcome in outcomes if outcome.reason == reason)
        problems.append(f"{number} of {len(outcomes)} clusters skipped: {reason}{example and ': '}{example}")
    return Done({"ncand_skipped": reasons.total(), "ncand_abovethresh": extracted}, problems)


def read_extracted(part: Part) -> list[Outcome]:
    """Return what became of the clusters of a part, the brightest first.

    Raises:
        OfflineError: the list is absent or damaged
    """
    return _outcomes(part.extracted)


def _outcomes(path: Path) -> list[Outcome]:
    content: Any = read_json(path, _OUTCOMES_BYTES_MAX)
    try:
        return [Outcome(int(one["number"]), str(one["reason"]), str(one["message"])) for one in content]
    except (TypeError, ValueError, KeyError) as error:
        raise OfflineError(f"{path}: damaged: {shown(content)}: remove it to repeat the step") from error
