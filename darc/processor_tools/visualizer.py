"""The last step: pages with plots of the candidates that were kept."""

from __future__ import annotations

from typing import Any

from astropy.time import Time

from darc.beam_pointing import beam_pointing
from darc.config import Config
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.results import pages_name
from darc.processor_tools.messages import Draw, Drawn
from darc.processor_tools.step import Settings, Step
from darc.science.galaxy import galactic_maximum_dm
from darc.science.pointing import galactic


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
        from darc.processor_tools.pages import write_pages  # noqa: PLC0415 (matplotlib: a second)
        from darc.processor_tools.panels import Observed  # noqa: PLC0415

        beam = self.beam
        half_mhz = beam.band.channel_width_mhz * beam.band.nchan / 2
        observed = Observed(
            datetimesource=beam.label,
            cb=beam.beam,
            source=beam.source,
            band_mhz=(beam.band.centre_mhz - half_mhz, beam.band.centre_mhz + half_mhz),
            dm_galactic=self._galactic_dm(),
        )
        path = beam.result_folder / pages_name(beam.beam)
        placed = write_pages(path, content.paths, self.settings, observed)
        for file, reason in placed.damaged.items():
            self.logger.error("%s: not plotted: %s", file, reason)
        self.logger.info("%d candidates plotted to %s", len(placed.page) - len(placed.damaged), path)

    def _galactic_dm(self) -> float | None:
        """Return the highest Galactic DM in this direction; None if it is not known."""
        if self.galaxy.galaxy_model != "ymw16":
            dm_max: float | None = self.galaxy.galactic_dm_max
            return dm_max
        try:
            parset = parsets.observation_parset(self.beam.obs_config)
            start = Time(self.beam.start_unix, format="unix")
            gl_deg, gb_deg = galactic(beam_pointing(parset, self.beam.beam, start, self.instrument))
            return galactic_maximum_dm(float(gl_deg), float(gb_deg))
        except DARCError as error:
            self.logger.error("the Galactic DM is not known: %s", error)
            return None
