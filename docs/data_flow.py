"""The picture of how data flow through DARC, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 520


class Box(NamedTuple):
    """A box: its place and size, its kind, a key of `COLOURS`, and lines of text, the first of them bold."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    lines: tuple[str, ...]


class Arrow(NamedTuple):
    """A line with corners and a head at its end, and a label beside a place."""

    points: tuple[tuple[int, int], ...]
    label: str = ""
    place: tuple[int, int] = (0, 0)


#: Areas that stand for machines.
AREAS = (
    Box(190, 16, 560, 278, "area", ("on each of 40 worker nodes: one compound beam",)),
    Box(190, 312, 560, 192, "area", ("on the master node",)),
)
BOXES = (
    Box(16, 52, 150, 60, "other", ("AMBER", "single-pulse search, GPU")),
    Box(16, 206, 150, 60, "file", ("filterbank files", "of the tied-array beams")),
    Box(206, 52, 150, 60, "ours", ("amber_listener", "follows AMBER's files")),
    Box(394, 52, 160, 60, "ours", ("amber_clustering", "groups, decides")),
    Box(592, 52, 142, 60, "ours", ("dada_trigger",)),
    Box(794, 52, 150, 60, "other", ("ring buffer", "writes IQUV to disk")),
    Box(206, 206, 150, 60, "ours", ("processor", "extracts, classifies, plots")),
    Box(592, 206, 142, 60, "file", ("results of a beam", "PDF, list, counts")),
    Box(592, 346, 142, 60, "ours", ("lofar_trigger",)),
    Box(794, 346, 150, 60, "other", ("LOFAR", "freezes its buffers")),
    Box(394, 346, 160, 60, "ours", ("processor_master", "combines all beams")),
    Box(592, 428, 142, 60, "ours", ("voevent_generator",)),
    Box(794, 428, 150, 60, "other", ("broker", "the world")),
    Box(206, 428, 150, 60, "ours", ("status_website", "asks all nodes")),
    Box(16, 346, 150, 60, "other", ("astronomers", "page, mail")),
    Box(16, 428, 150, 60, "other", ("operators", "page, darc status")),
)
ARROWS = (
    Arrow(((166, 82), (206, 82))),
    Arrow(((356, 82), (394, 82))),
    Arrow(((554, 82), (592, 82))),
    Arrow(((734, 82), (794, 82)), "0.1 s", (764, 74)),
    Arrow(((281, 112), (281, 206)), "triggers", (312, 162)),
    Arrow(((166, 236), (206, 236))),
    Arrow(((356, 236), (592, 236)), "candidates with p and S/N", (474, 228)),
    Arrow(((663, 266), (663, 300), (474, 300), (474, 346))),
    Arrow(((394, 376), (166, 376))),
    Arrow(((206, 458), (166, 458))),
    Arrow(((520, 112), (520, 150), (770, 150), (770, 330), (574, 330), (574, 376), (592, 376))),
    Arrow(((574, 376), (574, 458), (592, 458))),
    Arrow(((734, 376), (794, 376)), "1 s", (764, 368)),
    Arrow(((734, 458), (794, 458)), "1 s", (764, 450)),
)
COLOURS = {
    "ours": ("#1f5fa8", "#1f5fa8", "#ffffff"),
    "other": ("#ffffff", "#5b6570", "#1c2126"),
    "file": ("#fff6df", "#a67c1a", "#1c2126"),
    "area": ("#eef3f9", "#c6d3e3", "#4a5562"),
}


def svg() -> str:
    """Return the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title" font-family="Helvetica, Arial, sans-serif" font-size="12">',
        '<title id="title">How data flow through DARC: from AMBER and the filterbank files to '
        "the ring buffer, LOFAR, the VOEvent broker, and people</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#3a444f"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>',
    ]
    for area in AREAS:
        parts += _area(area)
    for arrow in ARROWS:
        parts += _arrow(arrow)
    for box in BOXES:
        parts += _box(box)
    return "\n".join([*parts, "</svg>", ""])


def _rectangle(box: Box) -> str:
    fill, line, _ = COLOURS[box.kind]
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
    return f'<rect {place} rx="7" fill="{fill}" stroke="{line}" stroke-width="1.3"/>'


def _area(area: Box) -> Iterator[str]:
    yield _rectangle(area)
    place, colour = f'x="{area.x + 14}" y="{area.y + 22}"', COLOURS["area"][2]
    yield f'<text {place} fill="{colour}">{escape(area.lines[0])}</text>'


def _box(box: Box) -> Iterator[str]:
    yield _rectangle(box)
    first = box.y + box.height / 2 + 4 - 9 * (len(box.lines) - 1)
    for number, line in enumerate(box.lines):
        style = 'font-weight="bold"' if number == 0 else 'font-size="11"'
        style += f' fill="{COLOURS[box.kind][2]}"'
        place = f'x="{box.x + box.width / 2:g}" y="{first + 18 * number:g}"'
        yield f'<text {place} text-anchor="middle" {style}>{escape(line)}</text>'


def _arrow(arrow: Arrow) -> Iterator[str]:
    points = " ".join(f"{x},{y}" for x, y in arrow.points)
    style = 'fill="none" stroke="#3a444f" stroke-width="1.4" marker-end="url(#head)"'
    yield f'<polyline points="{points}" {style}/>'
    if arrow.label:
        x, y = arrow.place
        style = 'text-anchor="middle" font-size="11" fill="#3a444f"'
        yield f'<text x="{x}" y="{y}" {style}>{escape(arrow.label)}</text>'
