"""When to dump full-resolution data of a polarisation calibrator."""

from __future__ import annotations

from math import ceil


def dump_windows(
    duration_s: float, *, dump_s: float, interval_s: float, max_dumps: int, page_s: float
) -> list[tuple[float, float]]:
    """Return start and end of each dump, in s from the start of the observation.

    The first dump begins one interval after the start. None lasts longer than the observation.

    Args:
        duration_s: length of the observation in s
        dump_s: length of a dump in s, rounded up to whole pages
        interval_s: time from the start of one dump to the start of the next in s
        max_dumps: most dumps
        page_s: length of a page of the ring buffer in s

    Raises:
        ValueError: an interval or a page that is not positive
    """
    if interval_s <= 0 or page_s <= 0:
        raise ValueError(f"interval {interval_s} s and page {page_s} s have to be positive")
    # a dump that is a whole number of pages must not become one longer by rounding in the division
    length_s = ceil(round(dump_s / page_s, 9)) * page_s
    starts = [interval_s * number for number in range(1, max_dumps + 1)]
    return [(start_s, start_s + length_s) for start_s in starts if start_s + length_s <= duration_s]
