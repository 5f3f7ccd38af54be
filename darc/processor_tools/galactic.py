"""The highest Galactic DM in the direction of a beam."""

from __future__ import annotations

from typing import SupportsFloat

from darc.beam_pointing import beam_pointing
from darc.config.sections import AMBERClustering
from darc.formats.parset import observation_parset
from darc.formats.utc import unix_as_astropy
from darc.processor_tools.beam import ObservedBeam
from darc.science import galaxy
from darc.science.pointing import galactic


def galactic_dm(beam: ObservedBeam, settings: AMBERClustering) -> float | None:
    """Return the highest Galactic DM in the direction of a beam, in pc cm^-3; None if there is no model.

    Args:
        beam: what was observed
        settings: which model to use, or the DM itself

    Raises:
        DARCError: the direction is not known, or the model is not there
    """

    def direction() -> tuple[SupportsFloat, SupportsFloat]:
        parset = observation_parset(beam.obs_config)
        start = unix_as_astropy(int(beam.start_unix), beam.start_unix % 1)
        return galactic(beam_pointing(parset, beam.beam, start, beam.instrument))

    return galaxy.galactic_dm(settings.galaxy_model, settings.galactic_dm_max, direction)
