"""What a service of a worker knows of the observation of its compound beam: source, direction, start."""

from __future__ import annotations

from typing import Any, ClassVar

from astropy.coordinates import SkyCoord
from astropy.time import Time

from darc.alerts import Context
from darc.base import DARCBase
from darc.beam_pointing import beam_pointing
from darc.errors import DARCError
from darc.formats import parset as parsets
from darc.formats.observation_name import observation_label
from darc.formats.source_list import Source, load_source_list
from darc.formats.utc import unix_as_astropy
from darc.science.galaxy import galactic_dm
from darc.science.pointing import galactic


class BeamService(DARCBase):
    """A service of one compound beam.

    Attributes:
        parset: parset of the observation; None: it cannot be read
        source: known source that is observed; None: it is none
        source_name: name of the source as the parset has it
        dm_gal: highest DM of the Galaxy towards this beam in pc cm^-3; None: not known
        utc_start: start of the data
        context: what messages about this observation carry
    """

    source_file: Any
    galaxy_model: str
    galactic_dm_max: float

    #: what it raises where the observation's configuration is wrong
    error: ClassVar[type[DARCError]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source: Source | None = None
        self.source_name: str | None = None
        self.parset: dict[str, Any] | None = None
        self.dm_gal: float | None = None

    def know(self, obs_config: dict[str, Any]) -> None:
        """Find out what there is to know of an observation.

        Raises:
            DARCError: its configuration lacks what is needed
        """
        self.parset = self._load_parset(obs_config)
        self._get_source()
        self._start_unix = parsets.start_time_unix(obs_config, self.instrument)
        seconds, packets = divmod(int(obs_config["startpacket"]), self.instrument.time_unit_hz)
        self.utc_start = unix_as_astropy(seconds, packets / self.instrument.time_unit_hz)
        self.dm_gal = self._galactic_dm(self._get_pointing())
        self.context = Context(
            self.instrument,
            self._sys_params(),
            self.utc_start,
            observation_label(obs_config),
            self._beam(),
            self.dm_gal or 0.0,
        )

    def _load_source_list(self) -> dict[str, dict[str, Any]]:
        """Load the list with known source DMs: a dictionary per category."""
        sources = load_source_list(self.source_file)
        return {
            "pulsars": dict(sources.pulsars),
            "frbs": dict(sources.frbs),
            "aliases": dict(sources.aliases),
        }

    def _get_source(self) -> float | None:
        """Look up the source of the observation; return its DM in pc cm^-3, None for an unknown source."""
        self.source = self.source_name = None
        if self.parset is not None:
            self.source_name = str(self.parset.get("task.source.name", ""))
            if self.source_file:
                self.source = load_source_list(self.source_file).lookup(self.source_name)
        return self.source.dm if self.source else None

    def _get_pointing(self, time: Time | None = None) -> SkyCoord | None:
        """Return the direction of this compound beam from the parset.

        Args:
            time: when, for a beam that is fixed on the ground; default: the start of the observation

        Returns:
            the direction, or None if the parset does not tell
        """
        beam = self._beam()
        if self.parset is None or beam is None:
            return None
        try:
            return beam_pointing(self.parset, beam, time or self.utc_start, self.instrument)
        except DARCError as error:
            self.logger.error("no pointing of this beam: %s", error)
            return None

    def _galactic_dm(self, pointing: SkyCoord | None) -> float | None:
        dm_gal = galactic_dm(
            self.galaxy_model, self.galactic_dm_max, lambda: None if pointing is None else galactic(pointing)
        )
        if dm_gal is None:
            self.logger.error("no pointing, therefore no Galactic DM: no triggers on new sources")
        return dm_gal

    def _sys_params(self) -> dict[str, float]:
        min_freq_mhz = self._number("min_freq", self.instrument.min_freq_mhz)
        return {
            "dt": self.instrument.tsamp_s,
            "delta_nu_MHz": self.instrument.channel_width_mhz,
            "nu_GHz": self.instrument.centre_freq_mhz(min_freq_mhz) / 1000,
        }

    def _beam(self) -> int | None:
        beam = self._number("beam", self.config.beam)
        return None if beam is None else int(beam)

    def _number(self, key: str, default: Any) -> Any:
        """Return a number of the observation's configuration."""
        value = self.obs_config.get(key, default)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise self.error(f"{key} of the observation is {value!r:.100}, not a number") from error
