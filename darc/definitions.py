"""Constants of the instrument and of nature, each with its unit and source.

`Instrument` holds what another telescope changes; its defaults describe Apertif/ARTS at the Westerbork
Synthesis Radio Telescope. A site overrides single values in the section `instrument` of its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Dispersion constant in s MHz^2 pc^-1 cm^3, the value that AMBER and pulsar software use
#: (Lorimer & Kramer 2005, Handbook of Pulsar Astronomy, eq. 4.7: 4.148808e3).
DISPERSION_CONSTANT = 4.148808e3

#: Boltzmann constant in J/K (exact, SI 2019).
BOLTZMANN_J_PER_K = 1.380649e-23

#: One jansky in W m^-2 Hz^-1.
JANSKY = 1e-26


@dataclass(frozen=True)
class Instrument:
    """A telescope with its beamformer and search back end."""

    #: name of the observatory and of the search back end, as VOEvents carry them
    observatory: str = "WSRT"
    backend: str = "ARTS"
    #: geocentric ITRF reference position in m (WSRT, telescope RT8 of the array's parset)
    itrf_x_m: float = 3828630.63486200943589211
    itrf_y_m: float = 443593.39226634375518188
    itrf_z_m: float = 5064922.99755000043660402
    #: compound beams, tied-array beams per compound beam, synthesised beams per compound beam
    ncompound_beam: int = 40
    ntab: int = 12
    nsynthesised_beam: int = 71
    #: subbands, over which a synthesised beam chooses its tied-array beams
    nsubband: int = 32
    #: channels and total bandwidth of the search data
    nchan: int = 1536
    bandwidth_mhz: float = 300.0
    #: sampling time of the search data
    tsamp_s: float = 81.92e-6
    #: samples in a page of the ring buffer, which is also AMBER's batch (12500 x 81.92 us = 1.024 s)
    samples_per_batch: int = 12500
    #: seconds of data the ring buffer keeps
    ring_buffer_s: float = 10.0
    #: beamformer time counts per second; `startpacket` counts from the unix epoch
    time_unit_hz: int = 781250
    #: dishes: diameter, number in use, aperture efficiency
    dish_diameter_m: float = 25.0
    ndish: int = 8
    aperture_efficiency: float = 0.60
    system_temperature_k: float = 85.0
    #: polarisations that are summed to Stokes I
    npol: int = 2
    #: bits per sample of the search data
    nbit: int = 8
    #: centre of the lowest channel when the observation does not say (ARTS, 1220-1520 MHz)
    min_freq_mhz: float = 1219.70092773

    @property
    def channel_width_mhz(self) -> float:
        """Width of one channel in MHz."""
        return self.bandwidth_mhz / self.nchan

    @property
    def batch_s(self) -> float:
        """Seconds of data in one batch of AMBER (one page of the ring buffer)."""
        return self.samples_per_batch * self.tsamp_s

    def centre_freq_mhz(self, min_freq_mhz: float) -> float:
        """Centre of the band in MHz, given the centre of the lowest channel in MHz."""
        return min_freq_mhz + (self.bandwidth_mhz - self.channel_width_mhz) / 2

    def top_freq_mhz(self, min_freq_mhz: float) -> float:
        """Upper edge of the band in MHz, to which AMBER refers its arrival times."""
        return min_freq_mhz - self.channel_width_mhz / 2 + self.bandwidth_mhz


#: The instrument this system was built for.
ARTS = Instrument()
