"""The second step: from a cluster to the data around it, as a file."""

from __future__ import annotations

from typing import Any

from darc.config import Config
from darc.errors import DARCError
from darc.formats import candidate as candidates
from darc.formats.filterbank import FilterbankTruncatedError
from darc.processor_tools.beam_extractor import BeamExtractor, reason_for
from darc.processor_tools.filterbank_reader import FilterbankMissingError
from darc.processor_tools.messages import Extract, Extracted
from darc.processor_tools.step import Settings, Step
from darc.science.extraction import warm_up


class Extractor(Step):
    """Extracts the data of clusters from the filterbank files of an observation."""

    section = "extractor"

    def _settings(self, config: Config) -> Settings:
        self.beam_settings = config.sb_generator
        return super()._settings(config)

    def set_up(self) -> None:
        """Compile the kernels, and find out which channels and beams there are."""
        self._extractor = BeamExtractor(self.beam, self.settings, self.beam_settings, self.logger)
        warm_up()

    def work(self, content: Any) -> None:
        """Extract a cluster and answer with the file, or why there is none."""
        if not isinstance(content, Extract):
            raise DARCError(f"an extractor cannot do this: {content!r:.200}")
        cluster = content.cluster
        try:
            found = self._extractor.extract(cluster, content.last_chance)
            path = candidates.write(self.beam.candidate_folder, found)
        except DARCError as error:
            late = isinstance(error, FilterbankMissingError | FilterbankTruncatedError)
            too_early = late and not content.last_chance
            self.logger.warning(
                "%s: %s: %s", cluster, "data not there yet" if too_early else "skipped", error
            )
            self.answer(Extracted(self.name, cluster.number, reason=reason_for(error), too_early=too_early))
        else:
            self.logger.info("%s: extracted with S/N %.1f to %s", cluster, found.snr, path.name)
            self.answer(Extracted(self.name, cluster.number, path))

    def cleanup(self) -> None:
        """Close the files."""
        if hasattr(self, "_extractor"):
            self._extractor.close()
