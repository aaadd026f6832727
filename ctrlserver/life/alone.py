"""The data plane of a server that is one process, as the service sees it: nobody else has to be asked or told.

Rule: what is here stands in ``workers/plane.py`` too, for several processes. The service knows no other difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.config import Config
from ctrlserver.net.gate import seats_for
from ctrlserver.net.plane import DataPlane
from ctrlserver.stats.book import Book


class LonePlane(DataPlane):
    """The listeners of ``config``, and their streams."""

    def __init__(self, config: Config, book: Book, reactor: IReactorTime, clock: Callable[[], float]) -> None:
        super().__init__(config.listeners, book, reactor, clock)

    def beside(self) -> dict[str, Any]:
        """What the admin port may do beside: the desk as it is made does for one process."""
        return {}

    def begin(self) -> Deferred[None] | None:
        """Nothing is left to be started."""
        return None

    def refresh(self) -> Deferred[None] | None:
        """None: the numbers are of now."""
        return None

    def lag(self) -> float:
        """Nobody else is late."""
        return 0.0

    def limits_changed(self) -> None:
        """The limits hold."""

    def seats_for(self, asked: int | None, descriptors: int, in_use: int) -> tuple[int, int]:
        """Streams that there is room for, and how many of them take descriptors of this process, of its so many."""
        seats = seats_for(asked, descriptors, in_use)
        return seats, seats

    def reasons(self) -> Sequence[str]:
        """Why it takes no streams: nothing of its own."""
        return ()

    def status(self) -> str:
        """What a line about the server says beside its numbers."""
        return ""
