"""A predecessor that may be at work still: a process whose master was killed takes some seconds to end."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Longest time in s for which a predecessor's end is waited for: its master, which it ends after, is gone.
PREDECESSOR_S = 6.0
LOCK_INTERVAL_S = 0.05


def wait_for_lock(locks: Callable[[], bool]) -> bool:
    """Try to take a lock for as long as a predecessor may have it; return whether it was taken.

    Args:
        locks: takes the lock if nobody else has it, and returns whether it did
    """
    end = time.monotonic() + PREDECESSOR_S
    while not locks():
        if time.monotonic() >= end:
            return False
        time.sleep(LOCK_INTERVAL_S)
    return True
