"""How plots look: matplotlib's settings, while something is drawn.

Of matplotlib only objects are used, no state of pyplot, and names from outside never pass through its text
markup. Its settings, though, are those of the whole process: of several threads one draws at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import style

#: What differs from matplotlib's own style; a matplotlibrc on the node has no say.
_STYLE = {
    "text.parse_math": False,  # names from observations can hold any character
    "axes.formatter.useoffset": False,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "axes.labelpad": 2.0,
    "lines.scale_dashes": False,
}

_one_at_a_time = threading.Lock()


@contextmanager
def drawing(font_size: float = 10.0) -> Iterator[None]:
    """Have matplotlib draw in our style; not to be entered twice by one thread.

    Args:
        font_size: size of texts in points
    """
    with _one_at_a_time, style.context(["default", _STYLE, {"font.size": font_size}]):
        yield
