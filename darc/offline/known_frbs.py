"""The plot of the candidates that may come from known fast radio bursts in the field."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import compress
from pathlib import Path
from typing import Any

from darc.config import Config
from darc.formats.files import write_complete
from darc.formats.known_frbs import KnownFRB, load_known_frbs
from darc.formats.results import Trigger
from darc.offline.plan import OfflineError
from darc.science.known_sources import near
from darc.science.sky_plane import half_power_radius_deg

#: Name of the plot in an observation's folder of results, and what it shows.
PLOT_NAME = "known_frbs.png"
TITLE = "Candidates near known FRBs"
#: Most sources in one plot.
SOURCES_MAX = 20
#: Size of a source's panels in inches, resolution, longest title.
_WIDTH, _HEIGHT, _DPI = 12.0, 3.2, 100
_TITLE_MAX = 90

_logger = logging.getLogger("darc.offline")


@dataclass(frozen=True)
class Near:
    """A known source, and the candidates near it in position and DM."""

    source: KnownFRB
    candidates: tuple[Trigger, ...]


def find_near(
    sources: Sequence[KnownFRB],
    candidates: Sequence[Trigger],
    positions: Mapping[int, tuple[float, float]],
    *,
    radius_deg: float,
    dm_window: float,
) -> list[Near]:
    """Return the sources that have candidates near them, with these.

    Args:
        sources: known bursts
        candidates: those of all beams
        positions: right ascension and declination in degrees of the beams; others are left out
        radius_deg: largest angle between a source and the centre of a candidate's beam
        dm_window: largest difference of DMs in pc cm^-3
    """
    placed = [candidate for candidate in candidates if candidate.cb in positions]
    found = near(
        [(*positions[candidate.cb], candidate.dm) for candidate in placed],
        [(source.ra_deg, source.dec_deg, source.dm) for source in sources],
        radius_deg=radius_deg,
        dm_window=dm_window,
    )
    each = (Near(source, tuple(compress(placed, row))) for source, row in zip(sources, found, strict=True))
    return [one for one in each if one.candidates]


def plot_near_known_frbs(
    folder: Path,
    candidates: Sequence[Trigger],
    positions: Mapping[int, tuple[float, float]],
    freq_mhz: float,
    config: Config,
) -> Path | None:
    """Plot the candidates near known bursts; return the plot, or None if there is nothing to show.

    Args:
        folder: the observation's folder of results
        candidates: those of all beams
        positions: right ascension and declination in degrees of the beams
        freq_mhz: centre of the band, for the size of the beams
        config: configuration of this node

    Raises:
        DARCError: the list of known bursts is absent or wrong, or the plot cannot be written
    """
    settings, path = config.offline_processing, folder / PLOT_NAME
    with suppress(OSError):  # of an earlier time, when there was something to show
        path.unlink()
    if settings.known_frbs is None:
        _logger.info("no plot of known FRBs: offline_processing.known_frbs names no list of them")
        return None
    found = find_near(
        load_known_frbs(settings.known_frbs),
        candidates,
        positions,
        radius_deg=half_power_radius_deg(config.instrument.dish_diameter_m, freq_mhz),
        dm_window=settings.known_frbs_dm_window,
    )
    if not found:
        _logger.info("no candidates near known FRBs")
        return None
    for one in found:
        _logger.info("%d candidates near %s", len(one.candidates), one.source.name)
    write_complete(path, draw(found, settings.known_frbs_dm_window), OfflineError)
    return path


def draw(found: Sequence[Near], dm_window: float) -> bytes:
    """Return a PNG: DM against time and against S/N for each source."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (matplotlib: a second)
    from matplotlib.figure import Figure  # noqa: PLC0415

    from darc.processor_tools.drawing import drawing  # noqa: PLC0415

    output, shown = BytesIO(), found[:SOURCES_MAX]
    with drawing():
        figure = Figure((_WIDTH, _HEIGHT * len(shown)), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(2, 1), sharey="row")
        for axes, one in zip(rows, shown, strict=True):
            _draw_source(axes, one, dm_window)
        figure.savefig(output, format="png", metadata={"Software": None})
    return output.getvalue()


def _draw_source(axes: Any, near_one: Near, dm_window: float) -> None:
    from darc.processor_tools.panels import DM_UNIT, printable  # noqa: PLC0415

    source, candidates = near_one.source, near_one.candidates
    by_time, by_snr = axes
    dms, probabilities = zip(*((one.dm, one.probability) for one in candidates), strict=True)
    colours = {"c": probabilities, "vmin": 0.5, "vmax": 1.0}
    by_time.scatter([one.time_s for one in candidates], dms, **colours)
    dots = by_snr.scatter([one.snr for one in candidates], dms, **colours)
    for each in axes:
        each.axhline(source.dm, color="grey", linestyle="--", linewidth=1, zorder=0)
    beams = ", ".join(sorted({f"CB{one.cb:02d}" for one in candidates}))
    title = f"{source.name}: {len(candidates)} candidate{'s' * (len(candidates) > 1)} in {beams}"
    by_time.set_title(printable(title, _TITLE_MAX))
    # some space beyond the window, also if that has no width
    margin = 1.05 * dm_window + 1
    by_time.set(xlabel="Time (s)", ylabel=f"DM ({DM_UNIT})", ylim=(source.dm - margin, source.dm + margin))
    by_snr.set(xlabel="S/N")
    by_snr.figure.colorbar(dots, ax=by_snr, label="Probability")
