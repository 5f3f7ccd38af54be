"""How often something that is started again has died lately."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Deaths of what works on an observation after which that is left alone.
DEATHS_MAX = 3


@dataclass
class Deaths:
    """Deaths of one thing; only those within a window count, so that rare ones never add up.

    Attributes:
        times: when it died lately, in s
    """

    times: list[float] = field(default_factory=list)

    def count(self, now: float, window_s: float) -> int:
        """Note a death and return the number of deaths within the window that ends with it.

        Args:
            now: when it died, in s of a clock that is not set
            window_s: length of the window in s
        """
        self.times = [time for time in self.times if now - time < window_s] + [now]
        return len(self.times)
