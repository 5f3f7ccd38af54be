"""Which channels AMBER leaves out, as a file for each band says."""

from __future__ import annotations

from pathlib import Path

from darc.errors import DARCError
from darc.formats.files import read_text, shown

#: Part of the name of a mask file that stands for the central frequency in MHz.
PLACEHOLDER = "FREQ"
#: Largest mask file that is read, in bytes.
_BYTES_MAX = 2**20


class RFIMaskError(DARCError):
    """There is no usable mask file."""


def find_mask(template: Path, centre_mhz: float) -> Path:
    """Return the mask file for a band: that of its central frequency in whole MHz, or of the nearest one.

    Args:
        template: path, with `FREQ` in the file's name in place of the frequency
        centre_mhz: centre of the band

    Raises:
        RFIMaskError: there is no such file
    """
    before, placeholder, after = template.name.partition(PLACEHOLDER)
    if not placeholder:
        return template
    try:
        names = [path.name for path in template.parent.iterdir()]
    except OSError as error:
        raise RFIMaskError(f"{template.parent}: no RFI masks: {error.strerror}; see rfi_mask") from error
    frequencies = [
        int(number)
        for name in names
        if name.startswith(before)
        and name.endswith(after)
        and (number := name[len(before) : len(name) - len(after)]).isdecimal()
    ]
    if not frequencies:
        raise RFIMaskError(f"{template}: there is no such file for any frequency; see rfi_mask")
    nearest = min(frequencies, key=lambda frequency: (abs(frequency - centre_mhz), frequency))
    return template.with_name(f"{before}{nearest}{after}")


def read_mask(path: Path) -> list[int]:
    """Return the channels that a mask file lists, counted from the lowest frequency.

    Raises:
        RFIMaskError: it cannot be read, or holds something else than channel numbers
    """
    words = read_text(path, _BYTES_MAX, RFIMaskError).split()
    for word in words:
        if not (word.isdecimal() and word.isascii()):
            raise RFIMaskError(f"{path}: {shown(word)} is no number of a channel")
    return [int(word) for word in words]
