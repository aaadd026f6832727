"""Sleeping, for as long as is meant where the time of day is another one too.

``time.sleep`` fails under libfaketime, by which a lab has a program live at another time: version 0.9.10 mistakes the
moment until which Python sleeps, where it is told to leave the monotonic clock alone (EINVAL, each time).
"""

from __future__ import annotations

import select


def sleep(seconds: float) -> None:
    """Sleep; as ``time.sleep``."""
    select.select((), (), (), seconds)
