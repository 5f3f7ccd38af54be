"""What these validations found wrong, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mended:
    """A defect that is no more.

    Attributes:
        wrong: what was wrong
        mended: what was done
        test: which shows that it cannot come back

    """

    wrong: str
    mended: str
    test: str


MENDED = (
    Mended(
        "Fixed windows of DM and time split a burst at their edges, and batches at theirs: on average 2.4 "
        "groups for a burst of S/N 10 to 100; a burst beside a brighter signal in the same box was lost",
        "`clustering.method: linked`; triggers at the end of a batch wait for the next",
        "`tests/unit/science/test_linked_clustering.py`, `test_batch_borders.py`",
    ),
    Mended(
        "On the day of a leap second arrival times were late by up to a second (1 s x part of the day), "
        "since astropy spreads that second over the day when it reads unix time",
        "`darc.formats.utc.unix_as_astropy`",
        "`tests/unit/formats/test_utc.py`",
    ),
    Mended(
        "An arrival within a leap second, 23:59:60, could not be read, and its trigger was lost",
        "it is read as the second after it, as unix time has it",
        "`tests/unit/formats/test_utc.py`",
    ),
    Mended(
        "sigpyproc could not read filterbank files whose source has no name",
        "the key is left out of the header",
        "`tests/unit/formats/test_filterbank.py`",
    ),
    Mended(
        "The filter on synthesised beams stopped faint bursts without a word, since their S/N is not seen to "
        "repeat: 29 % of those of S/N 12 to 100, nearly all below S/N 20",
        "what nothing but the filter kept from a dump is logged and counted; `sb_filter: false` lets it pass",
        "`tests/unit/science/test_selection.py`, `tests/unit/test_amber_clustering.py`",
    ),
)
