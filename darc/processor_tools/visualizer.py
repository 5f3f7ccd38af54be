"""The last step: plots of the candidates that were kept, on pages and as single pictures."""

from __future__ import annotations

from typing import Any

from darc.config import Config
from darc.errors import DARCError
from darc.formats.results import pages_name
from darc.processor_tools.galactic import galactic_dm
from darc.processor_tools.messages import Draw, Drawn
from darc.processor_tools.step import Settings, Step


class Visualizer(Step):
    """Draws the candidates of a beam."""

    section = "visualizer"

    def _settings(self, config: Config) -> Settings:
        self.galaxy = config.amber_clustering
        return super()._settings(config)

    def work(self, content: Any) -> None:
        """Draw all plots, and answer that this is over."""
        if not isinstance(content, Draw):
            raise DARCError(f"the visualiser cannot do this: {content!r:.200}")
        try:
            self._draw(content)
        except DARCError as error:
            self.logger.error("no plots: %s", error)
        self.answer(Drawn(self.name))

    def _draw(self, content: Draw) -> None:
        from darc.processor_tools.pages import observed, write_pages  # noqa: PLC0415 (matplotlib: a second)
        from darc.processor_tools.pictures import write_pictures  # noqa: PLC0415

        try:
            dm_galactic = galactic_dm(self.beam, self.galaxy)
        except DARCError as error:
            self.logger.error("the Galactic DM is not known: %s", error)
            dm_galactic = None
        folder, told = self.beam.result_folder, observed(self.beam, dm_galactic)
        path = folder / pages_name(self.beam.beam)
        placed = write_pages(path, content.paths, self.settings, told)
        for file, reason in placed.damaged.items():
            self.logger.error("%s: not plotted: %s", file, reason)
        ranked = [file for file in placed.page if file not in placed.damaged]
        self.logger.info("%d candidates plotted to %s", len(ranked), path)
        for reason in write_pictures(folder, ranked, self.settings, told).values():
            self.logger.error("no picture: %s", reason)
