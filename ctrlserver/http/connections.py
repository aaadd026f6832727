"""How many connections the site has, and who makes room for another.

Rules: a new connection gets a place, so slow clients, however many, keep nobody out. There are those that have brought
no request yet and those that have, and the larger crowd makes room: of the former whoever waits for longest, of the
latter whoever came last. So of a flood of either kind a new one has time for its request, and a monitor that has come
before keeps its connection. Those with a request at work stay; if all have one, the new connection is refused.
"""

from __future__ import annotations

from typing import Protocol

from ctrlserver.admin.limits import Reserve
from ctrlserver.http.limits import Limits


class Held(Protocol):
    """A connection."""

    def evict(self) -> None:
        """Make room: the connection ends."""

    def close(self) -> None:
        """The server ends."""


class Connections:
    """Those of one server. ``reserve``: the descriptors that there are for them."""

    def __init__(self, limits: Limits, reserve: Reserve | None = None) -> None:
        self._limits = limits
        self._reserve = reserve
        self._entered = 0
        self._new: dict[Held, int] = {}  # those that have brought no request yet, with their numbers
        self._kept: dict[Held, int] = {}  # those that await another one
        self._working: dict[Held, int] = {}
        self._refused: set[Held] = set()

    @property
    def are_full(self) -> bool:
        """Whether the next one needs another's place."""
        return len(self) >= self._limits.connections

    def __len__(self) -> int:
        return len(self._new) + len(self._kept) + len(self._working)

    def enter(self, connection: Held) -> str | None:
        """Count a new one; None, or why it is refused."""
        most = self._limits.connections
        if len(self) >= most:
            if len(self._working) >= most:
                self._refused.add(connection)
                return f"{most} connections have a request at work, which is the most; try again later"
            new, kept = self._new, self._kept
            goes = next(iter(new)) if len(new) >= len(kept) else max(kept, key=kept.__getitem__)
            self.forget(goes)
            goes.evict()
        if self._reserve is not None and not self._reserve.enter():
            self._refused.add(connection)
            return "no descriptor is left for another connection; try again later"
        self._entered += 1
        self._new[connection] = self._entered
        return None

    def works(self, connection: Held) -> None:
        """It has a request at work."""
        for waiting in (self._new, self._kept):
            if connection in waiting:
                self._working[connection] = waiting.pop(connection)

    def waits(self, connection: Held) -> None:
        """It awaits the next request."""
        if connection in self._working:
            self._kept[connection] = self._working.pop(connection)

    def may_linger(self, connection: Held) -> bool:
        """False for one that is too many, where enough of those linger already."""
        return connection not in self._refused or len(self._refused) <= self._limits.refused

    def forget(self, connection: Held) -> None:
        """It is gone, or about to be."""
        for held in (self._new, self._kept, self._working):
            if held.pop(connection, None) is not None and self._reserve is not None:
                self._reserve.leave()
        self._refused.discard(connection)

    def close(self) -> None:
        """End all."""
        for connection in [*self._new, *self._kept, *self._working, *self._refused]:
            connection.close()
