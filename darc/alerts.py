"""From a decision to the messages about it: to the DADA trigger, and to the queues of the master node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astropy.coordinates import SkyCoord
from astropy.time import Time, TimeDelta

from darc.definitions import Instrument
from darc.formats.trigger import IMPORTANCE, NEW_SOURCE, SEMI_AXIS_ARCMIN, DumpTrigger
from darc.formats.utc import parse_utc, unix_ms
from darc.science.dispersion import delay_s
from darc.science.radiometer import peak_flux_density_jy
from darc.science.selection import Verdict


@dataclass(frozen=True)
class Context:
    """What a message carries beyond the cluster that it is about.

    Attributes:
        instrument: constants of the instrument
        sys_params: `dt` (s), `delta_nu_MHz` and `nu_GHz` of the data
        utc_start: start of the data
        datetimesource: label of the observation
        beam: compound beam; None: not known
        dm_gal: Galactic maximum DM in pc cm^-3
        pointing: direction of the compound beam; None: to be found for the time of arrival
        arrived_unix: when the first row of the batch came here, in unix s; None: not known
    """

    instrument: Instrument
    sys_params: Mapping[str, float]
    utc_start: Time
    datetimesource: str
    beam: int | None
    dm_gal: float
    pointing: SkyCoord | None = None
    arrived_unix: float | None = None

    def arrival_at_centre(self, verdict: Verdict) -> Time:
        """Return the arrival time at the centre of the band, later than at its top, to the microsecond."""
        centre_mhz = self.sys_params["nu_GHz"] * 1e3
        top_mhz = centre_mhz + self.instrument.bandwidth_mhz / 2
        delay = float(delay_s(verdict.best_dm, centre_mhz, top_mhz))
        arrival = self.utc_start + TimeDelta(verdict.time_s + delay, format="sec")
        arrival.format, arrival.precision = "isot", 6
        return arrival


def iquv_message(verdicts: Sequence[Verdict], context: Context) -> dict[str, Any]:
    """Return the message that has the DADA trigger dump IQUV data for all these clusters."""
    triggers = [
        DumpTrigger(
            stokes="IQUV",
            dm=verdict.best_dm,
            beam=verdict.sb,
            width=verdict.width,
            snr=verdict.snr,
            time_s=verdict.time_s,
            utc_start=context.utc_start,
        )
        for verdict in verdicts
    ]
    items = [trigger.as_item() for trigger in triggers]
    return {"command": "trigger", "trigger": items, "arrived": context.arrived_unix}


def master_item(verdict: Verdict, context: Context, arrival: Time, pointing: SkyCoord) -> dict[str, Any]:
    """Return the item for the queues of the LOFAR trigger and of the VOEvent generator.

    Args:
        verdict: the cluster
        context: what it is part of
        arrival: arrival time at the centre of the band
        pointing: direction of the compound beam at that time
    """
    width_s = verdict.width * context.sys_params["dt"]
    return {
        "dm": verdict.best_dm,
        "dm_err": 0.0 if verdict.source_dm is not None else width_s * 1e3,
        "width": width_s * 1e3,
        "snr": verdict.snr,
        "flux": peak_flux_density_jy(verdict.snr, width_s, context.instrument),
        "ra": float(pointing.icrs.ra.deg),
        "dec": float(pointing.icrs.dec.deg),
        "cb": context.beam,
        "sb": verdict.sb,
        "ymw16": context.dm_gal,
        "semiMaj": SEMI_AXIS_ARCMIN,
        "semiMin": SEMI_AXIS_ARCMIN,
        "name": verdict.source_name or NEW_SOURCE,
        "src_name": verdict.source_name,
        "datetimesource": context.datetimesource,
        "utc": arrival.isot,
        "tarr": verdict.time_s,
        "importance": IMPORTANCE,
        "arrived": context.arrived_unix,
        **context.sys_params,
    }


def lateness_s(item: Mapping[str, Any], now: float, max_age_s: float, freq_mhz: float | None = None) -> float:
    """Return by how much in s an item for the master node is too late; negative if it is in time.

    Args:
        item: the item
        now: unix s
        max_age_s: how long after the arrival of its burst it is of use, in s
        freq_mhz: frequency of that arrival in MHz; None: the centre of the band
    """
    delay = 0.0 if freq_mhz is None else float(delay_s(item["dm"], freq_mhz, item["nu_GHz"] * 1e3))
    return now - (unix_ms(parse_utc(item["utc"])) / 1e3 + delay) - max_age_s
