"""The last step: pages with plots of the candidates that were kept."""

from __future__ import annotations

from typing import Any

from darc.config import Config
from darc.errors import DARCError
from darc.formats.results import pages_name
from darc.processor_tools.galactic import galactic_dm
from darc.processor_tools.messages import Draw, Drawn
from darc.processor_tools.step import Settings, Step


class Visualizer(Step):
    """Draws the pages of a beam."""

    section = "visualizer"

    def _settings(self, config: Config) -> Settings:
        self.galaxy = config.amber_clustering
        return super()._settings(config)

    def work(self, content: Any) -> None:
        """Draw the pages, and answer that this is over."""
        if not isinstance(content, Draw):
            raise DARCError(f"the visualiser cannot do this: {content!r:.200}")
        try:
            self._draw(content)
        except DARCError as error:
            self.logger.error("no plots: %s", error)
        self.answer(Drawn(self.name))

    def _draw(self, content: Draw) -> None:
        from darc.processor_tools.pages import draw_pages  # noqa: PLC0415 (matplotlib: a second)

        try:
            dm_galactic = galactic_dm(self.beam, self.galaxy)
        except DARCError as error:
            self.logger.error("the Galactic DM is not known: %s", error)
            dm_galactic = None
        path = self.beam.result_folder / pages_name(self.beam.beam)
        placed = draw_pages(path, content.paths, self.settings, self.beam, dm_galactic)
        for file, reason in placed.damaged.items():
            self.logger.error("%s: not plotted: %s", file, reason)
        self.logger.info("%d candidates plotted to %s", len(placed.page) - len(placed.damaged), path)
