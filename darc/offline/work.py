"""What is to be processed after an observation, how, and where everything goes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from darc.config import Config
from darc.config.processing import Extractor, OfflineProcessing, Visualizer
from darc.formats.offline_results import pages_name, summary_name, triggers_name
from darc.offline.plan import OfflineError
from darc.processor_tools.beam import ObservedBeam

#: Folder in the output of an observation for all that is made here.
SUBDIR = "triggers"
#: No synthesised or tied-array beam has a higher number.
LAST_BEAM = 999


class BusyError(OfflineError):
    """Somebody else is at it."""


class Mode(Enum):
    """Which beams are processed; the value is what they are called."""

    SB = "synthesised beams"
    TAB = "tied-array beams"
    IAB = "incoherent beam"


@dataclass(frozen=True)
class Part:
    """A range of beams (SBs or TABs) whose clusters are found and extracted together.

    Attributes:
        folder: for its files
        first: first beam
        last: last beam
    """

    folder: Path
    first: int
    last: int

    @property
    def clusters(self) -> Path:
        """The clusters, brightest first."""
        return self.folder / "clusters.json"

    @property
    def candidates(self) -> Path:
        """Folder of the candidates, and of what became of the other clusters."""
        return self.folder / "candidates"

    @property
    def extracted(self) -> Path:
        """What became of each cluster."""
        return self.folder / "extracted.json"


@dataclass(frozen=True)
class Work:
    """One compound beam of one observation, to be processed.

    Attributes:
        beam: what was observed, with the folders of this processing
        config: configuration of the node
    """

    beam: ObservedBeam
    config: Config

    @classmethod
    def of(cls, obs_config: dict[str, Any], config: Config) -> Work:
        """Read the configuration of an observation.

        Raises:
            DARCError: it lacks something, or a value is not as it has to be
        """
        result_dir = config.offline_processing.result_dir
        return cls(ObservedBeam.of(obs_config, config, output_subdir=SUBDIR, result_dir=result_dir), config)

    def with_files(self, name: str, tab: int | None) -> Work:
        """Return the same with other filterbank files.

        Args:
            name: full path of the file of a TAB or of the incoherent beam, or that of the files of all TABs
                up to the underscore before the number
            tab: the TAB; None: the files of all
        """
        files = [Path(f"{name}_{number:02d}.fil") for number in range(self.beam.ntab)]
        if self.beam.ntab == 1:
            files = [Path(name)]
        elif tab is not None:
            files = [
                Path(name) if number == tab else path for number, path in enumerate(self.beam.filterbanks)
            ]
        return replace(self, beam=replace(self.beam, filterbanks=tuple(files)))

    @property
    def settings(self) -> OfflineProcessing:
        """Section of the configuration."""
        return self.config.offline_processing

    @property
    def mode(self) -> Mode:
        """Which beams are processed."""
        if self.beam.ntab == 1:
            return Mode.IAB
        return Mode.SB if self.settings.process_sb else Mode.TAB

    @property
    def tied_array(self) -> bool:
        """Whether beams are numbered as tied-array beams."""
        return self.mode is not Mode.SB

    @property
    def extractor(self) -> Extractor:
        """Settings of the extraction: those of the real-time one, but for what has a key of its own."""
        own = self.settings
        return self.config.processor.extractor.model_copy(
            update={
                "ndm": own.ndm,
                "ntime": own.ntime_plot,
                "nfreq": own.nfreq_plot,
                "snr_min_local": own.snrmin_processing_local,
                "rfi_clean_type": own.clean_type,
            }
        )

    @property
    def visualizer(self) -> Visualizer:
        """Settings of the pages: those of the real-time ones, but for the colours."""
        cmap = self.settings.cmap
        return self.config.processor.visualizer.model_copy(
            update={"cmap_freqtime": cmap, "cmap_dmtime": cmap}
        )

    # --- files ---------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Folder for what is made on the way."""
        return self.beam.work_folder

    def mark(self, step: str) -> Path:
        """Return the file that says that a step is done."""
        return self.folder / "steps" / f"{step}.json"

    @property
    def amber(self) -> Path:
        """All rows of AMBER."""
        return self.folder / f"CB{self.beam.beam:02d}.trigger"

    def part(self, first: int = 0, last: int = LAST_BEAM) -> Part:
        """Return a range of beams."""
        return Part(self.folder / "parts" / f"{first:03d}-{last:03d}", first, last)

    @property
    def parts(self) -> list[Part]:
        """Ranges of beams that have been clustered, in order."""
        folder = self.folder / "parts"
        found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        ranges = [(path, path.name.partition("-")) for path in sorted(found)]
        return [
            Part(path, int(first), int(last))
            for path, (first, _, last) in ranges
            if first.isdecimal() and last.isdecimal()
        ]

    @property
    def merged(self) -> Path:
        """All candidates in one file."""
        return self.folder / "data" / "data_full.hdf5"

    @property
    def index(self) -> Path:
        """Files of the candidates in that file, in its order."""
        return self.merged.with_suffix(".json")

    @property
    def classified(self) -> Path:
        """Probabilities of these candidates."""
        return self.folder / "data" / "classified.json"

    @property
    def pages(self) -> Path:
        """Plots of the candidates that were kept."""
        return self.folder / pages_name(self.beam.beam)

    @property
    def results(self) -> tuple[Path, Path, Path]:
        """Plots, list of kept candidates and summary, where they are looked for."""
        beam, folder = self.beam.beam, self.beam.result_folder
        return folder / pages_name(beam), folder / triggers_name(beam), folder / summary_name(beam)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from this work, and tidy up after one that was killed.

        Raises:
            BusyError: somebody else is at it
            OfflineError: its folder cannot be written to
        """
        path = self.folder / "lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("w", encoding="utf-8")
        except OSError as error:
            raise OfflineError(f"{path.parent}: cannot be written to: {error.strerror}") from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BusyError(f"{self.beam.label}, beam {self.beam.beam}: is processed already") from error
            for stray in (
                *self.folder.rglob("*.part"),
                *self.beam.result_folder.glob(f"CB{self.beam.beam:02d}*.part"),
            ):
                with suppress(OSError):
                    stray.unlink()
            yield
