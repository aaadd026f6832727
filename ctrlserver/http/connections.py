"""How many connections the site has, and who makes room for another.

Rules: whoever awaits a request for longest makes room for a new connection: so slow clients, however many, keep nobody
out. Those with a request at work stay; if all have one, the new connection is refused.
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
        self._waiting: dict[Held, None] = {}  # those that await a request, the one for longest first
        self._working: set[Held] = set()
        self._refused: set[Held] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    def enter(self, connection: Held) -> str | None:
        """Count a new one; None, or why it is refused."""
        most = self._limits.connections
        if len(self) >= most:
            if not self._waiting:
                self._refused.add(connection)
                return f"{most} connections have a request at work, which is the most; try again later"
            oldest = next(iter(self._waiting))
            self.forget(oldest)
            oldest.evict()
        if self._reserve is not None and not self._reserve.enter():
            self._refused.add(connection)
            return "no descriptor is left for another connection; try again later"
        self._waiting[connection] = None
        return None

    def works(self, connection: Held) -> None:
        """It has a request at work."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._working.add(connection)

    def waits(self, connection: Held) -> None:
        """It awaits the next request."""
        if connection in self._working:
            self._working.discard(connection)
            self._waiting[connection] = None

    def may_linger(self, connection: Held) -> bool:
        """False for one that is too many, where enough of those linger already."""
        return connection not in self._refused or len(self._refused) <= self._limits.refused

    def forget(self, connection: Held) -> None:
        """It is gone, or about to be."""
        if connection in self._waiting or connection in self._working:
            self._waiting.pop(connection, None)
            self._working.discard(connection)
            if self._reserve is not None:
                self._reserve.leave()
        self._refused.discard(connection)

    def close(self) -> None:
        """End all."""
        for connection in [*self._waiting, *self._working, *self._refused]:
            connection.close()
