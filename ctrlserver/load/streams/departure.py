"""When a stream under ``--inject`` closes or resets its connection: once what it sent has arrived."""

from __future__ import annotations

from collections.abc import Callable

from ctrlserver.lane.due import Due

#: Nanoseconds to wait for the target's system to acknowledge what was sent.
ARRIVAL_NS = 1_000_000_000

#: Nanoseconds between two looks at that.
LOOK_NS = 1_000_000


class Departure:
    """Waits until ``unsent`` gives 0 bytes, or for ``ARRIVAL_NS``; then calls ``depart`` with what it gives."""

    def __init__(self, moments: Due, unsent: Callable[[], int], depart: Callable[[int], None]) -> None:
        self._moments = moments
        self._unsent = unsent
        self._depart = depart
        self._since = moments.clock()

    def due(self, now: int) -> None:
        """Look."""
        unsent = self._unsent()
        if unsent and now - self._since < ARRIVAL_NS:
            self._moments.at(self, now + LOOK_NS)
        else:
            self._depart(unsent)
