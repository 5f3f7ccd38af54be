"""The rules of real-time triggering: which clusters are looked for, and what each receiver asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darc.science.clustering import Clusters, Method, cluster
from darc.science.selection import Group, Limits

_PULSAR = Limits(closed="never for a pulsar")


@dataclass(frozen=True)
class Rules:
    """The rules for one observation in one compound beam.

    Attributes:
        beam: compound beam; None: not known
        source_name: known source of the observation, None if it is not among the known ones
        source_kind: `pulsar` or `frb`
        source_dm: its DM in pc cm^-3
        dm_gal: Galactic maximum DM in pc cm^-3 in the direction of the beam; None: not known, then new
            sources are not looked for, as a guess would trigger on every pulsar in the Galactic plane
        clustering_window: length of the time windows in s
        dm_range: half the DM range around a known source in pc cm^-3
        dm_min_global: lowest DM ever, in pc cm^-3
        snr_min_global: lowest S/N for a known source
        sb_filter: whether S/N has to be periodic over the synthesised beams
        sb_filter_period: lowest and highest period, both excluded
        thresh_iquv: `dm_frac_min`, `width_max` (samples), `snr_min` for dumps on new sources
        thresh_lofar: `max_cands_per_cluster`, `dm_frac_min`, `width_max`, `snr_min` for LOFAR and VOEvents
        lofar_trigger_sources: known sources with limits of their own
        thresh_lofar_override: those limits: `snr_min`, `width_max`, `cb`, `trigger_on_new_sources`
        observed_name: name of the source in the observation, which may be an alias, or known to nobody
        clustering_method: how triggers are grouped, `windows` or `linked`
    """

    beam: int | None
    source_name: str | None
    source_kind: str | None
    source_dm: float | None
    dm_gal: float | None
    clustering_window: float
    dm_range: float
    dm_min_global: float
    snr_min_global: float
    sb_filter: bool
    sb_filter_period: tuple[float, float]
    thresh_iquv: Mapping[str, float]
    thresh_lofar: Mapping[str, float]
    lofar_trigger_sources: list[str]
    thresh_lofar_override: Mapping[str, Any]
    observed_name: str | None = None
    clustering_method: Method = "windows"

    def groups(self, triggers: NDArray[np.float64]) -> list[Group]:
        """Cluster the triggers of one batch for every selection that applies, known source first.

        Args:
            triggers: (n, 5): DM, S/N, time, width, SB
        """
        groups = []
        if self.source_dm is not None:
            dm_min = max(self.source_dm - self.dm_range, self.dm_min_global)
            clusters = self.cluster(triggers, self.snr_min_global, dm_min, self.source_dm + self.dm_range)
            lofar = self.lofar_known(self.source_kind, self.source_name)
            groups.append(
                Group(clusters, Limits(snr_min=self.snr_min_global), lofar, self.source_name, self.source_dm)
            )
        if self.dm_gal is not None:
            dm_min = max(self.thresh_iquv["dm_frac_min"] * self.dm_gal, self.dm_min_global)
            iquv = Limits(snr_min=self.thresh_iquv["snr_min"], width_max=self.thresh_iquv["width_max"])
            clusters = self.cluster(triggers, iquv.snr_min, dm_min, inf)
            groups.append(Group(clusters, iquv, self.lofar_new(self.dm_gal)))
        return groups

    def cluster(
        self,
        triggers: NDArray[np.float64],
        snr_min: float,
        dm_min: float,
        dm_max: float,
        earlier: NDArray[np.float64] | None = None,
    ) -> Clusters:
        """Cluster triggers in windows that are counted from the start of the observation.

        `darc.science.clustering.cluster` explains the arguments.
        """
        return cluster(
            triggers,
            snr_min=snr_min,
            dm_min=dm_min,
            dm_max=dm_max,
            window=self.clustering_window,
            origin=0.0,
            sb_filter=self.sb_filter,
            sb_filter_period=self.sb_filter_period,
            method=self.clustering_method,
            earlier=earlier,
        )

    def lofar_known(self, kind: str | None, name: str | None) -> Limits:
        """Return what LOFAR and VOEvents ask of a known source."""
        if kind == "pulsar":
            return _PULSAR
        if not self._has_own_limits(name):
            return Limits(snr_min=self.thresh_lofar["snr_min"], width_max=self.thresh_lofar["width_max"])
        if closed := self._wrong_beam(name):
            return Limits(closed=closed)
        override = self.thresh_lofar_override
        return Limits(snr_min=override["snr_min"], width_max=override["width_max"])

    def lofar_new(self, dm_gal: float) -> Limits:
        """Return what LOFAR and VOEvents ask of a new source, which depends on the observed one."""
        if self.source_kind == "pulsar":
            return _PULSAR
        if self._has_own_limits(self.source_name):
            name = self.observed_name or self.source_name
            if closed := self._wrong_beam(name):
                return Limits(closed=closed)
            if not self.thresh_lofar_override.get("trigger_on_new_sources"):
                return Limits(closed=f"no new sources in observations of {name}")
        thresh = self.thresh_lofar
        return Limits(
            snr_min=thresh["snr_min"],
            dm_min=max(thresh["dm_frac_min"] * dm_gal, self.dm_min_global),
            width_max=thresh["width_max"],
            count_max=thresh["max_cands_per_cluster"],
        )

    def _has_own_limits(self, name: str | None) -> bool:
        return not {name, self.observed_name}.isdisjoint(self.lofar_trigger_sources)

    def _wrong_beam(self, name: str | None) -> str:
        """Return why nothing is sent in this beam when a source with limits of its own is observed."""
        allowed = self.thresh_lofar_override.get("cb")
        allowed = allowed if isinstance(allowed, list | tuple | None) else [allowed]
        if not allowed or self.beam in allowed:
            return ""
        beams = ", ".join(str(beam) for beam in allowed)
        return f"beam {self.beam} is not among those that trigger on {name} ({beams})"
